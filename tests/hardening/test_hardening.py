"""`harden`: within its budget whatever happens, better than its start, resumed to the bit; its weights, its parts."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.hardening import harden
from doubleback.hardening.budget import Measured, WithinBudget, measured
from doubleback.hardening.freezing import weights_of_part
from doubleback.models import DRAW, VAE, AutoencoderAdapter
from doubleback.objective import Objective
from doubleback.objective.losses import Deployed, weights_of
from doubleback.settings import Penalty
from doubleback.training import fit
from doubleback.training.home import Home

FEW: dict[str, Any] = {"epochs": 8, "batch_size": 40, "learning_rate": 3e-3, "progress": False}


@pytest.fixture(scope="module")
def trained(tiny: ImageData) -> dict[str, Tensor]:
    model = fresh()
    fit(Objective(model), tiny, epochs=60, batch_size=40, learning_rate=3e-3, progress=False)
    return model.state_dict()


def fresh() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 8, 8), hidden=(24,), latent=4, likelihood="gaussian")


def victim(weights: dict[str, Tensor]) -> VAE:
    model = fresh()
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize("within", [0.0, 0.02, pytest.param(0.1, marks=pytest.mark.slow)])
def test_it_ends_within_the_budget_and_stretches_less(
    within: float, trained: dict[str, Tensor], tiny: ImageData
) -> None:
    model = victim(trained)
    before = measured(model, tiny.validation.images)
    found = harden(model, tiny, within, alone=True, **FEW | {"epochs": 25})
    assert found.start == before
    assert found.end == measured(model, tiny.validation.images)
    assert found.end.reconstruction_l2 <= (1 + within) * before.reconstruction_l2
    assert found.penalty_end < found.penalty_start
    assert found.weight > 0
    assert not model.training


@pytest.mark.slow
def test_more_budget_stretches_less(trained: dict[str, Tensor], tiny: ImageData) -> None:
    few, many = (harden(victim(trained), tiny, within, alone=True, **FEW).penalty_end for within in (0.0, 0.2))
    assert many < few


def test_where_nothing_is_within_the_start_is_kept(trained: dict[str, Tensor], tiny: ImageData) -> None:
    """A learning rate that ruins the model: the old weights come back, and the weight says so."""
    model = victim(trained)
    found = harden(model, tiny, 0.0, alone=True, **FEW | {"epochs": 2, "learning_rate": 0.3})
    assert found.weight == 0
    assert found.steps == 0
    assert found.end == found.start
    assert all(torch.equal(one, trained[name]) for name, one in model.state_dict().items())


def test_the_twin_is_trained_on_from_the_same_weights(trained: dict[str, Tensor], tiny: ImageData) -> None:
    found = harden(victim(trained), tiny, 0.02, **FEW)
    alone = victim(trained)
    fit(Objective(alone), tiny, **FEW)
    assert found.twin is not None
    assert all(torch.equal(one, found.twin.weights[name]) for name, one in alone.state_dict().items())
    assert found.twin.measured == measured(alone, tiny.validation.images)
    without = harden(victim(trained), tiny, 0.02, alone=True, **FEW)
    assert without.end == found.end
    assert without.twin is None


def test_killed_and_resumed_it_takes_the_same_steps(
    trained: dict[str, Tensor], tiny: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = victim(trained)
    settings: dict[str, Any] = {"within": 0.02, "alone": True, **FEW}
    found = harden(whole, tiny, home=Home(tmp_path / "whole"), **settings)
    halfway, look = 0, WithinBudget._look

    def killed(self: WithinBudget, step: int, steps: int) -> None:
        nonlocal halfway
        halfway += 1
        if halfway == 18:
            raise SystemError("killed")
        look(self, step, steps)

    monkeypatch.setattr(WithinBudget, "_look", killed)
    with pytest.raises(SystemError, match="killed"):
        harden(victim(trained), tiny, home=Home(tmp_path / "parts"), **settings)
    monkeypatch.undo()
    model = victim(trained)
    again = harden(model, tiny, home=Home(tmp_path / "parts", resume=True), **settings)
    assert again.results() | {"seconds": 0} == found.results() | {"seconds": 0}
    assert all(torch.equal(one, whole.state_dict()[name]) for name, one in model.state_dict().items())


def test_whatever_interrupts_it_the_model_is_as_before(
    trained: dict[str, Tensor], tiny: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = victim(trained)

    def interrupted(self: WithinBudget, step: int, steps: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WithinBudget, "_look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        harden(model, tiny, alone=True, **FEW)
    assert all(torch.equal(one, trained[name]) for name, one in model.state_dict().items())


@pytest.mark.parametrize(
    ("within", "step", "moves"),
    [
        (0.01, 9, 0.2),  # 1 % of room at the end: all that a look can do
        (0.0, 9, -0.1),  # no room at the end: AIM is half of the smallest ROOM
        (0.0, 5, 0.2 * 0.84),  # six of eight steps with slack: 0.1 (1 - 6 / 8)^2 = 0.00625 is free, 0.00525 is room
        (0.0, 0, 0.2),
    ],
)
def test_the_weight_rises_with_room_and_falls_without(
    within: float, step: int, moves: float, trained: dict[str, Tensor], tiny: ImageData
) -> None:
    """Worked by hand: the model is still the start, at a look after that step of ten."""
    objective = WithinBudget(Objective(victim(trained), "spectral", penalty_start=0.0), tiny.validation, within)
    first = objective.weight.item()
    assert objective.penalty_weight(0, 10) == first
    with torch.no_grad():
        objective._look(step, 10)
    assert objective.now.excess(objective.start, within) == pytest.approx(1 / (1 + within) - 1, abs=1e-12)
    assert objective.weight.item() == pytest.approx(first * math.exp(moves))


def test_of_two_looks_within_the_budget_the_smaller_penalty_is_kept(
    trained: dict[str, Tensor], tiny: ImageData
) -> None:
    objective = WithinBudget(Objective(victim(trained), "spectral", penalty_start=0.0), tiny.validation, 0.01)
    penalty = objective.least.item()
    with torch.no_grad():
        for least, kept in ((penalty / 2, False), (penalty * 2, True)):
            objective.least.fill_(least)
            objective.kept_step.zero_()
            objective._look(4, 10)
            assert objective.kept_step.item() == (5 if kept else 0)
            assert objective.least.item() == (penalty if kept else least)


def test_from_beyond_the_budget_it_steps_back_into_it(trained: dict[str, Tensor], tiny: ImageData) -> None:
    """On the straight line to the last average: within, by one share for all weights, and not a step too far back."""
    model = victim(trained)
    objective = WithinBudget(Objective(model, "spectral", penalty_start=0.0), tiny.validation, 0.02)
    first = objective.least.item()
    start = [one.detach().clone() for one in objective._learned]
    beyond = [0.7 * one for one in start]  # it stretches less, and reconstructs badly
    with torch.no_grad():
        torch._foreach_copy_(objective._stored("averaged"), beyond)
    found = objective.keep()
    assert found.excess(objective.start, 0.02) <= 0
    assert objective.least.item() < first
    (share,) = {
        round(float((1 - now.detach() / old).flatten()[0]) / 0.3 * 256)
        for old, now in zip(start, model.parameters(), strict=True)
    }
    assert 0 < share < 256
    for old, far, now in zip(start, beyond, model.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), torch.lerp(old, far, share / 256))
    with torch.no_grad():
        torch._foreach_copy_(list(model.parameters()), torch._foreach_lerp(start, beyond, (share + 1) / 256))
    assert measured(model, tiny.validation.images).excess(objective.start, 0.02) > 0


@pytest.mark.parametrize(
    ("now", "start", "within", "excess"),
    [
        (Measured(2.0), Measured(2.0), 0.0, 0.0),
        (Measured(2.04), Measured(2.0), 0.02, 0.0),
        (Measured(1.0, 0.6), Measured(2.0, 0.5), 0.2, 0.0),
        (Measured(3.0, 0.1), Measured(2.0, 0.5), 0.0, 0.5),
        (Measured(1.0, math.nan), Measured(2.0, 0.5), 0.0, math.nan),
    ],
)
def test_the_worst_measure_counts(now: Measured, start: Measured, within: float, excess: float) -> None:
    assert now.excess(start, within) == pytest.approx(excess, nan_ok=True)


@pytest.mark.parametrize("freeze", [None, "encoder"])
def test_the_statistics_of_a_model_of_ones_own_stay(freeze: Any, tiny: ImageData) -> None:
    """A protocol of one's own with BatchNorm: what was kept within the budget is within it at the end, too."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 6))
    decoder = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 64), nn.Sigmoid())
    model = AutoencoderAdapter(encoder, nn.Sequential(decoder, nn.Unflatten(1, (1, 8, 8))), latent=6)
    fit(model, tiny, epochs=20, batch_size=32, learning_rate=3e-3, progress=False)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    found = harden(model, tiny, 0.02, alone=True, freeze=freeze, **FEW | {"learning_rate": 1e-2})
    assert found.weight > 0
    assert found.end == measured(model, tiny.validation.images)
    assert found.end.excess(found.start, 0.02) <= 0
    moved = {name for name, one in model.state_dict().items() if not torch.equal(one, before[name])}
    assert moved
    assert not any(name.endswith(("running_mean", "running_var")) for name in moved)
    assert not (freeze and any(name.startswith("encoder") for name in moved))


