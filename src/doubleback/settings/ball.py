"""How an attack looks for the worst point of a ball about an image, and how far that ball reaches."""

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
    """How hard a search in a ball tries. An attack on a classifier says which of these it takes.

    Raises:
        InputError: a count or the seed is out of range, the step size is not positive, or a loss is unknown or missing.
    """

    steps: int = 40
    """Gradients of a start; of random noise, the points that are tried."""
    step_size: float | None = None
    """Length of a step of PGD, in units of eps; None: 2.5 / steps."""
    restarts: int = 1
    """Starts for each loss, each of `steps`; the best iterate counts, so more never hurt."""
    random_start: bool = True
    """Start at a random point of the ball, not at the image."""
    losses: Sequence[LossName] | None = None
    """What is minimised, one after the other; None: all that the number of classes allows (two have no DLR)."""
    queries: int = 1000
    """Points of each ball that Square tries, the start being the first. They set the pace at which its squares shrink,
    too: more of them are another search, not a longer one."""
    samples: int = 1
    """Answers of the model that are averaged at each step, for a model that draws fresh noise; the margin that is
    returned is then of fresh answers."""
    keep: bool = False
    """Go on with images that are fooled already, to the last step: for comparisons of speed."""
    seed: int = 0
    """Of the starts and the draws. What an image gets depends on its place among the images, not on the others."""

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
        ValueError, ZeroDivisionError: it is none.

    >>> radius("8/255")
    0.03137254901960784
    """
    above, *below = str(typed).split("/")
    if len(below) > 1:
        raise ValueError(f"{typed} has two lines of division")
    return float(above) / float(below[0] if below else 1)


def radii(typed: Sequence[str | float]) -> list[float]:
    """Epsilons as numbers: they are numbers, or words for them, or for fractions such as 8/255.

    Raises:
        InputError: there is none, or one is no positive number, or is there twice.

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
                f"eps {eps!r} is no number; give numbers such as 0.1, or fractions such as 8/255"
            ) from None
        if not found[-1] > 0:
            raise InputError(f"eps is {eps}; give a positive number, such as 0.1 or 8/255")
        if found[-1] > FARTHEST:
            raise InputError(f"eps is {eps}; pixels lie in [0, 1]: give at most {FARTHEST}")
        if found.count(found[-1]) > 1:
            raise InputError(f"eps {eps} is there twice; give each once")
    return found
