"""What training minimises: `penalties` (double backpropagation), `autoencoder` (with the ELBO), `classifier`."""

from doubleback.objective.autoencoder import Objective, Terms
from doubleback.objective.classifier import Classification, classification_loss
from doubleback.objective.penalties import (
    gradient_penalty,
    gradient_penalty_by_differences,
    jacobian_penalty,
    jacobian_penalty_by_differences,
    perturbed_gradient_penalty,
    reconstruction_loss,
)

__all__ = [
    "Classification",
    "Objective",
    "Terms",
    "classification_loss",
    "gradient_penalty",
    "gradient_penalty_by_differences",
    "jacobian_penalty",
    "jacobian_penalty_by_differences",
    "perturbed_gradient_penalty",
    "reconstruction_loss",
]