def test_if_something_else_has_moved_the_old_model_comes_back(
    trained: dict[str, Tensor], tiny: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is measured at the end counts, not what a look has seen."""
    model, first = victim(trained), measured(victim(trained), tiny.validation.images)
    monkeypatch.setattr("doubleback.hardening.budget.EXACT", -1.0)  # nothing is within the budget
    found = harden(model, tiny, 0.5, alone=True, **FEW | {"epochs": 2})
    assert (found.weight, found.steps, found.start, found.end) == (0, 0, first, first)
    assert found.penalty_end == found.penalty_start
    assert all(torch.equal(one, trained[name]) for name, one in model.state_dict().items())


def test_every_nth_step_has_n_times_the_weight_and_none_before_the_start(
    trained: dict[str, Tensor], tiny: ImageData
) -> None:
    settings = Penalty("spectral", penalty_weight=8.0, every=4, penalty_start=0.5)
    objective = WithinBudget(Objective(victim(trained), settings), tiny.validation, 0.5)
    with torch.no_grad():
        for step in range(50):  # there is room, and yet the weight must wait
            assert objective.penalty_weight(step, 100) == 0
            objective.after_step(step, 100)
    assert [objective.penalty_weight(step, 100) for step in range(50, 55)] == [32.0, 0.0, 0.0, 0.0, 32.0]


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.tanh())
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * (1 - ctx.saved_tensors[0] ** 2)


class _Tanh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = _Once.apply(x)
        return made


class Plain(nn.Module):
    """An encoder and a decoder with something in the middle."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), middle, nn.Linear(16, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.decoder(self.encoder(x))
        return made


def test_what_can_be_differentiated_once_is_hardened_by_differences(
    tiny: ImageData, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    found = harden(Plain(_Tanh()), tiny, 0.1, alone=True, **FEW | {"epochs": 2})
    assert found.end.excess(found.start, 0.1) <= 0
    assert "by finite differences" in capsys.readouterr().err


def _raising(net: nn.Module, x: Tensor) -> Tensor:
    raise KeyError("boom")


def _leaving(net: nn.Module, x: Tensor) -> Tensor:
    raise SystemExit(3)


def _without_gradient(net: nn.Module, x: Tensor) -> Tensor:
    return x.mean()


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (_raising, r"the loss raises KeyError \('boom'\)"),
        (_leaving, "the loss raises SystemExit"),
        (_without_gradient, r"the loss gives \(\) without a gradient"),
        (lambda net: net, "the loss raises TypeError"),
    ],
)
def test_what_an_owners_loss_does_wrong_is_a_line(loss: Any, says: str, tiny: ImageData) -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match=says):
        harden(Plain(nn.Tanh()), tiny, 0.1, loss, alone=True, **FEW | {"epochs": 1})


