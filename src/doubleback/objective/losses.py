"""What an autoencoder is trained on beside a penalty: the negative ELBO, or the loss of its owner."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from scipy.optimize import nnls
from torch import Tensor, nn

from doubleback.errors import InputError, said_in_a_line
from doubleback.models.base import Autoencoder, Reconstruction, attacked, is_variational
from doubleback.objective.base import Terms
from doubleback.objective.penalties.gradient import reconstruction_loss
from doubleback.randomness import Stream, generator
from doubleback.state import evaluating

TOGETHER = 32  # images at once, where gradients of all weights are summed


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


class Deployed(Loss):
    """The loss of a model that somebody else has trained: of what it reconstructs as deployed, and what goes with it.

    L0 of the reconstruction in evaluation mode, with a gradient through rounding; the KL of a variational code; and
    what the model's library adds (`Wrapped.further`): the rate of a codec, the commitment of a code that is looked up.

    Args:
        weights: of what goes with L0, by name; `weights_of` finds them.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = {"reconstruction": 1.0, **weights}

    def __call__(self, model: Autoencoder, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None) -> Terms:
        """L0 in nats, the KL in nats, the rate in bits per pixel, ..."""
        with evaluating(model):
            made = attacked(model)(x, noise)
            terms = {"reconstruction": reconstruction_loss(made, x)}
            if is_variational(model):
                terms["kl"] = made.posterior.kl_to_standard()
        return terms | further_terms(model, x)


class InEvaluation(Loss):
    """Another loss, of the model in evaluation mode: the statistics of BatchNorm stay as they are, dropout is off.

    Args:
        loss: the other one.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss, self.weights = loss, loss.weights

    def __call__(self, model: Autoencoder, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None) -> Terms:
        """Its terms."""
        with evaluating(model):
            return self.loss(model, x, noise)


class Said(Loss):
    """A loss that its owner has written.

    Args:
        function: (net, x) -> a number for each image, (B,), or one for all; x in [0, 1].
        net: what the function takes first.
    """

    def __init__(self, function: Callable[[Any, Tensor], Tensor], net: Any) -> None:
        self.function, self.net = function, net
        self.weights = {"own": 1.0}

    def __call__(self, model: Autoencoder, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None) -> Terms:
        """The owner's own.

        Raises:
            InputError: it gives something else than numbers with a gradient.
        """
        del noise
        with evaluating(model), said_in_a_line("the loss"):
            value = self.function(self.net, x)
        if not (isinstance(value, Tensor) and value.requires_grad and value.numel() in (1, len(x))):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            without = isinstance(value, Tensor) and value.numel() in (1, len(x))
            raise InputError(
                f"the loss gives {shape}{' without a gradient' if without else ''}; it must give a tensor with a "
                "gradient, one number or one for each image"
            )
        return {"own": value.reshape(-1).expand(len(x))}


def further_terms(model: Autoencoder, x: Float[Tensor, "B ..."]) -> Terms:
    """What the model's library adds to its loss, (B,) each; nothing of a model that is not known."""
    further = getattr(model, "further", None)
    return {} if further is None else further(x)


def weights_of(model: nn.Module, x: Float[Tensor, "N ..."]) -> dict[str, float]:
    """The weights that a trained model's terms had, read off from its weights: where its loss is lowest,

        0 = d L0 / d theta + sum_t w_t d L_t / d theta,

    so the w_t >= 0 that come nearest to that are found (non-negative least squares) over these images.

    Args:
        model: trained, where the images are.
        x: in [0, 1].
    """
    loss = Deployed({})
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sums: dict[str, Tensor] = {}
    random = generator(0, Stream.NOISE)
    for part in torch.split(x, TOGETHER):
        noise = torch.randn(len(part), *getattr(model, "noise_shape", ()), generator=random).to(part)
        terms = loss(model, part, noise)  # type: ignore[arg-type]
        for name, values in terms.items():
            if not values.requires_grad:
                continue
            found = torch.autograd.grad(values.sum() / len(x), parameters, retain_graph=True, materialize_grads=True)
            flat = torch.cat([one.flatten() for one in found]).double()
            sums[name] = sums.get(name, 0) + flat
    further = [name for name in sums if name != "reconstruction"]
    if not further:
        return {}
    columns = torch.stack([sums[name] for name in further], dim=1)
    found_weights, _ = nnls(columns.cpu().numpy(), -sums["reconstruction"].cpu().numpy())
    return dict(zip(further, found_weights.tolist(), strict=True))
