"""Pixels as a person sees them, or a refusal."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from doubleback.data import load_images
from tests.data.folders import everything, png, refused, write_parquet


def save(folder: Path, pictures: Sequence[Image.Image], ending: str = "png", **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.{ending}", **options)
    return folder


def said(folder: Path) -> str:
    return "\n".join(map(str, load_images(folder).remarks))


def see_through(hidden: int, alpha: int = 0, mode: str = "RGBA") -> Image.Image:
    colour = (hidden, alpha) if mode == "LA" else (hidden, 0, 0, alpha)
    return Image.new(mode, (2, 2), colour)


@pytest.mark.parametrize(("background", "seen"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_hidden_colours_are_not_seen(tmp_path: Path, mode: str, background: Any, seen: int) -> None:
    folder = save(tmp_path / "set", [see_through(200 + i, mode=mode) for i in range(4)])
    loaded = load_images(folder, background=background)
    assert loaded.image_shape == (1 if mode == "LA" else 3, 2, 2)
    assert bool((loaded.train.images == seen).all())


def test_half_transparent_is_half_seen(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", [see_through(i, alpha=128) for i in range(3)])
    assert load_images(folder).train.images[0, 1, 0, 0].item() == 127
    assert said(folder) == ""
    opaque = save(tmp_path / "opaque", [see_through(10 + i, alpha=255, mode="LA") for i in range(3)])
    assert everything(load_images(opaque)) == [10, 11, 12]


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_one_colour_that_stands_for_transparent(tmp_path: Path, mode: str) -> None:
    pictures = []
    for i in range(3):
        picture = Image.new("P" if mode == "P" else mode, (2, 2), {"RGB": (9, 9, 9)}.get(mode, 9))
        if mode == "P":
            picture.putpalette([50 + i] * 768)
        pictures.append(picture)
    for i, picture in enumerate(pictures):
        (tmp_path / "set").mkdir(exist_ok=True)
        picture.putpixel((0, 0), {"RGB": (i, 80, 80)}.get(mode, i))
        picture.save(tmp_path / "set" / f"{i}.png", transparency=(9, 9, 9) if mode == "RGB" else 9)
    assert bool((load_images(tmp_path / "set").train.images[:, :, 1, 1] == 255).all())


def test_numbers_from_0_to_1_are_scaled_and_others_refused(tmp_path: Path) -> None:
    unit = [Image.fromarray(np.full((4, 4), value, np.float32)) for value in (0.0, 0.5, 1.0)]
    assert everything(load_images(save(tmp_path / "unit", unit, "tiff"))) == [0, 128, 255]
    for name, value in (("large", 200.0), ("negative", -0.1), ("none", float("nan"))):
        others = [*unit, Image.fromarray(np.full((4, 4), value, np.float32))]
        refused(save(tmp_path / name, others, "tiff"), "3.tiff", "outside 0..1", "rescale it")


def png_of(bits: int, kind: int, rows: Sequence[Sequence[int]], *more: bytes, width: int = 2) -> bytes:
    """A PNG as no library writes it: its values, so many bits each, in the order in which they stand in a row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packed = b""
    for row in rows:
        whole = sum(value << (16 * 8 - bits * (place + 1)) for place, value in enumerate(row))
        packed += b"\0" + whole.to_bytes(16, "big")[: -(-len(row) * bits // 8)]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0))
    rest = b"".join(chunk(one[:4], one[4:]) for one in more)
    return b"\x89PNG\r\n\x1a\n" + header + rest + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_in_few_or_many_bits(tmp_path: Path, bits: int) -> None:
    """The colour that stands for transparent is given in the file's own bits."""
    most = (1 << bits) - 1
    (tmp_path / "set").mkdir()
    for number in range(3):
        more = (b"tEXtnumber\0%d" % number, b"tRNS" + struct.pack(">H", 0))
        (tmp_path / "set" / f"{number}.png").write_bytes(png_of(bits, 0, ((0, most), (most, 0)), *more))
    loaded = load_images(tmp_path / "set", background="black")
    assert loaded.train.images[0, 0].tolist() == [[0, 255], [255, 0]]
    assert bool((load_images(tmp_path / "set").train.images == 255).all())


def test_a_transparent_colour_in_16_bits(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for number in range(3):
        more = (b"tEXtnumber\0%d" % number, b"tRNS" + struct.pack(">HHH", 65535, 0, 256))
        rows = ((65535, 0, 256, 0, 65535, 0), (0, 0, 0, 65535, 65535, 65535))
        (tmp_path / "set" / f"{number}.png").write_bytes(png_of(16, 2, rows, *more))
    loaded = load_images(tmp_path / "set", background="black")
    assert loaded.train.images[0, 0].tolist() == [[0, 0], [0, 255]]


def test_grey_with_transparency_in_16_bits_is_grey(tmp_path: Path) -> None:
    """The library that opens it makes it colour. Transparency has nothing to do with how bright an image is."""
    (tmp_path / "set").mkdir()
    for number in range(3):
        rows = ((4095, 65535, 2048, 0), (256 + number, 65535, 0, 65535))
        (tmp_path / "set" / f"{number}.png").write_bytes(png_of(16, 4, rows))
    loaded = load_images(tmp_path / "set", background="black")
    assert loaded.train.images[0].tolist() == [[[15, 0], [1, 0]]]
    assert "the brightest value is 3855" in said(tmp_path / "set")


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_in_a_format_that_knows_only_colour_is_read_as_colour(tmp_path: Path, mode: str) -> None:
    pictures = [Image.new(mode, (4, 4), {"L": 60 + i, "LA": (60 + i, 128)}[mode]) for i in range(3)]
    folder = save(tmp_path / "set", pictures, "webp", lossless=True)
    loaded = load_images(folder)
    assert loaded.image_shape == (3, 4, 4)
    seen = [60, 61, 62] if mode == "L" else [157, 158, 158]  # half of it the white below
    assert everything(loaded) == seen
    assert bool((loaded.train.images == loaded.train.images[:, :1]).all())
    save(folder, [Image.new("L", (4, 4), 9)])
    assert "1 image of 4 stored as grey become colour" in said(folder)


def test_one_picture_in_two_formats_is_used_twice(tmp_path: Path) -> None:
    """They are two files, and seldom the same to the last bit."""
    pictures = [Image.new("L", (4, 4), 10 * i) for i in range(4)]
    save(tmp_path / "set", pictures)
    save(tmp_path / "set", pictures, "jpg")
    assert everything(load_images(tmp_path / "set")) == sorted(2 * [0, 10, 20, 30])


def test_numbers_with_a_sign_and_white_as_0_are_refused(tmp_path: Path) -> None:
    signed = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (0, 100, 255)]
    refused(save(tmp_path / "signed", signed, "tiff", tiffinfo={339: 2}), "with a sign")
    wide = [Image.fromarray(np.full((4, 4), value, np.uint16)) for value in (0, 100, 255)]
    folder = save(tmp_path / "white", wide, "tiff")
    for file in folder.iterdir():  # Pillow writes 1, black as 0
        file.write_bytes(
            file.read_bytes().replace(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01", b"\x06\x01\x03\x00\x01\x00\x00\x00\x00")
        )
    refused(folder, "white as 0")


def test_32_bits_are_refused(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((4, 4), value, np.int32)) for value in (0, 200, 70_000)]
    refused(save(tmp_path / "set", pictures, "tiff"), "numbers with a sign, whose range is not known")
    small = [Image.fromarray(np.full((4, 4), value, np.int32)) for value in (0, 100, 200)]
    folder = save(tmp_path / "unsigned", small, "tiff")
    for file in folder.iterdir():  # Pillow writes 2, with a sign
        file.write_bytes(
            file.read_bytes().replace(b"\x53\x01\x03\x00\x01\x00\x00\x00\x02", b"\x53\x01\x03\x00\x01\x00\x00\x00\x01")
        )
    refused(folder, "numbers of 32 bits, whose range is not known")


@pytest.mark.parametrize("ending", ["png", "tiff", "pgm"])
def test_16_bits_and_12_bits_in_them(tmp_path: Path, ending: str) -> None:
    def pictures(brightest: int) -> list[Image.Image]:
        steps = (brightest // 4, brightest // 2, brightest)
        return [Image.fromarray(np.full((4, 4), value, np.uint16)) for value in steps]

    folder = save(tmp_path / "wide", pictures(65535), ending)
    assert everything(load_images(folder)) == [63, 127, 255]
    assert said(folder) == ""
    assert "the brightest value is 4095" in said(save(tmp_path / "narrow", pictures(4095), ending))
    assert "the brightest value is 32767" in said(save(tmp_path / "half", pictures(32767), ending))
    assert said(save(tmp_path / "more than half", pictures(32768), ending)) == ""


def test_grey_among_colour_becomes_colour_whatever_the_limit_leaves(tmp_path: Path) -> None:
    pictures = [Image.new("L", (4, 4), 40 + i) for i in range(2)]
    pictures += [Image.new("RGB", (4, 4), (200, i, 0)) for i in range(18)]
    folder = save(tmp_path / "set", pictures)
    for limit in (None, 2, 5):
        assert load_images(folder, limit=limit).image_shape == (3, 4, 4)
    assert "2 images of 20 stored as grey become colour" in said(folder)
    loaded = load_images(folder)
    parts = torch.cat([part.images for part in (loaded.train, loaded.validation, loaded.test)])
    assert sorted(parts[:, 0, 0, 0].tolist())[:2] == [40, 41]


def test_files_of_several_pictures_are_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", [Image.new("L", (4, 4), 10 * i) for i in range(3)])
    first, second = (Image.new("L", (4, 4), value) for value in (90, 100))
    first.save(folder / "moving.gif", save_all=True, append_images=[second])
    assert "1 image with several pictures" in said(folder)
    assert 90 in everything(load_images(folder))


def test_only_the_formats_that_are_meant_are_opened(tmp_path: Path) -> None:
    """PostScript would be given to another program."""
    folder = save(tmp_path / "set", [Image.new("L", (4, 4), 10 * i) for i in range(3)])
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, "EPS")
    (folder / "0.png").write_bytes(stream.getvalue())
    refused(folder, "0.png is not a readable image")
    (folder / "0.png").write_bytes(b"")
    refused(folder, "0.png is not a readable image")


def two_columns(path: Path, names: tuple[str, str]) -> None:
    import datasets

    path.parent.mkdir(parents=True)
    first, second = ([{"bytes": png(start + i), "path": None} for i in range(6)] for start in (0, 100))
    schema = datasets.Features({name: datasets.Image() for name in names}).arrow_schema
    parquet.write_table(pa.table(dict(zip(names, (first, second), strict=True)), schema=schema), path)


def test_of_several_columns_the_one_called_image_or_the_one_asked_for(tmp_path: Path) -> None:
    two_columns(tmp_path / "set" / "train.parquet", ("mask", "image"))
    assert everything(load_images(tmp_path / "set")) == list(range(100, 106))
    assert everything(load_images(tmp_path / "set", image_column="mask")) == list(range(6))
    refused(tmp_path / "set", "no images in a column 'photo'", "mask, image", image_column="photo")
    write_parquet(tmp_path / "photos" / "train.parquet", [png(i) for i in range(6)])
    table = parquet.read_table(tmp_path / "photos" / "train.parquet").rename_columns(["photo"])
    parquet.write_table(table, tmp_path / "photos" / "train.parquet")
    assert everything(load_images(tmp_path / "photos")) == list(range(6)), "the only one"
    two_columns(tmp_path / "unclear" / "train.parquet", ("left", "right"))
    refused(tmp_path / "unclear", "several columns of images (left, right)", "--image-column")
    assert everything(load_images(tmp_path / "unclear", image_column="right")) == list(range(100, 106))
    refused(save(tmp_path / "png", [Image.new("L", (4, 4))]), "leave out --image-column", image_column="image")


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        ([0.0, 1.0, 2.0, 1.0], [0, 1, 2, 1], None),
        ([False, True, True, False], [0, 1, 1, 0], ("False", "True")),
        ([0, -1, 1, None], [0, -1, 1, -1], None),
        (["b", None, "a", ""], [1, -1, 0, -1], ("a", "b")),
        ([0.5, 1.0, 2.0, 1.0], None, None),
        ([-1, -1, None, -1], None, None),
        ([[1], [2], [3], [4]], None, None),
    ],
)
def test_what_is_a_label(tmp_path: Path, values: list[Any], labels: list[int] | None, names: Any) -> None:
    write_parquet(tmp_path / "set" / "train.parquet", [png(i) for i in range(4)], features=False)
    write_parquet(tmp_path / "set" / "test.parquet", [png(i) for i in range(4)], values, features=False)
    write_parquet(tmp_path / "set" / "train.parquet", [png(i) for i in range(4)], values, features=False)
    loaded = load_images(tmp_path / "set")
    assert (None if loaded.test.labels is None else loaded.test.labels.tolist()) == labels
    assert loaded.label_names == names


