"""Every page as Streamlit runs it, over a real store with no worker: what is queued stays queued."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from intake.dataset_info import RANDOM_INPUTS_NOTE, DatasetOptions
from intake.fit import Fit
from intake.model_info import ModelInfo
from intake.models import load_prepared
from intake.tasks import impossible_losses
from measure.layers import TensorRow
from measure.packed_files import PACKINGS
from optimizers import TECHNIQUES, technique
from optimizers.declaration import OF_LAYERS, ParameterSpec, parameter, specs
from optimizers.estimate import EstimatedSizes
from optimizers.fine_tuning import fine_tuning_specs
from optimizers.presets import Preset, presets
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sweep import expand
from optimizers.technique import Technique, TechniqueParams
from runs.executor import LocalExecutor
from runs.layer_outcomes import layer_outcomes
from runs.paths import prepared_folder
from runs.plan import PLAN_FILE, ModelPlan, ensure_plan
from runs.records import Project, RunRecord, Upload
from runs.report import RunReport
from runs.service import EXAMPLE_MODEL, Service
from runs.settings import Settings
from runs.store import Store
from runs.uploads import store_upload
from runs.worker import ensure_prepared
from tests.test_charts import result
from ui import chain, new_run, session
from ui.formatting import as_text
from ui.forms import fine_tuning_prefix, widget_key
from ui.layer_table import edited
from ui.new_project import WITHOUT
from ui.ready_recipes import FILE_KEY, PRESET_KEY
from ui.run_page import log_height
from ui.selection import OPEN_KEY
from ui.setting_texts import help_text, label_text
from ui.several import several_key

APP = Path(__file__).parent.parent / "app.py"
FIT = Fit(
    task="classification", loss="sparse_categorical_crossentropy", metric_name="accuracy", class_order=tuple(range(10))
)
LEAVE = next(spec.label for spec in specs(TechniqueParams) if spec.name == "leave_as_is")
every_technique = pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)


@pytest.fixture
def service(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service of the pages, on a home of its own, with workers that never start."""
    shutil.copytree(empty_home, tmp_path / "home")
    monkeypatch.setenv("TARE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(LocalExecutor, "start", lambda self: None)
    # AppTest forgets before every run that app.py calls st.navigation; a server learns it once (see begin_page).
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", type("RememberingPagesManager", (PagesManager,), {}))
    session.shared_service.clear()
    yield session.service()
    session.shared_service.clear()


@pytest.fixture
def project(service: Service) -> Project:
    """A project whose name would be Markdown."""
    files = [Upload(upload_id=f"{n:016x}", file_name=f"f{n}.keras", size_bytes=9, sha256="0") for n in (1, 2)]
    return Store(service.settings).add_project(
        Project(
            project_id="",
            name="**digits** <b>x</b>",
            model=files[0],
            dataset=files[1],
            options=DatasetOptions(),
            fit=FIT,
            created_at=datetime.now(UTC),
        )
    )


def open_page(path: str = "", **query: str) -> AppTest:
    """Open a page by its address and draw it once, without an exception."""
    return shown_page(AppTest.from_file(str(APP), default_timeout=120), path, query)


def shown_page(app: AppTest, path: str, query: dict[str, str]) -> AppTest:
    """Draw a page of an app once, without an exception."""
    if path:
        app.switch_page(path)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def texts(app: AppTest) -> str:
    """All that a page says."""
    kinds = (app.title, app.header, app.subheader, app.markdown, app.caption, app.error, app.info, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def links(app: AppTest) -> str:
    """The labels of all links to pages."""
    return "\n".join(str(getattr(link, "label", "")) for link in app.get("page_link"))


def finished(service: Service, project: Project, name: str, recipe: Recipe, metric: float, size: int) -> RunRecord:
    """A run that was measured."""
    store = Store(service.settings)
    values: dict[str, Any] = {"run_id": "", "project_id": project.project_id, "name": name, "recipe": recipe}
    record = RunRecord(**values, is_baseline=not recipe.steps, state="queued", created_at=datetime.now(UTC))
    run = store.add_run(record)
    store.log_curves(run.run_id, 1, {"train/loss": 1.0})
    store.log_curves(run.run_id, 2, {"train/loss": 0.5, "validation/loss": 0.6})
    store.log_result(run.run_id, result(metric, size), 1, 2)
    store.set_state(run.run_id, "finished")
    return service.run(run.run_id)


def measured(service: Service, project: Project) -> tuple[RunRecord, RunRecord]:
    """A measured baseline and a measured run of the last technique."""
    baseline = finished(service, project, "Baseline", Recipe(), 0.98, 100_000)
    return baseline, finished(service, project, "smaller", Recipe.single(TECHNIQUES[-1].name), 0.97, 30_000)


# --- home ---------------------------------------------------------------------------------------------------------


def test_first_visit_offers_the_example_and_the_way_to_ones_own_model(service: Service) -> None:
    app = open_page()
    assert app.button(key="home:example").label == "Try the example"
    assert app.button(key="home:own").label == "Start with your own model"


def test_home_shows_each_project_with_its_best_run(service: Service, project: Project) -> None:
    measured(service, project)
    app = open_page()
    assert "\\*\\*digits\\*\\*" in links(app)
    assert [metric.value for metric in app.metric] == ["1", "100.0 kB", "30.0 kB"]


def test_deleting_a_project_asks_first(service: Service, project: Project) -> None:
    app = open_page()
    app.menu_button[0].click("Delete").run()
    assert not app.exception
    assert service.projects()
    assert app.button(key="delete_project:do").label == "Delete project"


def test_pages_run_under_the_navigation_when_a_deep_link_comes_first(service: Service) -> None:
    PagesManager.uses_pages_directory = None
    app = open_page("pages/techniques.py")
    assert not PagesManager.uses_pages_directory
    assert app.title[0].value == "Techniques"


# --- addresses that lead nowhere ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("pages/run.py", {}),
        ("pages/run.py", {"run": "../../etc/passwd"}),
        ("pages/project.py", {"project": "77"}),
        ("pages/project.py", {"project": "x"}),
    ],
)
def test_unknown_ids_get_a_friendly_word_and_a_way_home(service: Service, page: str, query: dict[str, str]) -> None:
    app = open_page(page, **query)
    assert "Nothing here" in texts(app)
    assert "All projects" in links(app)


