"""Reading a `.zip` of images in class folders, with or without train/, val/ and test/ above them.

Where all images lie in one folder there are no classes: the images are read without labels.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image

from intake.dataset_info import DatasetOptions
from intake.errors import BadDataset
from intake.parts import EXPANDED_LIMIT_BYTES, PARTS, Array, Part, PartName, ReadFile
from intake.zip_guard import open_zip

MEMBER_LIMIT = 200_000
PIXEL_LIMIT = 50_000_000
"""Most pixels of one image, end included; a few kB of PNG can declare billions."""
IMAGE_LIMIT_BYTES = 512 * 2**20
"""Of one image file; the largest that PIXEL_LIMIT allows need less. A few kB of zip can declare gigabytes."""
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_PART_FOLDERS: dict[str, PartName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_JUNK = {"thumbs.db", "desktop.ini"}
_LAYOUT = "Pack one folder per class (cat/1.jpg, dog/1.jpg), if you like under train/, val/ and test/."
_GREY_MODES = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L"}


_Paths = list[tuple[zipfile.ZipInfo, tuple[str, ...]]]


@dataclass(frozen=True)
class _Picture:
    member: zipfile.ZipInfo
    part: PartName
    class_name: str


def read_image_zip(path: Path, options: DatasetOptions, scratch: Path) -> ReadFile:
    """Read a zip of class folders as uint8 (n, h, w, 1 or 3); the pixels are written to `scratch`.

    Images are grey (one channel) only if all of them are. Class order is alphabetical. Images that lie in one folder,
    or whose labels are not wanted, come without labels.

    Raises:
        BadDataset: damaged zip, no images, some images outside of the class folders, files that are not images.
    """
    archive, members = open_zip(path, "a zip of image folders", MEMBER_LIMIT)
    with archive:
        pictures, notes = _arrange(path.name, members, options.label_kind == "none")
        class_names = tuple(sorted({picture.class_name for picture in pictures}))
        if len(class_names) < 2 or options.label_kind == "none":
            class_names = ()
        if not class_names and options.label_kind != "none":
            notes.append(f"All images are in one folder, so there are no labels. For labels: {_LAYOUT}")
        sizes, modes = _measure(archive, pictures, path.name)
        size, note = _common_size(sizes, options)
        channels = 1 if set(modes) <= _GREY_MODES else 3
        _check_volume(path.name, len(pictures), size, channels)
        parts = _decode_parts(archive, pictures, class_names, (*size, channels), scratch, path.name)
    resolved = options.model_copy(update={"image_size": size})
    return ReadFile("images", parts, resolved, "class" if class_names else "none", class_names, (*notes, *note))


def _arrange(file: str, members: Sequence[zipfile.ZipInfo], without_labels: bool) -> tuple[list[_Picture], list[str]]:
    paths = [(member, PurePosixPath(member.filename.replace("\\", "/")).parts) for member in members]
    paths = [(member, parts) for member, parts in paths if not _is_junk(parts)]
    paths = _without_common_root(paths)
    if without_labels or _has_no_class_folders(paths):
        return _unlabelled(file, paths)
    in_parts = any(parts[0].lower() in _PART_FOLDERS for _, parts in paths if len(parts) > 2)
    depth = 3 if in_parts else 2
    pictures, loose, stray = [], [], []
    for member, parts in paths:
        part = _PART_FOLDERS.get(parts[0].lower()) if in_parts else "train"
        if len(parts) >= depth and part:
            pictures.append(_Picture(member, part, parts[depth - 2]))
        elif PurePosixPath(parts[-1]).suffix.lower() in _ENDINGS:
            loose.append(member.filename)
        else:
            stray.append(member.filename)
    if loose:
        raise BadDataset(
            f"Every image in {file} must be inside a class folder, but these are not: {_listing(loose)}. {_LAYOUT}"
        )
    if not pictures:
        raise BadDataset(f"{file} must hold images in class folders, but it holds none. {_LAYOUT}")
    if not any(picture.part == "train" for picture in pictures):
        raise BadDataset(f"{file} has no images under train/, so nothing is left to train on. {_LAYOUT}")
    return pictures, [f"Not used, because outside of the class folders: {_listing(stray)}."] if stray else []


def _is_image(parts: tuple[str, ...]) -> bool:
    return PurePosixPath(parts[-1]).suffix.lower() in _ENDINGS


def _has_no_class_folders(paths: _Paths) -> bool:
    """True where every image lies at the top, or right under train/, val/ or test/."""
    images = [parts for _, parts in paths if _is_image(parts)]
    return bool(images) and all(
        len(parts) == 1 or (len(parts) == 2 and parts[0].lower() in _PART_FOLDERS) for parts in images
    )


def _unlabelled(file: str, paths: _Paths) -> tuple[list[_Picture], list[str]]:
    images = [(member, parts) for member, parts in paths if _is_image(parts)]
    pictures = [
        _Picture(member, _PART_FOLDERS.get(parts[0].lower(), "train") if len(parts) > 1 else "train", "")
        for member, parts in images
    ]
    if not pictures:
        raise BadDataset(f"{file} must hold images, but it holds none. {_LAYOUT}")
    if not any(picture.part == "train" for picture in pictures):
        raise BadDataset(f"{file} has no images under train/, so nothing is left to train on. {_LAYOUT}")
    stray = [member.filename for member, parts in paths if not _is_image(parts)]
    return pictures, [f"Not used, because they are no images: {_listing(stray)}."] if stray else []


def _is_junk(parts: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not parts or hidden or parts[-1].lower() in _JUNK


def _without_common_root(paths: _Paths) -> _Paths:
    """Drop folders around everything, but never the part folder nor the class folder itself."""
    while paths:
        roots = {parts[0] for _, parts in paths}
        if len(roots) > 1 or next(iter(roots)).lower() in _PART_FOLDERS or max(len(parts) for _, parts in paths) < 3:
            break
        paths = [(member, parts[1:]) for member, parts in paths]
    return paths


def _measure(
    archive: zipfile.ZipFile, pictures: Sequence[_Picture], file: str
) -> tuple[list[tuple[int, int]], list[str]]:
    """Return (height, width) and mode of each image from its header, before any pixel is decoded."""
    sizes, modes, bad = [], [], []
    for picture in pictures:
        try:
            _check_bytes(picture.member.file_size)
            with archive.open(picture.member) as stream, Image.open(stream, formats=_FORMATS) as image:
                width, height = image.size
                modes.append(image.mode)
            _check_pixels(width, height)
            sizes.append((height, width))
        except Exception as error:  # Decoders raise nearly anything on damaged bytes; all of it means the same here.
            bad.append(f"{picture.member.filename} ({why_not_decoded(error)})")
    if bad:
        raise _undecodable(file, bad)
    return sizes, modes


def _check_pixels(width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise ValueError(f"{width} x {height} pixels, above the limit of {PIXEL_LIMIT:,}")


def _check_bytes(size_bytes: int) -> None:
    if size_bytes > IMAGE_LIMIT_BYTES:
        raise ValueError(f"{size_bytes:,} bytes, above the limit of {IMAGE_LIMIT_BYTES:,}")


def _undecodable(file: str, bad: Sequence[str]) -> BadDataset:
    return BadDataset(
        f"Every file in the class folders of {file} must be an image (JPEG, PNG, BMP, GIF, WebP, TIFF), but "
        f"{len(bad)} cannot be decoded: {_listing(bad)}. Remove or replace them."
    )


def why_not_decoded(error: Exception) -> str:
    """Return what a decoder complained of, in a few words."""
    text = " ".join(str(error).split())
    return "not an image" if "cannot identify" in text else text[:120] or type(error).__name__


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _common_size(sizes: list[tuple[int, int]], options: DatasetOptions) -> tuple[tuple[int, int], list[str]]:
    if options.image_size:
        height, width = options.image_size
        if min(height, width) < 1 or height * width > PIXEL_LIMIT:
            raise BadDataset(
                f"Image size must be at least 1 x 1 and at most {PIXEL_LIMIT:,} pixels, but {height} x {width} was asked "
                "for. Choose a size that the model takes."
            )
        return options.image_size, []
    counts = Counter(sizes).most_common()
    # Of equally frequent sizes the larger one: it loses no detail.
    size = max((size for size, count in counts if count == counts[0][1]), key=lambda s: (s[0] * s[1], s))
    if len(counts) == 1:
        return size, []
    share = dict(counts)[size] / len(sizes)
    return size, [
        f"The images have {len(counts)} different sizes; all were brought to {size[0]} x {size[1]} (height x width), the "
        f"most common one ({share:.0%}). Set the image size to choose another."
    ]


def _check_volume(file: str, count: int, size: tuple[int, int], channels: int) -> None:
    volume = count * size[0] * size[1] * channels
    if volume > EXPANDED_LIMIT_BYTES:
        raise BadDataset(
            f"The images of {file} must decode to at most {EXPANDED_LIMIT_BYTES / 2**30:.0f} GiB, but {count:,} images "
            f"of {size[0]} x {size[1]} take {volume / 2**30:.1f} GiB. Set a smaller image size or upload fewer images."
        )


def _decode_parts(
    archive: zipfile.ZipFile,
    pictures: Sequence[_Picture],
    class_names: tuple[str, ...],
    shape: tuple[int, int, int],
    scratch: Path,
    file: str,
) -> dict[PartName, Part]:
    index = {name: i for i, name in enumerate(class_names)}
    parts: dict[PartName, Part] = {}
    bad: list[str] = []
    for part in PARTS:
        chosen = sorted(
            (picture for picture in pictures if picture.part == part), key=lambda p: (p.class_name, p.member.filename)
        )
        if not chosen:
            continue
        x = np.lib.format.open_memmap(scratch / f"images_{part}.npy", "w+", np.uint8, (len(chosen), *shape))
        for i, picture in enumerate(chosen):
            try:
                x[i] = decode_image(archive.read(picture.member), shape)
            except Exception as error:  # As above.
                bad.append(f"{picture.member.filename} ({why_not_decoded(error)})")
        y = np.asarray([index[picture.class_name] for picture in chosen], np.int64) if class_names else None
        parts[part] = Part(x, y)
    if bad:
        raise _undecodable(file, bad)
    return parts


def decode_image(content: bytes, shape: tuple[int, int, int]) -> Array:
    """Return an image file as uint8 (height, width, 1 or 3), as every image of a zip is read.

    Raises:
        Exception: nearly anything on damaged bytes, as decoders do; ValueError where it has more than PIXEL_LIMIT pixels.
    """
    height, width, channels = shape
    mode: Literal["L", "RGB"] = "L" if channels == 1 else "RGB"
    with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
        _check_pixels(*opened.size)
        image = _eight_bits(opened).convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(shape)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey down; PIL's own conversion would clip it at 255."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 256).astype(np.uint8))
    return image
