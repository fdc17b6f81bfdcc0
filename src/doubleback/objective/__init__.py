"""What training minimises: `penalties` (double backpropagation), `autoencoder` (with the ELBO), `classifier`.

`base` says what the training loop asks of any objective; a new one is a file of its own.
"""

from torch import nn

from doubleback.errors import InputError
from doubleback.models import Autoencoder, Classifier
from doubleback.objective.autoencoder import Objective
from doubleback.objective.base import Terms, TrainingObjective
from doubleback.objective.classifier import Classification, classification_loss
from doubleback.objective.penalties import gradient_penalty, jacobian_penalty, reconstruction_loss

__all__ = [
    "Classification",
    "Objective",
    "Terms",
    "TrainingObjective",
    "classification_loss",
    "gradient_penalty",
    "jacobian_penalty",
    "objective_of",
    "reconstruction_loss",
]


def objective_of(given: TrainingObjective | Autoencoder | Classifier) -> TrainingObjective:
    """An objective as it is; a bare autoencoder stands for its negative ELBO, a bare classifier for its cross-entropy.

    Raises:
        InputError: the model is no `torch.nn.Module`, so nothing can be trained.
    """
    model = given.model if isinstance(given, TrainingObjective) else given
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}; give a torch.nn.Module to train")
    if isinstance(given, TrainingObjective):
        return given
    return Objective(given) if isinstance(given, Autoencoder) else Classification(given)