# --- project ------------------------------------------------------------------------------------------------------


def test_project_says_that_its_baseline_is_on_the_way(service: Service, project: Project) -> None:
    service.submit(project.project_id, Recipe())
    app = open_page("pages/project.py", project=project.project_id)
    assert "The baseline is on its way" in texts(app)
    assert app.title[0].value == "\\*\\*digits\\*\\* \\<b\\>x\\</b\\>"


def test_project_lists_every_run_also_without_result(service: Service, project: Project) -> None:
    measured(service, project)
    service.submit(project.project_id, Recipe.single(TECHNIQUES[-1].name), "waiting")
    app = open_page("pages/project.py", project=project.project_id)
    assert list(app.dataframe[0].value["Run"]) == ["Baseline", "smaller", "waiting"]


def test_a_clicked_point_or_row_opens_its_run(service: Service, project: Project) -> None:
    _, run = measured(service, project)
    app = open_page("pages/project.py", project=project.project_id)
    app.session_state[OPEN_KEY] = run.run_id
    app.run()
    assert not app.exception
    assert app.title[0].value == "smaller"
    assert app.query_params["run"] == run.run_id


def test_project_says_of_a_run_that_just_ended_why_it_failed(service: Service, project: Project) -> None:
    measured(service, project)
    run = service.submit(project.project_id, Recipe.single(TECHNIQUES[-1].name), "doomed")
    Store(service.settings).set_state(run.run_id, "failed", "There is no room left.")
    app = open_page("pages/project.py", project=project.project_id, selected=run.run_id)
    assert app.error[0].value == "doomed\\: There is no room left\\."


def test_a_run_whose_file_lost_something_begins_with_an_error(service: Service, project: Project) -> None:
    _, run = measured(service, project)
    Store(service.settings).set_state(run.run_id, "finished", "The exported file does not keep what Pruning promised.")
    page = open_page("pages/run.py", run=run.run_id)
    assert page.error[0].value == "The exported file does not keep what Pruning promised\\."
    assert page.metric, "its figures are there all the same"


def test_form_advises_against_what_rarely_goes_well(service: Service, project: Project) -> None:
    entry = technique("clustering")
    app = open_form(project, entry)
    assert not app.warning
    prefix = fine_tuning_prefix(prefix_of(entry))
    app.selectbox(key=widget_key(prefix, "optimizer")).set_value("sgd")
    app.number_input(key=widget_key(prefix, "learning_rate")).set_value(0.01).run()
    assert "often goes astray" in app.warning[0].value


@every_technique
def test_form_shows_what_the_technique_declares(service: Service, project: Project, entry: Technique) -> None:
    app = open_form(project, entry)
    for spec in drawn(entry):
        assert_widget(app, spec, prefix_of(entry), {other.name: other.default for other in specs(entry.Params)})
    suggested = service.suggested_fine_tuning(project, entry)
    unsuited = service.unsuited_choices(project)
    for spec in fine_tuning_specs(suggested) if suggested else ():
        if spec.name not in unsuited:
            assert_widget(app, spec, fine_tuning_prefix(prefix_of(entry)), suggested.model_dump() if suggested else {})


def drawn(entry: Technique) -> list[ParameterSpec]:
    """The parameters with a widget of their own; layers are chosen in a table."""
    return [spec for spec in specs(entry.Params) if spec.kind not in OF_LAYERS]


def open_form(project: Project, entry: Technique) -> AppTest:
    """The project page with the form of a technique."""
    app = open_page("pages/project.py", project=project.project_id)
    app.radio(key=chain.technique_key(chain.FormStep(1, ""))).set_value(entry.name).run()
    assert not app.exception
    return app


def prefix_of(entry: Technique, number: int = 1) -> str:
    """The prefix of the widgets of a technique in a step of the form; steps are numbered as they come."""
    return chain.FormStep(number, entry.name).prefix


def legal_pair() -> tuple[Technique, Technique]:
    """Two techniques that go together, in this order."""
    return next((first, then) for first in TECHNIQUES for then in TECHNIQUES if follows(then, first) and then != first)


def follows(then: Technique, *before: Technique) -> bool:
    """Whether a technique may follow others."""
    return not chain.reasons_against(then.name, [RecipeStep(technique=entry.name) for entry in before])


