"""Which images belong to which part."""

from pathlib import Path

import numpy as np
import pytest
import torch

from doubleback.data import ImageData, load_images
from doubleback.data.splitting import ByImage, Keys
from tests.data.folders import hub_folder, png, refused, values, write_parquet


def test_the_seed_draws_the_validation_images_and_nothing_else() -> None:
    first, again, other = (load_images("digits", seed=seed, limit=200) for seed in (0, 0, 1))
    assert torch.equal(first.validation.images, again.validation.images)
    assert not torch.equal(first.validation.images, other.validation.images)
    assert torch.equal(first.test.images, other.test.images)
    pools = [torch.cat([loaded.train.images, loaded.validation.images]).flatten(1) for loaded in (first, other)]
    assert sorted(pools[0].tolist()) == sorted(pools[1].tolist())


def test_validation_is_about_a_tenth_of_the_training_images_by_default(tmp_path: Path) -> None:
    loaded = load_images(hub_folder(tmp_path / "set", train=250))
    assert 10 < len(loaded.validation) < 40


@pytest.mark.parametrize("split", ["validation", "valid"])
def test_the_validation_split_of_the_source_is_used(tmp_path: Path, split: str) -> None:
    folder = hub_folder(tmp_path / "set", **{split: 9, "extra": 3})
    loaded = load_images(folder)
    assert values(loaded.validation.images) == list(range(9))
    assert values(loaded.train.images) == list(range(20))
    fewer = load_images(folder, validation=4)
    assert len(set(values(fewer.validation.images))) == 4
    assert values(fewer.train.images) == list(range(20))
    said = [str(remark) for remark in fewer.remarks if remark not in loaded.remarks]
    assert said == ["5 images left out: the source's own validation images beyond those that were asked for"]
    assert load_images(folder, validation=9).remarks == loaded.remarks
    refused(folder, "validation 10", "9 images", validation=10)


def test_without_a_test_split_a_fifth_of_the_training_images_is_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "train-00000-of-00001.parquet", [png(i) for i in range(20)])
    loaded, other = (load_images(tmp_path / "set", seed=seed) for seed in (0, 1))
    assert 1 <= len(loaded.test) <= 8
    assert loaded.test.labels is None
    assert loaded.label_names is None
    assert values(loaded.test.images) == values(other.test.images)
    everything = [value for part in (loaded.train, loaded.validation, loaded.test) for value in values(part.images)]
    assert sorted(everything) == list(range(20))


def test_a_named_set_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "mnist" / "train-00000-of-00001.parquet", [png(i) for i in range(20)])
    monkeypatch.setenv("DOUBLEBACK_DATA", str(tmp_path))
    loaded = load_images("mnist")
    assert values(loaded.test.images) == [4, 5, 13, 19]
    assert sorted(values(load_images("mnist", validation=3).validation.images)) == [11, 12, 15]


def test_limit_is_nested_and_the_same_for_every_seed(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set")
    few, more, other = (load_images(folder, limit=limit, seed=seed) for limit, seed in ((4, 0), (5, 0), (4, 1)))

    def read(loaded: ImageData) -> set[int]:
        return set(values(loaded.train.images)) | set(values(loaded.validation.images))

    assert len(read(few)) == len(few.test) == 4
    assert read(few) < read(more)
    assert read(few) == read(other)
    assert values(few.test.images) == values(other.test.images)
    assert values(load_images(folder, limit=1000).test.images) == list(range(6))


def test_more_validation_images_than_there_are() -> None:
    refused("digits", "validation 1437 is too many", "1437 images", validation=1437)
    refused("digits", "validation 1 is too many", "higher limit", limit=1)
    assert len(load_images("digits", validation=1436).train) == 1
    assert len(load_images("digits", limit=2).validation) == 1


def drawn(keys: Keys) -> tuple[set[int], set[int], set[int]]:
    """The images to train, to validate and to test on."""
    draw = ByImage()
    test = draw.test(keys)
    held_out = draw.validation(keys[~test], None, 0)
    return set(keys[~test][~held_out].tolist()), set(keys[~test][held_out].tolist()), set(keys[test].tolist())


@pytest.mark.parametrize("count", [3, 4, 6, 10, 30])
def test_small_sets_fill_each_part_and_move_no_training_image(count: int) -> None:
    """Only where nothing else is left to train or to validate on does an added image make a test image of one."""
    generator = np.random.default_rng(count)
    for _ in range(400):
        keys = generator.integers(2**63, size=count + 3, dtype=np.uint64)
        train, validation, test = drawn(keys[:count])
        assert train
        assert validation
        assert test
        _, later_validation, later_test = drawn(keys)
        assert not train & later_test or len(train | validation) == 2
        assert not train & later_validation or len(train) == 1
