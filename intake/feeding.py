"""Which array of a dataset each of several inputs of a model is fed with."""

from __future__ import annotations

import itertools
import math
import re

from intake.dataset_info import ArrayInfo, DatasetInfo
from intake.errors import DoesNotFit
from intake.fit import Columns, InputFit, Step
from intake.model_info import ModelInfo
from intake.shape_steps import OpenShape, matches, propose_shape_steps

_MOST_ARRANGED = 6
"""Arrays in another order than the inputs are told apart by their shapes up to this number."""


def propose_feeds(model_info: ModelInfo, dataset_info: DatasetInfo) -> tuple[InputFit, ...]:
    """Return what each input is fed with, without any scaling.

    One array for each input goes by name, else by order, else by shape. A single array of columns is dealt to the
    inputs in order, by their widths.

    Raises:
        DoesNotFit: an input finds no array; one sentence for each problem.
    """
    arrays, shapes = dataset_info.sample_arrays, [shape[1:] for shape in model_info.input_shapes]
    if len(arrays) == 1 and len(arrays[0].sample_shape) == 1:
        return _dealt(model_info.input_names, shapes, arrays[0].sample_shape[0])
    if len(arrays) != len(shapes):
        raise DoesNotFit(
            f"The model has {len(shapes)} inputs ({_listing(model_info.input_names, shapes)}), but the dataset has "
            f"{len(arrays)} array{'s' if len(arrays) > 1 else ''} of samples "
            f"({_listing([array.name or 'x' for array in arrays], [array.sample_shape for array in arrays])}). Store one "
            "array for each input in an .npz file, named like the input."
        )
    order = _order(model_info.input_names, shapes, arrays)
    feeds: list[InputFit] = []
    problems: list[str] = []
    for name, shape, number in zip(model_info.input_names, shapes, order, strict=True):
        try:
            steps = propose_shape_steps(arrays[number].sample_shape, shape)
            feeds.append(InputFit(name=name, array=number, preprocessing=steps))
        except DoesNotFit as error:
            problems += [f"Input '{name}', array '{arrays[number].name}': {problem}" for problem in error.problems]
    if problems:
        raise DoesNotFit(problems)
    return tuple(feeds)


def _order(names: tuple[str, ...], shapes: list[OpenShape], arrays: tuple[ArrayInfo, ...]) -> tuple[int, ...]:
    stored = [_plain(array.name) for array in arrays]
    if set(stored) == {_plain(name) for name in names}:
        return tuple(stored.index(_plain(name)) for name in names)
    in_order = tuple(range(len(arrays)))
    if len(arrays) <= _MOST_ARRANGED:
        for order in itertools.permutations(in_order):  # the first is the order as it is
            if all(matches(arrays[i].sample_shape, shape) for i, shape in zip(order, shapes, strict=True)):
                return order
    return in_order


def _dealt(names: tuple[str, ...], shapes: list[OpenShape], columns: int) -> tuple[InputFit, ...]:
    widths = [math.prod(side or 0 for side in shape) for shape in shapes]
    if not all(widths) or sum(widths) != columns:
        wanted = ", ".join(f"{name}: {width or 'any'}" for name, width in zip(names, widths, strict=True))
        raise DoesNotFit(
            f"The columns of the dataset are dealt to the model's inputs in order, so there must be as many as the inputs "
            f"take together ({wanted}), but there are {columns}. Choose the feature columns, or store one array for each "
            "input in an .npz file, named like the input."
        )
    firsts = [sum(widths[:number]) for number in range(len(widths))]
    return tuple(
        InputFit(name=name, preprocessing=_share(first, width, shape))
        for name, first, width, shape in zip(names, firsts, widths, shapes, strict=True)
    )


def _share(first: int, width: int, shape: OpenShape) -> tuple[Step, ...]:
    return (Columns(first=first, count=width), *propose_shape_steps((width,), shape))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _listing(names: tuple[str, ...] | list[str], shapes: list[OpenShape] | list[tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