def longest_chain() -> list[str]:
    """As many techniques as may follow each other, each the first that may."""
    names = [TECHNIQUES[0].name]
    while len(names) < chain.MOST_STEPS:
        before = [technique(name) for name in names]
        found = next((entry.name for entry in TECHNIQUES if entry not in before and follows(entry, *before)), None)
        if found is None:
            break
        names.append(found)
    return names


def steps_on(app: AppTest) -> list[chain.FormStep]:
    """The steps on the form."""
    if chain.STEPS_KEY not in app.session_state:
        return [chain.FormStep(1, TECHNIQUES[0].name)]
    return [chain.FormStep(*pair) for pair in app.session_state[chain.STEPS_KEY]]


def add(app: AppTest, entry: Technique) -> None:
    """Press the button that adds a step."""
    app.button(key=f"new_run:add:{entry.name}").click().run()
    assert not app.exception


def widget_of(app: AppTest, spec: ParameterSpec, prefix: str) -> Any:
    """The widget of a parameter, whatever its kind."""
    kinds = {"switch": app.toggle, "choice": app.selectbox, "text": app.text_input}
    return kinds.get(spec.kind, app.number_input)(key=widget_key(prefix, spec.name))


def assert_widget(app: AppTest, spec: ParameterSpec, prefix: str, values: dict[str, Any]) -> None:
    """Label, help, default, range and state of one widget are those that were declared."""
    widget = widget_of(app, spec, prefix)
    disabled = spec.only_if is not None and not spec.only_if.holds(values)
    assert widget.label == label_text(spec)
    assert widget.help == help_text(spec, disabled)
    assert widget.disabled == disabled
    assert widget.value == spec.default
    if spec.kind == "choice":
        assert widget.options == [str(choice) for choice in spec.choices]
    if spec.kind == "number" and spec.low is not None:
        assert widget.min == spec.low
    if spec.kind in ("number", "integer") and spec.high is not None and not spec.high_open:
        assert widget.max == spec.high


@every_technique
def test_conditions_switch_widgets_on_and_off(service: Service, project: Project, entry: Technique) -> None:
    app = open_form(project, entry)
    for spec in specs(entry.Params):
        if spec.only_if is not None:
            parent = next(other for other in specs(entry.Params) if other.name == spec.only_if.parameter)
            for choice in parent.choices:
                widget_of(app, parent, prefix_of(entry)).set_value(choice).run()
                assert not app.exception
                disabled = widget_of(app, spec, prefix_of(entry)).disabled
                assert disabled == (choice not in spec.only_if.values)
            widget_of(app, parent, prefix_of(entry)).set_value(parent.default).run()


@every_technique
def test_run_queues_the_recipe_that_was_set(service: Service, project: Project, entry: Technique) -> None:
    app = open_form(project, entry)
    changed = {spec.name: spec.choices[-1] for spec in specs(entry.Params) if spec.choices and not spec.only_if}
    for spec in specs(entry.Params):
        if spec.name in changed:
            widget_of(app, spec, prefix_of(entry)).set_value(changed[spec.name]).run()
    app.text_input(key=new_run.NAME_KEY).set_value("mine").run()
    app.button(key=new_run.RUN_KEY).click().run()
    assert not app.exception
    run = service.runs(project.project_id)[-1]
    assert (run.name, run.state) == ("mine", "queued")
    assert run.recipe == Recipe.single(entry.name, changed)


def test_two_techniques_that_go_together_make_one_recipe(service: Service, project: Project) -> None:
    first, then = legal_pair()
    app = open_form(project, first)
    add(app, then)
    app.button(key=new_run.RUN_KEY).click().run()
    assert not app.exception
    assert [step.technique for step in service.runs(project.project_id)[-1].recipe.steps] == [first.name, then.name]


def test_each_technique_that_cannot_follow_is_told_with_its_reason(service: Service, project: Project) -> None:
    last = next(entry for entry in TECHNIQUES if entry.converts)
    app = open_form(project, last)
    said = texts(app)
    for entry in TECHNIQUES:
        reasons = chain.reasons_against(entry.name, [RecipeStep(technique=last.name)])
        shown = [button.key for button in app.button if button.key == f"new_run:add:{entry.name}"]
        assert bool(reasons) != bool(shown)
        assert all(as_text(reason) in said for reason in reasons)


def test_a_step_can_be_taken_out_and_the_others_keep_their_values(service: Service, project: Project) -> None:
    names = ["pruning", "clustering", "post_training_quantization"]
    app = open_form(project, technique(names[0]))
    for name in names[1:]:
        add(app, technique(name))
    last = steps_on(app)[-1]
    choice = next(spec for spec in specs(last.entry.Params) if spec.kind == "choice" and not spec.only_if)
    widget_of(app, choice, last.prefix).set_value(choice.choices[-1]).run()
    app.button(key="step1:remove").click().run()
    assert not app.exception
    assert [step.technique for step in steps_on(app)] == names[1:]
    app.button(key=new_run.RUN_KEY).click().run()
    steps = service.runs(project.project_id)[-1].recipe.steps
    assert [step.technique for step in steps] == names[1:]
    assert steps[-1].params[choice.name] == choice.choices[-1]


