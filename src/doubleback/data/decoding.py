"""From encoded images to files of arrays: images.json, and for each part its images, its labels and its keys."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doubleback.data.pixels import looks, to_pixels
from doubleback.data.records import UNLABELLED, Opened
from doubleback.data.remarks import Remarks, images
from doubleback.data.splitting import Draw, Keys, key_of, rows_to_read
from doubleback.errors import InputError
from doubleback.progress import progress_bar
from doubleback.settings.images import Background

_HALF_OF_16_BITS = 1 << 15


@dataclass(frozen=True)
class Reading:
    """How a source's images are read.

    Attributes:
        image_size: crop each to its centred square, and resize it to this height and width; None keeps their own.
        limit: at most this many of each part.
        background: what is seen through transparent pixels.
        draw: decides which images are for testing, where the source does not.
    """

    image_size: int | None
    limit: int | None
    background: Background
    draw: Draw


@dataclass
class _Survey:
    """What the headers of all images say, read before any is decoded: the whole decides, not what a limit leaves."""

    keys: dict[str, Keys]
    grey: int = 0
    total: int = 0
    several: int = 0


def decode(place: str, opened: Opened, reading: Reading, folder: Path) -> None:
    """Write each part's images (N, C, H, W) and labels (N,), and images.json, which says what these must be.

    Args:
        place: the source, for errors.
        opened: what it holds.
        reading: how to read it.
        folder: an empty one.

    Raises:
        InputError: a damaged image, images of several sizes, 2 images or fewer, or a disk that is too small.
        OSError: the folder cannot hold the arrays.
    """
    remarks = Remarks()
    survey = _survey(opened)
    if 0 < survey.grey < survey.total:
        remarks.say(f"{images(survey.grey)} of {survey.total:,} stored as grey become colour, as the others are")
    if survey.several:
        remarks.say(f"{images(survey.several)} with several pictures (frames, pages): the first of each is read")
    reads = rows_to_read(survey.keys, reading.limit, reading.draw)
    if not all(len(rows) for _, rows in reads.values()):
        raise InputError(
            f"{place} holds {images(survey.total)}; expected at least 3 that differ: to train, to validate and to test"
        )
    _say_what_is_there_twice(survey.keys, remarks)
    shape, brightest = _write_images(opened, reads, survey.grey == survey.total, reading, folder)
    if brightest is not None and brightest < _HALF_OF_16_BITS:
        remarks.say(
            f"images of 16 bits are read as 0..65535, and the brightest value is {brightest}: "
            "if they hold fewer bits, rescale them first"
        )
    labelled = []
    for part, (split, rows) in reads.items():
        np.save(folder / f"{part}-keys.npy", survey.keys[split][rows])
        if opened.labels is not None and any(label is not None for label in opened.labels[split]):
            numbers = [UNLABELLED if label is None else label for label in opened.labels[split]]
            np.save(folder / f"{part}-labels.npy", np.array(numbers, np.int64)[rows])
            labelled.append(part)
    record = {
        "shape": shape,
        "counts": {part: len(rows) for part, (_, rows) in reads.items()},
        "labelled": labelled,
        "label_names": opened.label_names,
        "remarks": [[remark.text, remark.left_out] for remark in remarks.all()],
    }
    (folder / "images.json").write_text(json.dumps(record))


def _say_what_is_there_twice(keys: Mapping[str, Keys], remarks: Remarks) -> None:
    """A source's own parts may hold the same image: a test on it proves nothing."""
    for part in sorted(keys.keys() - {"train"}):
        twice = int(np.isin(keys[part], keys["train"]).sum())
        if twice:
            remarks.say(f"{images(twice)} of {len(keys[part]):,} in {part} stand among the training images, too")


def _survey(opened: Opened) -> _Survey:
    found = _Survey({})
    with progress_bar("looking", sum(len(records) for records in opened.parts.values())) as advance:
        for part, records in opened.parts.items():
            keys = []
            for where, content in records.encoded():
                header = looks(content, where)
                found.grey += header.grey
                found.several += header.frames > 1
                found.total += 1
                keys.append(key_of(content))
                advance(1)
            found.keys[part] = np.array(keys, np.uint64)
    return found


def _write_images(
    opened: Opened,
    reads: Mapping[str, tuple[str, NDArray[np.int64]]],
    grey: bool,
    reading: Reading,
    folder: Path,
) -> tuple[tuple[int, ...], int | None]:
    """Decode the rows to read of every part into one .npy each; return the (C, H, W) that all share.

    Beside it comes the brightest value of the images of 16 bits, if there are any.

    Images are written one after another, not through a map of the file: on a full disk that would end the
    process, and this is an error to recover from.
    """
    shape: tuple[int, ...] = ()
    first, brightest = "", None
    total = sum(len(rows) for _, rows in reads.values())
    with progress_bar("decoding", total) as advance:
        for part, (split, rows) in reads.items():
            with (folder / f"{part}.npy").open("wb") as stream:
                for where, content in opened.parts[split].encoded(rows.tolist()):
                    pixels = to_pixels(content, where, grey, reading.image_size, reading.background)
                    if not shape:
                        shape, first = pixels.array.shape, where
                        _refuse_what_no_disk_holds(folder, total, shape)
                    if pixels.array.shape != shape:
                        one, other = (f"{width}x{height}" for _, height, width in (pixels.array.shape, shape))
                        raise InputError(
                            f"images differ in size: {where} is {one}, {first} is {other}; "
                            "pass --image-size (image_size) to bring all to one size"
                        )
                    if not stream.tell():
                        header: Any = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *shape)}
                        np.lib.format.write_array_header_1_0(stream, header)
                    stream.write(pixels.array.tobytes())
                    brightest = max((one for one in (brightest, pixels.brightest) if one is not None), default=None)
                    advance(1)
    return shape, brightest


def _refuse_what_no_disk_holds(folder: Path, count: int, shape: tuple[int, ...]) -> None:
    needed, free = count * int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > free:
        _, height, width = shape
        raise InputError(
            f"{images(count)} of {width}x{height} take {needed / 1e9:,.1f} GB, and the disk has {free / 1e9:,.1f} GB; "
            "give a smaller --image-size (image_size) or --limit (limit), or another folder by DOUBLEBACK_CACHE"
        )
