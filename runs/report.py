"""What a finished run leaves beside its figures: verified facts, layer table, how to repeat it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from measure.behaviour import Behaviour
from measure.facts import Fact
from measure.layers import TensorRow
from optimizers.estimate import EstimatedSizes
from runs.layer_outcomes import LayerOutcome
from runs.records import Artifact
from runs.versions import NewerTare


class RunReport(BaseModel):
    """Stored as `report.json` with the run."""

    model_config = ConfigDict(frozen=True)

    facts: tuple[Fact, ...]
    tensors: tuple[TensorRow, ...]
    estimate: EstimatedSizes | None = None
    """What the sizes were expected to be before the run; None for the baseline, and for runs of older versions."""
    layers: tuple[LayerOutcome, ...] = ()
    """Empty for the baseline, and for runs of older versions."""
    behaviour: Behaviour | None = None
    """What is answered otherwise than by the uploaded model; None for runs of older versions."""
    versions: dict[str, str]
    """Library -> version that was at work."""
    model_sha256: str
    dataset_sha256: str
    """Of the dataset's file, or of what random inputs were made from."""
    random_inputs: bool = False
    """True where there was no dataset: the metric says nothing about real data."""
    one_dnn: bool
    """False where the run was repeated with oneDNN off after a crash of TensorFlow."""


def read_report(files: Sequence[Artifact]) -> RunReport | None:
    """Return the report among the files that a run left; None where there is none; raises NewerTare."""
    for file in files:
        if file.name == "report.json":
            try:
                return RunReport.model_validate_json(file.path.read_text())
            except ValidationError as error:
                raise NewerTare(f"The report {file.path}", error) from None
    return None
