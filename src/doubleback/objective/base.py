"""What the training loop asks of an objective: named terms for each example, and how to weigh them. Nothing else."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.data import Split

Terms = dict[str, Tensor]
"""The terms that were taken, by name: one number for each example, or for each place where a penalty is taken."""


class TrainingObjective(nn.Module, ABC):
    """What `fit` trains: a module that holds the model, gives named terms for each example and weighs them.

    Attributes:
        model: what is trained.
        terms: the names of all terms, in the order of the log.
    """

    model: Any
    terms: tuple[str, ...]

    def penalty_weight(self, step: int, steps: int) -> float:
        """The weight, at one of `steps` training steps, of what is switched on and off; 0: off, as without such."""
        del step, steps
        return 0.0

    @abstractmethod
    def share(
        self, x: Float[Tensor, "B C H W"], labels: Tensor | None, generator: torch.Generator, mine: slice
    ) -> tuple[Tensor | None, ...]:
        """What `forward` takes of the batch in this process, its randomness drawn for the whole batch.

        Args:
            x: images in [0, 1].
            labels: (B,), where there are any.
            generator: of the step's randomness.
            mine: the rows of this process.
        """

    @abstractmethod
    def forward(self, *share: Any) -> Terms:
        """The terms of a share; a last argument says whether what is switched on and off is on."""

    @abstractmethod
    def total(self, terms: Terms, penalty_weight: float) -> Float[Tensor, ""]:
        """What is minimised: the terms weighed, averaged over the batch."""

    def prepare(self, x: Float[Tensor, "n ..."]) -> None:
        """Be shown the first images of a training, before its first step."""
        del x

    def after_step(self, step: int, steps: int) -> None:
        """Be told that the optimiser has taken one of `steps` steps, numbered from 0. What it keeps are buffers."""
        del step, steps

    @abstractmethod
    def validated(self, split: Split) -> dict[str, float | None]:
        """How well the model does on held-out images; the log puts `validation_` before each name."""

    def logged(self, penalty_weight: float) -> dict[str, float]:
        """What a row of the log says beside the terms: nothing, unless there is something."""
        del penalty_weight
        return {}