def test_a_folded_step_says_what_differs_from_the_defaults(service: Service, project: Project) -> None:
    recipe = Recipe.checked(
        [
            *Recipe.single("pruning", {"final_sparsity": 0.9}).steps,
            *Recipe.single("clustering", {}, {"epochs": 77}).steps,
        ]
    )
    run = finished(service, project, "both", recipe, 0.97, 30_000)
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key="run:change").click().run()
    labels = [expander.label for expander in app.expander]
    assert any("1 · Pruning" in label and "final sparsity 0" in label for label in labels)
    assert any("2 · Clustering" in label and label.endswith("epochs 77") for label in labels)


def test_callbacks_of_a_step_that_is_gone_change_nothing() -> None:
    """A page that was not drawn anew sends the widgets of the steps before, which a preset has replaced."""

    def script() -> None:
        from ui.chain import change_technique, form_steps, note_fold
        from ui.layer_table import _take_edits

        before = form_steps()
        change_technique(before[0].number)
        note_fold(before[0])
        _take_edits("step9:layers", "step9", (), [])
        assert form_steps() == before

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_a_preset_fills_the_form(service: Service, project: Project, preset: Preset) -> None:
    app = open_page("pages/project.py", project=project.project_id)
    assert as_text(preset.description) in texts(app)
    app.segmented_control(key=PRESET_KEY).set_value(preset.name).run()
    assert not app.exception
    app.button(key=new_run.RUN_KEY).click().run()
    assert service.runs(project.project_id)[-1].recipe == Recipe.checked(preset.steps())


def test_a_recipe_file_fills_the_form_and_one_that_is_none_is_told(service: Service, project: Project) -> None:
    recipe = Recipe.checked([*Recipe.single("pruning", {"power": 2.0}).steps, *Recipe.single("clustering").steps])
    app = open_page("pages/project.py", project=project.project_id)
    app.file_uploader(key=f"{FILE_KEY}:0").set_value(("mine.yaml", recipe.to_yaml().encode(), "application/yaml")).run()
    assert not app.exception
    app.button(key=new_run.RUN_KEY).click().run()
    assert service.runs(project.project_id)[-1].recipe == recipe
    app.file_uploader(key=f"{FILE_KEY}:1").set_value(("bad.yaml", b"steps: [{technique: magic}]", "text/yaml")).run()
    assert not app.exception
    assert "magic" in app.error[0].value
    assert [step.technique for step in steps_on(app)] == ["pruning", "clustering"]


def test_a_sweep_queues_each_point_with_one_tag(service: Service, project: Project) -> None:
    app = open_form(project, technique("clustering"))
    prefix = prefix_of(technique("clustering"))
    app.toggle(key=chain.SWEEP_KEY).set_value(True).run()
    app.text_input(key=several_key(widget_key(prefix, "number_of_clusters"))).set_value("8..32 x2").run()
    initial = several_key(widget_key(prefix, "cluster_centroids_init"))
    app.multiselect(key=initial).set_value(app.multiselect(key=initial).options[:2]).run()
    assert not app.exception
    assert any("**6 runs**" in str(element.value) for element in app.markdown)
    assert app.button(key=new_run.RUN_KEY).label == "Queue 6 runs"
    app.button(key=new_run.RUN_KEY).click().run()
    assert not app.exception
    runs = service.runs(project.project_id)
    assert [run.recipe.steps[0].params["number_of_clusters"] for run in runs] == [8, 8, 16, 16, 32, 32]
    assert len({run.tags for run in runs}) == 1
    assert runs[0].tags[0].startswith("sweep:")
    app.text_input(key=several_key(widget_key(prefix, "number_of_clusters"))).set_value("1, 8").run()
    assert as_text("At number_of_clusters 1, ") in app.error[0].value
    assert app.button(key=new_run.RUN_KEY).disabled


def test_a_large_grid_asks_first(service: Service, project: Project) -> None:
    app = open_form(project, technique("clustering"))
    app.toggle(key=chain.SWEEP_KEY).set_value(True).run()
    key = several_key(widget_key(prefix_of(technique("clustering")), "number_of_clusters"))
    app.text_input(key=key).set_value("2..70").run()
    assert app.button(key=new_run.RUN_KEY).disabled
    app.checkbox(key=new_run.CONFIRM_KEY).check().run()
    assert not app.button(key=new_run.RUN_KEY).disabled


def test_runs_can_be_filtered_by_tag(service: Service, project: Project) -> None:
    measured(service, project)
    points = expand([RecipeStep(technique="post_training_quantization", params={"mode": "float16, int8"})])
    service.submit_sweep(project.project_id, points, "mine")
    app = open_page("pages/project.py", project=project.project_id)
    assert list(app.dataframe[0].value["Tags"]) == ["", "", "mine", "mine"]
    app.multiselect(key="tags").set_value(["mine"]).run()
    assert not app.exception
    assert list(app.dataframe[0].value["Run"]) == ["Baseline", "mine · mode float16", "mine · mode int8"]


def test_contradicting_values_are_told_at_once_and_cannot_be_run(service: Service, project: Project) -> None:
    app = open_form(project, TECHNIQUES[0])
    app.number_input(key="step1:pruning:initial_sparsity").set_value(0.9).run()
    app.number_input(key="step1:pruning:final_sparsity").set_value(0.2).run()
    assert not app.exception
    assert "`initial_sparsity` must not be above `final_sparsity`" in app.error[0].value
    assert app.button(key=new_run.RUN_KEY).disabled
    assert not service.runs(project.project_id)


