"""The protocols that training, attacks and audits see, and the record that a forward pass returns."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from doubleback.distributions import DiagonalGaussian, Likelihood, pytree_record


@pytree_record
@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder makes of a batch.

    Attributes:
        posterior: q(z|x), (B, D).
        likelihood: p(x|z) over (B, C, H, W); its mean in [0, 1] is the reconstruction.
    """

    posterior: DiagonalGaussian
    likelihood: Likelihood


@runtime_checkable
class Autoencoder(Protocol):
    """Anything with these three members can be hardened, attacked and audited.

    Images are (B, C, H, W) in [0, 1]. Randomness is an argument: `noise` is (B, *noise_shape), drawn from
    N(0, I) by the caller; None takes the mean path, z = mean. The code has as many dimensions as the noise.

    A plain autoencoder says so by `variational = False`: its posterior is N(z, I), whatever the noise.
    """

    noise_shape: tuple[int, ...]

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B ..."] | None = None) -> DiagonalGaussian:
        """q(z|x): all that a latent attack needs (no decoder run)."""

    def __call__(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B ..."] | None = None) -> Reconstruction:
        """Encode, draw z with `noise` (None: its mean), decode."""


@runtime_checkable
class Classifier(Protocol):
    """Anything with these two members can be attacked and measured as a classifier.

    Attributes:
        classes: K names or numbers, in the order of the scores.
    """

    classes: tuple[str | int, ...]

    def __call__(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Scores of images in [0, 1], the highest for the likeliest class: logits, or log densities."""


def is_variational(model: Autoencoder) -> bool:
    """Whether training weighs a KL to the prior: True unless the model says `variational = False`."""
    return bool(getattr(model, "variational", True))
