"""What training minimises: `autoencoder` (`losses`, the ELBO or one's own, and `penalties`), `classifier`.

`base` says what the training loop asks of any objective; a new one is a file of its own.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models import Autoencoder, Classifier
from doubleback.models.base import acquaint
from doubleback.models.wrapping import as_victim
from doubleback.objective import penalties
from doubleback.objective.autoencoder import Objective
from doubleback.objective.base import Terms, TrainingObjective
from doubleback.objective.classifier import Classification, classification_loss
from doubleback.objective.labelled import Labelled
from doubleback.objective.losses import ELBO, Loss
from doubleback.objective.penalties.gradient import Penalised, reconstruction_loss
from doubleback.objective.penalties.taken import PenaltyTaken
from doubleback.settings.penalty import Penalty
from doubleback.state import exact_float32
from doubleback.tensors import Images, placed

__all__ = [
    "ELBO",
    "Classification",
    "Labelled",
    "Loss",
    "Objective",
    "Terms",
    "TrainingObjective",
    "classification_loss",
    "gradient_penalty",
    "jacobian_penalty",
    "objective_of",
    "penalty",
    "reconstruction_loss",
    "spectral_penalty",
    "targeted_penalty",
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
targeted_penalty = _of_any_images(penalties.targeted_penalty)
spectral_penalty = _of_any_images(penalties.spectral_penalty)


def penalty(
    model: Autoencoder | nn.Module, settings: Penalty | str = "spectral", **changes: Any
) -> Callable[[Images], Float[Tensor, "n"]]:
    """A penalty for your own training loop: `loss = own_loss + weight * doubleback.penalty(model)(x).mean()`.

    Args:
        model: any autoencoder; one that is not known yet is wrapped. Its parts may be in training mode.
        settings: of the penalty, or only what is kept small; weights and the start are the loop's own.
        changes: fields of the settings by name, such as `at` or `margin`.

    Returns:
        A function from images (B, ...), uint8 or in [0, 1], to the penalty for each image, (B,), or for each blend of
        two, (B / 2,), with its graph. What it draws comes from torch's global generator.

    Raises:
        InputError: a setting is out of range, or nothing is penalised; of the function: as `tensors.as_images`.
    """
    chosen = (Penalty(penalty=settings) if isinstance(settings, str) else settings).changed(**changes)  # type: ignore[arg-type]  # checked
    if chosen.penalty == "none" or chosen.estimator == "perturbed":
        raise InputError("there is no penalty to give: name one, and take the estimator exact or finite-difference")
    victim = as_victim(model)
    taken = PenaltyTaken(victim, chosen)

    def of(x: Images) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad(), exact_float32():
            x = placed(victim, x)
            acquaint(victim, x)
            generator = torch.Generator(device="cpu").manual_seed(int(torch.randint(2**62, ())))
            noise = torch.randn(len(x), *victim.noise_shape, generator=generator).to(x)
            return taken(taken.site(x, noise, generator).to(x))[1]

    return of


def objective_of(given: TrainingObjective | Autoencoder | Classifier) -> TrainingObjective:
    """An objective as it is; a bare autoencoder stands for its negative ELBO, a bare classifier for its cross-entropy.

    Raises:
        InputError: the model is not a `torch.nn.Module`, so nothing can be trained.
    """
    model = given.model if isinstance(given, TrainingObjective) else given
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}; give a torch.nn.Module to train")
    if isinstance(given, TrainingObjective):
        return given
    return Objective(given) if isinstance(given, Autoencoder) else Classification(given)
