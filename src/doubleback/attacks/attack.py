"""An attack on an autoencoder as a value: the attacker's goal, what a change of the input costs, how hard it searches.

Attack(Output(), Price(50), Search(steps=300))(model, source, target).x_adv
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from doubleback.attacks.goals import Damage, Goal, Latent, Output, goal_of
from doubleback.attacks.rows import Advance
from doubleback.attacks.sweep import Examples, Problem, sweep
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder, acquaint, attacked
from doubleback.settings.search import Price, Search
from doubleback.state import at_work
from doubleback.tensors import Images, placed


@runtime_checkable
class Capability(Protocol):
    """What the attacker may do to the input; a new one has a method `pursue(problem, search, advance)`, too."""

    @property
    def count(self) -> int:
        """How many examples it gives for each pair."""


@singledispatch
def pursue(capability: Any, problem: Problem, search: Search, advance: Advance) -> Examples:
    """The best examples that this capability allows: by its own `pursue`; a price, which knows no torch, by `sweep`."""
    found: Examples = capability.pursue(problem, search, advance)
    return found


pursue.register(Price)(sweep)


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        goal: what is to be reached.
        capability: what the attacker may do to the input.
        search: how hard it is tried.
        name: what results call it; by default the goal's name.
    """

    goal: Goal
    capability: Capability = field(default=Price())
    search: Search = field(default=Search())
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.goal.name)

    @property
    def about(self) -> str:
        """What it does, in a few words; empty if the goal does not say."""
        return str(getattr(self.goal, "about", ""))

    def __call__(
        self, model: Autoencoder, source: Images, target: Images, *, advance: Advance | None = None
    ) -> Examples:
        """Adversarial inputs for every pair.

        Args:
            model: any autoencoder; a module is attacked in evaluation mode, and left in the mode it was in.
            source: images (P, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1].
            target: such images, one for each source.
            advance: told how many row-steps are done, of P * K * steps * (2 + restarts) in all: for a progress bar.

        Raises:
            InputError: the images do not match in shape, or do not fit the model; or as `tensors.as_images`.

        Warns:
            UserWarning: the model is in training mode.
        """
        followed = attacked(model)
        with at_work(model, followed, warn=True):
            start, end = placed(model, source, "source images"), placed(model, target, "target images")
            if start.shape != end.shape:
                raise InputError(f"source is {tuple(start.shape)}, target {tuple(end.shape)}; give one target a source")
            acquaint(model, start)
            loss = self.goal.loss(followed, start, end)
            problem = Problem(loss, start, end, model.noise_shape, targeted=self.goal.targeted)
            return pursue(self.capability, problem, self.search, advance or (lambda _: None))


def attacks_of(given: Iterable[Any], price: Price, search: Search) -> list[Attack]:
    """Attacks from attacks, goals or the names of goals; the latter two take this price and search.

    Raises:
        InputError: one is unknown, two have the same name, or there is none.
    """
    found: dict[str, Attack] = {}
    wanted = list(given)
    for place, one in enumerate(wanted):
        if one in wanted[:place]:
            continue
        attack = one if isinstance(one, Attack) else Attack(goal_of(one), price, search)
        if attack.name in found:
            raise InputError(f"two attacks are called {attack.name}; give each a name of its own: Attack(..., name=)")
        found[attack.name] = attack
    if not found:
        raise InputError("attack is missing; give one or more goals")
    return list(found.values())


def latent_attack(
    model: Autoencoder, source: Images, target: Images, *, distance: str = "kl", **settings: Any
) -> Examples:
    """Move the code of each source towards the code of its target: `Attack(Latent(distance))` in one call.

    `settings` are the fields of `Search`, `coefficients` (C, a row of numbers), and `advance`. Otherwise as `Attack`.
    """
    return _attacked(Latent(distance), model, source, target, **settings)


def output_attack(model: Autoencoder, source: Images, target: Images, **settings: Any) -> Examples:
    """Move the reconstruction of each source towards its target: `Attack(Output())`. Settings as in `latent_attack`."""
    return _attacked(Output(), model, source, target, **settings)


def untargeted_attack(model: Autoencoder, source: Images, target: Images, **settings: Any) -> Examples:
    """Move the reconstruction of each source anywhere: `Attack(Damage())`. Settings as in `latent_attack`.

    The target only gives the direction of the blending start: at d = 0 the objective's gradient vanishes.
    """
    return _attacked(Damage(), model, source, target, **settings)


def _attacked(
    goal: Goal,
    model: Autoencoder,
    source: Images,
    target: Images,
    *,
    coefficients: Tensor | None = None,
    advance: Advance | None = None,
    **search: Any,
) -> Examples:
    price = Price() if coefficients is None else Price(tuple(coefficients.tolist()))
    return Attack(goal, price, Search(**search))(model, source, target, advance=advance)
