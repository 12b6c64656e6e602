"""From the shape of a stored sample to the shape that a model takes: what steps do to shapes, and which to propose.

Shapes here are of one sample, without the batch axis; None in a model's shape means any length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from intake.errors import DoesNotFit
from intake.fit import ChannelAxis, Colour, Columns, Reshape, Resize, Scale, Step

Shape = tuple[int, ...]
OpenShape = tuple[int | None, ...]
_SMALLEST_IMAGE_SIDE = 8
"""Below this, (h, w) is more likely a table or a short series, which must not be resized."""


def matches(shape: Shape, wanted: OpenShape) -> bool:
    """Return whether a sample of `shape` can be given to a model that takes `wanted`."""
    return len(shape) == len(wanted) and all(w is None or s == w for s, w in zip(shape, wanted, strict=True))


def shape_after(steps: Sequence[Step], shape: Shape) -> Shape:
    """Return the shape of one sample after the steps.

    Raises:
        DoesNotFit: a step cannot be applied to the shape that reaches it.
    """
    for step in steps:
        after = _after(step, shape)
        if after is None:
            raise DoesNotFit(
                f"The step {_words(step)} cannot be applied to samples of shape {shape}. Choose other steps, or let them "
                "be found automatically."
            )
        shape = after
    return shape


def _after(step: Step, shape: Shape) -> Shape | None:
    match step:
        case Scale():
            return shape
        case Resize(height=height, width=width):
            return (height, width, shape[2]) if len(shape) == 3 else None
        case Colour(to="rgb"):
            return (*shape[:2], 3) if len(shape) == 3 and shape[2] == 1 else None
        case Colour():
            return (*shape[:2], 1) if len(shape) == 3 and shape[2] == 3 else None
        case ChannelAxis(action="add_last"):
            return (*shape, 1)
        case ChannelAxis(action="remove_last"):
            return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else None
        case ChannelAxis(action="first_to_last"):
            return (*shape[1:], shape[0]) if len(shape) > 1 else None
        case ChannelAxis():
            return (shape[-1], *shape[:-1]) if len(shape) > 1 else None
        case Reshape(shape=wanted):
            fits = all(side > 0 for side in wanted) and math.prod(wanted) == math.prod(shape)
            return wanted if fits else None
        case Columns(first=first, count=count):
            return (*shape[:-1], count) if shape and first + count <= shape[-1] else None


def _words(step: Step) -> str:
    match step:
        case Resize(height=height, width=width):
            return f"resize to {height} x {width}"
        case Colour(to=to):
            return f"colour to {to}"
        case ChannelAxis(action=action):
            return f"channel axis {action}"
        case Reshape(shape=shape):
            return f"reshape to {shape}"
        case Columns(first=first, count=count):
            return f"columns {first} to {first + count - 1}"
        case _:
            return step.kind


def propose_shape_steps(sample_shape: Shape, input_shape: OpenShape) -> tuple[Step, ...]:
    """Return the steps that lead from the shape of a stored sample to the shape that the model takes.

    Knows: channel axis added, removed or moved, grey <-> RGB, resize, flatten, reshape with the same number of
    values, and a flattened square image opened up again.

    Args:
        sample_shape: shape of one stored sample, without the batch axis.
        input_shape: shape of one model input, without the batch axis; None = any length.

    Raises:
        DoesNotFit: no reasonable steps lead there.
    """
    if matches(sample_shape, input_shape):
        return ()
    for route in (_as_image, _same_count, _flattened_grey, _unflattened):
        steps = route(sample_shape, input_shape)
        if steps is not None and matches(shape_after(steps, sample_shape), input_shape):
            return tuple(steps)
    raise DoesNotFit(
        f"The model takes samples of shape {_shown(input_shape)}, but those of the dataset have the shape "
        f"{_shown(sample_shape)} ({math.prod(sample_shape)} values), and no reshaping, resizing or colour change leads from one "
        "to the other. Choose a dataset made for this model, or give the steps yourself."
    )


def _shown(shape: OpenShape) -> str:
    return (
        "(" + ", ".join("any" if side is None else str(side) for side in shape) + ("," if len(shape) == 1 else "") + ")"
    )


Layout = Literal["plain", "last", "first"]


def _image_layout(shape: OpenShape) -> Layout | None:
    """Return where an image of this shape has its channels: nowhere, last or first; None if it is no image."""
    if len(shape) == 2:
        return "plain"
    if len(shape) == 3 and shape[2] in (1, 3):
        return "last"
    if len(shape) == 3 and shape[0] in (1, 3):
        return "first"
    return None


def _as_image(sample: Shape, wanted: OpenShape) -> list[Step] | None:
    have, want = _image_layout(sample), _image_layout(wanted)
    if have is None or want is None:
        return None
    steps: list[Step] = []
    if have != "last":
        steps.append(ChannelAxis(action="add_last" if have == "plain" else "first_to_last"))
    height, width, channels = shape_after(steps, sample)
    target = {"plain": (*wanted, 1), "last": wanted, "first": (*wanted[1:], wanted[0])}[want]
    # The cheaper order: fewer channels while resizing.
    if (channels, target[2]) == (3, 1):
        steps.append(Colour(to="grey"))
    if (target[0] or height, target[1] or width) != (height, width):
        to_height, to_width = target[0] or height, target[1] or width
        if min(height, width, to_height, to_width) < _SMALLEST_IMAGE_SIDE:
            return None
        steps.append(Resize(height=to_height, width=to_width))
    if (channels, target[2]) == (1, 3):
        steps.append(Colour(to="rgb"))
    if want != "last":
        steps.append(ChannelAxis(action="remove_last" if want == "plain" else "last_to_first"))
    return _without_detours(steps)


def _without_detours(steps: list[Step]) -> list[Step]:
    """An axis that is added only to be removed again was not needed."""
    if [step.kind for step in steps] != ["channel_axis", "channel_axis"]:
        return steps
    actions = [step.action for step in steps if isinstance(step, ChannelAxis)]
    return [] if actions in (["add_last", "remove_last"], ["first_to_last", "last_to_first"]) else steps


def _same_count(sample: Shape, wanted: OpenShape) -> list[Step] | None:
    known = math.prod(side for side in wanted if side is not None)
    open_sides = wanted.count(None)
    count = math.prod(sample)
    if not wanted or open_sides > 1 or known == 0 or count % known or (open_sides == 0 and count != known):
        return None
    shape = tuple(count // known if side is None else side for side in wanted)
    if shape == (*sample, 1):
        return [ChannelAxis(action="add_last")]
    return [ChannelAxis(action="remove_last")] if (*shape, 1) == sample else [Reshape(shape=shape)]


def _flattened_grey(sample: Shape, wanted: OpenShape) -> list[Step] | None:
    """Colour images for a model of flattened grey ones."""
    layout = _image_layout(sample)
    if len(wanted) != 1 or layout not in ("last", "first"):
        return None
    steps: list[Step] = [] if layout == "last" else [ChannelAxis(action="first_to_last")]
    height, width, channels = shape_after(steps, sample)
    if channels != 3 or wanted[0] != height * width:
        return None
    return [*steps, Colour(to="grey"), Reshape(shape=(height * width,))]


def _unflattened(sample: Shape, wanted: OpenShape) -> list[Step] | None:
    """A flattened square grey image for a model of images of another size or with colours."""
    side = math.isqrt(sample[0]) if len(sample) == 1 else 0
    if side < _SMALLEST_IMAGE_SIDE or side * side != sample[0] or len(wanted) != 3:
        return None
    rest = _as_image((side, side, 1), wanted)
    return None if rest is None else [Reshape(shape=(side, side, 1)), *rest]
