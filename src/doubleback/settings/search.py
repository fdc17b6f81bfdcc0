"""How hard an attack on an autoencoder searches, what a change of the input costs, and which pairs are attacked."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.settings.checks import LEFT_OUT, UNPREFIXED, Settings, Unsaid, as_bytes, at_least, seed_in_range
from doubleback.settings.headings import Heading
from doubleback.settings.threat import Budget, Threat


@dataclass(frozen=True)
class Price(Settings):
    """A capability: any change d of the input, at a price of C ||d||^2, for a sweep of coefficients C (paper, 2.2).

    Raises:
        InputError: there is no coefficient, or one that is negative or not finite.
    """

    HEADING = Heading.GOALS

    coefficients: int | tuple[float, ...] = 50
    """How many prices the attack tries for a change of the image: N from 2^-20 to 2^20, and also 0, a change that is
    free. So the curve has N + 1 coefficients."""
    STEPS: ClassVar[int] = 300  # the default of `Search.steps`

    def __post_init__(self) -> None:
        if isinstance(self.coefficients, int):
            at_least(1, coefficients=self.coefficients)
        elif not self.coefficients or not all(0 <= C < float("inf") for C in self.coefficients):
            raise InputError("coefficients must be a row of finite numbers of at least 0; see `coefficient_sweep`")

    @property
    def count(self) -> int:
        """How many coefficients there are."""
        return self.coefficients + 1 if isinstance(self.coefficients, int) else len(self.coefficients)


@dataclass(frozen=True)
class Search(Settings):
    """How an attack on an autoencoder looks for its minimum.

    Raises:
        InputError: a count or the seed is out of range.
    """

    HEADING = Heading.GOALS

    steps: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: 300; with --eps 100)")] = LEFT_OUT
    """Most steps of an attack."""
    restarts: int = 0
    """How many random starts to try, beside the two usual ones: the source and the best blend with the target."""
    samples: int = 0
    """0: attack the model without its noise. N: average N draws of the noise at each step, and score on N others."""
    seed: int = 0
    """Seed of the pairs, the starts and the noise."""

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        at_least(0, restarts=self.restarts, samples=self.samples)
        seed_in_range(self.seed)


@dataclass(frozen=True)
class Pairing(Settings):
    """Which pairs of a source and a target are attacked: drawn by the search's seed, the same for every model.

    Raises:
        InputError: fewer than one pair.
    """

    HEADING = Heading.PAIRS

    pairs: int = 20
    """How many pairs of a source and a target to attack. Every model gets the same ones."""
    source_label: Annotated[
        str | int | None, arg(name="from", metavar="CLASS", help_behavior_hint="(default: any)")
    ] = None
    """The class of the sources, if the images have labels."""
    target_label: Annotated[
        str | int | None, arg(name="to", metavar="CLASS", help_behavior_hint="(default: any other)")
    ] = None
    """The class of the targets."""

    def __post_init__(self) -> None:
        at_least(1, pairs=self.pairs)


@dataclass(frozen=True)
class Auditing(Settings):
    """An audit: its pairs, what a change costs, how hard its attacks search."""

    HEADING = Heading.GOALS

    pairing: Annotated[Pairing, UNPREFIXED] = Pairing()
    price: Annotated[Price, UNPREFIXED] = Price()
    search: Annotated[Search, UNPREFIXED] = Search()
    memory: Annotated[
        str | None, arg(metavar="SIZE", help_behavior_hint="(default: half of what is free)"), Heading.MACHINE
    ] = None
    """Memory for the attacks, as 4GB. With less, fewer images are attacked at a time; figures change by
    rounding only, or with --restarts or --samples by their random draws."""
    threat: Annotated[Threat, UNPREFIXED] = Threat()

    def __post_init__(self) -> None:
        if self.memory is not None:
            as_bytes(self.memory)
        if self.threat.eps and self.price != Price():
            raise InputError("--coefficients has no effect with --eps, which sets a budget and no price; leave one out")

    @property
    def capability(self) -> Price | Budget:
        """What the attacks may do: keep to the budget if there is one, otherwise pay the price."""
        return self.threat.budget or self.price

    @property
    def resolved(self) -> "Auditing":
        """These settings, with the default steps of such attacks if they were left out."""
        norm = {"norm": self.threat.budget.norm} if self.threat.budget else {}
        return self.filled(steps=self.capability.STEPS, **norm)
