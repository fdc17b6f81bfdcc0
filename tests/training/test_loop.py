"""Training: what it learns, what it logs, and what it refuses."""

import csv
import math
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.models import VAE
from doubleback.settings import Loop
from doubleback.training import History, arithmetic, fit, loop, settled_precision
from tests.training.conftest import Finished, Learned
from tests.training.runs import fresh, same, train, weights


def test_it_learns(learned: dict[str, Learned]) -> None:
    first, *_, last = learned["none"].history.rows
    assert last["validation_l2"] < 0.7 * first["validation_l2"]  # type: ignore[operator]
    assert last["loss"] == pytest.approx(last["reconstruction"] + last["kl"], rel=1e-4)  # type: ignore[operator]


def test_the_penalty_lowers_what_it_penalises(learned: dict[str, Learned]) -> None:
    figures = {penalty: run.figures for penalty, run in learned.items()}
    assert figures["reconstruction"]["input_gradient_norm"] < figures["none"]["input_gradient_norm"]
    for of in ("output", "latent"):
        assert figures[of][f"{of}_jacobian"]["frobenius"] < figures["none"][f"{of}_jacobian"]["frobenius"]


def test_learning_rate_rises_to_its_peak_and_falls(learned: dict[str, Learned]) -> None:
    rates = [row["learning_rate"] for row in learned["none"].history.rows]
    peak = rates.index(max(rates))  # type: ignore[type-var]
    assert 0 < peak < 10
    assert rates[peak] == pytest.approx(loop.DEFAULTS["learning_rate"], rel=0.01)
    assert rates[-1] < 1e-4  # type: ignore[operator]


def test_the_log_has_a_row_an_epoch(whole: Finished) -> None:
    with (whole.folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    head = ["epoch", "step", "seconds", "learning_rate", "penalty_weight", "loss", "reconstruction", "kl", "penalty"]
    assert list(rows[0]) == [*head, "validation_reconstruction", "validation_kl", "validation_l2"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20]
    assert [row["penalty"] != "" for row in rows] == [False, False, True, True]
    assert [float(row["penalty_weight"]) for row in rows] == [0, 0, 0.03, 0.03]
    assert float(rows[-1]["loss"]) == whole.history.rows[-1]["loss"]


def test_the_same_seed_gives_the_same_weights(whole: Finished, tiny: ImageData) -> None:
    """Whether it is said by name or in `Loop`."""
    again, other = fresh(), fresh()
    fit(again, tiny, Loop(epochs=4, batch_size=8, seed=0), batch_size=32, progress=False)
    train(other, tiny, seed=1)
    assert same(weights(again), whole.weights)
    assert not same(weights(other), whole.weights)


def test_losses_that_are_read_late_are_the_same(
    whole: Finished, tiny: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, which is not asked at every step: here after three of an epoch's five steps, and after its last."""
    monkeypatch.setitem(loop.UNREAD, "cpu", 3)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in train(fresh(), tiny).rows]
    assert rows == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history.rows]


def test_weights_that_are_not_finite_to_begin_with(tiny: ImageData) -> None:
    objective = fresh()
    with torch.no_grad():
        next(objective.parameters()).fill_(math.nan)
    with pytest.raises(InputError, match="not finite to begin with"):
        train(objective, tiny)


def test_validation_is_in_evaluation_mode_and_training_is_not(tiny: ImageData) -> None:
    objective = fresh("none")
    objective.eval()
    modes: list[tuple[bool, bool]] = []

    def look(module: nn.Module, _: object) -> None:
        modes.append((module.training, torch.is_grad_enabled()))

    objective.model.register_forward_pre_hook(look)
    train(objective, tiny, epochs=1)
    assert set(modes) == {(True, True), (False, False)}


def test_gradients_are_clipped(tiny: ImageData) -> None:
    """With a vanishing clip norm Adam's first step is as long as ever, but the gradients it saw are tiny."""
    objective = fresh("none")
    seen: list[float] = []
    original = torch.optim.Adam.step

    def step(self: torch.optim.Adam, *args: object, **kwargs: object) -> object:
        grads = [p.grad.norm() for group in self.param_groups for p in group["params"] if p.grad is not None]
        seen.append(torch.stack(grads).norm().item())
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", step)
        train(objective, tiny, epochs=1, max_grad_norm=0.5)
    assert len(seen) == 5
    assert all(norm <= 0.5 * (1 + 1e-4) for norm in seen)
    assert max(seen) > 0.49


def test_float64(tiny: ImageData) -> None:
    objective = fresh(penalty_start=0.0)
    history = train(objective, tiny, precision="64", epochs=1)
    assert all(parameter.dtype == torch.float64 for parameter in objective.parameters())
    assert math.isfinite(history.rows[-1]["penalty"] or math.nan)


def test_bf16_follows_float32(learned: dict[str, Learned], tiny: ImageData) -> None:
    objective = fresh()
    found = train(objective, tiny, epochs=20, precision="bf16-mixed").rows[-1]["validation_l2"]
    assert found == pytest.approx(learned["reconstruction"].history.rows[-1]["validation_l2"], rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in objective.parameters())


@pytest.mark.parametrize("quick", [True, False])
def test_fast_is_settled_by_the_machine(monkeypatch: pytest.MonkeyPatch, quick: bool) -> None:
    monkeypatch.setattr(arithmetic, "has_bf16", lambda: quick)
    assert settled_precision(Loop(precision="fast", epochs=3)) == Loop(
        precision="bf16-mixed" if quick else "32", epochs=3
    )
    assert settled_precision(Loop(precision="64")) == Loop(precision="64")


def test_bf16_is_advised_against_where_it_is_slow(
    tiny: ImageData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "has_bf16", lambda: False)
    train(fresh("none"), tiny, epochs=1, precision="bf16-mixed")
    assert "bf16 is slower than float32 on this machine" in capsys.readouterr().err


def test_a_bare_autoencoder_is_its_elbo(tiny: ImageData) -> None:
    objective = fresh("none")
    train(objective, tiny, epochs=1)
    torch.manual_seed(0)
    model = VAE((1, 8, 8), hidden=(32,), latent=4)
    train(model, tiny, epochs=1)
    assert same(weights(objective.model), weights(model))


def test_fewer_images_than_a_batch(tiny: ImageData) -> None:
    assert train(fresh(), tiny, batch_size=10_000, epochs=2).step == 2


def test_tensorboard_writes_its_files(tiny: ImageData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(fresh(), tiny, epochs=1, folder=tmp_path, tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_it_works_off_the_main_thread(tiny: ImageData) -> None:
    found: list[History] = []
    thread = threading.Thread(target=lambda: found.append(train(fresh(), tiny, epochs=1)))
    thread.start()
    thread.join()
    assert found[0].step == 5


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 33, "devices": 2}, "batch size 33 does not divide over 2 processes"),
        ({"tensorboard": True}, "without a folder"),
    ],
)
def test_bad_settings(tiny: ImageData, settings: dict[str, object], said: str) -> None:
    """One that `Loop` refuses itself (tests/settings has them all), and those that only a run can refuse."""
    with pytest.raises(InputError, match=said):
        train(fresh(), tiny, **settings)
