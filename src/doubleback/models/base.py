"""The protocols that training, attacks and audits see, and the record that a forward pass returns."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from doubleback.distributions import DiagonalGaussian, Likelihood, pytree_record


@pytree_record
@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder makes of a batch.

    Attributes:
        posterior: q(z|x), over codes (B, ...).
        likelihood: p(x|z) over (B, C, H, W); its mean in [0, 1] is the reconstruction.
        rate: bits per pixel, (B,), of a codec.
        tokens: places in a codebook, (B, n), of a quantised code.
    """

    posterior: DiagonalGaussian
    likelihood: Likelihood
    rate: Float[Tensor, "B"] | None = None
    tokens: Int[Tensor, "B n"] | None = None


@runtime_checkable
class Autoencoder(Protocol):
    """Anything with these three members can be hardened, attacked and audited. `wrap` makes one from any model.

    Images are (B, C, H, W) in [0, 1], or signals (B, ...) in [0, 1]; codes are (B, ...). Randomness is an argument:
    `noise` is (B, *noise_shape), drawn from N(0, I) by the caller; None takes the mean path, z = mean. The code has as
    many dimensions as the noise.

    A plain autoencoder has `variational = False`: its posterior is N(z, I), whatever the noise.
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


def attacked(model: Autoencoder) -> Autoencoder:
    """What an attack follows: the model's `surrogate`, where it has one, else itself. Scored is the model."""
    surrogate: Autoencoder | None = getattr(model, "surrogate", None)
    return model if surrogate is None else surrogate


def decodes(model: Autoencoder) -> bool:
    """Whether it gives images; an encoder alone (`decodes = False`) is asked for its code, and scored on that."""
    return bool(getattr(model, "decodes", True))


def encodes(model: Autoencoder) -> bool:
    """Whether it has a code; without one (`encodes = False`) only its output can be attacked."""
    return bool(getattr(model, "encodes", True))


def acquaint(model: Autoencoder, images: Float[Tensor, "N ..."]) -> None:
    """Show a model its first images, where it wants to see them (`meet`) to learn the shape of its code."""
    if meet := getattr(model, "meet", None):
        meet(images)


def is_variational(model: Autoencoder) -> bool:
    """Whether training weighs a KL to the prior: True unless the model says `variational = False`."""
    return bool(getattr(model, "variational", True))
