"""Which fine-tuning settings a project has no use for, and why: from its task and the shapes of its inputs.

The form leaves such choices out; a recipe with one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from intake.augmentation import is_image
from intake.fit import Fit
from intake.tasks import impossible_losses
from optimizers.declaration import specs
from optimizers.fine_tuning import NO_VALIDATION, FineTuning

Shape = Sequence[int | None]
"""Of an input of the model, with the batch axis."""


def unsuited_choices(fit: Fit, input_shapes: Sequence[Shape] | None) -> dict[str, dict[Any, str]]:
    """Return setting -> choice -> why it is none here, in a sentence.

    Args:
        fit: of the project.
        input_shapes: of the model; None where they are not known, and nothing is said of them.
    """
    found: dict[str, dict[Any, str]] = {"loss": dict(impossible_losses(fit.task))}
    if fit.task not in ("classification", "binary_classification"):
        task = fit.task.replace("_", " ")
        found["class_weight"] = {"balanced": f"It weighs one class per sample. The task is {task}."}
    if input_shapes is not None and not _image_sizes(input_shapes):
        shapes = " and ".join(str(tuple(shape)) for shape in input_shapes)
        reason = (
            f"It changes images: (batch, height, width, channels), or (batch, side, side). The model takes {shapes}."
        )
        found["augmentation"] = dict.fromkeys(_other_choices("augmentation"), reason)
    return found


def unsuited_settings(
    settings: FineTuning, fit: Fit, input_shapes: Sequence[Shape] | None, validation_samples: int | None
) -> list[str]:
    """Return why a project cannot be fine-tuned like this, in sentences.

    Args:
        settings: each checked alone.
        fit: of the project.
        input_shapes: of the model; None where they are not known.
        validation_samples: of the dataset; None where they are not known.
    """
    problems = _refused(settings.model_dump(), unsuited_choices(fit, input_shapes))
    sizes = _image_sizes(input_shapes or ())
    if sizes and settings.shifts_by >= min(sizes):
        problems.append(
            f"`shift_pixels` must be below the height and width of the images, got {settings.shifts_by} for images of "
            f"{min(sizes)} pixels. Lower it."
        )
    if settings.chooses_an_epoch and validation_samples == 0:
        problems.append(NO_VALIDATION)
    return problems


def _refused(given: Mapping[str, Any], unsuited: Mapping[str, Mapping[Any, str]]) -> list[str]:
    return [
        f"`{name}` {given[name]} cannot train this project. {reasons[given[name]]}"
        for name, reasons in unsuited.items()
        if given[name] in reasons
    ]


def _other_choices(name: str) -> list[Any]:
    """All choices of a setting but its default."""
    spec = next(spec for spec in specs(FineTuning) if spec.name == name)
    return [choice for choice in spec.choices if choice != spec.default]


def _image_sizes(input_shapes: Sequence[Shape]) -> list[int]:
    """Heights and widths, in pixels; of images of any size, the largest that there is no reason against."""
    images = [shape for shape in input_shapes if is_image(shape[1:])]
    return [side if side is not None else 2**31 for shape in images for side in shape[1:3]]
