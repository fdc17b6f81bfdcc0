"""How an attack looks for the worst point of a ball around an image, and how large that ball is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from doubleback.errors import InputError
from doubleback.settings.checks import Settings, at_least, positive, seed_in_range

FARTHEST = 10_000  # eps: no two images are farther apart, in any norm
Norm = Literal["Linf", "L2"]
LossName = Literal["cross-entropy", "margin", "dlr"]
LOSSES: tuple[LossName, ...] = get_args(LossName)


@dataclass(frozen=True)
class BallSearch(Settings):
    """How hard a search in a ball tries. Each attack on a classifier names the settings that it uses.

    Raises:
        InputError: a count or the seed is out of range, the step size is not positive, or a loss is unknown or missing.
    """

    steps: int = 40
    """Gradients taken from each start. Random noise tries as many points."""
    step_size: float | None = None
    """Length of a step of PGD, in units of eps; None: 2.5 / steps."""
    restarts: int = 1
    """Starts for each loss, each of `steps`. The best iterate counts, so more starts never hurt."""
    random_start: bool = True
    """Start at a random point of the ball, not at the image."""
    losses: Sequence[LossName] | None = None
    """The losses to minimise, one after the other. None: all that the number of classes allows (with two there is no
    DLR)."""
    queries: int = 1000
    """How many points of each ball Square tries, the start included. The number also sets how fast its squares shrink.
    So a larger number gives another search, not just a longer one."""
    samples: int = 1
    """For a model that draws fresh noise: how many of its answers are averaged at each step. The margin that is
    returned then comes from fresh answers."""
    keep: bool = False
    """Take every step, even for images that are fooled already. This is for comparisons of speed."""
    seed: int = 0
    """Seed of the starts and the draws. The draws for an image depend on its place among the images, not on the other
    images."""

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts, queries=self.queries, samples=self.samples)
        positive(step_size=self.step_size)
        if self.losses is not None:
            object.__setattr__(self, "losses", tuple(self.losses))
            unknown = [name for name in self.losses if name not in LOSSES]
            if unknown or not self.losses:
                raise InputError(f"loss {', '.join(unknown) or 'is missing'}; choose from {', '.join(LOSSES)}")
        seed_in_range(self.seed)

    @property
    def step(self) -> float:
        """Length of a step of PGD, in units of eps."""
        return 2.5 / self.steps if self.step_size is None else self.step_size


def radius(typed: str | float) -> float:
    """One epsilon as a number.

    Raises:
        ValueError, ZeroDivisionError: it is not a number.

    >>> radius("8/255")
    0.03137254901960784
    """
    above, *below = str(typed).split("/")
    if len(below) > 1:
        raise ValueError(f"{typed} has more than one slash")
    return float(above) / float(below[0] if below else 1)


def radii(typed: Sequence[str | float]) -> list[float]:
    """Epsilons as numbers. Each is given as a number, or as text such as "0.1" or "8/255".

    Raises:
        InputError: there is no epsilon, one is not a positive number or is over `FARTHEST`, or one is there twice.

    >>> radii(["0.1", "8/255", 0.2])
    [0.1, 0.03137254901960784, 0.2]
    """
    if not typed:
        raise InputError("eps is empty; give one or more radii, such as 0.1 or 8/255")
    found: list[float] = []
    for eps in typed:
        try:
            found.append(radius(eps))
        except (ValueError, ZeroDivisionError):
            raise InputError(
                f"eps {eps!r} is not a number; give numbers such as 0.1, or fractions such as 8/255"
            ) from None
        if not found[-1] > 0:
            raise InputError(f"eps is {eps}; give a positive number, such as 0.1 or 8/255")
        if found[-1] > FARTHEST:
            raise InputError(f"eps is {eps}; pixels lie in [0, 1]: give at most {FARTHEST}")
        if found.count(found[-1]) > 1:
            raise InputError(f"eps {eps} is there twice; give each once")
    return found
