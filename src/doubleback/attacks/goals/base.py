"""What an attacker is after: the protocol of a goal, and what every goal has in common.

A goal gives, for pairs of images, a loss that falls as it is neared: (x, pair, noise) -> one number a row.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from doubleback.models.base import Autoencoder

RowLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(iterates (n, C, H, W), pair of each (n,), noise (n, ...) or None) -> (n,), lower = nearer the goal."""


@runtime_checkable
class Goal(Protocol):
    """What an attack wants to reach.

    Attributes:
        name: what results call it.
        targeted: whether it is reached at the target; if not, any change counts.
    """

    @property
    def name(self) -> str: ...

    @property
    def targeted(self) -> bool: ...

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """The loss for P pairs, images (P, C, H, W) in [0, 1]; what is fixed is computed here, once."""