def test_form_keeps_its_values_while_another_page_is_open(service: Service, project: Project) -> None:
    entry = next(entry for entry in TECHNIQUES if entry.fine_tuning)
    app = open_form(project, entry)
    key = widget_key(fine_tuning_prefix(prefix_of(entry)), "epochs")
    app.number_input(key=key).set_value(7).run()
    app.switch_page("pages/techniques.py").run()
    app.switch_page("pages/project.py")
    app.query_params["project"] = project.project_id
    app.run()
    assert not app.exception
    assert [step.technique for step in steps_on(app)] == [entry.name]
    assert app.number_input(key=key).value == 7


@every_technique
def test_losses_that_cannot_train_the_task_are_not_offered(
    service: Service, project: Project, entry: Technique
) -> None:
    if entry.fine_tuning is None:
        return
    loss = open_form(project, entry).selectbox(key=widget_key(fine_tuning_prefix(prefix_of(entry)), "loss"))
    refused = impossible_losses(FIT.task)
    assert refused
    assert not set(refused) & set(loss.options)
    assert all(reason in (loss.help or "") for reason in refused.values())


# --- layers and estimates -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned_home(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the example model, opened and planned as the worker does."""
    home = tmp_path_factory.mktemp("planned") / "home"
    shutil.copytree(empty_home, home)
    settings = Settings(home=home)
    with EXAMPLE_MODEL.open("rb") as stream:
        upload = store_upload(settings, EXAMPLE_MODEL.name, stream)
    ensure_prepared(settings, upload)
    ensure_plan(settings, upload.upload_id, load_prepared(prepared_folder(settings, upload.upload_id)))
    return home


@pytest.fixture
def planned(planned_home: Path, service: Service, project: Project) -> Project:
    """A project of the example model, whose layers are known."""
    for name in ("uploads", "prepared"):
        shutil.copytree(planned_home / name, service.settings.home / name, dirs_exist_ok=True)
    with EXAMPLE_MODEL.open("rb") as stream:
        model = service.add_upload(EXAMPLE_MODEL.name, stream)
    return Store(service.settings).add_project(project.model_copy(update={"name": "planned", "model": model}))


def editor_of(app: AppTest, entry: Technique, project: Project) -> Any:
    """The table of a technique's layers."""
    return app.data_editor(key=f"{steps_on(app)[0].prefix}:layers:{project.model.upload_id}")


def leave(app: AppTest, prefix: str, *layers: str) -> None:
    """Tick layers, as the callback of the table does."""
    app.session_state[widget_key(prefix, "leave_as_is")] = list(layers)
    app.run()
    assert not app.exception


@every_technique
def test_the_layers_of_a_technique_are_listed_with_what_happens(
    service: Service, planned: Project, entry: Technique
) -> None:
    app = open_form(planned, entry)
    table = editor_of(app, entry, planned).value
    assert list(table["Layer"]) == ["edges", "strokes", "features", "digit"]
    assert "✓ acts" in set(table["What happens"])
    assert all(table["Why"])
    assert not table[LEAVE].any()
    assert "3 layers have no weights" in texts(app)


@every_technique
def test_a_layer_that_is_left_changes_the_estimate_and_the_recipe(
    service: Service, planned: Project, entry: Technique
) -> None:
    app = open_form(planned, entry)
    before = estimate_on(app)
    leave(app, prefix_of(entry), "features")
    table = editor_of(app, entry, planned).value.set_index("Layer")
    assert table["What happens"]["features"] == "– left as it is"
    assert table[LEAVE]["features"]
    assert estimate_on(app) != before
    app.button(key=new_run.RUN_KEY).click().run()
    assert not app.exception
    assert service.runs(planned.project_id)[-1].recipe == Recipe.single(entry.name, {"leave_as_is": ["features"]})


def estimate_on(app: AppTest) -> str:
    """The estimate that the page shows."""
    return next(element.value for element in app.markdown if str(element.value).startswith("**Estimate:**"))


def test_a_ticked_box_becomes_a_parameter_and_is_kept_across_pages(service: Service, planned: Project) -> None:
    entry = TECHNIQUES[0]
    app = open_form(planned, entry)
    leave(app, prefix_of(entry), "strokes")
    app.switch_page("pages/techniques.py").run()
    app.switch_page("pages/project.py")
    app.query_params["project"] = planned.project_id
    app.run()
    assert not app.exception
    table = editor_of(app, entry, planned).value.set_index("Layer")
    assert list(table.index[table[LEAVE]]) == ["strokes"]


def test_the_second_technique_has_layers_of_its_own(service: Service, planned: Project) -> None:
    first, then = legal_pair()
    app = open_form(planned, first)
    add(app, then)
    leave(app, prefix_of(then, 2), "features")
    assert len(app.data_editor) == 2
    app.button(key=new_run.RUN_KEY).click().run()
    assert not app.exception
    steps = service.runs(planned.project_id)[-1].recipe.steps
    assert [step.params["leave_as_is"] for step in steps] == [[], ["features"]]


