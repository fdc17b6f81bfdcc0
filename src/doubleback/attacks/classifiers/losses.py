"""What an attack on a classifier is after: losses that fall as it succeeds, and the margin, which says whether it has.

    cross-entropy   log softmax(scores)_y: can underflow where scores are log densities
    margin          s_y - max_{j != y} s_j: cannot (Carlini & Wagner 2017)
    DLR             (s_y - max_{j != y} s_j) / (s_(1) - s_(3)), sorted scores: blind to their scale (Croce & Hein 2020)

    with a target t, the same fall as t gains: -log softmax_t, max_{j != t} s_j - s_t, and
    (s_y - s_t) / (s_(1) - (s_(3) + s_(4)) / 2)

Whatever is minimised, the margin counts: an image is fooled where it is 0 or less (a tie counts as fooled).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.models.base import Classifier
from doubleback.settings.ball import LOSSES, LossName
from doubleback.tensors import rows_at_once


def margin(scores: Float[Tensor, "n K"], y: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """s_y - max_{j != y} s_j.

    >>> margin(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([1]))
    tensor([1.])
    """
    others = scores.scatter(1, y[:, None], -torch.inf).amax(1)
    return scores.gather(1, y[:, None]).squeeze(1) - others


def dlr(scores: Float[Tensor, "n K"], y: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The margin over s_(1) - s_(3), the first and the third of the sorted scores."""
    top = scores.topk(3, dim=1).values
    return margin(scores, y) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(scores: Float[Tensor, "n K"], y: Int[Tensor, "n"], t: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """(s_y - s_t) / (s_(1) - (s_(3) + s_(4)) / 2)."""
    top = scores.topk(4, dim=1).values
    gap = (scores.gather(1, y[:, None]) - scores.gather(1, t[:, None])).squeeze(1)
    return gap / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


@dataclass(frozen=True)
class Misclassification:
    """What an attack on these images is after: another class than y, or, with targets, these classes.

    Attributes:
        model: scores of images.
        y: (N,), the true classes' places.
        targets: (N,) or None.
        samples: how many answers of a stochastic model are averaged.
    """

    model: Classifier
    y: Int[Tensor, "N"]
    targets: Int[Tensor, "N"] | None = None
    samples: int = 1

    def scores(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n K"]:
        """The model's scores, averaged over its answers."""
        return self.model(x) if self.samples == 1 else torch.stack([self.model(x) for _ in range(self.samples)]).mean(0)

    def margin(self, scores: Float[Tensor, "n K"], rows: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """How far each row is from being fooled, in units of the scores; NaN counts as fooled, and as no target."""
        if self.targets is None:
            return margin(scores, self.y[rows]).nan_to_num(nan=-torch.inf)
        return -margin(scores, self.targets[rows]).nan_to_num(nan=-torch.inf)

    def loss(self, name: LossName) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """(iterates, rows) -> the loss, which falls as the attack succeeds, and the margin."""

        def of(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            scores = self.scores(x)
            counts = self.margin(scores, rows)
            if name == "margin":
                return counts, counts
            y, t = self.y[rows], None if self.targets is None else self.targets[rows]
            if name == "dlr":
                return dlr(scores, y) if t is None else targeted_dlr(scores, y, t), counts
            log_softmax = scores.log_softmax(1)
            value = log_softmax.gather(1, (y if t is None else t)[:, None]).squeeze(1)
            return value if t is None else -value, counts

        return of

    def at_rows(self, rows: Int[Tensor, "n"]) -> "Misclassification":
        """The goal of these rows, numbered from 0."""
        targets = None if self.targets is None else self.targets[rows]
        return Misclassification(self.model, self.y[rows], targets, self.samples)

    def at(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N"]:
        """The margin of every row, a chunk at a time."""
        max_rows = rows_at_once(x)
        rows = torch.split(torch.arange(len(x), device=x.device), max_rows)
        with torch.no_grad():
            parts = zip(torch.split(x, max_rows), rows, strict=True)
            return torch.cat([self.margin(self.scores(part), at).to(x) for part, at in parts])


def usable_losses(classes: int, *, targeted: bool = False) -> tuple[LossName, ...]:
    """All losses that so many classes allow: DLR sorts three scores, or, targeted, four.

    >>> usable_losses(2)
    ('cross-entropy', 'margin')
    """
    return LOSSES if classes >= (4 if targeted else 3) else LOSSES[:-1]
