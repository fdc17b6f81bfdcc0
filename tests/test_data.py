"""`load_images` on small folders of parquet and of images made here, and `as_unit`."""

import copy
import io
import json
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from torch import Tensor

from doubleback import data as data_module
from doubleback.data import ImageData, as_unit, load_images
from doubleback.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOUBLEBACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DOUBLEBACK_DATA", raising=False)
    # The hub's client reads HF_HUB_OFFLINE when it is imported, which another test may have done.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def png(value: int, size: tuple[int, int] = (6, 5), mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(
    path: Path, images: Sequence[bytes | None], labels: Sequence[Any] | None = None, features: bool = True
) -> None:
    """As on the hub with `features`; without, as any other program would write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {
        "image": [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]
    }
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


def values(images: Tensor) -> list[int]:
    """The grey of each (constant) image."""
    assert bool((images == images[:, :1, :1, :1]).all())
    return images[:, 0, 0, 0].tolist()


def refused(source: Any, *words: str, **options: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_images(source, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message


def entries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


# What is read


def test_digits_are_enlarged_and_split_evenly_by_class() -> None:
    loaded = load_images("digits")
    assert loaded.image_shape == (1, 28, 28)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (1294, 143, 360)
    assert loaded.train.images.dtype == torch.uint8
    assert loaded.test.images.max() == 255
    assert loaded.test.labels is not None
    assert loaded.test.labels.bincount().min() >= 34
    assert loaded.label_names == tuple("0123456789")
    assert loaded.box == (0.0, 1.0)
    small = load_images("digits", image_size=8).test.images[:, 0].double().numpy()
    # Bilinear: pixel centres of 28 in units of 8, each axis in turn.
    at = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    across = np.apply_along_axis(lambda line: np.interp(at, np.arange(8), line), 2, small[:20])
    expected = np.apply_along_axis(lambda line: np.interp(at, np.arange(8), line), 1, across)
    assert np.abs(loaded.test.images[:20, 0].numpy() - expected).max() <= 1


def test_the_seed_draws_the_validation_images_and_nothing_else() -> None:
    first, again, other = (load_images("digits", seed=seed, limit=200) for seed in (0, 0, 1))
    assert torch.equal(first.validation.images, again.validation.images)
    assert not torch.equal(first.validation.images, other.validation.images)
    assert torch.equal(first.test.images, other.test.images)
    pools = [
        torch.cat([loaded.train.images, loaded.validation.images]).flatten(1) for loaded in (first, other)
    ]
    assert sorted(pools[0].tolist()) == sorted(pools[1].tolist())


@pytest.mark.parametrize("layout", [".", "data"])
def test_a_folder_in_the_layout_of_the_hub(tmp_path: Path, layout: str) -> None:
    hub_folder(tmp_path / "set" / layout)
    loaded = load_images(tmp_path / "set", validation=4)
    assert loaded.name == "set"
    assert loaded.image_shape == (1, 5, 6)
    assert loaded.label_names == ("cat", "dog", "eel")
    assert values(loaded.test.images) == list(range(6))
    assert len(loaded.train) == 16
    assert len(loaded.validation) == 4
    parts = [values(part.images) for part in (loaded.train, loaded.validation)]
    assert sorted(parts[0] + parts[1]) == list(range(20))
    for part in (loaded.train, loaded.validation, loaded.test):
        assert part.labels is not None
        assert part.labels.dtype == torch.int64
        assert part.labels.tolist() == [value % 3 for value in values(part.images)]


def test_validation_is_a_tenth_of_the_training_images_by_default(tmp_path: Path) -> None:
    assert len(load_images(hub_folder(tmp_path / "set", train=39)).validation) == 3


@pytest.mark.parametrize("split", ["validation", "valid"])
def test_the_validation_split_of_the_source_is_used(tmp_path: Path, split: str) -> None:
    folder = hub_folder(tmp_path / "set", **{split: 9, "extra": 3})
    loaded = load_images(folder)
    assert values(loaded.validation.images) == list(range(9))
    assert values(loaded.train.images) == list(range(20))
    fewer = load_images(folder, validation=4)
    assert len(set(values(fewer.validation.images))) == 4
    assert values(fewer.train.images) == list(range(20))
    refused(folder, "validation 10", "9 images", validation=10)


def test_without_a_test_split_a_fifth_of_the_training_images_is_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "train-00000-of-00001.parquet", [png(i) for i in range(20)])
    loaded, other = (load_images(tmp_path / "set", seed=seed) for seed in (0, 1))
    assert len(loaded.test) == 4
    assert loaded.test.labels is None
    assert loaded.label_names is None
    assert values(loaded.test.images) == values(other.test.images)
    everything = [
        value for part in (loaded.train, loaded.validation, loaded.test) for value in values(part.images)
    ]
    assert sorted(everything) == list(range(20))


def test_parquet_without_the_record_of_features(tmp_path: Path) -> None:
    labels = ["dog", "ant"] * 5
    for split in ("train", "test"):
        write_parquet(
            tmp_path / "set" / f"{split}.parquet", [png(i) for i in range(10)], labels, features=False
        )
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


def image_folder(folder: Path) -> Path:
    for split in ("train", "test"):
        for number, name in enumerate(("ant", "bee")):
            (folder / split / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (8, 6), (100 * number + i, 0, 0)).save(folder / split / name / f"{i}.png")
    return folder


def test_a_folder_of_images_with_classes(tmp_path: Path) -> None:
    loaded = load_images(image_folder(tmp_path / "insects"))
    assert loaded.image_shape == (3, 6, 8)
    assert loaded.label_names == ("ant", "bee")
    assert loaded.test.labels is not None
    assert loaded.test.labels.tolist() == [
        int(value >= 100) for value in loaded.test.images[:, 0, 0, 0].tolist()
    ]
    assert sorted(loaded.test.images[:, 0, 0, 0].tolist()) == [0, 1, 2, 3, 100, 101, 102, 103]


def test_the_first_image_decides_on_grey_or_colour(tmp_path: Path) -> None:
    grey = [png(9), png(90, mode="RGB"), png(9)]
    write_parquet(tmp_path / "grey" / "train.parquet", grey)
    write_parquet(tmp_path / "colour" / "train.parquet", grey[::-1][1:])
    assert load_images(tmp_path / "grey").image_shape == (1, 5, 6)
    assert load_images(hub_folder(tmp_path / "set")).image_shape == (1, 5, 6)
    write_parquet(tmp_path / "rgb" / "train.parquet", [png(90, mode="RGB"), png(9), png(90, mode="RGB")])
    assert load_images(tmp_path / "rgb").image_shape == (3, 5, 6)


def test_sixteen_bit_greys_keep_their_range(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((4, 4), 128 * 256 + i, np.uint16)).save(folder / f"{i}.png")
    assert values(load_images(folder).train.images) == [128]


def test_image_size_crops_to_the_centred_square_and_smooths(tmp_path: Path) -> None:
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 127
    fine = np.indices((16, 16)).sum(0) % 2 * np.uint8(255)
    images = []
    for picture in (wide, fine, fine):
        stream = io.BytesIO()
        Image.fromarray(picture.astype(np.uint8)).save(stream, "PNG")
        images.append(stream.getvalue())
    write_parquet(tmp_path / "set" / "train.parquet", images)
    refused(tmp_path / "set", "12x4", "16x16", "train row", "--image-size")
    loaded = load_images(tmp_path / "set", image_size=4)
    for part in (loaded.train, loaded.validation, loaded.test):
        assert part.images.shape == (1, 1, 4, 4)
        assert (part.images.double() - 127.5).abs().max() < 10


def test_limit_is_nested_and_the_same_for_every_seed(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set")
    few, more, other = (
        load_images(folder, limit=limit, seed=seed) for limit, seed in ((4, 0), (5, 0), (4, 1))
    )

    def read(loaded: ImageData) -> set[int]:
        return set(values(loaded.train.images)) | set(values(loaded.validation.images))

    assert len(read(few)) == len(few.test) == 4
    assert read(few) < read(more)
    assert read(few) == read(other)
    assert values(few.test.images) == values(other.test.images)
    assert values(load_images(folder, limit=1000).test.images) == list(range(6))


def test_images_beyond_the_limit_are_not_decoded(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set")
    loaded = load_images(folder, limit=4)
    kept = {*values(loaded.train.images), *values(loaded.validation.images)}
    images = [png(i) if i in kept else b"broken" for i in range(20)]
    write_parquet(folder / "train-00000-of-00001.parquet", images, [0] * 20)
    assert len(load_images(folder, limit=4).train) == 3
    refused(folder, "not a readable image")


# The hub


def test_names_lead_to_the_hub_unless_a_folder_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused("mnist", "cannot reach", "ylecun/mnist", "local folder", "DOUBLEBACK_DATA")
    monkeypatch.setenv("DOUBLEBACK_DATA", str(tmp_path))
    refused("mnist", "cannot reach")
    hub_folder(tmp_path / "mnist")
    hub_folder(tmp_path / "celeba")
    assert load_images("mnist").name == "mnist"
    assert load_images("celeba", limit=3).image_shape == (1, 64, 64)
    assert load_images("celeba", limit=3, image_size=4).image_shape == (1, 4, 4)


def test_from_the_hub_only_the_parts_asked_for_are_read(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = hub_folder(tmp_path / "set", extra=4), []
    load = datasets.load_dataset

    def stand_in(repository: str, config: str | None) -> Any:
        asked.append((repository, config))
        return load(str(folder), cache_dir=str(tmp_path / "arrow"))

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    first, again = load_images("svhn"), load_images("svhn")
    assert asked == [("ufldl-stanford/svhn", "cropped_digits")] * 2
    assert len(entries(cache)) == 1
    assert torch.equal(first.train.images, again.train.images)
    assert load_images("someone/else").name == "someone/else"
    assert asked[-1] == ("someone/else", None)


def test_an_unreachable_hub_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    start = time.monotonic()
    refused("nobody/no-such-set", "cannot reach", "nobody/no-such-set")
    assert time.monotonic() - start < 1
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_set_that_the_hub_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        error = huggingface_hub.errors.RepositoryNotFoundError
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unknown)
    refused("nobody/no-such-set", "nobody/no-such-set", "spelling", "hf auth login")


# The cache


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every image decoded."""
    counted, decode = [], data_module._array

    def counting(*arguments: Any) -> Any:
        counted.append(1)
        return decode(*arguments)

    monkeypatch.setattr(data_module, "_array", counting)
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
    assert names == {"train.npy", "test.npy", "train-labels.npy", "test-labels.npy", "images.json"}


