"""Colour at 32x32 and 64x64, as svhn and celeba come, and the memory that a large set takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from doubleback.data import load_images
from tests.data.folders import png, write_parquet


def colour_folder(folder: Path, size: int, train: int, test: int = 4) -> Path:
    for split, count in {"train": train, "test": test}.items():
        images = [png(i % 256, (size, size), "RGB") for i in range(count)]
        write_parquet(folder / f"{split}-00000-of-00001.parquet", images)
    return folder


@pytest.mark.parametrize("size", [32, 64])
def test_colour_folders(tmp_path: Path, size: int) -> None:
    loaded = load_images(colour_folder(tmp_path / "set", size, train=20))
    assert loaded.image_shape == (3, size, size)
    reds = loaded.test.images[:, 0, 0, 0].tolist()
    assert reds == [0, 1, 2, 3]
    assert loaded.test.images[:, 2, size - 1, 0].tolist() == [255 - red for red in reds]
    assert loaded.test.labels is None


def test_celeba_from_a_local_folder_is_64x64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images are 178x218: the centred square, at 64x64, unless another size is asked for."""
    images = [png(i, (178, 218), "RGB") for i in range(12)]
    for split in ("train", "valid", "test"):
        write_parquet(tmp_path / "celeba" / f"{split}-00000-of-00001.parquet", images)
    monkeypatch.setenv("DOUBLEBACK_DATA", str(tmp_path))
    loaded = load_images("celeba")
    assert loaded.image_shape == (3, 64, 64)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (12, 12, 12)
    assert load_images("celeba", image_size=32).image_shape == (3, 32, 32)


READ_AND_WEIGH = """
import sys
import torch
from doubleback.data import load_images
from doubleback.tensors import as_unit
images = load_images(sys.argv[1], validation=100).train.images  # what is held out changes places in memory
for rows in torch.randperm(len(images)).split(128):
    as_unit(images[rows]).mean()
(line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
print(int(line.split()[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """Eight times as many images, 129 MB more of them: mapped, not copied, after decoding them and from the cache."""
    for again in (False, True):
        megabytes = []
        for count in (1500, 12_000):
            folder = tmp_path / str(count)
            if not again:
                colour_folder(folder, 64, count)
            done = subprocess.run(
                [sys.executable, "-c", READ_AND_WEIGH, str(folder)], capture_output=True, text=True, check=True
            )
            megabytes.append(float(done.stdout))
        assert megabytes[1] - megabytes[0] < 43, (again, megabytes)  # two starts of Python differ by 25 MB
