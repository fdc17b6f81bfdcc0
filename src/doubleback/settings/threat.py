"""How far an attacker of an autoencoder may go: a budget for the change of the input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, get_args

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.settings.ball import Norm, radii
from doubleback.settings.checks import Settings, at_least, one_of
from doubleback.settings.headings import Heading

FULL = 1.0  # Linf: the whole box


@dataclass(frozen=True)
class Budget(Settings):
    """A capability: any change d of the input with ||d|| <= eps, for several eps (Madry et al. 2018).

    Args:
        norm: "Linf", in units of a pixel in [0, 1], or "L2", the 2-norm over the image.
        eps: the radii; numbers, or words such as "8/255".
        relative: read eps as shares u of ||x_0 - x_t||, the distance of each pair's source and target; L2 only.

    Raises:
        InputError: the norm is unknown; there is no eps; an eps is not a positive number, is over 1 under Linf, or is
            there twice; or `relative` is set under Linf.
    """

    norm: Norm
    eps: tuple[str | float, ...]
    relative: bool = False
    STEPS: ClassVar[int] = 100  # the default of `Search.steps`

    def __post_init__(self) -> None:
        given = eps_as_given(self.eps)
        object.__setattr__(self, "eps", given)
        one_of(get_args(Norm), norm=self.norm)
        for typed, radius in zip(given, radii(given), strict=True):
            if self.norm == "Linf" and radius > FULL:
                raise InputError(f"eps is {typed}; under Linf pixels lie in [0, 1]: give at most 1, as 8/255")
        if self.relative and self.norm != "L2":
            raise InputError("a relative eps is a share of the pair's L2 distance; give the norm L2")

    @property
    def radii(self) -> list[float]:
        """The epsilons as numbers."""
        return radii(self.eps)

    @property
    def typed(self) -> list[str]:
        """The epsilons as they were typed: keys of the results."""
        return [str(eps) for eps in self.eps]

    @property
    def count(self) -> int:
        """How many epsilons there are."""
        return len(self.eps)


@dataclass(frozen=True)
class Threat(Settings):
    """What an attacker may do and know beyond the paper's price on the distortion, and what stands in the way.

    Raises:
        InputError: as `Budget`; or a setting needs another one to have an effect.
    """

    HEADING = Heading.BUDGET

    norm: Annotated[Norm | None, arg(metavar="Linf|L2", help_behavior_hint="(default: Linf)")] = None
    """How --eps measures a change of the image. Needs --eps."""
    eps: Annotated[tuple[str | float, ...], arg(metavar="EPS [EPS ...]", help_behavior_hint="(default: none)")] = ()
    """Bound the change of the image, instead of giving it a price. Under Linf: the most that a pixel changes, as
    8/255. Without --attack the standard attacks run (docs/threats.md)."""
    relative: bool = False
    """Read --eps as shares of the L2 distance between source and target. Needs --norm L2."""
    queries: int = 0
    """Also attack without gradients: ask the model N times for each image and eps (Square). Needs --eps."""
    survive: Annotated[
        tuple[str, ...], arg(metavar="STEP [STEP ...]", help_behavior_hint="(default: none)"), Heading.DEFENCES
    ] = ()
    """What happens to an image on its way to the model, in this order: quantize:8 (bits), jpeg:75 (quality),
    resize:0.5. The attacker takes it into account."""
    defend: Annotated[
        tuple[str, ...], arg(metavar="STEP [STEP ...]", help_behavior_hint="(default: none)"), Heading.DEFENCES
    ] = ()
    """Defences around the model at test time, in this order: those of --survive; smooth:0.1 (the mean over copies
    with this noise); hmc:10 (steps of Hamiltonian Monte Carlo on the code). The attacker knows them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", eps_as_given(self.eps))
        if self.eps:
            Budget(self.norm or "Linf", self.eps, self.relative)
        needing = {"norm": self.norm, "relative": self.relative, "queries": self.queries}
        for name, value in needing.items():
            if value and not self.eps:
                raise InputError(f"--{name} has no effect without --eps; say how far: --eps 8/255")
        at_least(0, queries=self.queries)
        for step in self.survive:
            survival(step)
        for step in self.defend:
            defence(step)

    @property
    def budget(self) -> Budget | None:
        """The budget; None if the attacker pays a price instead."""
        return Budget(self.norm or "Linf", self.eps, self.relative) if self.eps else None


def eps_as_given(eps: "str | float | Sequence[str | float]") -> tuple[str | float, ...]:
    """One eps, or several, as a tuple."""
    return (eps,) if isinstance(eps, str | int | float) else tuple(eps)


@dataclass(frozen=True)
class Step:
    """One step on an image's way to the model, or one defence.

    `kind` is "quantize" (to `value` bits), "jpeg" (with this quality) or "resize" (by this factor, and back). A defence
    may also be "smooth" (with noise of this standard deviation) or "hmc" (with this many steps).
    """

    kind: str
    value: float


_SURVIVED = {
    "quantize": (1, 16, "bits, as quantize:8"),
    "jpeg": (1, 100, "quality, as jpeg:75"),
    "resize": (0.01, 16, "factor, as resize:0.5"),
}
_DEFENCES = _SURVIVED | {
    "smooth": (0.001, 1, "standard deviation, as smooth:0.1"),
    "hmc": (1, 1000, "steps, as hmc:10"),
}
_FRACTIONS = ("resize", "smooth")


def survival(text: str) -> Step:
    """One step on an image's way, from its text.

    Raises:
        InputError: there is no such step, or its number is out of range.

    >>> survival("jpeg:75")
    Step(kind='jpeg', value=75.0)
    """
    return _step("survive", text, _SURVIVED)


def defence(text: str) -> Step:
    """One defence at test time, from its text.

    Raises:
        InputError: as `survival`.

    >>> defence("smooth:0.1")
    Step(kind='smooth', value=0.1)
    """
    return _step("defend", text, _DEFENCES)


def _step(option: str, text: str, ranges: Mapping[str, tuple[float, float, str]]) -> Step:
    kind, _, number = text.partition(":")
    if kind not in ranges:
        raise InputError(f"{option} is {text!r}; choose from {', '.join(f'{name}:N' for name in ranges)}")
    low, high, words = ranges[kind]
    try:
        value = float(number)
    except ValueError:
        raise InputError(f"{option} is {text!r}; give the {words}") from None
    whole = kind in _FRACTIONS or value.is_integer()
    if not (low <= value <= high and whole):
        raise InputError(f"{option} is {text!r}; give {low} to {high} for the {words}")
    return Step(kind, value)