@pytest.mark.parametrize(("penalty", "freeze"), [("latent", "encoder"), ("smooth-code", "encoder")])
def test_a_penalty_that_follows_nothing_that_learns_is_refused(
    penalty: Any, freeze: Any, trained: dict[str, Tensor], tiny: ImageData
) -> None:
    with pytest.raises(InputError, match="follows no weight that is trained"):
        harden(victim(trained), tiny, 0.1, alone=True, penalty=penalty, freeze=freeze, **FEW | {"epochs": 1})


class _NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Tensor:
        raise RuntimeError("\nno way back\nof this")


class _OneWay(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = _NoWayBack.apply(x)
        return made


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (lambda: Plain(nn.Tanh()).half(), r"^encoder\.1\.weight is of float16.*; make the model in float32$"),
        (lambda: Plain(nn.ParameterList([torch.ones(2, dtype=torch.complex64)])), r"^encoder\.2\.0 is of complex64"),
        (
            lambda: Plain(_OneWay()),
            r"^the gradient of the model's loss raises RuntimeError \(no way back\); correct it$",
        ),
    ],
    ids=["float16", "complex", "backward"],
)
def test_a_model_that_cannot_be_trained_is_refused_before_it_is(
    net: Callable[[], nn.Module], says: str, tiny: ImageData
) -> None:
    with pytest.raises(InputError, match=says):
        harden(net(), tiny, 0.1, alone=True, **FEW | {"epochs": 1})


