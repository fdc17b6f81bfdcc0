"""From what was said to what is used: the preset, or the run that is started from, fills what was left out."""

from pathlib import Path

import pytest

from doubleback.errors import InputError
from doubleback.experiments import resolving
from doubleback.experiments.resolving import resolve
from doubleback.experiments.runs import TrainedRun, load_run
from doubleback.settings import Training

SMALL = {"data": "digits", "image_size": 8, "limit": 100}


@pytest.fixture
def parent(plain: Path) -> TrainedRun:
    return load_run(plain)


def said(**changes: object) -> Training:
    return Training().changed(**changes)


def test_the_preset_fills_what_was_left_out() -> None:
    settings, images, classes = resolve(said(limit=100, penalty="reconstruction", epochs=3), None)
    assert (images.name, images.image_shape, classes) == ("digits", (1, 28, 28), ())
    assert settings == said(
        data="digits", limit=100, model="vae", hidden=(512, 512), latent=32, likelihood="bernoulli", variance=0.02,
        penalty="reconstruction", penalty_start=0.5, kl_weight=1.0, epochs=3, batch_size=256,
        learning_rate=3e-3, parts="own", background="white",
    )  # fmt: skip


def test_a_weight_that_was_not_measured_for_it_is_left_to_the_objective() -> None:
    for changes in ({"penalty": "output"}, {"likelihood": "gaussian"}, {"likelihood": "gaussian", "variance": 0.1}):
        assert resolve(said(**SMALL, **{"penalty": "reconstruction"} | changes), None)[0].penalty.penalty_weight is None


def test_attention_has_a_preset_of_its_own() -> None:
    for changes, weight in (({}, None), ({"read_size": 3}, 0.015), ({"write_size": 3}, 0.015)):
        found = resolve(said(**SMALL, model="draw", penalty="reconstruction", **changes), None)[0]
        assert found.penalty.penalty_weight == weight


def test_classifiers_have_classes_and_nothing_of_an_autoencoder() -> None:
    settings, images, classes = resolve(said(**SMALL, model="mlp"), None)
    assert classes == tuple(str(digit) for digit in range(10))
    assert images.train.labels is not None
    of_preset = {"hidden": (512, 512), "epochs": 12, "batch_size": 128, "learning_rate": 2e-3}
    assert settings == said(**SMALL, model="mlp", **of_preset, parts="own", background="white")


def test_a_parent_gives_its_data_its_model_and_its_batches(parent: TrainedRun) -> None:
    settings, images, _ = resolve(said(penalty="reconstruction", epochs=2), parent)
    had = parent.settings
    assert (settings.images, settings.architecture) == (had.images, had.architecture)
    assert len(images.test) == len(parent.images().test)
    assert (settings.loop.batch_size, settings.loop.learning_rate) == (2, 3e-3)
    assert (settings.kl_weight, settings.penalty.penalty_start, settings.loop.epochs) == (0.1, 0.0, 2)
    assert resolve(said(), parent)[0].loop.epochs == 5
    again = {"model": "vae", "hidden": (32,), "latent": 4, "likelihood": "bernoulli"}
    assert resolve(said(**again), parent)[0].architecture == had.architecture, "the same may be said again"


def test_what_contradicts_the_parent(parent: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "open_images", lambda _: pytest.fail("the images are not needed to refuse it"))
    for changes, says in (
        ({"latent": 7}, r"--model.latent is 7, but .* has 4; leave it out"),
        ({"hidden": (32, 32)}, r"--model.hidden is \(32, 32\), but .* has \(32,\)"),
        ({"model": "draw"}, r"--model is draw, but .* has vae"),
        ({"likelihood": "gaussian"}, r"--likelihood is gaussian, but .* has bernoulli"),
        ({"variance": 0.5}, r"--variance is 0.5, but .* has 0.02"),
    ):
        with pytest.raises(InputError, match=says):
            resolve(said(**changes), parent)


def test_images_that_do_not_fit(parent: TrainedRun) -> None:
    with pytest.raises(InputError, match="takes images of 1 channel and 8x8 pixels, these are 1 channel and 9x9"):
        resolve(said(image_size=9), parent)
    with pytest.raises(InputError, match="--variance is of the Gaussian likelihoods"):
        resolve(said(**SMALL, variance=0.1), None)


def test_a_batch_must_be_shared_by_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is said is refused before the images are opened; the preset's is seen to as well."""
    with pytest.raises(InputError, match="batch size 256 does not divide over 3 processes"):
        resolve(said(**SMALL, devices=3), None)
    monkeypatch.setattr(resolving, "open_images", lambda _: pytest.fail("the images are not needed to refuse it"))
    with pytest.raises(InputError, match="batch size 5 does not divide over 2 processes"):
        resolve(said(**SMALL, devices=2, batch_size=5), None)


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16-mixed"), (False, "32")])
def test_the_fast_precision_is_the_machines(has: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doubleback.training.arithmetic.has_bf16", lambda: has)
    assert resolve(said(**SMALL, precision="fast"), None)[0].loop.precision == precision


def test_a_folder_means_the_same_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(settings: Training) -> object:
        raise InputError(str(settings.images.data))

    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resolving, "open_images", opened)
    with pytest.raises(InputError, match=str(tmp_path / "images")):
        resolve(said(data="images"), None)
