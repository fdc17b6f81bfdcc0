"""What an attack gives: adversarial inputs for every pair, at every level of what it may change."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """Adversarial inputs for P pairs and K levels.

    Attributes:
        x_adv: (P, K, C, H, W) in [0, 1].
        levels: (K,), the coefficient C of each column, or its eps.
        objective: (P, K), what was minimised, at x_adv.
        converged: (P, K), whether the row converged before the last step, from every start; a search in a ball never
            says so.
    """

    x_adv: Float[Tensor, "P K C H W"]
    levels: Float[Tensor, "K"]
    objective: Float[Tensor, "P K"]
    converged: Bool[Tensor, "P K"]
