"""Trained runs to read, made once."""

from pathlib import Path

import pytest

from doubleback.experiments.config import Sizes, Train
from doubleback.experiments.run import train


def settings(output: Path, **changes: object) -> Train:
    """A run of a second: small digits, a small model."""
    quick = {"data": "digits", "image_size": 8, "limit": 300, "sizes": Sizes(hidden=(32,), latent=4)}
    quick |= {"epochs": 4, "batch_size": 2, "kl_weight": 0.1}
    return Train(output=output, **{**quick, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "plain"
    train(settings(folder), ["doubleback", "train"])
    return folder


@pytest.fixture(scope="session")
def hardened(plain: Path) -> Path:
    folder = plain.parent / "hardened"
    train(settings(folder, penalty="reconstruction"), ["doubleback", "train"])
    return folder
