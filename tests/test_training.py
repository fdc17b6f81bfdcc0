"""Training: what it leaves, how it goes on after anything, and what it refuses."""

import csv
import dataclasses
import math
import signal
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from doubleback.checkpoints import load_tensors
from doubleback.data import ImageData, Split
from doubleback.errors import DivergedError, InputError
from doubleback.models import DRAW, MLP, VAE, ConvVAE, CvNet
from doubleback.objective import Classification, Objective
from doubleback.training import STATE, History, fit, loop


def fresh(penalty: str = "reconstruction", **settings: object) -> Objective:
    torch.manual_seed(0)
    return Objective(VAE((1, 8, 8), hidden=(32,), latent=4), penalty=penalty, **settings)  # type: ignore[arg-type]


def train(objective: Objective, images: ImageData, **settings: object) -> History:
    return fit(objective, images, **{"epochs": 4, "batch_size": 32, "progress": False, **settings})  # type: ignore[arg-type]


def weights(objective: Objective) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in objective.model.state_dict().items()}  # type: ignore[attr-defined]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns(tiny: ImageData) -> None:
    objective = fresh("none")
    history = train(objective, tiny, epochs=20)
    first, last = history.rows[0], history.rows[-1]
    assert last["validation_l2"] < 0.7 * first["validation_l2"]  # type: ignore[operator]
    assert last["loss"] == pytest.approx(last["reconstruction"] + last["kl"], rel=1e-4)  # type: ignore[operator]


def test_the_penalty_lowers_the_input_gradient(tiny: ImageData) -> None:
    from doubleback.evaluation import evaluate

    norms = {}
    for penalty in ("none", "reconstruction", "output", "latent"):
        objective = fresh(penalty)
        train(objective, tiny, epochs=30)
        norms[penalty] = evaluate(objective.model, tiny.test.images)
    assert norms["reconstruction"]["input_gradient_norm"] < norms["none"]["input_gradient_norm"]
    assert norms["output"]["output_jacobian"]["frobenius"] < norms["none"]["output_jacobian"]["frobenius"]
    assert norms["latent"]["latent_jacobian"]["frobenius"] < norms["none"]["latent_jacobian"]["frobenius"]


def test_the_log_has_a_row_an_epoch(tiny: ImageData, tmp_path: Path) -> None:
    history = train(fresh(), tiny, folder=tmp_path)
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20]
    assert [row["penalty"] != "" for row in rows] == [False, False, True, True]
    assert [float(row["penalty_weight"]) for row in rows] == [0, 0, 0.03, 0.03]
    assert float(rows[-1]["loss"]) == history.rows[-1]["loss"]


def test_the_same_seed_gives_the_same_weights(tiny: ImageData) -> None:
    runs = []
    for seed in (0, 0, 1):
        objective = fresh()
        train(objective, tiny, seed=seed)
        runs.append(weights(objective))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 7, 12])