def test_a_value_for_one_layer_is_a_column_of_the_table(
    service: Service, planned: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = TECHNIQUES[0]
    declared: Any = type(
        "WithLayers",
        (entry.Params,),
        {
            "__annotations__": {"layer_share": dict[str, Annotated[float, Field(gt=0, lt=1)]]},
            "layer_share": parameter({}, "Share here", "Of one layer."),
            "__module__": __name__,
        },
    )
    monkeypatch.setattr(type(entry), "Params", declared)
    app = open_form(planned, entry)
    table = editor_of(app, entry, planned).value
    assert table["Share here"].isna().all()
    app.session_state[widget_key(prefix_of(entry), "layer_share")] = {"features": 0.25}
    app.run()
    assert not app.exception
    assert editor_of(app, entry, planned).value.set_index("Layer")["Share here"].dropna().to_dict() == {
        "features": 0.25
    }
    app.button(key=new_run.RUN_KEY).click().run()
    assert service.runs(planned.project_id)[-1].recipe.steps[0].params["layer_share"] == {"features": 0.25}
    app.session_state[widget_key(prefix_of(entry), "layer_share")] = {"features": 2.0}
    app.run()
    assert "`layer_share`" in app.error[0].value
    assert not editor_of(app, entry, planned).value.empty


def test_edits_of_the_table_become_values_of_layers() -> None:
    names = ["a", "b", "c"]
    numbers = ParameterSpec("x", "layer_number", "X", "", {})
    whole = ParameterSpec("x", "layer_integer", "X", "", {})
    some = ParameterSpec("x", "layers", "X", "", ())
    assert edited(numbers, {"c": 0.5, "gone": 1.0}, {"a": 1, "c": None}, names) == {"a": 1.0}
    assert edited(whole, {"b": 3}, {"c": 4.0}, names) == {"b": 3, "c": 4}
    assert edited(some, ["c"], {"a": True, "c": False}, names) == ["a"]


def test_a_step_with_nothing_to_act_on_is_told_and_refused(service: Service, planned: Project) -> None:
    app = open_form(planned, TECHNIQUES[0])
    leave(app, prefix_of(TECHNIQUES[0]), "edges", "strokes", "features", "digit")
    assert "acts on no layer" in app.warning[0].value
    app.button(key=new_run.RUN_KEY).click().run()
    assert not app.exception
    assert "has nothing to act on" in app.error[0].value
    assert not service.runs(planned.project_id)


def test_layers_do_not_follow_to_another_project(service: Service, project: Project, planned: Project) -> None:
    app = open_form(planned, TECHNIQUES[0])
    leave(app, prefix_of(TECHNIQUES[0]), "strokes")
    app.query_params["project"] = project.project_id
    app.run()
    app.button(key=new_run.RUN_KEY).click().run()
    assert not app.exception
    assert service.runs(project.project_id)[-1].recipe.steps[0].params["leave_as_is"] == []


def test_change_and_run_ticks_the_layers_of_the_recipe(service: Service, planned: Project) -> None:
    recipe = Recipe.single(TECHNIQUES[-1].name, {"leave_as_is": ["digit"]})
    run = finished(service, planned, "some", recipe, 0.97, 30_000)
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key="run:change").click().run()
    assert not app.exception
    table = editor_of(app, TECHNIQUES[-1], planned).value.set_index("Layer")
    assert list(table.index[table[LEAVE]]) == ["digit"]


def test_a_new_model_shows_what_each_technique_will_do_before_there_is_data(service: Service, planned: Project) -> None:
    info = ModelInfo.model_validate_json(
        (prepared_folder(service.settings, planned.model.upload_id) / "info.json").read_text()
    )
    service.inspect_model(planned.model.upload_id).finish(info)
    app = open_page("pages/new_project.py", model=planned.model.upload_id)
    tables = [frame.value for frame in app.dataframe]
    sizes = next(table for table in tables if "Technique" in table)
    assert list(sizes["Technique"]) == ["Baseline", *(entry.title for entry in TECHNIQUES)]
    assert "÷3" in sizes["Estimated .tflite"].iloc[-1]
    layers = next(table for table in tables if "Why not" in table)
    assert set(layers[TECHNIQUES[0].title]) == {"✓", "–"}


def test_a_model_that_cannot_be_converted_says_why_instead_of_an_estimate(service: Service, planned: Project) -> None:
    path = prepared_folder(service.settings, planned.model.upload_id) / PLAN_FILE
    plan = ModelPlan.model_validate_json(path.read_text())
    path.write_text(plan.model_copy(update={"problem": "LiteRT has no operation Cumprod."}).model_dump_json())
    app = open_form(planned, TECHNIQUES[0])
    assert "LiteRT has no operation Cumprod" in app.warning[0].value
    assert app.data_editor


def test_hundreds_of_layers_are_one_table(service: Service, planned: Project) -> None:
    path = prepared_folder(service.settings, planned.model.upload_id) / PLAN_FILE
    plan = ModelPlan.model_validate_json(path.read_text())
    many = tuple(plan.layers[0].model_copy(update={"name": f"layer{n}"}) for n in range(300))
    path.write_text(plan.model_copy(update={"layers": many}).model_dump_json())
    app = open_form(planned, TECHNIQUES[0])
    assert len(editor_of(app, TECHNIQUES[0], planned).value) == 300


