"""A source is decoded once, and again whenever it or its copy in the cache has changed."""

import copy
import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from doubleback.data import cache as data_cache
from doubleback.data import decoding, load_images, loading
from doubleback.files import temporary
from tests.data.folders import entries, everything, hub_folder, png, refused, values, write_parquet


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every image decoded."""
    counted, decode = [], decoding.to_pixels

    def counting(*arguments: Any) -> Any:
        counted.append(1)
        return decode(*arguments)

    monkeypatch.setattr(decoding, "to_pixels", counting)
    return counted


def test_a_second_call_decodes_nothing(tmp_path: Path, cache: Path, decodings: list[int]) -> None:
    folder = hub_folder(tmp_path / "set")
    first = load_images(folder)
    assert len(decodings) == 26
    first.train.images.fill_(7)  # a caller's own business: neither file nor later calls see it
    second = load_images(folder)
    assert len(decodings) == 26
    assert values(second.test.images) == list(range(6))
    assert 7 not in values(second.train.images)[8:]
    (entry,) = entries(cache)
    assert entry.name.startswith("set-")
    names = {path.name for path in entry.iterdir()}
    each = {f"{part}{array}.npy" for part in ("train", "test") for array in ("", "-labels", "-keys")}
    assert names == each | {"images.json"}


def test_changed_files_and_other_options_are_decoded_anew(tmp_path: Path, cache: Path, decodings: list[int]) -> None:
    folder = hub_folder(tmp_path / "set")
    load_images(folder)
    load_images(folder, seed=3, validation=2)
    assert len(decodings) == 26
    load_images(folder, limit=2)
    assert len(decodings) == 30
    load_images(folder, image_size=3)
    assert len(decodings) == 56
    os.utime(folder / "test-00000-of-00001.parquet", ns=(1, 1))
    load_images(folder)
    assert len(decodings) == 82
    assert len(entries(cache)) == 4


def damage_truncated(entry: Path) -> None:
    os.truncate(entry / "train.npy", 200)


def damage_dtype(entry: Path) -> None:
    np.save(entry / "train.npy", np.load(entry / "train.npy").astype(np.int16))


def damage_count(entry: Path) -> None:
    np.save(entry / "train.npy", np.load(entry / "train.npy")[1:])


def damage_labels(entry: Path) -> None:
    np.save(entry / "test-labels.npy", np.zeros(2, np.int64))


def damage_keys(entry: Path) -> None:
    np.save(entry / "train-keys.npy", np.zeros(20, np.int64))


def damage_missing(entry: Path) -> None:
    (entry / "test.npy").unlink()


def damage_record(entry: Path) -> None:
    (entry / "images.json").write_text(json.dumps([1]))


def damage_json(entry: Path) -> None:
    (entry / "images.json").write_text("{")


def damage_empty(entry: Path) -> None:
    (entry / "test-labels.npy").write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncated,
        damage_dtype,
        damage_count,
        damage_labels,
        damage_keys,
        damage_missing,
        damage_record,
        damage_json,
        damage_empty,
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path: Path, cache: Path, damage: Callable[[Path], None]) -> None:
    folder = hub_folder(tmp_path / "set")
    expected = copy.deepcopy(load_images(folder))  # off the files that are about to be damaged
    (entry,) = entries(cache)
    damage(entry)
    loaded = load_images(folder)
    assert loaded.train.images.dtype == torch.uint8
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(loaded, part).images, getattr(expected, part).images)
        assert torch.equal(getattr(loaded, part).labels, getattr(expected, part).labels)
    assert entries(cache) == [entry]
    assert np.load(entry / "train.npy").shape == (20, 1, 5, 6)


def test_what_a_killed_decoding_left_is_swept_whatever_is_loaded(tmp_path: Path, cache: Path) -> None:
    """Also where nothing is to be decoded; what belongs to a process that lives stays."""
    folder = hub_folder(tmp_path / "set")
    load_images(folder)
    (entry,) = entries(cache)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    own = f"-{os.getpid()}-"
    left, alive = (cache / f"{temporary('decoding')}x".replace(own, f"-{pid}-") for pid in (killed.pid, os.getppid()))
    for scratch in (left, alive):
        (scratch / "decoded").mkdir(parents=True)
        (scratch / "decoded" / "train.npy").touch()
    load_images(folder)
    assert set(entries(cache)) == {entry, alive}


def test_a_decoding_says_whose_it_is(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, decode = [], decoding.decode

    def looking(place: str, opened: Any, reading: Any, folder: Path) -> None:
        seen.append(folder.parent.name)
        decode(place, opened, reading, folder)

    monkeypatch.setattr(data_cache, "decode", looking)
    load_images(hub_folder(tmp_path / "set"))
    (name,) = seen
    assert name.startswith(".doubleback-decoding-")
    assert f"-{os.getpid()}-" in name


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_decoding_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    folder = hub_folder(tmp_path / "set")
    decode, left = decoding.to_pixels, iter(range(22))

    def failing(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise failure
        return decode(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "to_pixels", failing)
        with pytest.raises(failure):
            load_images(folder)
    assert entries(cache) == []
    assert values(load_images(folder).test.images) == list(range(6))


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("DOUBLEBACK_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert values(load_images(hub_folder(tmp_path / "set")).test.images) == list(range(6))
    assert entries(tmp_path / "temporary") == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    refused(tmp_path / "set", "cannot write", "DOUBLEBACK_CACHE", "Not a directory")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "set"
    write_parquet(folder / "train.parquet", [png(i, (400, 400)) for i in range(20)])
    monkeypatched = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for allowed in (1 << 20, 1 << 10):
            resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, monkeypatched[1]))
            refused(folder, "cannot write", "free some space")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, monkeypatched)
        signal.signal(signal.SIGXFSZ, previous)
    assert entries(cache) == []


def test_a_full_disk_under_the_cache_alone_is_done_without(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes: list[Path] = []
    decode = decoding.decode

    def full_at_first(place: str, opened: Any, reading: Any, folder: Path) -> None:
        homes.append(folder)
        decode(place, opened, reading, folder)
        if len(homes) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(data_cache, "decode", full_at_first)
    assert values(load_images(hub_folder(tmp_path / "set")).test.images) == list(range(6))
    assert [home.is_relative_to(cache) for home in homes] == [True, False]
    assert entries(cache) == []
    assert not homes[1].exists()


def test_a_file_rewritten_with_its_size_and_time_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(6):
        Image.new("L", (4, 4), i).save(folder / f"{i}.bmp")
    assert 99 not in everything(load_images(folder))
    file = folder / "3.bmp"
    status = file.stat()
    Image.new("L", (4, 4), 99).save(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert 99 in everything(load_images(folder))


def test_images_that_no_disk_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hub_folder(tmp_path / "set")
    refused(folder, "image size 100000 is out of range", "8192", image_size=100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    refused(folder, "26 images of 40x40 take", "--limit", image_size=40)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 26 * 40 * 40}))
    monkeypatch.setattr(loading, "LARGEST_SIDE", 40)
    assert load_images(folder, image_size=40).image_shape == (1, 40, 40)
    refused(folder, "image size 41 is out of range", "at most 40", image_size=41)


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_where_the_cache_is_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("DOUBLEBACK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "here"))
    load_images(hub_folder(tmp_path / "set"))
    inside = {"XDG_CACHE_HOME": "doubleback", "HOME": ".cache/doubleback"}[variable]
    assert len(entries(tmp_path / "here" / inside)) == 1
