"""`load_images`: the digits, and folders as a user has them."""

import logging
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from doubleback.data import load_images
from tests.data.folders import hub_folder, image_folder, refused, values


def test_digits_are_enlarged_and_split_evenly_by_class() -> None:
    loaded = load_images("digits")
    assert loaded.image_shape == (1, 28, 28)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (1294, 143, 360)
    assert loaded.train.images.dtype == torch.uint8
    assert loaded.test.images.max() == 255
    assert loaded.test.labels is not None
    assert loaded.test.labels.bincount().min() >= 34
    assert loaded.label_names == tuple("0123456789")
    small = load_images("digits", image_size=8).test.images[:, 0].double().numpy()
    # Bilinear: pixel centres of 28 in units of 8, each axis in turn.
    at = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    across = np.apply_along_axis(lambda line: np.interp(at, np.arange(8), line), 2, small[:20])
    expected = np.apply_along_axis(lambda line: np.interp(at, np.arange(8), line), 1, across)
    assert np.abs(loaded.test.images[:20, 0].numpy() - expected).max() <= 1


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


def test_a_folder_of_images_with_classes(tmp_path: Path) -> None:
    loaded = load_images(image_folder(tmp_path / "insects"))
    assert loaded.image_shape == (3, 6, 8)
    assert loaded.label_names == ("ant", "bee")
    assert loaded.test.labels is not None
    assert loaded.test.labels.tolist() == [int(value >= 100) for value in loaded.test.images[:, 0, 0, 0].tolist()]
    assert sorted(loaded.test.images[:, 0, 0, 0].tolist()) == [0, 1, 2, 3, 100, 101, 102, 103]


def test_nothing_is_said_and_the_settings_of_datasets_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    for logger in loggers:
        monkeypatch.setattr(logger, "level", logging.WARNING)
    bars = datasets.are_progress_bars_disabled()
    load_images(hub_folder(tmp_path / "set"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.parquet").write_bytes(b"PAR1 and then nothing PAR1")
    refused(tmp_path / "bad")
    assert capfd.readouterr() == ("", "")
    assert [logger.level for logger in loggers] == [logging.WARNING] * 2
    assert datasets.are_progress_bars_disabled() == bars


@pytest.mark.parametrize("option", ["image_size", "limit", "validation"])
@pytest.mark.parametrize("value", [0, -3])
def test_options_out_of_range(option: str, value: int) -> None:
    refused("digits", f"{option.replace('_', ' ')} {value}", "at least 1", **{option: value})


def test_importing_the_package_leaves_the_heavy_libraries_for_later() -> None:
    heavy = "{'datasets', 'sklearn', 'PIL', 'pyarrow', 'huggingface_hub'}"
    code = f"import sys, doubleback.data; sys.exit(str({heavy} & set(sys.modules) or ''))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == "\n"
