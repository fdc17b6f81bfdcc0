"""How classifiers are attacked."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.settings.ball import Norm, radii
from doubleback.settings.checks import Settings, at_least, one_of, seed_in_range
from doubleback.settings.headings import Heading

WhiteBox = Literal["fgsm", "pgd", "apgd"]


@dataclass(frozen=True)
class Threats(Settings):
    """Every attack that a classifier has to withstand.

    Raises:
        InputError: a count or the seed is out of range, an attack or the norm is unknown, or an epsilon is not a
            positive number.
    """

    HEADING = Heading.GOALS

    attack: tuple[WhiteBox, ...] = ("fgsm", "pgd", "apgd")
    """Attacks through the gradient, each with the losses cross-entropy, margin and DLR."""
    norm: Norm = "Linf"
    """How --eps measures a change of the image."""
    eps: Annotated[tuple[str | float, ...], arg(metavar="EPS [EPS ...]")] = ("0.05", "0.1", "0.2")
    """How far an image may be moved. Under Linf: the most that a pixel changes, as 0.1 or 8/255."""
    steps: int = 40
    """Steps of pgd and apgd, and draws of random noise."""
    restarts: int = 1
    """Random starts of pgd and apgd for each loss."""
    queries: int = 1000
    """Questions of the Square attack for each image. 0 leaves that attack out."""
    noise_samples: int = 1
    """For a model that draws noise: how many answers are averaged at each step."""
    seed: int = 0
    """Seed of the images, the starts and the searches."""

    def __post_init__(self) -> None:
        if not self.attack:
            raise InputError(f"attack is missing; choose from {', '.join(get_args(WhiteBox))}")
        for name in self.attack:
            one_of(get_args(WhiteBox), attack=name)
            if self.attack.count(name) > 1:
                raise InputError(f"attack {name} is there twice; give each once")
        one_of(get_args(Norm), norm=self.norm)
        at_least(1, steps=self.steps, restarts=self.restarts, noise_samples=self.noise_samples)
        at_least(0, queries=self.queries)
        seed_in_range(self.seed)
        radii(self.eps)

    @property
    def radii(self) -> list[float]:
        """The epsilons as numbers."""
        return radii(self.eps)
