"""A first look at a dataset: small PNGs of samples with their labels, or rows of numbers as text."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from intake.parts import Array, Part

MOST_IMAGES = 10
_SHOWN_PIXELS = 64
_MOST_PIXELS = 96
_LARGE_PIXELS, _LARGEST_PIXELS = 256, 400
_ROWS = 8
_ROW_VALUES = 12


def looks_like_images(sample_shape: tuple[int, ...]) -> bool:
    """Return True for (h, w), (h, w, 1 or 3) and (1 or 3, h, w) with 8 <= h, w <= 512."""
    sides = sample_shape
    if len(sample_shape) == 3 and sample_shape[2] in (1, 3):
        sides = sample_shape[:2]
    elif len(sample_shape) == 3 and sample_shape[0] in (1, 3):
        sides = sample_shape[1:]
    return len(sides) == 2 and all(8 <= side <= 512 for side in sides)


def save_preview_images(
    train: Part, class_names: tuple[str, ...], value_range: tuple[float, float], folder: Path
) -> tuple[tuple[str, str], ...]:
    """Write up to 10 training samples as PNG, classes in turn; return (label, file name) of each."""
    shown = []
    for i, index in enumerate(_spread(train)):
        name = f"preview_{i}.png"
        _enlarged(_eight_bits(np.asarray(train.x[index]), value_range)).save(folder / name)
        shown.append((label_text(train, index, class_names), name))
    return tuple(shown)


def preview_rows(train: Part, class_names: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    """Return the first 8 samples as text: up to 12 values of each, and the label."""
    rows = []
    for i in range(min(_ROWS, len(train.x))):
        row = {f"x[{j}]": f"{value:.6g}" for j, value in enumerate(np.ravel(train.x[i])[:_ROW_VALUES])}
        if train.y is not None:
            row["label"] = label_text(train, i, class_names)
        rows.append(row)
    return tuple(rows)


def label_text(part: Part, index: int, class_names: tuple[str, ...]) -> str:
    """Return the label of one sample for people; "" where there is none."""
    if part.y is None:
        return ""
    label = part.y[index]
    if np.ndim(label) == 0:
        return class_names[int(label)]
    if class_names:
        return ", ".join(name for name, on in zip(class_names, label, strict=True) if on)
    return ", ".join(f"{value:.4g}" for value in label[:4])


def small_image(sample: Array, value_range: tuple[float, float]) -> bytes:
    """Return a sample that `looks_like_images` as a WebP file, no side longer than 96 pixels."""
    image = _enlarged(_eight_bits(np.asarray(sample), value_range))
    image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    content = io.BytesIO()
    image.save(content, "WEBP", quality=80)
    return content.getvalue()


def large_image(sample: Array, value_range: tuple[float, float]) -> bytes:
    """Return a sample that `looks_like_images` as a WebP file to look at closely, its longer side about 170 to 400 pixels.

    Pixels of a small one stay sharp squares.
    """
    image = Image.fromarray(_eight_bits(np.asarray(sample), value_range))
    factor = max(1, round(_LARGE_PIXELS / max(image.size)))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((_LARGEST_PIXELS, _LARGEST_PIXELS))
    return as_webp(image)


def as_webp(image: Image.Image, *, exact: bool = False) -> bytes:
    """Return a WebP file that looks like the image; `exact`: whose every pixel has its colour."""
    content = io.BytesIO()
    image.save(content, "WEBP", quality=90, lossless=exact)
    return content.getvalue()


def data_address(webp: bytes) -> str:
    """Return an address that holds the picture itself."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def values_text(sample: Array, names: tuple[str, ...]) -> str:
    """Return up to 12 values of a sample in one line: "age 34, bmi 22.5", without names where there are none."""
    values = np.ravel(sample)
    named = names if len(names) == len(values) else ()
    shown = [f"{named[i]} {value:.4g}" if named else f"{value:.4g}" for i, value in enumerate(values[:_ROW_VALUES])]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _spread(train: Part) -> list[int]:
    if train.y is None or train.y.ndim != 1:
        return list(range(min(MOST_IMAGES, len(train.x))))
    by_class = [np.flatnonzero(train.y == value) for value in np.unique(train.y)[:MOST_IMAGES]]
    turns = [int(members[turn]) for turn in range(MOST_IMAGES) for members in by_class if turn < len(members)]
    return turns[:MOST_IMAGES]


def _eight_bits(image: Array, value_range: tuple[float, float]) -> Array:
    if image.ndim == 3 and image.shape[2] not in (1, 3):
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.dtype == np.uint8 and value_range[1] > 1:
        return np.ascontiguousarray(image)
    low, high = value_range
    scaled = (image.astype(np.float64) - low) / ((high - low) or 1.0)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def _enlarged(pixels: Array) -> Image.Image:
    image = Image.fromarray(pixels)
    factor = max(1, _SHOWN_PIXELS // min(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