def test_a_finished_run_names_what_was_left_and_what_was_expected(
    service: Service, planned: Project, tmp_path: Path
) -> None:
    recipe = Recipe.single(TECHNIQUES[-1].name, {"leave_as_is": ["digit"]})
    run = finished(service, planned, "some", recipe, 0.97, 30_000)
    plan = service.model_plan(planned.model.upload_id).wait()
    report = RunReport(
        facts=(), tensors=(), estimate=EstimatedSizes(tflite_bytes=29_000, gzip_bytes=15_000),
        layers=layer_outcomes(recipe, plan.layers, []), versions={}, model_sha256="", dataset_sha256="", one_dnn=True,
    )  # fmt: skip
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "report.json").write_text(report.model_dump_json())
    Store(service.settings).log_artifacts(run.run_id, tmp_path / "files")
    said = texts(open_page("pages/run.py", run=run.run_id))
    assert "as you chose: digit" in said
    assert as_text(".tflite estimated 29.0 kB, measured 30.0 kB (+3.4 %)") in said


# --- run ----------------------------------------------------------------------------------------------------------


def test_finished_run_shows_its_figures_beside_the_baselines(service: Service, project: Project) -> None:
    _, run = measured(service, project)
    app = open_page("pages/run.py", run=run.run_id)
    assert [(metric.label, metric.value, metric.delta) for metric in app.metric][:2] == [
        ("Accuracy", "97.00 %", "-1.00 points"),
        (".tflite", "30.0 kB", "-70.0 %"),
    ]
    assert "within that noise" in texts(app)


def test_gap_between_keras_and_tflite_is_flagged(service: Service, project: Project) -> None:
    _, run = measured(service, project)
    Store(service.settings).log_result(run.run_id, result(0.97, 30_000, keras_metric=0.99), 0, 0)
    app = open_page("pages/run.py", run=run.run_id)
    assert "Conversion changed the result" in app.warning[0].value


def downloads_of(app: AppTest) -> set[str]:
    """The files that the run left, not those that are written when somebody asks for them."""
    keys = {str(button.key) for button in app.get("download_button")}
    return {key for key in keys if not key.startswith("download:handover:")}


def test_artefacts_can_be_downloaded(service: Service, project: Project, tmp_path: Path) -> None:
    _, run = measured(service, project)
    (tmp_path / "files").mkdir()
    for name in ("model.tflite", "recipe.yaml", "project.json"):
        (tmp_path / "files" / name).write_bytes(b"x")
    Store(service.settings).log_artifacts(run.run_id, tmp_path / "files")
    app = open_page("pages/run.py", run=run.run_id)
    assert downloads_of(app) == {"download:model.tflite", "download:recipe.yaml"}


def test_every_packed_file_is_offered_with_its_use_and_the_smallest_is_named(
    service: Service, project: Project, tmp_path: Path
) -> None:
    _, run = measured(service, project)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "model.tflite").write_bytes(b"x" * 900)
    for size_bytes, entry in zip((500, 400, 300, 200), PACKINGS, strict=True):
        (tmp_path / "files" / entry.file_name).write_bytes(b"x" * size_bytes)
    Store(service.settings).log_artifacts(run.run_id, tmp_path / "files")
    app = open_page("pages/run.py", run=run.run_id)
    names = ["model.tflite", *(entry.file_name for entry in PACKINGS), "compact_reader.py"]
    assert downloads_of(app) == {f"download:{name}" for name in names}
    assert any("smallest: Compact file, 0.2 kB" in expander.label for expander in app.expander)
    assert [entry.use for entry in PACKINGS if entry.use not in texts(app)] == []


def test_a_run_from_before_a_size_was_measured_still_opens(service: Service, project: Project) -> None:
    _, run = measured(service, project)
    stored = service.run(run.run_id).result
    assert stored is not None
    assert (stored.zstd_bytes, stored.xz_bytes, stored.compact_bytes) == (None, None, None)
    app = open_page("pages/run.py", run=run.run_id)
    sizes = next(frame.value for frame in app.dataframe if "Size" in frame.value)
    assert "Uploaded format, gzip:** The same, compressed" in texts(app)
    assert dict(zip(sizes["Size"], sizes["This run"], strict=True))["Compact file"] == "–"
    assert not open_page("pages/project.py", project=project.project_id, size="Compact file").exception


def test_small_tensors_are_counted_in_bytes(service: Service, project: Project, tmp_path: Path) -> None:
    _, run = measured(service, project)
    bias = TensorRow(name="bias", shape=(10,), dtype="int32", stored_bytes=40, zero_share=0.0, distinct=10)
    report = RunReport(facts=(), tensors=(bias,), versions={}, model_sha256="", dataset_sha256="", one_dnn=True)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "report.json").write_text(report.model_dump_json())
    Store(service.settings).log_artifacts(run.run_id, tmp_path / "files")
    app = open_page("pages/run.py", run=run.run_id)
    tensors = next(frame.value for frame in app.dataframe if "Tensor" in frame.value)
    assert list(tensors["Stored, bytes"]) == [40]


def test_failed_run_shows_the_sentence_and_can_be_repeated(service: Service, project: Project) -> None:
    run = service.submit(project.project_id, Recipe.single(TECHNIQUES[0].name))
    Store(service.settings).set_state(run.run_id, "failed", "The loss became *nan* at step 3.")
    app = open_page("pages/run.py", run=run.run_id)
    assert app.error[0].value == "The loss became \\*nan\\* at step 3\\."
    app.button(key="run:again").click().run()
    assert not app.exception
    assert [each.state for each in service.runs(project.project_id)] == ["failed", "queued"]