def test_changed_files_and_other_options_are_decoded_anew(
    tmp_path: Path, cache: Path, decodings: list[int]
) -> None:
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
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(loaded, part).images, getattr(expected, part).images)
        assert torch.equal(getattr(loaded, part).labels, getattr(expected, part).labels)
    assert entries(cache) == [entry]
    assert np.load(entry / "train.npy").shape == (20, 1, 5, 6)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_decoding_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    folder = hub_folder(tmp_path / "set")
    decode, left = data_module._array, iter(range(22))

    def failing(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise failure
        return decode(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(data_module, "_array", failing)
        with pytest.raises(failure):
            load_images(folder)
    assert entries(cache) == []
    assert values(load_images(folder).test.images) == list(range(6))


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        for allowed in (1 << 20, 1 << 10):  # the decoded images do not fit; not even the Arrow file does
            resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, monkeypatched[1]))
            refused(folder, "cannot write", "free some space")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, monkeypatched)
        signal.signal(signal.SIGXFSZ, previous)
    assert entries(cache) == []


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_where_the_cache_is_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("DOUBLEBACK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "here"))
    load_images(hub_folder(tmp_path / "set"))
    inside = {"XDG_CACHE_HOME": "doubleback", "HOME": ".cache/doubleback"}[variable]
    assert len(entries(tmp_path / "here" / inside)) == 1


def test_nothing_is_said_and_the_settings_of_datasets_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    load_images(hub_folder(tmp_path / "set"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.parquet").write_bytes(b"PAR1 and then nothing PAR1")
    refused(tmp_path / "bad")
    assert capfd.readouterr() == ("", "")
    assert (level, bars) == (datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled())


def test_a_bar_appears_when_two_seconds_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.progress.Progress.start", lambda _: started.append(True))
    for seconds, expected in ((0.0, 0), (1.0, 1)):
        clock = iter(np.arange(100) * seconds)
        monkeypatch.setattr("time.monotonic", lambda clock=clock: next(clock))
        with data_module._progress(50) as advance:
            advance()
        assert len(started) == expected


# Refusals


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "absent", "does not exist")
    refused("./absent", "./absent", "does not exist")
    refused(Path("owner/name"), "does not exist")
    (tmp_path / "file.png").write_bytes(png(1))
    refused(tmp_path / "file.png", "is a file", f"give {tmp_path}")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is empty", "expected")
    refused("mnsit", "unknown data set 'mnsit'", "did you mean mnist?", "digits, mnist, svhn, celeba")
    refused("", "unknown data set ''")


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    images = [png(i) for i in range(10)]
    images[7] = images[7][:40]
    write_parquet(tmp_path / "set" / "train.parquet", [png(0)] * 10)
    write_parquet(tmp_path / "set" / "test.parquet", images)
    refused(tmp_path / "set", "test row 7 of 7.png", "not a readable image", "replace or remove it")
    write_parquet(tmp_path / "set" / "test.parquet", [png(0), b""])
    refused(tmp_path / "set", "test row 1")
    folder = image_folder(tmp_path / "insects")
    (folder / "train" / "bee" / "2.png").write_bytes(b"junk")
    refused(folder, "train row 6", str(folder / "train" / "bee" / "2.png"))


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


def test_folders_without_images(tmp_path: Path) -> None:
    for name, table in (("numbers", {"label": [1, 2]}), ("flat", {"image": [1, 2], "b": [3, 4]})):
        (tmp_path / name).mkdir()
        parquet.write_table(pa.table(table), tmp_path / name / "train.parquet")
    refused(tmp_path / "numbers", "no column of images", "columns: label", "`image`")
    refused(tmp_path / "flat", "no column of images", "image, b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme.xyz").write_text("hello")
    refused(tmp_path / "other", "other", "cannot be read", "expected parquet")


def test_a_source_without_training_images_or_with_too_few(tmp_path: Path) -> None:
    write_parquet(tmp_path / "held" / "test-00000-of-00001.parquet", [png(1)])
    refused(tmp_path / "held", "no training images", "found test")
    write_parquet(tmp_path / "one" / "train.parquet", [png(1)])
    refused(tmp_path / "one", "holds 1 image")
    write_parquet(tmp_path / "two" / "train.parquet", [png(1)] * 2)
    refused(tmp_path / "two", "validation 1 is too many", "1 images")


def test_a_missing_label_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "train.parquet", [png(1)] * 3, ["a", None, "b"], features=False)
    refused(tmp_path / "set", "no label", "remove that column")


@pytest.mark.parametrize("option", ["image_size", "limit", "validation"])
@pytest.mark.parametrize("value", [0, -3])
def test_options_out_of_range(option: str, value: int) -> None:
    refused("digits", f"{option.replace('_', ' ')} {value}", "at least 1", **{option: value})


def test_more_validation_images_than_there_are() -> None:
    refused("digits", "validation 1437 is too many", "1437 images", validation=1437)
    refused("digits", "validation 1 is too many", "higher limit", limit=1)
    assert len(load_images("digits", validation=1436).train) == 1
    assert len(load_images("digits", limit=2).validation) == 1


# Images from a caller


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=6), st.sampled_from([torch.float32, torch.float64]))
def test_whole_numbers_become_shares_of_255_and_these_stay(pixels: list[int], dtype: torch.dtype) -> None:
    images = torch.tensor(pixels, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    unit = as_unit(images)
    assert unit.dtype == torch.float32
    assert torch.equal((unit * 255).round().to(torch.uint8), images)
    given_floats = unit.to(dtype)
    assert as_unit(given_floats) is given_floats


@settings(deadline=None, max_examples=40)
@given(st.floats(allow_nan=True, allow_infinity=True, width=32), st.integers(0, 11))
def test_any_float_outside_the_box_is_refused(value: float, where: int) -> None:
    images = torch.full((2, 1, 2, 3), 0.5)
    images.view(-1)[where] = value
    if 0 <= value <= 1:
        assert as_unit(images) is images
    else:
        with pytest.raises(InputError):
            as_unit(images)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((1, 1, 2, 2), 255.0), "max 255.0: divide by 255"),
        (torch.full((1, 1, 2, 2), 1.5), "max 1.5: rescale or clamp"),
        (torch.full((1, 1, 2, 2), torch.inf), "max inf: rescale or clamp"),
        (torch.full((1, 1, 2, 2), -1.0), "min -1.0: use (x + 1) / 2"),
        (torch.full((1, 1, 2, 2), -9.0), "min -9.0: rescale or clamp"),
        (torch.tensor([0.5, torch.nan]).reshape(1, 1, 1, 2), "NaN"),
        (torch.zeros(2, 2), "(2, 2); expected (N, C, H, W)"),
        (torch.zeros(0, 1, 2, 2), "(0, 1, 2, 2)"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.int64), "torch.int64; give uint8"),
    ],
)
def test_what_is_wrong_with_a_callers_images_is_named(images: Tensor, words: str) -> None:
    with pytest.raises(InputError) as caught:
        as_unit(images)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