def test_a_weight_that_cannot_be_written_to_is_refused(tiny: ImageData) -> None:
    net = Plain(nn.Tanh())
    net.encoder[1].bias = nn.Parameter(torch.zeros(1).expand(16))
    with pytest.raises(InputError, match=r"encoder.1.bias share one number .* \.clone"):
        harden(net, tiny, 0.1, alone=True, **FEW | {"epochs": 1})
    net.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter that requires a gradient"):
        harden(net, tiny, 0.1, alone=True, **FEW | {"epochs": 1})


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_part_is_frozen_beside_a_weight_that_is_frozen_already(part: Any, tiny: ImageData) -> None:
    torch.manual_seed(0)
    net = Plain(nn.Tanh())
    net.encoder[1].bias.requires_grad_(False)
    found = harden(net, tiny, 0.1, alone=True, freeze=part, **FEW | {"epochs": 1})
    assert found.end.excess(found.start, 0.1) <= 0
    assert not net.encoder[1].bias.requires_grad


# -- somebody else's ------------------------------------------------------------------------------------------------


def strange() -> nn.Module:
    torch.manual_seed(0)

    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 4)
            )
            self.decoder = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 64), nn.Unflatten(1, (1, 8, 8)))

        def forward(self, x: Tensor) -> Tensor:
            return self.decoder(self.encoder(x))

    return Strange()


def own_loss(net: nn.Module, x: Tensor) -> Tensor:
    return (net(x) - x).square().flatten(1).mean(1)


@pytest.fixture(scope="module")
def theirs(tiny: ImageData) -> nn.Module:
    net = strange()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    x = tiny.train.images.float() / 255
    for _ in range(150):
        optimizer.zero_grad()
        own_loss(net, x).mean().backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("loss", [None, own_loss])
def test_somebody_elses_module_is_hardened(loss: Any, theirs: nn.Module, tiny: ImageData) -> None:
    net = strange()
    net.load_state_dict(theirs.state_dict())
    found = harden(net, tiny, 0.02, loss, alone=True, **FEW)
    assert found.end.reconstruction_l2 <= 1.02 * found.start.reconstruction_l2
    assert found.penalty_end < 0.9 * found.penalty_start
    assert torch.equal(net.encoder[2].running_mean, theirs.encoder[2].running_mean)  # type: ignore[union-attr, index]
    assert not torch.equal(net.encoder[1].weight, theirs.encoder[1].weight)  # type: ignore[union-attr, index]


