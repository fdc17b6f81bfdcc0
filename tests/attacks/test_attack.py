"""An attack as a value: its parts, its name, what it refuses, and the same in one call."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from doubleback.attacks import (
    Attack,
    Damage,
    Examples,
    Latent,
    Output,
    attacks_of,
    latent_attack,
    output_attack,
    untargeted_attack,
)
from doubleback.attacks.expected import Problem
from doubleback.attacks.rows import Advance
from doubleback.errors import InputError
from doubleback.models import VAE
from doubleback.settings import Price, Search


def test_one_call_is_the_attack_of_the_same_parts(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    C = torch.tensor([0.25, 4.0])
    told: list[int] = []
    search = Search(steps=5, restarts=1, samples=1, seed=3)
    for attacked, goal in ((output_attack, Output()), (untargeted_attack, Damage()), (latent_attack, Latent())):
        one = attacked(vae, *pairs, coefficients=C, steps=5, restarts=1, samples=1, seed=3, advance=told.append)
        assert torch.equal(one.x_adv, Attack(goal, Price((0.25, 4.0)), search)(vae, *pairs).x_adv)
    assert sum(told) == 3 * (3 * 2 * 5 * 3)
    far = latent_attack(vae, *pairs, coefficients=C, steps=5, distance="l2")
    assert torch.equal(far.x_adv, Attack(Latent("l2"), Price((0.25, 4.0)), Search(steps=5))(vae, *pairs).x_adv)
    assert output_attack(vae, *pairs, steps=1).levels.shape == (51,)


def test_an_attack_is_called_as_its_goal_unless_it_has_a_name() -> None:
    assert Attack(Damage()).name == "untargeted"
    assert Attack(Damage(), name="far").name == "far"
    assert replace(Attack(Damage(), name="far"), search=Search(steps=1)).name == "far"
    assert Attack(Latent()).about == "moves the code to the target's"


class Darker:
    """A goal that says only what it has to."""

    name, targeted = "darker", False

    def loss(self, model, source, target):  # type: ignore[no-untyped-def]
        return lambda x, pair, noise: model(x, noise).likelihood.mean.flatten(1).sum(1)


def test_a_goal_of_ones_own_is_attacked(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    attack = Attack(Darker(), Price((0.0, 1e6)), Search(steps=30))
    assert attack.about == ""
    free, dear = (vae(x).likelihood.mean.sum((1, 2, 3)) for x in attack(vae, *pairs).x_adv.unbind(1))
    assert (free < dear - 1e-3).all()


@dataclass(frozen=True)
class Blends:
    """A capability of someone's own: shares of the way to the target, but nothing else."""

    shares: tuple[float, ...] = (0.0, 0.5)

    @property
    def count(self) -> int:
        return len(self.shares)

    def pursue(self, problem: Problem, search: Search, advance: Advance) -> Examples:
        x = torch.stack([problem.source.lerp(problem.target, share) for share in self.shares], 1)
        every = torch.arange(len(x))
        loss = torch.stack([problem.loss(one, every, None) for one in x.unbind(1)], 1)
        return Examples(x, torch.zeros(self.count), loss, torch.ones(loss.shape, dtype=torch.bool))


def test_an_attackers_own_capability_is_pursued(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, target = pairs
    found = Attack(Output(), Blends())(vae, source, target)
    assert torch.equal(found.x_adv[:, 1], source.lerp(target, 0.5))
    assert torch.allclose(found.objective[:, 0], (vae(source).likelihood.mean - target).square().sum((1, 2, 3)))


def test_attacks_of_names_goals_and_attacks() -> None:
    own, price, search = Attack(Output(), Price(3), name="few"), Price(7), Search(steps=9)
    found = attacks_of(["latent", own, Damage(), Output], price, search)
    assert [attack.name for attack in found] == ["latent", "few", "untargeted", "output"]
    assert found[1] is own
    assert all((one.capability, one.search) == (price, search) for one in found if one is not own)
    assert len(attacks_of(["output", "output"], price, search)) == 1


@pytest.mark.parametrize(
    "given",
    [
        ["output", Attack(Output(), Price(3))],
        [Attack(Output(), Price(3)), Attack(Output(), Price(4))],
        [Latent("l2"), Attack(Latent("l2"), Price(3))],
        [Darker(), Darker()],
    ],
)
def test_two_attacks_of_one_name_are_refused(given: list[object]) -> None:
    with pytest.raises(InputError, match=r"are called (output|latent-l2|darker); give each a name of its own"):
        attacks_of(given, Price(), Search())
    assert len(attacks_of([given[0], Attack(Output(), name="mine")], Price(), Search())) == 2


def test_no_attack_is_refused() -> None:
    with pytest.raises(InputError, match="attack is missing"):
        attacks_of([], Price(), Search())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"coefficients": torch.tensor([-1.0])}, "coefficients must be"),
        ({"coefficients": torch.tensor([])}, "coefficients must be"),
        ({"coefficients": torch.tensor([float("inf")])}, "coefficients must be"),
        ({"restarts": -1}, "restarts is -1"),
        ({"samples": -1}, "samples is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"distance": "manhattan"}, "distance is 'manhattan'"),
    ],
)
def test_bad_settings(change: dict[str, object], said: str, vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match=said):
        latent_attack(vae, *pairs, **change)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
def test_bad_images(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    (source, target), attack = pairs, Attack(Output())
    with pytest.raises(InputError, match="one target for each source"):
        attack(vae, source, target[:2])
    with pytest.raises(InputError, match="NaN"):
        attack(vae, source, target * float("nan"))
    with pytest.raises(InputError, match="divide by 255"):
        attack(vae, 255 * source, target)
