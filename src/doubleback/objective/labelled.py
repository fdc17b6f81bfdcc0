"""An autoencoder that learns classes, too: its code is to tell them apart, and to go on doing so near each image.

    L + w (CE + lambda ||d CE / dx||^2),    CE = -sum_k t_k log softmax(A z + b)_k,    z ~ q(z|x)

t is the label, smoothed: `SMOOTHING` of it is spread over all classes (Szegedy et al. 2016). L is the negative ELBO,
the KL weighed by lambda1. A and b are learned and thrown away: the code is for a mixture (`mixture`), which takes their
place. The last term is double backpropagation as Drucker & Le Cun have it (1992). All terms see images that are shifted
by a few pixels and, if that is asked for, inverted; a few thousand images teach more so.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from doubleback.data import Split
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality, reconstruction_quality
from doubleback.models.base import Autoencoder, Reconstruction, is_variational
from doubleback.objective.base import Terms, TrainingObjective
from doubleback.objective.classifier import known_labels
from doubleback.objective.losses import ELBO
from doubleback.objective.penalties.derivatives import gradient
from doubleback.settings.checks import at_least, not_negative
from doubleback.tensors import squared_norm

SMOOTHING = 0.05  # of the labels


class Labelled(TrainingObjective):
    """A variational autoencoder with this loss. Its terms: L0 and the KL in nats, `cross_entropy`, `penalty`.

    Args:
        model: what is trained; its code has one size, as that of `VAE` or `ConvVAE`.
        classes: how many there are; labels are 0 to `classes` - 1.
        weight: w, in nats of L for a nat of CE.
        gradient_weight: lambda.
        shift: images are moved by up to so many pixels, up or down and sideways.
        invert: whether half of the images are inverted, x -> 1 - x.
        kl_weight: lambda1, of the KL in L.

    Raises:
        InputError: a number is out of range, or the model has no code with noise; of a training: images without labels,
            or labels out of range.
    """

    terms = ("reconstruction", "kl", "cross_entropy", "penalty")

    def __init__(
        self,
        model: Autoencoder,
        classes: int,
        weight: float,
        *,
        gradient_weight: float = 0.3,
        shift: int = 0,
        invert: bool = False,
        kl_weight: float = 1.0,
    ) -> None:
        super().__init__()
        at_least(2, classes=classes)
        at_least(0, shift=shift)
        not_negative(weight=weight, gradient_weight=gradient_weight, kl_weight=kl_weight)
        shape: Any = getattr(model, "noise_shape", ())
        if not (is_variational(model) and shape):
            raise InputError(
                "the model has no variational code, or its size is not known yet; give a VAE, or send an image through"
            )
        self.model, self.classes, self.weight, self.gradient_weight = model, classes, weight, gradient_weight
        self.shift, self.invert = shift, invert
        self.reading = nn.Linear(math.prod(model.noise_shape), classes)
        self.loss = ELBO(kl_weight)

    def share(
        self, x: Float[Tensor, "B C H W"], labels: Int[Tensor, "B"] | None, generator: torch.Generator, mine: slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` takes: this process's images, moved and inverted by chance, their labels, noise.

        Raises:
            InputError: the images have no labels, or not these.
        """
        labels = known_labels(labels, self.classes)
        where = generator.device
        noise = torch.randn(len(x), *self.model.noise_shape, generator=generator, dtype=x.dtype, device=where)
        by = torch.randint(-self.shift, self.shift + 1, (len(x), 2), generator=generator, device=where)
        inverted = torch.rand(len(x), generator=generator, device=where) < (0.5 if self.invert else 0)
        x = torch.where(inverted.to(x.device)[:, None, None, None], 1 - x, shifted(x, by.to(x.device), self.shift))
        return x[mine], labels[mine], noise[mine]

    def forward(
        self,
        x: Float[Tensor, "B C H W"],
        y: Int[Tensor, "B"],
        noise: Float[Tensor, "B ..."] | None,
        penalised: bool = True,
    ) -> Terms:
        """The terms for each image."""
        del penalised

        def told_apart(x: Tensor) -> tuple[Tensor, tuple[Tensor, Reconstruction]]:
            made = self.model(x, noise)
            q = made.posterior
            z = q.mean if noise is None else q.sample(noise.view_as(q.mean))  # DRAW has its steps side by side
            scores = self.reading(z.flatten(1))
            cross_entropy = F.cross_entropy(scores, y, reduction="none", label_smoothing=SMOOTHING)
            return cross_entropy, (cross_entropy, made)

        if self.gradient_weight:
            slope, (cross_entropy, made) = gradient(told_apart, x)
            penalty = squared_norm(slope)
        else:
            cross_entropy, (_, made) = told_apart(x)
            penalty = torch.zeros_like(cross_entropy)
        return {**self.loss.of(self.model, made, x), "cross_entropy": cross_entropy, "penalty": penalty}

    def total(self, terms: Terms, penalty_weight: float) -> Float[Tensor, ""]:
        """L + w (CE + lambda penalty), averaged over the batch."""
        del penalty_weight
        told_apart = terms["cross_entropy"].mean() + self.gradient_weight * terms["penalty"].mean()
        return self.loss.total(terms) + self.weight * told_apart

    def validated(self, split: Split) -> dict[str, float | None]:
        """The accuracy of the reading, and the L2 error, on held-out images; on the mean path."""
        reader = _Reader(self.model, self.reading)
        right = None if split.labels is None else classification_quality(reader, split)["accuracy"]
        return {"l2": reconstruction_quality(self.model, split.images)["reconstruction_l2"], "accuracy": right}


class _Reader(nn.Module):
    """The classifier that the code and its linear reading are, on the mean path."""

    def __init__(self, model: Autoencoder, reading: nn.Linear) -> None:
        super().__init__()
        self.model, self.reading = model, reading
        self.classes: tuple[str | int, ...] = tuple(range(reading.out_features))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        scores: Tensor = self.reading(self.model.encode(x).mean.flatten(1))
        return scores


def shifted(x: Float[Tensor, "B C H W"], by: Int[Tensor, "B 2"], most: int) -> Float[Tensor, "B C H W"]:
    """Each image moved by its own number of pixels, down and to the right; its edge is drawn out.

    >>> shifted(torch.arange(3.0).view(1, 1, 1, 3), torch.tensor([[0, 1]]), 1)
    tensor([[[[0., 0., 1.]]]])
    """
    if not most:
        return x
    rows = (torch.arange(x.shape[2], device=x.device) - by[:, :1]).clamp(0, x.shape[2] - 1)
    columns = (torch.arange(x.shape[3], device=x.device) - by[:, 1:]).clamp(0, x.shape[3] - 1)
    x = x.gather(2, rows[:, None, :, None].expand_as(x))
    return x.gather(3, columns[:, None, None, :].expand_as(x))
