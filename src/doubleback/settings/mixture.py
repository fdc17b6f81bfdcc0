"""The mixtures of a latent classifier."""

from dataclasses import dataclass
from typing import Literal, get_args

from doubleback.settings.checks import Settings, at_least, not_negative, one_of, seed_in_range
from doubleback.settings.headings import Heading

Covariance = Literal["full", "diag", "tied"]


@dataclass(frozen=True)
class Mixture(Settings):
    """A Gaussian mixture for each class, fitted by EM (paper, equations 13 and 14).

    Raises:
        InputError: a count or the seed is out of range, the covariance is unknown, or the regularization is negative.
    """

    HEADING = Heading.CLASSIFIER

    components: int = 10
    """Gaussians for each class."""
    covariance: Covariance = "full"
    """Covariance of each Gaussian. tied: one for all Gaussians of a class."""
    regularization: float = 1e-3
    """Added to the diagonal of every covariance."""
    seed: int = 0
    """Seed of the start of EM."""

    def __post_init__(self) -> None:
        at_least(1, components=self.components)
        one_of(get_args(Covariance), covariance=self.covariance)
        not_negative(regularization=self.regularization)
        seed_in_range(self.seed)
