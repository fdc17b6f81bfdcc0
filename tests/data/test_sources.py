"""Where a source is found, and what is said when it is not."""

import errno
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
import torch

from doubleback.data import load_images, settled
from tests.data.folders import entries, hub_folder, png, refused


def test_names_lead_to_the_hub_unless_a_folder_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("mnist", "cannot reach", "ylecun/mnist", "local folder", "DOUBLEBACK_DATA")
    monkeypatch.setenv("DOUBLEBACK_DATA", str(tmp_path))
    refused("mnist", "cannot reach")
    hub_folder(tmp_path / "mnist")
    hub_folder(tmp_path / "celeba")
    assert load_images("mnist").name == "mnist"
    assert load_images("celeba", limit=3).image_shape == (1, 64, 64)
    assert load_images("celeba", limit=3, image_size=4).image_shape == (1, 4, 4)


def test_any_plain_name_leads_to_its_folder_where_the_data_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_folder(tmp_path / "home" / "faces", train=20)
    hub_folder(tmp_path / "work" / "faces", train=30)
    monkeypatch.chdir(tmp_path / "work")
    assert len(load_images("faces", validation=1).train) == 29
    assert settled("faces") == str(tmp_path / "work" / "faces")
    monkeypatch.setenv("DOUBLEBACK_DATA", str(tmp_path / "home"))
    assert len(load_images("faces", validation=1).train) == 19
    assert settled("faces") == "faces", "the same from anywhere"
    assert len(load_images("./faces", validation=1).train) == 29
    refused("nofaces", "unknown data set")


def test_from_the_hub_only_the_parts_asked_for_are_read(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = hub_folder(tmp_path / "set", validation=7, extra=4), []
    load = datasets.load_dataset

    def stand_in(repository: str, config: str | None) -> Any:
        asked.append((repository, config))
        found = load(str(folder), cache_dir=str(tmp_path / "arrow"))
        found["valid"] = found.pop("validation")  # as some sets of the hub call it
        return found

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    first, again = load_images("svhn"), load_images("svhn")
    assert asked == [("ufldl-stanford/svhn", "cropped_digits")] * 2
    assert len(entries(cache)) == 1
    assert torch.equal(first.train.images, again.train.images)
    assert (len(first.train), len(first.validation), len(first.test)) == (20, 7, 6)
    assert load_images("someone/else").name == "someone/else"
    assert asked[-1] == ("someone/else", None)


def test_an_unreachable_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    def not_stored(*_: Any) -> None:
        assert datasets.config.HF_HUB_OFFLINE is True  # or half a minute of retries would follow
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(datasets, "load_dataset", not_stored)
    refused("nobody/no-such-set", "cannot reach", "nobody/no-such-set")
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_set_that_the_hub_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        error = huggingface_hub.errors.RepositoryNotFoundError
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unknown)
    refused("nobody/no-such-set", "nobody/no-such-set", "spelling", "hf auth login")


def test_a_disk_that_a_set_of_the_hub_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("while writing") from error

    monkeypatch.setattr(datasets, "load_dataset", full)
    refused("mnist", "cannot store ylecun/mnist", "No space left on device", "HF_HOME")


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "absent", "does not exist")
    refused("./absent", "./absent", "does not exist")
    refused(Path("owner/name"), "does not exist")
    refused(Path("mnist"), "mnist does not exist")
    (tmp_path / "file.png").write_bytes(png(1))
    refused(tmp_path / "file.png", "is a file", f"give {tmp_path}")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is empty", "expected")
    refused("mnsit", "unknown data set 'mnsit'", "did you mean mnist?", "digits, mnist, svhn, celeba")
    refused("nothing-alike", "unknown data set 'nothing-alike'; known: digits")
    refused("", "unknown data set ''")


@pytest.mark.parametrize("size", [10, 900])
def test_damaged_parquet_is_named(tmp_path: Path, size: int) -> None:
    folder = hub_folder(tmp_path / "set")
    file = folder / "test-00000-of-00001.parquet"
    content = bytearray(file.read_bytes())
    if size == 10:
        file.write_bytes(content[:10])
    else:  # the footer is whole, a page is not
        content[20:size] = bytes(size - 20)
        file.write_bytes(content)
    refused(folder, str(file), "not readable parquet", "replace it")