def test_shares_of_a_run_at_work_are_in_percent(service: Service, project: Project) -> None:
    run = service.submit(project.project_id, Recipe.single(TECHNIQUES[0].name))
    store = Store(service.settings)
    store.set_state(run.run_id, "running")
    store.log_curves(run.run_id, 3, {"train/accuracy": 0.98712, "train/loss": 0.04})
    app = open_page("pages/project.py", project=project.project_id)
    assert {metric.label: metric.value for metric in app.metric} == {"Loss": "0.04", "Accuracy": "98.71 %"}


def test_a_short_log_takes_only_the_room_of_its_lines() -> None:
    assert log_height("one\ntwo") == "content"
    assert log_height("one\n" * 100) == log_height("long " * 600) == 420


def test_change_and_run_fills_the_form_with_the_recipe(service: Service, project: Project) -> None:
    chained = [technique(name) for name in longest_chain()]
    steps = [
        RecipeStep(technique=entry.name, fine_tuning={"epochs": 9} if entry.fine_tuning else None) for entry in chained
    ]
    run = finished(service, project, "all", Recipe.checked(steps), 0.97, 30_000)
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key="run:change").click().run()
    assert not app.exception
    assert [step.entry for step in steps_on(app)] == chained
    for step in steps_on(app):
        if step.entry.fine_tuning:
            assert app.number_input(key=widget_key(fine_tuning_prefix(step.prefix), "epochs")).value == 9
    app.button(key=new_run.RUN_KEY).click().run()
    assert service.runs(project.project_id)[-1].recipe == run.recipe


def test_queued_run_can_be_cancelled(service: Service, project: Project) -> None:
    run = service.submit(project.project_id, Recipe.single(TECHNIQUES[-1].name))
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key=f"cancel:{run.run_id}").click().run()
    assert not app.exception
    assert service.run(run.run_id).state == "cancelled"


# --- new project --------------------------------------------------------------------------------------------------


def test_upload_is_stored_at_once_and_stands_in_the_address(service: Service) -> None:
    app = open_page("pages/new_project.py")
    app.file_uploader(key="new:model_file").set_value(("net.keras", b"abc", "application/octet-stream")).run()
    assert not app.exception
    upload_id = app.query_params["model"]
    upload_id = upload_id[0] if isinstance(upload_id, list) else upload_id
    assert service.upload(upload_id).file_name == "net.keras"
    again = open_page("pages/new_project.py", model=upload_id)
    assert "net\\.keras" in texts(again)


def test_empty_file_is_refused_in_a_sentence_and_costs_nothing(service: Service) -> None:
    app = open_page("pages/new_project.py")
    app.file_uploader(key="new:data_file").set_value(("data.npz", b"", "application/octet-stream")).run()
    assert not app.exception
    assert "is empty" in app.error[0].value
    assert "data" not in app.query_params


def test_upload_that_is_gone_is_told_and_can_be_replaced(service: Service) -> None:
    app = open_page("pages/new_project.py", model="feedbeef", data="../..", options="{not json", fit='{"task": "x"}')
    assert len(app.error) == 2
    assert {uploader.key for uploader in app.file_uploader} == {"new:model_file", "new:data_file"}


def test_one_can_go_on_without_a_dataset_and_come_back(service: Service) -> None:
    upload = service.add_upload("net.keras", io.BytesIO(b"abc"))
    app = open_page("pages/new_project.py", model=upload.upload_id, data=WITHOUT)
    assert RANDOM_INPUTS_NOTE in texts(app)
    assert "new:data_file" not in {uploader.key for uploader in app.file_uploader}
    app.button(key="new:data_remove").click().run()
    assert not app.exception
    assert "data" not in app.query_params
    assert "new:data_file" in {uploader.key for uploader in app.file_uploader}


def test_a_project_on_random_inputs_says_so_wherever_it_is_shown(service: Service, project: Project) -> None:
    fit = Fit(task="agreement", loss="distillation", metric_name="agreement", outputs=("classes",))
    alone = Store(service.settings).add_project(
        project.model_copy(update={"name": "alone", "dataset": None, "fit": fit})
    )
    run = finished(service, alone, "Baseline", Recipe(), 0.98, 100_000)
    Store(service.settings).log_result(
        run.run_id, result(0.98, 1000).model_copy(update={"metric_name": "agreement"}), 0, 0
    )
    Store(service.settings).add_note(run.run_id, RANDOM_INPUTS_NOTE)
    assert "random inputs" in texts(open_page())
    assert RANDOM_INPUTS_NOTE in texts(open_page("pages/project.py", project=alone.project_id))
    shown = open_page("pages/run.py", run=run.run_id)
    assert as_text(RANDOM_INPUTS_NOTE) in texts(shown)
    assert (shown.metric[0].label, shown.metric[0].value) == ("Agreement", "98.00 %")


# --- help ---------------------------------------------------------------------------------------------------------


@every_technique
def test_help_is_generated_from_the_declaration(service: Service, entry: Technique) -> None:
    said = texts(open_page("pages/techniques.py"))
    for text in (entry.title, entry.summary, entry.use_when, entry.avoid_when, entry.shrinks, entry.source):
        assert text in said
    for spec in specs(entry.Params):
        assert f"`{spec.name}`" in said