def test_a_run_that_died_goes_on_bit_for_bit(tiny: ImageData, tmp_path: Path, stop: int) -> None:
    """Whatever step it dies at, the resumed run takes the very steps of one that never stopped."""
    whole = fresh()
    train(whole, tiny, folder=tmp_path / "whole")
    broken = fresh()
    calls = 0

    def dying(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == stop + 1:
            raise Stop

    broken.model.register_forward_pre_hook(dying)  # type: ignore[attr-defined]
    with pytest.raises(Stop):
        train(broken, tiny, folder=tmp_path / "broken")
    resumed = fresh()
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    history = train(resumed, tiny, folder=tmp_path / "broken", resume=True)
    assert same(weights(resumed), weights(whole))
    assert [row["step"] for row in history.rows] == [5, 10, 15, 20]
    logs = [(tmp_path / name / "log.csv").read_text().splitlines()[-1].split(",") for name in ("whole", "broken")]
    assert logs[0][5:] == logs[1][5:]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, about its internals
@pytest.mark.usefixtures("unchecked")  # run-time checks cannot be traced
def test_a_compiled_convolutional_run_goes_on_where_it_died(
    tiny: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And trains as the eager one does, though its weights lie channels-last."""

    def built() -> Objective:
        torch.manual_seed(0)
        model = ConvVAE((1, 8, 8), filters=(4, 8), hidden=16, latent=4)
        return Objective(model, penalty="reconstruction", estimator="perturbed")

    whole, eager = built(), built()
    train(eager, tiny)
    train(whole, tiny, compile=True)
    assert whole.model.encoder[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[attr-defined]
    step = loop._Run.step

    def dying(self: loop._Run, interrupted: bool) -> bool:
        if self.history.step == 12:
            raise Stop
        return step(self, interrupted)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(loop._Run, "step", dying)
        train(built(), tiny, compile=True, folder=tmp_path)
    resumed = built()
    train(resumed, tiny, compile=True, folder=tmp_path, resume=True)
    for name, value in weights(whole).items():
        assert torch.allclose(weights(resumed)[name], value, rtol=1e-4, atol=1e-5)
        assert torch.allclose(weights(eager)[name], value, rtol=1e-2, atol=1e-3)


def test_a_finished_run_resumes_to_itself(tiny: ImageData, tmp_path: Path) -> None:
    done = fresh()
    train(done, tiny, folder=tmp_path)
    again = fresh()
    assert train(again, tiny, folder=tmp_path, resume=True).step == 20
    assert same(weights(done), weights(again))


def test_a_checkpoint_of_another_run_is_refused(tiny: ImageData, tmp_path: Path) -> None:
    train(fresh(), tiny, folder=tmp_path, identity="one")
    with pytest.raises(InputError, match="does not belong"):
        train(fresh(), tiny, folder=tmp_path, identity="other", resume=True)


def interrupting(objective: Objective, images: ImageData, **settings: object) -> None:
    """Train until somebody presses Ctrl-C, in the middle of the eighth step."""
    calls = 0

    def press(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            signal.raise_signal(signal.SIGINT)

    objective.get_submodule("model").register_forward_pre_hook(press)
    train(objective, images, **settings)


@pytest.mark.parametrize("unread", [1, 3, 20])
def test_ctrl_c_keeps_the_step(tiny: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unread: int) -> None:
    """The signal arrives in the middle of a step: that step is finished and saved, and the run goes on from there."""
    monkeypatch.setitem(loop.UNREAD, "cpu", unread)
    whole = fresh()
    train(whole, tiny)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupting(fresh(), tiny, folder=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    _, state = load_tensors(tmp_path / STATE, "")
    assert 0 < state["history"]["step"] < 20
    resumed = fresh()
    train(resumed, tiny, folder=tmp_path, resume=True)
    assert same(weights(resumed), weights(whole))


@pytest.mark.parametrize("unread", [3, 20])
def test_losses_that_are_read_late_are_the_same(tiny: ImageData, monkeypatch: pytest.MonkeyPatch, unread: int) -> None:
    """As on a GPU, which is not asked at every step; an epoch here has five."""
    at_once, late = train(fresh(), tiny), fresh()
    monkeypatch.setitem(loop.UNREAD, "cpu", unread)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in train(late, tiny).rows]
    assert rows == [{k: v for k, v in row.items() if k != "seconds"} for row in at_once.rows]


@pytest.mark.parametrize("unread", [2, 20])
def test_a_divergence_that_is_read_late_is_told_of_its_own_step(
    exploding: Objective, tiny: ImageData, monkeypatch: pytest.MonkeyPatch, unread: int
) -> None:
    monkeypatch.setitem(loop.UNREAD, "cpu", unread)
    with pytest.raises(DivergedError, match=r"the loss became nan at step 13 of 20; lower"):
        train(exploding, tiny)
    assert all(value.isfinite().all() for value in weights(exploding).values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.usefixtures("unchecked")  # run-time checks cannot be traced
def test_a_graph_takes_the_same_steps(tiny: ImageData, precision: str, compile: bool) -> None:
    """Plain and penalised steps take turns: each is a graph of its own."""
    settings = {"epochs": 8, "precision": precision, "compile": compile}
    plain, graphed = (fresh(penalty_every=2) for _ in range(2))
    rows = train(plain, tiny, **settings).rows
    found = train(graphed, tiny, cuda_graph=True, **settings).rows
    assert found[-1]["loss"] == pytest.approx(rows[-1]["loss"], rel=1e-5)
    assert found[-1]["penalty"] == pytest.approx(rows[-1]["penalty"], rel=1e-4)
    for name, value in weights(graphed).items():
        torch.testing.assert_close(value, weights(plain)[name], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_graph_of_draw_with_attention_and_a_resumed_one(tiny: ImageData, tmp_path: Path) -> None:
    def draw() -> Objective:
        torch.manual_seed(0)
        model = DRAW((1, 8, 8), steps=3, hidden=16, latent=4, read_size=3, write_size=3)
        return Objective(model, penalty="reconstruction", penalty_start=0.3)

    plain, graphed, resumed = draw(), draw(), draw()
    train(plain, tiny)
    train(graphed, tiny, cuda_graph=True)
    with pytest.raises(KeyboardInterrupt):
        interrupting(resumed, tiny, folder=tmp_path, cuda_graph=True)
    train(resumed, tiny, folder=tmp_path, resume=True, cuda_graph=True)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(graphed)[name], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(weights(resumed)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("gpu", "devices", "said"), [(False, 1, "there is no GPU"), (True, 2, "of one process")])
def test_where_there_is_no_graph(
    tiny: ImageData, monkeypatch: pytest.MonkeyPatch, gpu: bool, devices: int, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    with pytest.raises(InputError, match=said):
        train(fresh(), tiny, cuda_graph=True, devices=devices)


@pytest.fixture
def exploding() -> Objective:
    """From the 13th training step on, the weights become NaN."""
    objective = fresh("none")
    steps = 0

    def explode(module: nn.Module, *_: object) -> None:
        nonlocal steps
        steps += module.training and torch.is_grad_enabled()
        if steps == 13:
            with torch.no_grad():
                next(module.parameters()).fill_(math.nan)

    objective.model.register_forward_pre_hook(explode)  # type: ignore[attr-defined]
    return objective


@pytest.mark.parametrize("on_disk", [True, False])
def test_divergence_keeps_the_last_good_weights(
    exploding: Objective, tiny: ImageData, tmp_path: Path, on_disk: bool
) -> None:
    with pytest.raises(DivergedError, match=r"the loss became nan at step 13 of 20; lower"):
        train(exploding, tiny, folder=tmp_path if on_disk else None)
    kept = weights(exploding)
    assert all(value.isfinite().all() for value in kept.values())
    two_epochs = fresh("none")
    calls = 0

    def stop(module: nn.Module, *_: object) -> None:
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == 11:
            raise Stop

    two_epochs.model.register_forward_pre_hook(stop)  # type: ignore[attr-defined]
    with pytest.raises(Stop):
        train(two_epochs, tiny)
    assert same(kept, weights(two_epochs))
    if on_disk:
        tensors, state = load_tensors(tmp_path / STATE, "")
        assert state["history"]["step"] == 10
        assert same({f"model.{name}": value for name, value in kept.items()}, tensors)


def test_weights_that_diverge_in_the_last_step_are_not_saved(tiny: ImageData, tmp_path: Path) -> None:
    """The loss is computed before the step: only a look at the weights finds this one."""
    objective = fresh("none")
    parameter = next(objective.parameters())
    calls = 0

    def poison(gradient: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return gradient * math.nan if calls == 20 else gradient

    parameter.register_hook(poison)
    with pytest.raises(DivergedError, match="a weight is no longer finite at step 20"):
        train(objective, tiny, folder=tmp_path)
    assert all(p.isfinite().all() for p in objective.parameters())
    assert load_tensors(tmp_path / STATE, "")[1]["history"]["step"] == 15


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
    objective.model.register_forward_pre_hook(  # type: ignore[attr-defined]
        lambda module, _: modes.append((module.training, torch.is_grad_enabled()))
    )
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


def test_learning_rate_rises_to_its_peak_and_falls(tiny: ImageData) -> None:
    rates = [row["learning_rate"] for row in train(fresh("none"), tiny, epochs=10, learning_rate=1e-2).rows]
    peak = rates.index(max(rates))  # type: ignore[type-var]
    assert 0 < peak < 5
    assert rates[-1] < 1e-4  # type: ignore[operator]


@pytest.mark.parametrize("precision", ["64", "bf16-mixed"])
def test_precisions(tiny: ImageData, precision: str) -> None:
    objective = fresh()
    history = train(objective, tiny, precision=precision)
    expected = torch.float64 if precision == "64" else torch.float32
    assert next(objective.parameters()).dtype == expected
    assert math.isfinite(history.rows[-1]["loss"] or math.nan)


def test_bf16_follows_float32(tiny: ImageData) -> None:
    errors = [train(fresh(), tiny, epochs=20, precision=p).rows[-1]["validation_l2"] for p in ("32", "bf16-mixed")]
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


def test_a_bare_autoencoder_is_its_elbo(tiny: ImageData) -> None:
    objective = fresh("none")
    train(objective, tiny)
    torch.manual_seed(0)
    model = VAE((1, 8, 8), hidden=(32,), latent=4)
    fit(model, tiny, epochs=4, batch_size=32, progress=False)
    assert same(weights(objective), dict(model.state_dict()))


def test_fewer_images_than_a_batch(tiny: ImageData) -> None:
    assert train(fresh(), tiny, batch_size=10_000, epochs=2).step == 2


def test_tensorboard_writes_its_files(tiny: ImageData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(fresh(), tiny, folder=tmp_path, tensorboard=True)
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
        ({"epochs": -3}, "epochs is -3"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"devices": 0}, "devices is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"learning_rate": 0.0}, "learning rate is 0.0"),
        ({"learning_rate": math.nan}, "learning rate is nan"),
        ({"max_grad_norm": -1.0}, "max gradient norm is -1.0"),
        ({"precision": "8"}, "precision is '8'"),
        ({"tensorboard": True}, "without a folder"),
    ],
)
def test_bad_settings(tiny: ImageData, settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        train(fresh(), tiny, **settings)


def classifier(seed: int = 0) -> Classification:
    torch.manual_seed(seed)
    return Classification(MLP((1, 8, 8), ("left", "right"), hidden=(16,)))


def train_classifier(objective: object, images: ImageData, **settings: object) -> History:
    return train(objective, images, **settings)  # type: ignore[arg-type]


def test_a_classifier_learns(tiny: ImageData) -> None:
    from doubleback.evaluation import classification_quality

    objective = classifier()
    before = classification_quality(objective.model, tiny.test)
    rows = train_classifier(objective, tiny, epochs=10).rows
    after = classification_quality(objective.model, tiny.test)
    assert before["accuracy"] < 0.9  # type: ignore[operator]
    assert after["accuracy"] > 0.95  # type: ignore[operator]
    assert after["cross_entropy"] < before["cross_entropy"] / 2  # type: ignore[operator]
    assert rows[-1]["validation_accuracy"] > 0.95  # type: ignore[operator]
    assert objective.model.training  # type: ignore[attr-defined]


def test_the_log_of_a_classifier(tiny: ImageData, tmp_path: Path) -> None:
    """The columns of docs/run-directory.md, none of the autoencoder's; the last row's figures are the model's own."""
    from doubleback.evaluation import classification_quality

    objective = classifier()
    history = train_classifier(objective, tiny, folder=tmp_path)
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    common = ["epoch", "step", "seconds", "learning_rate", "loss"]
    assert list(rows[0]) == [*common, "cross_entropy", "validation_cross_entropy", "validation_accuracy"]
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20]
    assert all(row["loss"] == row["cross_entropy"] for row in rows)
    quality = classification_quality(objective.model, tiny.validation)
    assert history.rows[-1]["validation_accuracy"] == quality["accuracy"]
    assert float(rows[-1]["validation_cross_entropy"]) == pytest.approx(quality["cross_entropy"])


def test_the_loss_of_a_classifier_by_hand(tiny: ImageData) -> None:
    """One step over all images: the logged loss is the mean cross-entropy of the weights it started from."""
    objective = classifier()
    labels = tiny.train.labels
    assert labels is not None
    with torch.no_grad():
        log_softmax = objective.model(tiny.train.images.float() / 255).log_softmax(1)
    expected = -log_softmax[torch.arange(160), labels].mean().item()
    assert train_classifier(objective, tiny, epochs=1, batch_size=160).rows[0]["loss"] == pytest.approx(expected)


def test_a_bare_classifier_is_its_cross_entropy(tiny: ImageData) -> None:
    objective, bare = classifier(), classifier().model
    train_classifier(objective, tiny)
    train_classifier(bare, tiny)
    assert same(weights(objective), dict(bare.state_dict()))  # type: ignore[arg-type, attr-defined]


@pytest.mark.parametrize("stop", [1, 7, 12])
def test_a_classifier_that_died_goes_on_bit_for_bit(tiny: ImageData, tmp_path: Path, stop: int) -> None:
    whole = classifier()
    train_classifier(whole, tiny, folder=tmp_path / "whole")
    broken = classifier()
    calls = 0

    def dying(module: nn.Module, *_: object) -> None:
        nonlocal calls
        calls += module.training and torch.is_grad_enabled()
        if calls == stop + 1:
            raise Stop

    broken.model.register_forward_pre_hook(dying)  # type: ignore[attr-defined]
    with pytest.raises(Stop):
        train_classifier(broken, tiny, folder=tmp_path / "broken")
    resumed = classifier(seed=9)
    history = train_classifier(resumed, tiny, folder=tmp_path / "broken", resume=True)
    assert same(weights(resumed), weights(whole))  # type: ignore[arg-type]
    assert [row["step"] for row in history.rows] == [5, 10, 15, 20]
    logs = [(tmp_path / name / "log.csv").read_text().splitlines()[-1].split(",") for name in ("whole", "broken")]
    assert logs[0][4:] == logs[1][4:]


@pytest.mark.parametrize("precision", ["64", "bf16-mixed"])
def test_precisions_of_a_classifier(tiny: ImageData, precision: str) -> None:
    torch.manual_seed(0)
    model = CvNet((1, 8, 8), (0, 1), filters=(8,), hidden=8)
    history = train_classifier(model, tiny, precision=precision, epochs=2)
    assert next(model.parameters()).dtype == (torch.float64 if precision == "64" else torch.float32)
    assert math.isfinite(history.rows[-1]["loss"] or math.nan)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_classifier_needs_labels(tiny: ImageData, part: str) -> None:
    nameless = dataclasses.replace(tiny, **{part: Split(getattr(tiny, part).images)})
    with pytest.raises(InputError, match="no labels"):
        train_classifier(classifier(), nameless, epochs=1)


@pytest.mark.parametrize("label", [2, -1])
def test_labels_that_the_classifier_does_not_know(tiny: ImageData, label: int) -> None:
    labels = torch.full((160,), label)
    with pytest.raises(InputError, match=f"{label}"):
        train_classifier(classifier(), dataclasses.replace(tiny, train=Split(tiny.train.images, labels)), epochs=1)