@pytest.mark.parametrize(("said", "margin"), [({}, 0.0), ({"margin": 1.0}, 1.0), ({"penalty": "targeted"}, 0.5)])
def test_of_somebody_elses_model_no_stretch_is_free(
    said: dict[str, Any], margin: float, theirs: nn.Module, tiny: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a wide code, hundreds of stretches are near 1: one step of power iteration finds no larger one."""
    seen: list[Penalty] = []
    monkeypatch.setattr("doubleback.hardening.hardened._penalised", lambda _v, one, *_: seen.append(one) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        harden(copy.deepcopy(theirs), tiny, alone=True, **FEW | said)
    assert [one.slope for one in seen] == [margin]


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_what_is_frozen_stays(part: Any, theirs: nn.Module, tiny: ImageData) -> None:
    net = strange()
    net.load_state_dict(theirs.state_dict())
    found = harden(net, tiny, 0.05, freeze=part, alone=True, **FEW)
    other = "decoder" if part == "encoder" else "encoder"
    for name, one in net.state_dict().items():
        if name.startswith(part):
            assert torch.equal(one, theirs.state_dict()[name])
    assert any(not torch.equal(one, theirs.state_dict()[f"{other}.{name}"]) for name, one in
               getattr(net, other).state_dict().items())  # fmt: skip
    assert all(one.requires_grad for one in net.parameters())
    assert found.latents_moved is not None
    assert (found.latents_moved > 0) == (part == "decoder")


def test_the_parts_of_a_model_are_told_by_gradients(tiny: ImageData) -> None:
    model = fresh()
    encoder = weights_of_part(model, "encoder", tiny.test.images[:2])
    decoder = weights_of_part(model, "decoder", tiny.test.images[:2])
    assert len(encoder) + len(decoder) == len(list(model.parameters()))
    with pytest.raises(InputError, match="share all weights"):
        weights_of_part(DRAW((1, 8, 8), steps=2, hidden=4, latent=2), "encoder", tiny.test.images[:2])


@pytest.mark.slow
def test_the_weights_of_a_loss_are_read_off_from_a_trained_model(tiny: ImageData) -> None:
    """A VAE that was trained with a KL weight of 0.5 and 3 says so, within a fifth."""
    for kl_weight in (0.5, 3.0):
        model = fresh()
        fit(Objective(model, kl_weight=kl_weight), tiny, epochs=150, batch_size=160, learning_rate=3e-3, progress=False)
        found = weights_of(model, tiny.train.images.float() / 255)
        assert found["kl"] == pytest.approx(kl_weight, rel=0.2)


def test_the_weights_of_a_loss_depend_on_no_global_state(tiny: ImageData) -> None:
    """Or a hardening that was killed would go on with another loss."""
    model, x = fresh(), tiny.train.images[:64].float() / 255
    assert weights_of(model, x) == weights_of(model, x)


def test_its_own_loss_has_named_terms(theirs: nn.Module, tiny: ImageData) -> None:
    model = AutoencoderAdapter(theirs.encoder, theirs.decoder, latent=4)  # type: ignore[arg-type]
    terms = Deployed({})(model, tiny.test.images[:3].float() / 255, None)
    assert list(terms) == ["reconstruction"]
    assert terms["reconstruction"].shape == (3,)


# -- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"within": -0.1}, "within is -0.1"),
        ({"within": float("nan")}, "within is nan"),
        ({"freeze": "head"}, "choose one of encoder, decoder"),
        ({"penalty": "none"}, "nothing is penalised"),
        ({"loss": lambda net, x: x.mean()}, "must give a tensor with a gradient"),
        ({"loss": lambda net, x: 3.0}, "must give a tensor with a gradient"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(changes: dict[str, Any], says: str, tiny: ImageData) -> None:
    with pytest.raises(InputError, match=says):
        harden(fresh(), tiny, **{"alone": True, **FEW, **changes})


def test_nothing_is_left_to_train(tiny: ImageData) -> None:
    model = fresh().requires_grad_(False)
    with pytest.raises(InputError, match="there is nothing to train"):
        harden(model, tiny, alone=True, **FEW)


def test_an_encoder_alone_is_refused(tiny: ImageData) -> None:
    with pytest.raises(InputError, match="no reconstruction to keep"):
        harden(doubleback.wrap(encode=nn.Flatten()), tiny, **FEW)
