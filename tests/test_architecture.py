"""The rules that keep the rooms apart, checked on the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
ORDER = ("app", "pages", "ui", "runs", "optimizers", "measure", "intake")
"""A room imports only from itself and from rooms further right."""
MAY_IMPORT = {
    **{room: set(ORDER[index:]) for index, room in enumerate(ORDER)},
    "app": {"ui"},  # the pages are named to Streamlit by path, never imported
    "cli": {"ui", "runs", "optimizers", "measure", "intake"},  # of ui only what writes reports, see below
    "docs": {"docs", "bench", "runs", "optimizers", "measure", "intake"},
    "samples": {"samples", "intake"},
    "bench": {"bench", "runs", "optimizers", "measure", "intake"},
}
STREAMLIT = {"app", "pages", "ui"}
PAGE_BENCH = Path("bench/ui.py")
"""It draws the pages as the tests do, to time them."""
FOREIGN = Path("bench/plain_script.py")
"""What somebody writes who has no Tare; it is only ever run as a process of its own."""
HEAVY = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"}
KERAS_DOOR = Path("intake/keras_env.py")
"""The one file that imports the heavy libraries whole."""
CHECKS = ("pytest.raises", "pytest.warns", "pytest.fail", "expect(")
VAGUE = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


def _sources() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        if not relative.parts[0].startswith(".") and relative.parts[0] != "var":
            yield relative


SOURCES = tuple(_sources())
OURS = tuple(path for path in SOURCES if path.parts[0] != "tests")
TESTS = tuple(path for path in SOURCES if path.parts[0] == "tests" and path.name.startswith("test_"))


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a source file."""
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def imported(node: ast.AST) -> list[str]:
    """Return the modules that one statement imports, in full."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports here are absolute"
        return [node.module or ""]
    return []


def imports(path: Path) -> list[str]:
    """Return the modules that a file imports anywhere, in full."""
    return [name for node in ast.walk(tree(path)) for name in imported(node)]


def imports_on_loading(node: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported when a file is loaded: all but those inside functions and TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield from imported(child)
        yield from imports_on_loading(child)


def room(path: Path) -> str:
    """Return the room of a file: its folder, or its own name at the top."""
    return path.parts[0].removesuffix(".py")


def test_imports_go_one_way() -> None:
    wrong = {
        str(path): sorted(bad)
        for path in OURS
        if (bad := ({name.split(".")[0] for name in imports(path)} & set(MAY_IMPORT)) - MAY_IMPORT[room(path)])
    }
    assert wrong == {}


def test_every_room_has_its_rule() -> None:
    assert {room(path) for path in OURS} - set(MAY_IMPORT) == set()


def test_the_command_line_draws_only_reports() -> None:
    assert {name for name in imports(Path("cli.py")) if name.split(".")[0] == "ui"} == {"ui.run_report"}
    assert loaded_by(["ui.run_report"]) & (HEAVY | {"streamlit"}) == set()


def test_streamlit_stays_in_the_ui() -> None:
    others = [path for path in OURS if path != PAGE_BENCH]
    using = {room(path) for path in others if "streamlit" in {name.split(".")[0] for name in imports(path)}}
    assert using <= STREAMLIT


def test_no_file_loads_tensorflow_when_it_is_imported() -> None:
    wrong = [str(path) for path in SOURCES if path != FOREIGN and _heavy(imports_on_loading(tree(path)))]
    assert wrong == []


def test_tensorflow_and_keras_come_through_one_door() -> None:
    inner = "tensorflow_model_optimization.python."
    wrong = {
        str(path): bad
        for path in OURS
        if path not in (KERAS_DOOR, FOREIGN)
        and (bad := [name for name in _heavy(imports(path)) if not name.startswith(inner)])
    }
    assert wrong == {}


def _heavy(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.split(".")[0] in HEAVY]


def test_the_server_side_loads_neither_tensorflow_nor_streamlit() -> None:
    assert loaded_by(["runs.service", "optimizers", "cli"]) & (HEAVY | {"streamlit"}) == set()


def test_what_the_pages_load_leaves_tensorflow_out() -> None:
    rooms = [".".join(path.with_suffix("").parts) for path in OURS if room(path) == "ui" and path.stem != "__init__"]
    assert loaded_by(rooms) & HEAVY == set()


def loaded_by(modules: list[str]) -> set[str]:
    """Return the names of all modules that a fresh interpreter has loaded after importing some."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_files_are_named_after_what_is_in_them() -> None:
    wrong = [
        str(path)
        for path in SOURCES
        if {word for part in path.with_suffix("").parts for word in part.lower().split("_")} & VAGUE
    ]
    assert wrong == []


def test_every_file_and_public_name_has_a_docstring() -> None:
    wrong = {str(path): missing for path in OURS if (missing := _undocumented(path))}
    assert wrong == {}


def _undocumented(path: Path) -> list[str]:
    module = tree(path)
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in module.body if isinstance(node, definitions) and not node.name.startswith("_")]
    missing = [node.name for node in public if not ast.get_docstring(node)]
    return missing if ast.get_docstring(module) else ["the file itself", *missing]


def test_every_test_can_fail() -> None:
    wrong = {str(path): toothless for path in TESTS if (toothless := _toothless(path))}
    assert wrong == {}


def _toothless(path: Path) -> list[str]:
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    checking = {node.name for node in functions if _checks(node, set())}
    tests = [node for node in functions if node.name.startswith("test_")]
    return [test.name for test in tests if not _checks(test, checking)] if tests else ["it has no test"]


def _checks(function: ast.AST, checking: set[str]) -> bool:
    """True where a function asserts, expects an error, waits for a page to show something, or calls one that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            name = called.rsplit(".", 1)[-1]
            if called.startswith(CHECKS) or name.startswith("assert_") or name in checking:
                return True
    return False


def test_every_version_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
        wrong = [line for line in lines if line and "==" not in line and not line.startswith("-r ")]
        assert wrong == [], name
        assert [line for line in lines if "/" in line or "@" in line] == [], name
