"""The penalties of double backpropagation: `gradient` of the loss, `jacobian`, `targeted` and `spectral`; a file each.

`taken` chooses one by its settings, and where it is taken: at the images, or at blends of two. `derivatives` says how.
"""

from doubleback.objective.penalties.gradient import gradient_penalty, reconstruction_loss
from doubleback.objective.penalties.jacobian import jacobian_penalty
from doubleback.objective.penalties.spectral import spectral_penalty
from doubleback.objective.penalties.taken import PenaltyTaken
from doubleback.objective.penalties.targeted import targeted_penalty

__all__ = [
    "PenaltyTaken",
    "gradient_penalty",
    "jacobian_penalty",
    "reconstruction_loss",
    "spectral_penalty",
    "targeted_penalty",
]
