"""Runs and classifiers to read, made once; who changes one takes a `copy`."""

import shutil
from pathlib import Path

import pytest

from doubleback.experiments.classifiers import classify
from doubleback.experiments.training import train
from doubleback.settings import Mixture, Training
from doubleback.settings.commands import Audit, Classify, Train

WORDS = ("doubleback",)
QUICK = {"data": "digits", "image_size": 8, "limit": 300, "hidden": (32,), "latent": 4}
QUICK |= {"epochs": 4, "batch_size": 2, "kl_weight": 0.1}


def settings(output: Path, *, resume: bool = False, **changes: object) -> Train:
    """A run of a second: small digits, a small model; `changes` by the names of the innermost settings."""
    return Train(output, Training().changed(**{**QUICK, **changes}), resume)


def quick(
    *runs: Path, output: Path | None = None, split: str = "test", data: str | None = None, **changes: object
) -> Audit:
    """An audit of a second."""
    asked = Audit(runs, output=output, split=split, data=data)  # type: ignore[arg-type]
    auditing = asked.auditing.changed(**{"pairs": 4, "coefficients": 4, "steps": 8, **changes})
    return Audit(runs, output=output, split=split, data=data, auditing=auditing)  # type: ignore[arg-type]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and what it holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "plain"
    train(settings(folder), WORDS)
    return folder


@pytest.fixture(scope="session")
def hardened(plain: Path) -> Path:
    folder = plain.parent / "hardened"
    train(settings(folder, penalty="reconstruction"), WORDS)
    return folder


@pytest.fixture(scope="session")
def mixture(hardened: Path) -> Path:
    folder = hardened.parent / "mixture"
    classify(Classify(hardened, Mixture(components=2), folder), WORDS)
    return folder


@pytest.fixture(scope="session")
def mlp(hardened: Path) -> Path:
    folder = hardened.parent / "mlp"
    of_mlp = {"model": "mlp", "latent": None, "kl_weight": None, "epochs": 15, "batch_size": 16}
    train(settings(folder, **of_mlp), WORDS)
    return folder


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "copy"))
