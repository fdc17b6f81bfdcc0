"""From encoded images and labels to arrays."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import ExifTags, Image, PngImagePlugin
from pyarrow import parquet

from doubleback.data import load_images
from tests.data.folders import hub_folder, image_folder, png, refused, values, write_parquet


def unlike(number: int) -> PngImagePlugin.PngInfo:
    """Makes files differ whose pixels are the same."""
    info = PngImagePlugin.PngInfo()
    info.add_text("number", str(number))
    return info


def test_parquet_without_the_record_of_features(tmp_path: Path) -> None:
    labels = ["dog", "ant"] * 5
    for split in ("train", "test"):
        write_parquet(tmp_path / "set" / f"{split}.parquet", [png(i) for i in range(10)], labels, features=False)
    loaded = load_images(tmp_path / "set")
    assert loaded.label_names == ("ant", "dog")
    assert loaded.test.labels is not None
    assert loaded.test.labels.tolist() == [1, 0] * 5


def test_whole_numbers_as_labels_have_no_names_and_other_numbers_are_no_labels(tmp_path: Path) -> None:
    for name, labels in (("whole", [7, 8, 9]), ("real", [0.5, 1.5, 2.5])):
        write_parquet(tmp_path / name / "train.parquet", [png(i) for i in range(3)], labels, features=False)
        write_parquet(tmp_path / name / "test.parquet", [png(i) for i in range(3)], labels, features=False)
    whole, real = load_images(tmp_path / "whole"), load_images(tmp_path / "real")
    assert whole.test.labels is not None
    assert whole.test.labels.tolist() == [7, 8, 9]
    assert whole.label_names is None
    assert real.test.labels is None


def test_labels_stay_with_their_images(tmp_path: Path) -> None:
    labels = [f"{i:02}" for i in range(20)]
    write_parquet(tmp_path / "set" / "train.parquet", [png(i) for i in range(20)], labels, features=False)
    loaded = load_images(tmp_path / "set", limit=9)  # without a test split, and some of each part
    assert len(loaded.train) + len(loaded.validation) == 9
    for part in (loaded.train, loaded.validation, loaded.test):
        assert part.labels is not None
        assert part.labels.tolist() == values(part.images)


def test_sixteen_bit_greys_keep_their_range(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((4, 4), 128 * 256 + i, np.uint16)).save(folder / f"{i}.png")
    assert values(load_images(folder).train.images) == [128]


def test_images_held_sideways_are_turned_upright(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    picture = Image.fromarray(np.array([[0, 80, 160], [40, 120, 200]], np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the first row is the right-hand side
    for i in range(3):
        picture.save(folder / f"{i}.png", exif=exif, pnginfo=unlike(i))
    assert load_images(folder).train.images[0, 0].tolist() == [[40, 0], [120, 80], [200, 160]]


@pytest.mark.parametrize("behind", [False, True], ids=["before the picture", "behind it"])
def test_jpeg_2000_held_sideways_is_turned_upright(tmp_path: Path, behind: bool) -> None:
    """What the camera says stands in a box of its own, which other programs write and Pillow does not read."""
    picture = Image.fromarray(np.array([[0, 80, 160], [40, 120, 200]], np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    (tmp_path / "set").mkdir()
    for i in range(3):
        stream = io.BytesIO()
        picture.save(stream, "JPEG2000", irreversible=False)
        held = b"uuidJpgTiffExif->JP2" + exif.tobytes().removeprefix(b"Exif\0\0") + bytes(i)
        box, file = (len(held) + 4).to_bytes(4, "big") + held, stream.getvalue()
        place = len(file) if behind else file.index(b"jp2c") - 4
        (tmp_path / "set" / f"{i}.jp2").write_bytes(file[:place] + box + file[place:])
    assert load_images(tmp_path / "set").train.images[0, 0].tolist() == [[40, 0], [120, 80], [200, 160]]


def test_image_size_crops_to_the_centred_square_and_smooths(tmp_path: Path) -> None:
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 127
    fine = np.indices((16, 16)).sum(0) % 2 * np.uint8(255)
    images = []
    for i, picture in enumerate((wide, fine, fine)):
        stream = io.BytesIO()
        Image.fromarray(picture.astype(np.uint8)).save(stream, "PNG", pnginfo=unlike(i))
        images.append(stream.getvalue())
    write_parquet(tmp_path / "set" / "train.parquet", images)
    refused(tmp_path / "set", "12x4", "16x16", "train row", "--image-size")
    loaded = load_images(tmp_path / "set", image_size=4)
    for part in (loaded.train, loaded.validation, loaded.test):
        assert part.images.shape == (1, 1, 4, 4)
        assert (part.images.double() - 127.5).abs().max() < 10


def test_images_beyond_the_limit_are_not_decoded(tmp_path: Path) -> None:
    """Their headers are looked at: what an image is may not be damaged there, its pixels may."""
    folder = hub_folder(tmp_path / "set")
    loaded = load_images(folder, limit=4)
    kept = {*values(loaded.train.images), *values(loaded.validation.images)}
    images = [png(i) for i in range(20)]
    left_out = min(set(range(20)) - kept)
    images[left_out] = images[left_out][:45]
    write_parquet(folder / "train-00000-of-00001.parquet", images, [0] * 20)
    assert len(load_images(folder, limit=4).train) == len(loaded.train)
    refused(folder, "not a readable image")


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    images = [png(i) for i in range(10)]
    images[7] = images[7][:40]
    write_parquet(tmp_path / "set" / "train.parquet", [png(0)] * 10)
    write_parquet(tmp_path / "set" / "test.parquet", images)
    refused(tmp_path / "set", "test row 7 of 7.png", "not a readable image", "replace or remove it")
    write_parquet(tmp_path / "set" / "test.parquet", [png(0), b""])
    refused(tmp_path / "set", "test row 1")
    empty = pa.array([{"bytes": png(0), "path": None}, {"bytes": None, "path": None}])
    parquet.write_table(pa.table({"image": empty}), tmp_path / "set" / "test.parquet")
    refused(tmp_path / "set", "test row 1", "holds no image; remove that row")
    folder = image_folder(tmp_path / "insects")
    (folder / "train" / "bee" / "2.png").write_bytes(b"junk")
    refused(folder, str(folder / "train" / "bee" / "2.png"), "replace or remove it")


def test_folders_without_images(tmp_path: Path) -> None:
    for name, table in (("numbers", {"label": [1, 2]}), ("flat", {"image": [1, 2], "b": [3, 4]})):
        (tmp_path / name).mkdir()
        parquet.write_table(pa.table(table), tmp_path / name / "train.parquet")
    refused(tmp_path / "numbers", "no column of images", "columns: label", "`image`")
    refused(tmp_path / "flat", "no column of images", "image, b")
    write_parquet(tmp_path / "mixed" / "train-0.parquet", [png(i) for i in range(4)])
    parquet.write_table(pa.table({"label": [1, 2]}), tmp_path / "mixed" / "train-1.parquet")
    refused(tmp_path / "mixed", "a table without images in the column image", "give those of one set")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme.xyz").write_text("hello")
    refused(tmp_path / "other", "other", "no parquet and no images", ".xyz")


def test_a_source_without_training_images_or_with_too_few(tmp_path: Path) -> None:
    write_parquet(tmp_path / "held" / "test-00000-of-00001.parquet", [png(1)])
    refused(tmp_path / "held", "no training images", "train")
    write_parquet(tmp_path / "one" / "train.parquet", [png(1)])
    refused(tmp_path / "one", "holds 1 image")
    write_parquet(tmp_path / "two" / "train.parquet", [png(1), png(2)])
    refused(tmp_path / "two", "validation 1 is too many", "1 image of two")
    write_parquet(tmp_path / "same" / "train.parquet", [png(1)] * 5)
    refused(tmp_path / "same", "at least 3 that differ")


def test_a_terminal_sees_a_bar_while_images_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    load_images(hub_folder(tmp_path / "set"))
    output, error = capfd.readouterr()
    assert output == ""
    assert "decoding" in error
