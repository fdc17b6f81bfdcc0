"""What an autoencoder is trained on beside a penalty: the negative ELBO, or the loss of its owner."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from doubleback.models.base import Autoencoder, Reconstruction, is_variational
from doubleback.objective.base import Terms
from doubleback.objective.penalties.gradient import reconstruction_loss


class Loss(ABC):
    """Named terms for each image, and the weight of each.

    Attributes:
        weights: of the terms, by name.
    """

    weights: Mapping[str, float]

    @property
    def terms(self) -> tuple[str, ...]:
        """Their names, in the order of the log."""
        return tuple(self.weights)

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None) -> Terms:
        """The terms for each image, (B,)."""

    def total(self, terms: Terms) -> Float[Tensor, ""]:
        """The terms weighed, averaged over the batch."""
        every = [weight * terms[name].mean() for name, weight in self.weights.items() if name in terms]
        return sum(every[1:], start=every[0])


class ELBO(Loss):
    """L0 + kl_weight L1, the negative ELBO; L0 alone of a plain autoencoder.

    Args:
        kl_weight: lambda1.
    """

    def __init__(self, kl_weight: float = 1.0) -> None:
        self.weights = {"reconstruction": 1.0, "kl": kl_weight}

    def __call__(self, model: Autoencoder, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None) -> Terms:
        """L0 and L1 of a batch, in nats."""
        return self.of(model, model(x, noise), x)

    def of(self, model: Autoencoder, reconstruction: Reconstruction, x: Float[Tensor, "B ..."]) -> Terms:
        """The same of a reconstruction that is there already."""
        terms = {"reconstruction": reconstruction_loss(reconstruction, x)}
        return terms | {"kl": reconstruction.posterior.kl_to_standard()} if is_variational(model) else terms
