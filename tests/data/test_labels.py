"""The names of classes that a table records, as `datasets` writes them, or as a stranger does."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from doubleback.data import ImageData, load_images
from tests.data.folders import png, refused, values


def recorded(folder: Path, record: bytes, labels: Any = (0, 1, 2, 0, 1, 2)) -> Path:
    """A table of images, each its own grey, that says this of its columns."""
    images = [{"bytes": png(i), "path": f"{i}.png"} for i in range(len(labels))]
    table = pa.table({"image": images, "label": pa.array(labels)})
    folder.mkdir()
    parquet.write_table(table.replace_schema_metadata({"huggingface": record}), folder / "train.parquet")
    return folder


def class_label(names: Any, kind: Any = "ClassLabel") -> bytes:
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": kind}}
    return json.dumps({"info": {"features": features}}).encode()


def by_grey(loaded: ImageData) -> dict[int, int]:
    """The label of every image, by its grey."""
    found = {}
    for part in (loaded.train, loaded.validation, loaded.test):
        assert part.labels is not None
        found |= dict(zip(values(part.images), part.labels.tolist(), strict=True))
    return found


NUMBERS = {grey: grey % 3 for grey in range(6)}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([1, 2, 3], "Expected `str`"),
        ([["a"], ["b"], ["c"]], "Expected `str`"),
        ([None, None, None], "Expected `str`"),
        ([True, False, True], "Expected `str`"),
        ({"a": 1}, "Expected `array`"),
        ("cat", "Expected `array`"),
        (5, "Expected `array`"),
        (["a", "b", "b"], "twice"),
        ([" a", "a", "b"], "twice"),
        (["a", "nan", "b"], "'nan' stands for no label"),
        (["a", "", "b"], "'' stands for no label"),
        ([str(i) for i in range(2**16 + 1)], "length <= 65536"),
        (["a" * 1001, "b", "c"], "length <= 1000"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_names_that_no_class_can_have_are_said_and_not_used(tmp_path: Path, names: Any, why: str) -> None:
    loaded = load_images(recorded(tmp_path / "set", class_label(names)))
    assert loaded.label_names is None
    assert by_grey(loaded) == NUMBERS
    (remark,) = map(str, loaded.remarks)
    assert remark.startswith("the recorded names of the classes in column label are not used (")
    assert why in remark


@pytest.mark.parametrize(
    "record",
    [
        b"{",
        b"\xff\xfe",
        b"[1]",
        b'{"info": []}',
        b'{"info": {"features": null}}',
        b'{"info": {"features": {"label": 3}}}',
        b'{"info": {"features": {"label": {"_type": "ClassLabel", "num_classes": 1000000000}}}}',
        b'{"info":' * 3000 + b"1" + b"}" * 3000,
        class_label([]),
        class_label(None),
        class_label(["a", "b", "c"], "Value"),
        class_label(["a", "b", "c"], ["ClassLabel"]),
    ],
    ids=lambda value: str(value[:40]),
)
def test_a_record_without_names_leaves_the_numbers(tmp_path: Path, record: bytes) -> None:
    loaded = load_images(recorded(tmp_path / "set", record))
    assert (loaded.label_names, by_grey(loaded), loaded.remarks) == (None, NUMBERS, ())


def test_names_are_read_without_the_spaces_around_them_and_printed_as_text(tmp_path: Path) -> None:
    loaded = load_images(recorded(tmp_path / "set", class_label([" cat", "d\x1b[31mog ", "e\nel"])))
    assert loaded.label_names == ("cat", r"d\x1b[31mog", r"e\nel")
    assert by_grey(loaded) == NUMBERS


def test_fewer_names_than_labels_are_refused_and_columns_of_another_kind_have_none(tmp_path: Path) -> None:
    names = class_label(["a", "b"])
    refused(recorded(tmp_path / "few", names), "column label holds 2", "names for 2 classes")
    refused(recorded(tmp_path / "low", names, [0, 1, -2, 0, 1, 0]), "column label holds -2", "names for 2 classes")
    bools = load_images(recorded(tmp_path / "bools", names, [True, False] * 3))
    assert bools.label_names == ("False", "True")
    assert by_grey(bools) == {grey: 1 - grey % 2 for grey in range(6)}
