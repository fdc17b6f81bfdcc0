"""Where a source is found, and what is said when it is not."""

import errno
import logging
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
import torch

from doubleback.data import load_images, settled
from tests.data.folders import entries, everything, hub_folder, png, refused


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


def of_the_hub(**parts: Any) -> datasets.DatasetDict:
    """A set as `datasets` hands it out: for each part its images, bytes or the names of files."""
    kept = {"image": datasets.Image()}
    rows = {part: {"image": [{"bytes": b, "path": p} for b, p in images]} for part, images in parts.items()}
    return datasets.DatasetDict(
        {part: datasets.Dataset.from_dict(held, datasets.Features(kept)) for part, held in rows.items()}
    )


def pngs(count: int) -> list[tuple[bytes, None]]:
    return [(png(i), None) for i in range(count)]


def test_parts_of_the_hub_that_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = of_the_hub(train=pngs(9), test=pngs(4), unsupervised=pngs(5), validation=[])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: found)
    loaded = load_images("someone/else")
    assert (len(loaded.train) + len(loaded.validation), len(loaded.test)) == (9, 4)
    assert "5 images left out: the split unsupervised, which is neither" in "\n".join(map(str, loaded.remarks))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: of_the_hub(test=pngs(4), train=[]))
    refused("someone/other", "someone/other has no training images")


def test_a_path_that_stands_for_an_image_is_followed_in_the_hubs_cache_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub").mkdir()
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", str(tmp_path / "hub"))
    for i in range(6):
        for home in (tmp_path / "hub", tmp_path):
            (home / f"{i}.png").write_bytes(png(i))
    for home in ("hub", "hub/.."):
        held = [(None, str(tmp_path / home / f"{i}.png")) for i in range(6)]
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, held=held: of_the_hub(train=held))
        if home == "hub":
            assert everything(load_images("someone/else")) == list(range(6))
        else:
            refused("someone/else", "0.png is the name of a file, and no image is stored")


@pytest.mark.parametrize("shown", [False, True])
def test_what_the_hubs_client_shows_is_as_it_was(monkeypatch: pytest.MonkeyPatch, shown: bool) -> None:
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    before = datasets.are_progress_bars_disabled()
    for logger in loggers:
        monkeypatch.setattr(logger, "level", logging.WARNING)

    def damaged(*_: Any) -> None:
        assert datasets.are_progress_bars_disabled()
        assert not any(logger.isEnabledFor(logging.CRITICAL) for logger in loggers)
        raise ValueError("no such feature")

    monkeypatch.setattr(datasets, "load_dataset", damaged)
    switch = {False: datasets.disable_progress_bars, True: datasets.enable_progress_bars}
    try:
        switch[shown]()
        refused("someone/else", "someone/else cannot be read (no such feature)", "give a data set of images")
        assert datasets.are_progress_bars_disabled() is not shown
    finally:
        switch[not before]()
    assert [logger.level for logger in loggers] == [logging.WARNING] * 2


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
    refused("./" + "x" * 300, "cannot be reached (File name too long)")
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
