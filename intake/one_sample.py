"""One sample that somebody wants to try: from an image file, or an array file, in the form the dataset's own have."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePath
from typing import IO

import numpy as np

from intake.arrays_npz import NPY_ERRORS
from intake.dataset_info import ArrayInfo, DatasetInfo
from intake.errors import BadDataset
from intake.image_folders import decode_image, why_not_decoded
from intake.parts import Array
from intake.previews import looks_like_images

LIMIT_BYTES = 16 * 2**20
"""Of an uploaded sample."""
IMAGE_ENDINGS = ("png", "jpg", "jpeg", "webp", "bmp", "gif")
_NUMBERS = "biuf"


def takes_images(info: DatasetInfo) -> bool:
    """True where a sample is a picture."""
    return len(info.sample_arrays) == 1 and (
        info.kind == "images" or (info.kind == "arrays" and looks_like_images(info.sample_shape))
    )


def endings_of(info: DatasetInfo) -> tuple[str, ...]:
    """Return the endings of files that can be a sample of a dataset, without the dot; none for a table."""
    if info.kind == "table":
        return ()
    return (*(IMAGE_ENDINGS if takes_images(info) else ()), "npy" if len(info.sample_arrays) == 1 else "npz")


def sample_of_file(content: bytes, name: str, info: DatasetInfo) -> tuple[Array, ...]:
    """Return an uploaded sample as the arrays of the dataset, each (1, *sample shape).

    An image is decoded as the images of a zip are. Where the dataset came as arrays its 0 to 255 are brought to the
    range of values there.

    Raises:
        BadDataset: another kind of file, damaged, of another shape, or holding something else than finite numbers.
    """
    ending = PurePath(name).suffix.lower().removeprefix(".")
    if ending not in endings_of(info):
        wanted = ", ".join(f".{each}" for each in endings_of(info))
        raise BadDataset(f"A sample of this project must be a file that ends in {wanted}, but got {name}.")
    if len(content) > LIMIT_BYTES:
        raise BadDataset(
            f"A sample must be at most {LIMIT_BYTES // 2**20} MB, but {name} has {len(content) / 2**20:.1f} MB. "
            "Take a smaller file."
        )
    if ending in IMAGE_ENDINGS:
        return (_image(content, name, info),)
    return _arrays(content, name, info, ending == "npz")


def _image(content: bytes, name: str, info: DatasetInfo) -> Array:
    shape = info.sample_shape
    first = len(shape) == 3 and shape[2] not in (1, 3)
    height, width = shape[1:] if first else shape[:2]
    channels = 1 if len(shape) == 2 else shape[0] if first else shape[2]
    try:
        pixels = decode_image(content, (height, width, channels))
    except Exception as error:  # decoders raise nearly anything on damaged bytes; all of it means the same here
        raise BadDataset(
            f"{name} must be an image (PNG, JPEG, WebP, BMP, GIF), but it cannot be decoded: {why_not_decoded(error)}. "
            "Upload another one."
        ) from None
    arranged = np.moveaxis(pixels, -1, 0) if first else pixels
    return _in_range(arranged.reshape(1, *shape), info.sample_arrays[0])


def _in_range(pixels: Array, like: ArrayInfo) -> Array:
    """Bring 0 to 255 to the range of values of a dataset of arrays."""
    if like.dtype == "uint8" and like.value_max > 1:
        return pixels
    spread = like.value_max - like.value_min
    values = pixels.astype(np.float64) / 255 * spread + like.value_min
    dtype = np.dtype(like.dtype)
    return np.asarray(np.round(values) if dtype.kind in "iub" else values).astype(dtype)


def _arrays(content: bytes, name: str, info: DatasetInfo, several: bool) -> tuple[Array, ...]:
    arrays = info.sample_arrays
    try:
        if not several:
            return (_array(io.BytesIO(content), name, arrays[0]),)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {PurePath(member).stem: member for member in archive.namelist()}
            missing = [array.name for array in arrays if array.name not in found]
            if missing:
                raise BadDataset(
                    f"{name} must have one array for each input, named {', '.join(array.name for array in arrays)}, but "
                    f"{', '.join(missing)} is missing. Save it with numpy.savez."
                )
            return tuple(_array(archive.open(found[array.name]), f"{array.name} of {name}", array) for array in arrays)
    except NPY_ERRORS:
        raise BadDataset(
            f"{name} must be a NumPy {'.npz' if several else '.npy'} file, but it cannot be read: it is damaged, cut "
            "short or holds objects. Save the sample again."
        ) from None


def _array(stream: IO[bytes], name: str, like: ArrayInfo) -> Array:
    """Read one array; its header is judged before anything else is read, as a few bytes can declare terabytes."""
    with stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, in_columns, dtype = read(stream)
        wanted = like.sample_shape
        if shape not in (wanted, (1, *wanted)):
            raise BadDataset(f"{name} must hold one sample of shape {wanted}, but it has the shape {shape}.")
        if dtype.kind not in _NUMBERS:
            raise BadDataset(f"{name} must hold numbers, but it holds values of type {dtype}.")
        count = int(np.prod(wanted))
        values = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count)
    array = values.reshape(shape, order="F" if in_columns else "C").reshape(1, *wanted)
    if not np.isfinite(array.astype(np.float32)).all():
        raise BadDataset(f"{name} must hold finite numbers only. Remove NaN and infinite values.")
    stored = array.astype(np.dtype(like.dtype))
    return stored if np.array_equal(stored, array) else array


def range_note(arrays: tuple[Array, ...], info: DatasetInfo) -> str:
    """Return a sentence where a sample lies outside of what the dataset holds; "" where it does not."""
    for array, like in zip(arrays, info.sample_arrays, strict=True):
        low, high = float(array.min()), float(array.max())
        if low < like.value_min or high > like.value_max:
            return (
                f"Its values go from {low:.4g} to {high:.4g}, those of the dataset only from {like.value_min:.4g} to "
                f"{like.value_max:.4g}: the models have never seen the like."
            )
    return ""
