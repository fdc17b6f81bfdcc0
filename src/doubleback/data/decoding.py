"""From the splits of Hugging Face `datasets` to files of arrays: images.json, <part>.npy, <part>-labels.npy."""

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doubleback.data.sources import Source, first_line
from doubleback.data.splitting import rows_to_read
from doubleback.errors import InputError
from doubleback.progress import progress_bar


def decode(source: Source, splits: Mapping[str, Any], folder: Path) -> None:
    """Write each part's images (N, C, H, W) and labels (N,), and images.json, which says what these must be.

    Args:
        source: the splits' place, for errors, and how many of their images to decode at which size.
        splits: a `datasets.Dataset` for train and, where there are any, for validation and test.
        folder: an empty one.

    Raises:
        InputError: no column of images, a damaged image, images of several sizes, some without label, or 1 in all.
        OSError: the folder cannot hold the arrays.
    """
    column = _image_column(source.place, splits["train"])
    labels, names = _labels(splits)
    reads = rows_to_read({split: len(data) for split, data in splits.items()}, source.limit)
    if not reads["train"][1]:
        raise InputError(f"{source.place} holds 1 image; expected at least 3: to train, to validate and to test")
    encoded = {split: data.select_columns([column]) for split, data in splits.items()}
    shape = _write_images(source, encoded, reads, folder)
    for part, (split, rows) in reads.items():
        if labels is not None:
            np.save(folder / f"{part}-labels.npy", labels[split][rows])
    counts = {part: len(rows) for part, (_, rows) in reads.items()}
    record = {"shape": shape, "counts": counts, "labelled": labels is not None, "label_names": names}
    (folder / "images.json").write_text(json.dumps(record))


def _image_column(place: Path | str, data: Any) -> str:
    import datasets

    for name, feature in data.features.items():
        if isinstance(feature, datasets.Image):
            return str(name)
    for name in ("image", "img"):
        # Parquet written without the features' record: {bytes, path} or the bytes alone.
        feature = data.features.get(name)
        bare = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
        if bare or (isinstance(feature, dict) and set(feature) == {"bytes", "path"}):
            return name
    raise InputError(
        f"{place} has no column of images (columns: {', '.join(data.column_names)}); "
        "expected encoded images in a column `image` or `img`"
    )


def _labels(splits: Mapping[str, Any]) -> tuple[dict[str, NDArray[np.int64]] | None, list[str] | None]:
    """Return every split's labels by row and the labels' names; None where there are none."""
    import datasets

    features = splits["train"].features
    column = next((name for name in ("label", "labels") if name in features), None)
    feature = features.get(column)
    if not isinstance(feature, (datasets.ClassLabel, datasets.Value)):
        return None, None
    values = {split: data[column][:] for split, data in splits.items()}
    if any(None in split_values for split_values in values.values()):
        raise InputError(f"some images have no {column}; label every image, or remove that column")
    names = list(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    if feature.dtype in ("string", "large_string"):
        names = sorted(set().union(*values.values()))
        number = {name: index for index, name in enumerate(names)}
        values = {split: [number[name] for name in split_names] for split, split_names in values.items()}
    elif "int" not in feature.dtype:
        return None, None
    return {split: np.array(numbers, np.int64) for split, numbers in values.items()}, names


def _write_images(
    source: Source, encoded: Mapping[str, Any], reads: Mapping[str, tuple[str, list[int]]], folder: Path
) -> tuple[int, ...]:
    """Decode the rows to read of every part into one .npy each; return the (C, H, W) that all share.

    Images are written one after another, not through a map of the file: on a full disk that would end the
    process, and this is an error to recover from.
    """
    import datasets

    shape: tuple[int, ...] = ()
    first = ""
    with (
        progress_bar("decoding", sum(len(rows) for _, rows in reads.values())) as advance,
        warnings.catch_warnings(action="ignore"),  # Pillow's, about odd metadata
    ):
        for part, (split, rows) in reads.items():
            data = encoded[split].select(rows)
            (column,) = data.column_names
            data = data.cast_column(column, datasets.Image(decode=False))
            with (folder / f"{part}.npy").open("wb") as stream:
                for row, record in zip(rows, data, strict=True):
                    image = record[column] or {}
                    where = f"{split} row {row} of {image.get('path') or source.place}"
                    array = to_array(image, where, shape[0] if shape else None, source.image_size)
                    shape, first = shape or array.shape, first or where
                    if array.shape != shape:
                        one, other = (f"{width}x{height}" for _, height, width in (array.shape, shape))
                        raise InputError(
                            f"images differ in size: {where} is {one}, {first} is {other}; "
                            "pass --image-size (image_size) to bring all to one size"
                        )
                    if not stream.tell():
                        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *shape)}
                        np.lib.format.write_array_header_1_0(stream, header)
                    stream.write(array.tobytes())
                    advance(1)
    return shape


def to_array(image: Mapping[str, Any], where: str, channels: int | None, image_size: int | None) -> NDArray[np.uint8]:
    """Decode one image to (C, H, W); without `channels`, grey stays grey and all else becomes RGB.

    Args:
        image: the encoded `bytes`, or the `path` of a file.
        where: what to call it in an error.
        channels: 1 or 3, or None to let this image decide.
        image_size: crop it to its centred square, and resize that to this height and width.

    Raises:
        InputError: it is damaged, or no image.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(image["bytes"]) if image.get("bytes") else image["path"]) as opened:
            picture = ImageOps.exif_transpose(opened)  # it may be held sideways
        if picture.mode.startswith("I"):  # 16 bits: `convert` would clip them
            picture = Image.fromarray((np.asarray(picture).clip(0, 65535) >> 8).astype(np.uint8))
        grey = picture.mode in ("1", "L", "LA") if channels is None else channels == 1
        picture = picture.convert("L" if grey else "RGB")
        if image_size is not None:
            picture = ImageOps.fit(picture, (image_size, image_size), Image.Resampling.BICUBIC)
    except Exception as error:
        raise InputError(f"{where} is not a readable image ({first_line(error)}); replace or remove it") from error
    array = np.asarray(picture)
    return array[None] if grey else array.transpose(2, 0, 1)
