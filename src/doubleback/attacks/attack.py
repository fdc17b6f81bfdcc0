"""An attack on an autoencoder as a value: the attacker's goal, capability and knowledge, and how hard it searches.

Attack(Output(), Price(50), Search(steps=300))(model, source, target).x_adv
Attack(Damage(), Budget("Linf", ["8/255"]), knowledge=Scores(queries=1000))(model, source, target).x_adv
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from doubleback.attacks.budget import within_budget
from doubleback.attacks.examples import Examples
from doubleback.attacks.expected import Problem
from doubleback.attacks.goals import Damage, Goal, Latent, Output, Own, goal_of
from doubleback.attacks.knowledge import Gradient, Knowledge
from doubleback.attacks.rows import Advance
from doubleback.attacks.squares import refuse_signals
from doubleback.attacks.sweep import sweep
from doubleback.attacks.weighing import bounded
from doubleback.errors import InputError, said_in_a_line
from doubleback.models.base import Autoencoder, acquaint
from doubleback.models.channel import rounding_of
from doubleback.settings.search import Price, Search
from doubleback.settings.threat import Budget
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
pursue.register(Budget)(within_budget)

STEPS = Price.STEPS  # of a search that leaves them out, under a user's own capability


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        goal: what the attacker wants to reach.
        capability: what the attacker may do to the input: `Price`, `Budget`.
        search: how hard the attack tries; if it leaves steps out, the capability's default holds.
        knowledge: what the attacker knows of the model: `Gradient`, `Scores`, `Surrogate`.
        name: its name in results; by default the goal's name.
    """

    goal: Goal
    capability: Capability = field(default=Price())
    search: Search = field(default=Search())
    name: str = ""
    knowledge: Knowledge = field(default=Gradient())

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.goal.name)
        steps = getattr(self.capability, "STEPS", STEPS)
        object.__setattr__(self, "search", self.search.filled(steps=steps))

    @property
    def about(self) -> str:
        """What it does, in a few words; empty if the goal does not say."""
        said = [getattr(self.goal, "about", ""), self.knowledge.about]
        return ", ".join(word for word in said if word)

    @property
    def row_steps(self) -> int:
        """How many steps of rows it takes for one pair, at most."""
        each = self.knowledge.queries or self.search.steps * (2 + self.search.restarts)
        return self.capability.count * each

    def try_on(self, model: Autoencoder, x: Tensor) -> None:
        """Ask of the model, and of an image, what the goal and the knowledge will ask, before anything is attacked.

        Args:
            model: in evaluation mode.
            x: one image (1, C, H, W), where the model is.

        Raises:
            InputError: the model lacks it, or images of this kind do.
        """
        followed = self.knowledge.followed(model)
        acquaint(followed, x)
        if self.knowledge.queries:
            refuse_signals(x)
        ours = type(self.goal).__module__.startswith("doubleback.") and not isinstance(self.goal, Own)
        with torch.no_grad(), nullcontext() if ours else said_in_a_line(f"the goal {self.goal.name}"):
            self.goal.loss(followed, x, x)(x, torch.zeros(1, dtype=torch.long, device=x.device), None)

    def __call__(
        self, model: Autoencoder, source: Images, target: Images, *, advance: Advance | None = None
    ) -> Examples:
        """Adversarial inputs for every pair.

        Args:
            model: any autoencoder; a module is attacked in evaluation mode, and left in the mode it was in.
            source: images (P, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1].
            target: such images, one for each source.
            advance: told how many row-steps are done, of P * `row_steps` in all: for a progress bar.

        Raises:
            InputError: the images do not match in shape, or do not fit the model; or as `tensors.as_images`.

        Warns:
            UserWarning: the model is in training mode.
        """
        followed = self.knowledge.followed(model)
        with at_work(model, followed, warn=True):
            start, end = placed(model, source, "source images"), placed(model, target, "target images")
            own = start
            if self.knowledge.queries == 0 and not self.knowledge.follows:  # another model, which may lie elsewhere
                start, end = placed(followed, start), placed(followed, end)
            if start.shape != end.shape:
                raise InputError(
                    f"source is {tuple(start.shape)}, target {tuple(end.shape)}; give one target for each source"
                )
            acquaint(model, start)
            acquaint(followed, start)
            with bounded(followed, start[:1]):
                loss = self.goal.loss(followed, start, end)
                problem = Problem(
                    loss,
                    start,
                    end,
                    followed.noise_shape,
                    self.goal.targeted,
                    queries=self.knowledge.queries,
                    rounding=rounding_of(followed),
                )
                found = pursue(self.capability, problem, self.search, advance or (lambda _: None))
                return replace(found, x_adv=found.x_adv.to(own))


def attacks_of(given: Iterable[Any], capability: Capability, search: Search) -> list[Attack]:
    """Attacks from attacks, goals or the names of goals; the latter two take this capability and search.

    Raises:
        InputError: one is unknown, two have the same name, or there is none.
    """
    found: dict[str, Attack] = {}
    wanted = list(given)
    for place, one in enumerate(wanted):
        if one in wanted[:place]:
            continue
        attack = one if isinstance(one, Attack) else Attack(goal_of(one), capability, search)
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
