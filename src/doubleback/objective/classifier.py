"""What training a classifier minimises: the cross-entropy of its scores."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.data import Split
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality, evaluating
from doubleback.models.base import Classifier
from doubleback.objective.base import Terms, TrainingObjective


def classification_loss(scores: Float[Tensor, "B K"], y: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
    """-log softmax(scores)_y in nats."""
    return F.cross_entropy(scores, y, reduction="none")


def known_labels(labels: Int[Tensor, "B"] | None, known: int) -> Int[Tensor, "B"]:
    """The labels, which are those of so many classes.

    Raises:
        InputError: there are none, or one is not from 0 to `known` - 1.
    """
    if labels is None:
        raise InputError("the images have no labels to learn; give a data set that has them")
    low, high = int(labels.min()), int(labels.max())
    if not 0 <= low <= high < known:
        raise InputError(f"labels reach from {low} to {high}; the model knows {known} classes, 0 to {known - 1}")
    return labels


class Classification(TrainingObjective):
    """A classifier with the loss it is trained on. Its one term is `cross_entropy`, in nats.

    Args:
        model: what is trained; its classes are the labels 0 to K - 1 of the data, in that order.
    """

    terms = ("cross_entropy",)

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def share(
        self, x: Float[Tensor, "B C H W"], labels: Int[Tensor, "B"] | None, generator: torch.Generator, mine: slice
    ) -> tuple[Tensor, Tensor]:
        """What `forward` takes: this process's images and labels.

        Raises:
            InputError: the images have no labels.
        """
        del generator
        return x[mine], known_labels(labels, len(self.model.classes))[mine]

    def forward(self, x: Float[Tensor, "B C H W"], y: Int[Tensor, "B"], penalised: bool = False) -> Terms:
        """The cross-entropy of each example."""
        del penalised
        return {"cross_entropy": classification_loss(self.model(x), y)}

    def total(self, terms: Terms, penalty_weight: float) -> Float[Tensor, ""]:
        """The mean over the batch."""
        del penalty_weight
        return terms["cross_entropy"].mean()

    def validated(self, split: Split) -> dict[str, float | None]:
        """Cross-entropy and accuracy on held-out images."""
        with evaluating(self.model):
            return classification_quality(self.model, split)