def test_a_label_that_has_no_name_and_a_chosen_column_that_holds_none(tmp_path: Path) -> None:
    write_parquet(tmp_path / "named" / "train.parquet", [png(i) for i in range(4)], [0, 1, 2, -1])
    assert load_images(tmp_path / "named").label_names == ("cat", "dog", "eel")
    assert "1 image of 4 in train without a label" in said(tmp_path / "named")
    write_parquet(tmp_path / "real" / "train.parquet", [png(i) for i in range(4)], [0.5] * 4, features=False)
    assert "no labels are read: column label holds values such as 0.5" in said(tmp_path / "real")
    refused(tmp_path / "real", "column label holds values such as 0.5", "another column", label_column="label")
    refused(tmp_path / "real", "no column 'kind'", "columns: label", label_column="kind")


def test_a_number_means_what_its_own_table_says(tmp_path: Path) -> None:
    """Tables may number the same classes in other orders; one may have names where another has numbers, or none."""
    import datasets

    def write(name: str, first: int, labels: list[Any], feature: Any) -> None:
        images = [{"bytes": png(first + i), "path": None} for i in range(len(labels))]
        features = {"image": datasets.Image()} | ({} if feature is None else {"label": feature})
        columns = {"image": images} | ({} if feature is None else {"label": labels})
        (tmp_path / "set").mkdir(exist_ok=True)
        parquet.write_table(pa.table(columns, schema=datasets.Features(features).arrow_schema), tmp_path / "set" / name)

    write("my-train-0.parquet", 0, [0, 1, 0, 1], datasets.ClassLabel(names=["cat", "dog"]))
    write("my-test-0.parquet", 10, [0, 0, 1], datasets.ClassLabel(names=["dog", "cat"]))
    write("my-val-0.parquet", 20, [0, 0], None)
    loaded = load_images(tmp_path / "set")
    assert loaded.label_names == ("cat", "dog")
    assert loaded.test.labels is not None
    assert loaded.test.labels.tolist() == [1, 1, 0]
    assert loaded.validation.labels is None
    assert everything(loaded) == [0, 1, 2, 3, 10, 11, 12, 20, 21]
    write("my-test-0.parquet", 10, ["dog", "cat", "eel"], datasets.Value("string"))
    refused(tmp_path / "set", "holds 'eel'", "names for 2 classes")
