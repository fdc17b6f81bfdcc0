"""What training minimises: `penalties` (double backpropagation), `autoencoder` (with the ELBO), `classifier`.

`base` says what the training loop asks of any objective; a new one is a file of its own.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import torch
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models import Autoencoder, Classifier
from doubleback.objective import penalties
from doubleback.objective.autoencoder import Objective
from doubleback.objective.base import Terms, TrainingObjective
from doubleback.objective.classifier import Classification, classification_loss
from doubleback.objective.penalties import Penalised, reconstruction_loss
from doubleback.tensors import Images, placed

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

Further = ParamSpec("Further")


def _of_any_images(
    penalty: Callable[Concatenate[Autoencoder, Any, Further], Penalised],
) -> Callable[Concatenate[Autoencoder, Images, Further], Penalised]:
    """A penalty of images that come by the gate of `tensors`; a training has let its images in, and calls it bare."""

    @wraps(penalty)
    def of(model: Autoencoder, x: Images, *args: Any, **kwargs: Any) -> Penalised:
        with torch.inference_mode(False), torch.enable_grad():
            # noise that was drawn under inference mode has to be ordinary, too
            given = [one.clone() if isinstance(one, Tensor) and one.is_inference() else one for one in args]
            return penalty(model, placed(model, x), *given, **kwargs)  # type: ignore[arg-type]

    return cast(Callable[Concatenate[Autoencoder, Images, Further], Penalised], of)


gradient_penalty = _of_any_images(penalties.gradient_penalty)
jacobian_penalty = _of_any_images(penalties.jacobian_penalty)


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
