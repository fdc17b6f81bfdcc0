"""Every image on disk is used, or counted and said: folders as people have them."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from torch import Tensor

from doubleback.data import ImageData, Split, load_images
from tests.data.folders import everything, hub_folder, png, refused, write_parquet


def put(folder: Path, *names: str, start: int = 0) -> None:
    """Write images under these names, each of another grey."""
    for grey, name in enumerate(names, start):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), grey).save(path, format="PNG")


def many(pattern: str, count: int = 12) -> list[str]:
    return [pattern.format(i) for i in range(count)]


def sizes(loaded: ImageData) -> tuple[int, int]:
    """Images used, images named as left out."""
    parts = (loaded.train, loaded.validation, loaded.test)
    return sum(map(len, parts)), sum(remark.left_out for remark in loaded.remarks)


def said(loaded: ImageData) -> str:
    return "\n".join(map(str, loaded.remarks))


def flat(folder: Path) -> None:
    put(folder, *many("{}.png"))


def named_after_a_split(folder: Path) -> None:
    put(folder, *many("train_station_{}.png", 4), *many("other_{}.png", 20))


def a_split_in_the_names(folder: Path) -> None:
    put(folder, *many("test-{}.png", 6), *many("validation-{}.png", 6))


def classes(folder: Path) -> None:
    put(folder, *many("cat/{}.png"), *many("dog/{}.png"))


def linked_class(folder: Path) -> None:
    put(folder, *many("cat/{}.png"))
    put(folder.parent / "elsewhere", *many("{}.png", 5), start=50)
    (folder / "dog").symlink_to(folder.parent / "elsewhere")


def linked_images(folder: Path) -> None:
    put(folder.parent / "elsewhere", *many("{}.png"))
    folder.mkdir()
    for i in range(12):
        (folder / f"{i}.png").symlink_to(folder.parent / "elsewhere" / f"{i}.png")


def broken_link(folder: Path) -> None:
    put(folder, *many("{}.png"))
    (folder / "gone.png").symlink_to(folder / "nowhere.png")


def link_to_itself(folder: Path) -> None:
    put(folder, *many("{}.png"))
    (folder / "self.png").symlink_to(folder / "self.png")


def circle_of_links(folder: Path) -> None:
    put(folder, *many("cat/{}.png"))
    (folder / "cat" / "again").symlink_to(folder)


def half_in_the_metadata(folder: Path) -> None:
    put(folder, *many("{}.png"))
    (folder / "metadata.csv").write_text("file_name,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(6)))


def metadata_with_strangers(folder: Path) -> None:
    put(folder, *many("{}.png"))
    rows = [{"file_name": f"{i}.png", "label": "ab"[i % 2]} for i in range(14)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def metadata_in_parquet(folder: Path) -> None:
    put(folder, *many("{}.png"))
    rows = {"file_name": many("{}.png"), "label": ["ab"[i % 2] for i in range(12)]}
    parquet.write_table(pa.table(rows), folder / "metadata.parquet")


def metadata_that_contradicts_itself(folder: Path) -> None:
    put(folder, *many("{}.png"))
    rows = [*((i, i % 2) for i in range(12)), (0, 0), (1, 1), (2, 1)]
    (folder / "metadata.csv").write_text("file_name,label\n" + "".join(f"{i}.png,{'ab'[kind]}\n" for i, kind in rows))


def parts_in_the_metadata(folder: Path) -> None:
    put(folder, *many("{}.png"))
    rows = "".join(f"{i}.png,{'ab'[i % 2]},test\n" for i in range(12))
    (folder / "metadata.csv").write_text("file_name,label,split\n" + rows)


def metadata_that_names_no_files(folder: Path) -> None:
    put(folder, *many("{}.png"))
    (folder / "metadata.csv").write_text("name,label\n0.png,1\n")


def heic_beside_png(folder: Path) -> None:
    put(folder, *many("{}.png"))
    for i in range(3):
        (folder / f"{i}.heic").write_bytes(b"no png")


def capital_endings(folder: Path) -> None:
    put(folder, *many("{}.PNG"), *many("{}.Jpeg", 3))


def without_an_ending(folder: Path) -> None:
    put(folder, *many("{}.png"), "image", "scan.2024")


def hidden(folder: Path) -> None:
    put(folder, *many("{}.png"), ".thumbnails/a.png", "._0.png", "__MACOSX/b.png")


def too_deep(folder: Path) -> None:
    put(folder, *many("images/cat/{}.png"), *many("images/dog/{}.png"))


def far_too_deep(folder: Path) -> None:
    put(folder, *many("a/b/train/x/cat/{}.png"), *many("a/b/test/x/dog/{}.png"))


def mixed_depths(folder: Path) -> None:
    put(folder, *many("cat/{}.png"), *many("cat/more/{}.png", 4), *many("dog/a/b/{}.png", 5))


def some_without_a_class(folder: Path) -> None:
    put(folder, *many("cat/{}.png"), *many("dog/{}.png"), *many("{}.png", 3))


def parts_without_classes(folder: Path) -> None:
    put(folder, *many("train/{}.png"), *many("test/{}.png", 4))


def parts_with_other_names(folder: Path) -> None:
    put(folder, *many("Training/{}.png"), *many("val/{}.png", 3), *many("Testing/{}.png", 4))


def parts_beside_others(folder: Path) -> None:
    put(folder, *many("train/good/{}.png"), *many("test/broken/{}.png", 4), *many("ground_truth/broken/{}.png", 4))


def images_beside_parts(folder: Path) -> None:
    put(folder, *many("train/{}.png"), *many("test/{}.png", 4), "cover.png")


def brackets(folder: Path) -> None:
    put(folder, *many("a[1]/*{}?.png"), *many("a1/{}.png"))


def spaces_and_signs(folder: Path) -> None:
    put(folder, *many("my pictures/ä {}'\".png"), "my pictures/new\nline.png")


def not_utf8(folder: Path) -> None:
    put(folder, *many("{}.png"), os.fsdecode(b"caf\xe9.png"))


def empty_folders(folder: Path) -> None:
    put(folder, *many("cat/{}.png"))
    (folder / "dog").mkdir()


def pipe(folder: Path) -> None:
    put(folder, *many("{}.png"))
    os.mkfifo(folder / "pipe.png")


def other_files(folder: Path) -> None:
    put(folder, *many("{}.png"))
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: ../secret/*.png\n---\n")
    (folder / "notes.txt").write_text("hello")
    (folder / "LICENSE").write_text("hello")
    os.mkfifo(folder / "queue.txt")


def archive_beside(folder: Path) -> None:
    put(folder, *many("{}.png"))
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("x.png", png(1))


def parquet_split_called_val(folder: Path) -> None:
    hub_folder(folder, val=7)


def parquet_with_another_split(folder: Path) -> None:
    hub_folder(folder, extra=5)


def parquet_beside_images(folder: Path) -> None:
    hub_folder(folder)
    put(folder, *many("{}.png", 3))


def parquet_beside_metadata(folder: Path) -> None:
    hub_folder(folder)
    (folder / "metadata.csv").write_text("file_name,label\n")


def parquet_of_an_empty_part(folder: Path) -> None:
    hub_folder(folder, validation=0)


def parquet_in_folders(folder: Path) -> None:
    write_parquet(folder / "default" / "train" / "0000.parquet", [png(i) for i in range(9)])
    write_parquet(folder / "default" / "test" / "0000.parquet", [png(i) for i in range(5)])


def parquet_named_after_the_set(folder: Path) -> None:
    write_parquet(folder / "data" / "mnist_train-00000-of-00001-b513d9e388d5453c.parquet", [png(i) for i in range(9)])
    write_parquet(folder / "data" / "mnist_test.parquet", [png(i + 10) for i in range(6)])


def stray_beside_parts(folder: Path) -> None:
    put(folder, *many("raw/train/{}.png"), *many("raw/test/{}.png", 5), "preview.png")


def stray_beside_classes(folder: Path) -> None:
    put(folder, *many("data/cat/{}.png"), *many("data/dog/{}.png"), "preview.png")


def parts_within_classes(folder: Path) -> None:
    put(
        folder,
        *[name for kind in ("cat", "dog") for name in many(kind + "/train/{}.png") + many(kind + "/test/{}.png", 4)],
    )


def parts_twice(folder: Path) -> None:
    put(folder, *[name for kind in ("cat", "dog") for name in many("train/train/" + kind + "/{}.png", 8)])
    put(folder, *[name for kind in ("cat", "dog") for name in many("test/test/" + kind + "/{}.png", 4)], start=50)


def a_wrapper_in_one_part(folder: Path) -> None:
    put(folder, *[name for kind in ("cat", "dog") for name in many("train/" + kind + "/{}.png")])
    put(folder, *[name for kind in ("cat", "dog") for name in many("test/x/" + kind + "/{}.png", 4)], start=50)


def names_that_look_alike(folder: Path) -> None:
    put(folder, *many("a\nb/{}.png"), *many("a?b/{}.png"))


def table_with_another_name(folder: Path) -> None:
    put(folder, *many("{}.png"))
    (folder / "labels.csv").write_text("file_name,label\n0.png,1\n")


def copies_in_both_parts(folder: Path) -> None:
    put(folder, *many("train/{}.png"))
    put(folder, *many("test/{}.png", 4))


def hidden_tables(folder: Path) -> None:
    write_parquet(folder / ".p" / "test.parquet", [png(1)])
    write_parquet(folder / "test.parquet", [png(i + 100) for i in range(6)], [i % 3 for i in range(6)])
    write_parquet(folder / "train.parquet", [png(i) for i in range(20)], [i % 3 for i in range(20)])


def endings_that_are_not_read(folder: Path) -> None:
    put(folder, *many("{}.png"))
    for name in ("a.dcm", "b.dcm", "c.dcm"):
        (folder / name).write_bytes(b"DICM")


# each with: images used, images left out, a word of what is said, and the names of the classes
LAYOUTS: dict[Callable[[Path], None], tuple[int, int, str, tuple[str, ...] | None]] = {
    flat: (12, 0, "", None),
    named_after_a_split: (24, 0, "", None),
    a_split_in_the_names: (12, 0, "", None),
    classes: (24, 0, "", ("cat", "dog")),
    linked_class: (17, 0, "", ("cat", "dog")),
    linked_images: (12, 0, "", None),
    broken_link: (12, 1, "links that lead nowhere (gone.png)", None),
    link_to_itself: (12, 1, "links that lead nowhere (self.png)", None),
    circle_of_links: (12, 0, "again leads back to a folder", None),
    half_in_the_metadata: (12, 0, "does not name 6 images", None),
    metadata_with_strangers: (12, 0, "no image is here for 2 rows of the metadata", ("a", "b")),
    metadata_in_parquet: (12, 0, "", ("a", "b")),
    metadata_that_contradicts_itself: (12, 0, "another label than before in 1 row of the metadata", ("a", "b")),
    parts_in_the_metadata: (12, 0, "the column split of the metadata is not read", ("a", "b")),
    metadata_that_names_no_files: (12, 0, "metadata.csv is not used: it has no column file_name", None),
    heic_beside_png: (12, 3, ".heic is not read", None),
    capital_endings: (15, 0, "", None),
    without_an_ending: (12, 2, "do not end as images' do", None),
    hidden: (12, 3, "hidden", None),
    too_deep: (24, 0, "", ("cat", "dog")),
    far_too_deep: (24, 0, "", ("cat", "dog")),
    mixed_depths: (21, 0, "", ("cat", "dog")),
    some_without_a_class: (27, 0, "3 images of 27 in train without a label", ("cat", "dog")),
    parts_without_classes: (16, 0, "", None),
    parts_with_other_names: (19, 0, "", None),
    parts_beside_others: (16, 4, "beside the folders test, train", ("broken", "good")),
    images_beside_parts: (16, 1, "(cover.png)", None),
    brackets: (24, 0, "", ("a1", "a[1]")),
    spaces_and_signs: (13, 0, "", None),
    not_utf8: (13, 0, "", None),
    empty_folders: (12, 0, "", None),
    pipe: (12, 1, "no plain files (pipe.png)", None),
    other_files: (12, 0, "", None),
    archive_beside: (12, 0, "archives are not unpacked (more.zip)", None),
    parquet_split_called_val: (33, 0, "6 images of 6 in test stand among the training images", ("cat", "dog", "eel")),
    parquet_with_another_split: (26, 5, "extra-00000-of-00001.parquet", ("cat", "dog", "eel")),
    parquet_beside_images: (26, 3, "beside parquet", ("cat", "dog", "eel")),
    parquet_beside_metadata: (26, 0, "metadata beside parquet is not read (metadata.csv)", ("cat", "dog", "eel")),
    parquet_of_an_empty_part: (26, 0, "stand among the training images", ("cat", "dog", "eel")),
    parquet_in_folders: (14, 0, "5 images of 5 in test stand among the training images", None),
    parquet_named_after_the_set: (15, 0, "", None),
    stray_beside_parts: (17, 1, "beside the folders test, train (preview.png)", None),
    stray_beside_classes: (25, 0, "1 image of 25 in train without a label", ("cat", "dog")),
    parts_within_classes: (32, 0, "", ("cat", "dog")),
    parts_twice: (24, 0, "", ("cat", "dog")),
    a_wrapper_in_one_part: (32, 0, "", ("cat", "dog")),
    names_that_look_alike: (24, 0, "", ("a\\nb", "a?b")),
    table_with_another_name: (12, 0, "labels.csv is not read; a table of labels is called metadata.csv", None),
    copies_in_both_parts: (16, 0, "4 images of 4 in test stand among the training images", None),
    hidden_tables: (26, 0, ".p/test.parquet is not read", ("cat", "dog", "eel")),
    endings_that_are_not_read: (12, 3, ".dcm is not read; convert to PNG (a.dcm, b.dcm, c.dcm)", None),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_image_is_used_or_named(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    used, left_out, says, names = LAYOUTS[layout]
    layout(tmp_path / "set")
    loaded = load_images(tmp_path / "set")
    assert sizes(loaded) == (used, left_out)
    assert says in said(loaded)
    assert bool(said(loaded)) == bool(says), said(loaded)
    assert loaded.label_names == names
    assert said(load_images(tmp_path / "set")) == said(loaded), "also from the cache"


def test_a_path_is_no_pattern(tmp_path: Path) -> None:
    put(tmp_path / "set1", *many("{}.png"), start=100)
    put(tmp_path / "set[1]", *many("{}.png"))
    assert everything(load_images(tmp_path / "set[1]")) == list(range(12))


def test_only_the_folder_itself_is_read(tmp_path: Path) -> None:
    put(tmp_path / "secret", "key.png", start=200)
    other_files(tmp_path / "set")
    assert 200 not in everything(load_images(tmp_path / "set"))
    write_parquet(tmp_path / "table" / "train.parquet", [None, None, None])
    refused(tmp_path / "table", "train row 0 of 0.png", "no image is stored")


def test_parts_keep_their_images(tmp_path: Path) -> None:
    parts_with_other_names(tmp_path / "set")
    loaded = load_images(tmp_path / "set")
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == [12, 3, 4]


def test_labels_of_metadata_and_of_folders(tmp_path: Path) -> None:
    half_in_the_metadata(tmp_path / "half")
    loaded = load_images(tmp_path / "half")
    for part in (loaded.train, loaded.validation, loaded.test):
        if part.labels is not None:
            greys = part.images[:, 0, 0, 0].tolist()
            assert part.labels.tolist() == [grey % 2 if grey < 6 else -1 for grey in greys]
    put(tmp_path / "ages", *many("{}.png"))
    (tmp_path / "ages" / "metadata.csv").write_text("file_name,age\n" + "".join(f"{i}.png,{i}\n" for i in range(12)))
    assert "columns: age (choose one by --label-column)" in said(load_images(tmp_path / "ages"))
    ages = load_images(tmp_path / "ages", label_column="age").train
    assert labels_of(ages) == ages.images[:, 0, 0, 0].tolist()
    refused(tmp_path / "ages", "no metadata table with a column 'kind'", label_column="kind")


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("metadata.csv", "file_name;label\r\n0.png;b\r\n.\\1.png;a\r\n", {0: 1, 1: 0}),
        ("metadata.csv", "\ufefffile_name, label\n0.png,1.0\n1.png,nan\nx/../2.png,-1\n", {0: 1}),
        ("METADATA.JSONL", '{"file_name": "0.png"}\n{"file_name": "1.png", "label": "a\u2028b"}\n', {1: 0}),
        ("metadata.jsonl", '{"label": 3}\n{"file_name": "1.png", "label": 7}\n', {1: 7}),
        ("metadata.csv", "file_name,label\n0.png,a,more\n1.png,b\n", {0: 0, 1: 1}),
        ("metadata.csv", "file_name,label\n0.png," + "9" * 400 + "\n", {}),
    ],
)
def test_metadata_as_people_write_it(tmp_path: Path, name: str, content: str, labels: dict[int, int]) -> None:
    put(tmp_path / "set", *many("{}.png"))
    (tmp_path / "set" / name).write_text(content, encoding="utf-8", newline="")
    loaded = load_images(tmp_path / "set")
    found = {}
    for part in (loaded.train, loaded.validation, loaded.test):
        if part.labels is not None:
            greys = part.images[:, 0, 0, 0].tolist()
            found |= {grey: label for grey, label in zip(greys, part.labels.tolist(), strict=True) if label != -1}
    assert found == labels


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metadata.jsonl", b"[1]\n", "metadata.jsonl is not a readable table (a line is not a record)"),
        ("metadata.jsonl", b"{", "metadata.jsonl is not a readable table"),
        ("metadata.csv", b"file_name\n\xff.png\n", "metadata.csv is not a readable table"),
        ("metadata.parquet", b"PAR1", "metadata.parquet is not readable parquet"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    put(tmp_path / "set", *many("{}.png"))
    (tmp_path / "set" / name).write_bytes(content)
    refused(tmp_path / "set", says)


def test_what_is_said_is_of_now_and_not_of_the_cache(tmp_path: Path) -> None:
    put(tmp_path / "set", *many("{}.png"))
    assert said(load_images(tmp_path / "set")) == ""
    (tmp_path / "set" / "x.heic").write_bytes(b"")
    assert sizes(load_images(tmp_path / "set")) == (12, 1)
    (tmp_path / "set" / "x.heic").unlink()
    assert said(load_images(tmp_path / "set")) == ""


def test_a_table_of_one_row_and_none(tmp_path: Path) -> None:
    write_parquet(tmp_path / "none" / "data.parquet", [])
    refused(tmp_path / "none", "no training images")
    write_parquet(tmp_path / "odd" / "tr\nain.parquet", [png(i) for i in range(5)])
    assert len(everything(load_images(tmp_path / "odd"))) == 5


def labels_of(split: Split) -> list[int]:
    assert split.labels is not None
    return split.labels.tolist()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (many("train/{}.png") + many("extra/{}.png"), ("train beside extra", "rename it if it is a class")),
        (many("test/{}.png"), ("no folder train",)),
        (many("cat/{}.png") + many("test/{}.png"), ("has a folder test, but no folder train",)),
        (many("train2017/{}.png") + many("val2017/{}.png"), ("holds train2017, val2017", "call the folders train")),
        (many("x/seg_train/{}.png") + many("x/seg_test/{}.png"), ("seg_test, seg_train",)),
    ],
)
def test_parts_that_are_not_clear_are_refused(tmp_path: Path, names: list[str], words: tuple[str, ...]) -> None:
    put(tmp_path / "set", *names)
    refused(tmp_path / "set", *words)


def test_folders_and_files_with_nothing_to_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("x.png", png(1))
    refused(tmp_path / "images.zip", "is an archive; unpack it")
    (tmp_path / "zipped").mkdir()
    (tmp_path / "images.zip").rename(tmp_path / "zipped" / "images.zip")
    refused(tmp_path / "zipped", "archives (images.zip)", "unpack them")
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.heic").write_bytes(b"x")
    refused(tmp_path / "phone", "1 image left out: .heic is not read", "convert to PNG")
    write_parquet(tmp_path / "two" / "a" / "train.parquet", [png(1)])
    write_parquet(tmp_path / "two" / "b" / "train.parquet", [png(1)])
    refused(tmp_path / "two", "several sets (a, b)", "give the folder of one")


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes(tmp_path / "set")
    scan = os.scandir

    def locked(path: Any) -> Any:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert "the folder dog cannot be read (Permission denied)" in said(load_images(tmp_path / "set"))
    (tmp_path / "set").rename(tmp_path / "dog")
    refused(tmp_path / "dog", "dog cannot be read (Permission denied); fix its permissions")


def test_an_unreadable_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "set", *many("{}.png"))
    read = Path.read_bytes

    def locked(path: Path) -> bytes:
        if path.name == "3.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", locked)
    refused(tmp_path / "set", "set/3.png cannot be read (Permission denied); fix or remove it")


def greys(images: Tensor) -> set[int]:
    return set(images[:, 0, 0, 0].tolist())


def test_images_that_come_move_no_other(tmp_path: Path) -> None:
    """No image that was trained on becomes one to test or to validate on, whatever is added."""
    folder = tmp_path / "set"
    put(folder, *many("{}.png", 120))
    before = load_images(folder)
    put(folder, "a.png", "000.png", "zz.png", start=120)
    after = load_images(folder)
    assert greys(after.test.images) - {120, 121, 122} == greys(before.test.images)
    assert not greys(before.train.images) & greys(after.validation.images)
    chosen = load_images(folder, validation=20)
    put(folder, *many("more{}.png", 40), start=140)
    again = load_images(folder, validation=20)
    assert not greys(chosen.train.images) & greys(again.validation.images)
    assert len(again.validation) == 20


@pytest.mark.parametrize("validation", [None, 7])
def test_copies_of_an_image_stay_in_one_part(tmp_path: Path, validation: int | None) -> None:
    put(tmp_path / "set", *many("{}.png", 60))
    put(tmp_path / "set", *many("copy{}.png", 60))
    for seed in range(5):
        loaded = load_images(tmp_path / "set", validation=validation, seed=seed)
        train, held_out, test = (greys(part.images) for part in (loaded.train, loaded.validation, loaded.test))
        assert not test & (train | held_out)
        assert held_out
        assert not train & held_out


def test_images_that_are_all_alike_are_refused(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path / "set", f"{i}.png", start=i % 2)
    refused(tmp_path / "set", "copies of one")


def test_parts_can_be_drawn_instead(tmp_path: Path) -> None:
    parts_without_classes(tmp_path / "set")
    loaded = load_images(tmp_path / "set", parts="drawn")
    assert sizes(loaded) == (12, 4)
    assert "4 images left out: the source's own test images" in said(loaded)
