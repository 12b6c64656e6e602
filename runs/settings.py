"""Settings of an installation, from TARE_* environment variables; docs/settings.md is generated from this class."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runs.cores import cores, slots_for


class Settings(BaseSettings):
    """Every setting has a default that works."""

    model_config = SettingsConfigDict(env_prefix="TARE_", extra="ignore", frozen=True)

    home: Path = Field(Path("var"), description="Folder of uploads, parsed datasets, logs and the run store.")
    tracking_uri: str = Field(
        "",
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "tracking_uri"),
        description="A team's MLflow server (variable MLFLOW_TRACKING_URI); empty: SQLite in the home folder.",
    )
    worker_slots: int = Field(
        0,
        ge=0,
        le=64,
        description="Runs that may train at the same time, the cores shared out among them; 0: one for every four cores.",
    )
    worker_memory_mb: int = Field(
        4096, ge=512, description="A worker that holds more memory than this after a run is replaced by a fresh one."
    )
    run_memory_mb: int = Field(
        0,
        ge=0,
        description="A run, or opening a file, that holds more memory than this is stopped and says so; 0: three quarters of "
        "the machine's.",
    )
    run_minutes: int = Field(
        1440, ge=0, description="A run that takes longer than this is stopped and says so; 0: no limit."
    )
    reuse_steps: bool = Field(
        True,
        description="A run whose first steps another run of its project has carried out with the same settings, seed and "
        "libraries goes on from its weights, and says so. No: every run carries out all of its steps.",
    )
    worker_variables: str = Field(
        "",
        description="Further environment variables that workers get, separated by commas, `*` allowed. They get those "
        "of Python, TensorFlow and the run store, but none that could hold a secret of something else.",
    )
    worker_network: bool = Field(
        False,
        description="Workers may use the network. They may anyway where the run store is a server; else each is started "
        "without one, where the system allows that.",
    )
    max_upload_mb: int = Field(1024, ge=1, description="Largest file that can be uploaded.")

    custom_object_modules: str = Field(
        "",
        description="Importable Python modules, separated by commas, whose Keras layers, models and functions may be "
        "used by uploaded models. Their code runs in the worker: name only modules that you trust.",
    )

    login: bool = Field(
        False,
        description="Whether people log in by OpenID Connect before they see anything; needs `[auth]` in Streamlit's "
        "secrets (hosting.md). Off, everybody who reaches the address may do everything.",
    )
    editors: str = Field(
        "",
        description="Who may do everything: e-mail addresses, domains (`@example.org`) or `*`, separated by commas. "
        "With neither this nor `TARE_VIEWERS` set, everybody who can log in.",
    )
    viewers: str = Field(
        "", description="Who may look, compare, download and present, but change nothing; written like `TARE_EDITORS`."
    )
    installation_name: str = Field("Tare", description="What the page with the login calls this installation.")
    contact: str = Field(
        "", description="Whom somebody who is in neither list should ask: a name or an address, shown to them."
    )

    @property
    def slots(self) -> int:
        """Runs that may train at the same time, at least 1."""
        return self.worker_slots or slots_for(cores())

    @property
    def store_uri(self) -> str:
        """The MLflow tracking URI in force."""
        return self.tracking_uri or f"sqlite:///{self.home.resolve() / 'mlflow.db'}"

    def folder(self, name: str) -> Path:
        """Return a folder under the home, made where it is missing."""
        path = self.home.resolve() / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def settings_table() -> str:
    """Return all settings as a Markdown table."""
    rows = ["| variable | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = alias.choices[0] if isinstance(alias, AliasChoices) else f"TARE_{name.upper()}"
        rows.append(
            f"| `{variable}` | {'(empty)' if field.default == '' else str(field.default).lower() if isinstance(field.default, bool) else field.default} | {field.description} |"
        )
    return "\n".join(rows)
