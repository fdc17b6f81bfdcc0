"""Small data sets on disk, and what is asked of them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from sklearn.datasets import load_digits
from torch import Tensor

from doubleback.data import ImageData, load_images
from doubleback.errors import InputError


def png(value: int, size: tuple[int, int] = (6, 5), mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(
    path: Path, images: Sequence[bytes | None], labels: Sequence[Any] | None = None, features: bool = True
) -> None:
    """As on the hub with `features`; without, as any other program would write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {"image": [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]}
    if labels is not None:
        columns["label"] = list(labels)
    if features:
        kinds: dict[str, Any] = {"image": datasets.Image()}
        if labels is not None:
            kinds["label"] = datasets.ClassLabel(names=["cat", "dog", "eel"])
        schema = datasets.Features(kinds).arrow_schema
        parquet.write_table(pa.table(columns, schema=schema), path)
    else:
        parquet.write_table(pa.table(columns), path)


def hub_folder(folder: Path, train: int = 20, test: int = 6, **rest: int) -> Path:
    """Image i of a split is i everywhere, its label i modulo 3."""
    for split, count in {"train": train, "test": test, **rest}.items():
        images = [png(i) for i in range(count)]
        write_parquet(folder / f"{split}-00000-of-00001.parquet", images, [i % 3 for i in range(count)])
    return folder


def image_folder(folder: Path) -> Path:
    for split in ("train", "test"):
        for number, name in enumerate(("ant", "bee")):
            (folder / split / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (8, 6), (100 * number + i, 0, 0)).save(folder / split / name / f"{i}.png")
    return folder


def values(images: Tensor) -> list[int]:
    """The grey of each (constant) image."""
    assert bool((images == images[:, :1, :1, :1]).all())
    return images[:, 0, 0, 0].tolist()


def everything(loaded: ImageData) -> list[int]:
    """The grey of every (constant) image of all parts, in order."""
    return sorted(value for part in (loaded.train, loaded.validation, loaded.test) for value in values(part.images))


def refused(source: Any, *words: str, **options: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_images(source, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message


def entries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


def digits_folder(folder: Path, size: int, mode: str = "L", count: int = 1400, labelled: bool = True) -> Path:
    """scikit-learn's digits at this size, grey or colour, as any program may write them."""
    bunch = load_digits()
    for split, rows in {"train": range(count), "test": range(1400, 1797)}.items():
        images = []
        for row in rows:
            small = Image.fromarray((bunch.images[row] * (255 / 16)).astype(np.uint8))
            stream = io.BytesIO()
            small.resize((size, size), Image.Resampling.BILINEAR).convert(mode).save(stream, "PNG")
            images.append(stream.getvalue())
        labels = [int(bunch.target[row]) for row in rows] if labelled else None
        write_parquet(folder / f"{split}-00000-of-00001.parquet", images, labels, features=False)
    return folder
