"""Goals: their losses from the definitions, with and without noise, and who is taken for a goal."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from doubleback.attacks import Canvas, Damage, Goal, Latent, Output
from doubleback.attacks.goals import GOALS, goal_of
from doubleback.defences import defended
from doubleback.distributions import DiagonalGaussian, Gaussian
from doubleback.errors import InputError
from doubleback.models import DRAW, Reconstruction


class Noisy(nn.Module):
    """Whose encoder and decoder both draw: mean = 2 x + noise, log_var = x, x_hat = mean / 4 + noise."""

    noise_shape = (4,)

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        return DiagonalGaussian(2 * x.flatten(1) + (0 if noise is None else noise), x.flatten(1))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
        code = self.encode(x, noise)
        x_hat = code.mean / 4 + (0 if noise is None else noise)
        return Reconstruction(code, Gaussian(x_hat.view_as(x), x.new_zeros(())))


def images() -> tuple[Tensor, Tensor, Tensor]:
    """Three sources and targets, and five iterates."""
    generator = torch.Generator().manual_seed(0)
    source, target = torch.rand(2, 3, 1, 2, 2, generator=generator, dtype=torch.float64)
    return source, target, torch.rand(5, 1, 2, 2, generator=generator, dtype=torch.float64)


PAIR = torch.tensor([2, 0, 0, 1, 2])


@pytest.mark.parametrize("noisy", [False, True])
def test_losses_from_their_definitions(noisy: bool) -> None:
    """Each row is measured against its own pair; with noise both sides of a distance take the same draw."""
    model, (source, target, x) = Noisy(), images()
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) if noisy else None

    def loss(goal: Goal) -> Tensor:
        return goal.loss(model, source, target)(x, PAIR, noise)

    code, aim = model.encode(x, noise), model.encode(target[PAIR], noise)
    x_hat, before = (model(images, noise).likelihood.mean for images in (x, source[PAIR]))
    assert torch.allclose(loss(Latent()), code.kl(aim))
    assert torch.allclose(loss(Latent("l2")), (code.mean - aim.mean).square().sum(1))
    assert torch.allclose(loss(Output()), (x_hat - target[PAIR]).square().sum((1, 2, 3)))
    assert torch.allclose(loss(Damage()), -(x_hat - before).square().sum((1, 2, 3)))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_canvases_are_those_after_every_step(likelihood: str, noisy: bool) -> None:
    """A DRAW of fewer steps ends where one of more steps is on its way."""
    torch.manual_seed(0)
    draws = [DRAW((1, 6, 6), steps=t, hidden=8, latent=3, likelihood=likelihood).double() for t in (3, 1, 2)]
    for fewer in draws[1:]:
        fewer.load_state_dict(draws[0].state_dict())
    source, target, x = torch.rand(3, 2, 1, 6, 6, dtype=torch.float64)
    pair, noise = torch.tensor([1, 0]), torch.randn(2, 3, 3, dtype=torch.float64) if noisy else None

    def painted(images: Tensor, t: int) -> Tensor:
        draw = next(one for one in draws if one.noise_shape[0] == t)
        mean: Tensor = draw(images, None if noise is None else noise[:, :t]).likelihood.mean
        return mean

    wanted = sum((painted(x, t) - painted(target[pair], t)).square().sum((1, 2, 3)) for t in (1, 2, 3))
    found = Canvas().loss(draws[0], source, target)(x.requires_grad_(), pair, noise)
    assert torch.allclose(found, torch.as_tensor(wanted))
    assert torch.autograd.grad(found.sum(), x)[0].abs().sum() > 0


def test_only_a_model_that_paints_has_canvases() -> None:
    with pytest.raises(InputError, match="paints no canvas"):
        Canvas().loss(Noisy(), *images()[:2])


def test_canvases_are_those_behind_the_channel() -> None:
    """An attack on the bare model would pass for robustness; where no canvas can be seen, a line says so."""
    torch.manual_seed(0)
    draw, (source, target) = DRAW((1, 6, 6), steps=2, hidden=8, latent=3).eval(), torch.rand(2, 2, 1, 6, 6)
    pair = torch.arange(2)
    behind = defended(draw, ["quantize:1"])
    found = Canvas().loss(behind, source, target)(source, pair, None)
    wanted = Canvas().loss(draw, source.round(), target.round())(source.round(), pair, None)
    assert torch.allclose(found, wanted)
    assert not torch.allclose(found, Canvas().loss(draw, source, target)(source, pair, None))
    with pytest.raises(InputError, match="without smooth or hmc"):
        Canvas().loss(defended(draw, ["smooth:0.1"]), source, target)


def test_every_loss_can_be_followed_with_noise_or_without() -> None:
    model, (source, target, x) = Noisy(), images()
    for goal in (goal for name, goal in GOALS.items() if name not in ("rate", "layers", "canvas")):
        for noise in (None, torch.zeros(5, 4, dtype=torch.float64)):
            loss = goal.loss(model, source, target)(x.requires_grad_(), PAIR, noise)
            (gradient,) = torch.autograd.grad(loss.sum(), x)
            assert gradient.abs().amax((1, 2, 3)).min() > 0


@dataclass
class Share:
    """A goal with a parameter, written as anyone would write it: it cannot even be hashed."""

    share: float = 1.0
    name = "share"
    targeted = False

    def loss(self, model, source, target):  # type: ignore[no-untyped-def]
        return lambda x, pair, noise: self.share * x.flatten(1).sum(1)


def test_a_goal_is_named_made_or_given(tmp_path: Path) -> None:
    assert goal_of("latent") == goal_of(Latent) == goal_of(Latent("kl")) == Latent()
    assert goal_of("untargeted") == Damage()
    assert goal_of(Share) == Share()
    assert goal_of(one := Share(0.5)) is one
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Mine:\n"
        "    share: float = 0.5\n"
        "    name = 'mine'\n"
        "    targeted = True\n"
        "    def loss(self, model, source, target):\n"
        "        return lambda x, pair, noise: x.flatten(1).sum(1)\n"
        "half = Mine(0.25)\n"
        "number = 3\n"
    )
    assert goal_of(f"{mine}:Mine").name == "mine"
    assert goal_of(f"{mine}:half").share == 0.25  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="3 is not a goal; a goal needs `name`, `targeted` and `loss"):
        goal_of(f"{mine}:number")


class Nameless:
    targeted = True

    def loss(self, model, source, target): ...  # type: ignore[no-untyped-def]


class Needy(Share):
    def __init__(self, share: float) -> None:
        super().__init__(share)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "latnt",
            "choose from latent, output, untargeted, drift, rate, layers, canvas, or give file.py:name",
        ),
        (Nameless(), "is not a goal"),
        (Needy, "cannot be made without arguments"),
        (3, "3 is not a goal"),
    ],
)
def test_what_is_no_goal_is_refused_in_one_line(given: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        goal_of(given)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_distance() -> None:
    with pytest.raises(InputError, match="distance is 'manhattan'; choose one of kl, kl-reverse, kl-symmetric, l2"):
        Latent("manhattan")
