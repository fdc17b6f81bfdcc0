"""Image transition: follow the gradient of a class's probability, and watch what the image becomes.

    x <- clip(x + eta grad log f_t(x) / ||grad log f_t(x)||)                                     (paper, equation 15)

until f_t(x) >= confidence, and for some steps beyond;

in log space, where the gradient does not vanish however small f_t is. Away from a robust classifier this makes noise;
with a smooth encoder and class mixtures the image turns into the target class. Whether it does is for a judge to say
that has no part in it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.attacks.rows import column, tiny
from doubleback.data import as_unit, rows_at_once
from doubleback.errors import InputError
from doubleback.models import Classifier


@dataclass(frozen=True)
class Transition:
    """The way of N images to their target classes, in at most T steps.

    Attributes:
        final: (N, C, H, W) in [0, 1].
        steps: (N,), taken by each image.
        probabilities: (T + 1, N, K), before the first step and after each; after its end, an image's last.
        path: (T + 1, M, C, H, W), the images of the first M.
    """

    final: Float[Tensor, "N C H W"]
    steps: Int[Tensor, "N"]
    probabilities: Float[Tensor, "S N K"]
    path: Float[Tensor, "S M C H W"]


def image_transition(
    classifier: Classifier,
    x: Float[Tensor, "N C H W"],
    targets: Int[Tensor, "N"],
    *,
    eta: float = 0.05,
    steps: int = 400,
    confidence: float = 0.95,
    beyond: int = 0,
    shown: int = 8,
    advance: Callable[[int], None] | None = None,
) -> Transition:
    """Move every image towards its target class.

    Args:
        classifier: scores whose softmax is f.
        x: images in [0, 1].
        targets: the place of each target class in the scores.
        eta: length of a step, in the 2-norm of images.
        steps: at most, T.
        confidence: f_t at which an image stops.
        beyond: further steps of each image after that.
        shown: M, of how many images the whole path is kept.
        advance: told of each step, of at most T: for a bar.

    Raises:
        InputError: a setting or an image is out of range, or a target is no class.
    """
    x = as_unit(x).clone()
    _check(classifier, x, targets, eta=eta, steps=steps, confidence=confidence, beyond=beyond)
    taken = torch.zeros(len(x), dtype=torch.long, device=x.device)
    further = torch.full_like(taken, -1)  # steps that are left beyond the stop; -1 before it
    moving = torch.arange(len(x), device=x.device)
    f, direction = x.new_empty(len(x), len(classifier.classes)), torch.zeros_like(x)
    probabilities, path = [], []
    for step in range(steps + 1):
        for rows in torch.split(moving, rows_at_once(x)):
            f[rows], direction[rows] = _probabilities_and_direction(classifier, x[rows], targets[rows])
        probabilities.append(f.clone())
        path.append(x[:shown].clone())
        arrived = (f.gather(1, targets[:, None]).squeeze(1) >= confidence) & (further < 0)
        further[arrived] = beyond
        moving = torch.nonzero(further != 0).squeeze(1)
        if step == steps or not len(moving):
            break
        x[moving] = (x[moving] + eta * direction[moving]).clamp(0, 1)
        taken[moving] += 1
        further[further > 0] -= 1
        if advance:
            advance(1)
    return Transition(x, taken, torch.stack(probabilities), torch.stack(path))


def _probabilities_and_direction(classifier: Classifier, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """f(x), and grad log f_t(x) at length 1."""
    x = x.detach().requires_grad_()
    log_f = classifier(x).log_softmax(1)
    (g,) = torch.autograd.grad(log_f.gather(1, targets[:, None]).sum(), x)
    norm = torch.linalg.vector_norm(g.flatten(1), dim=1).clamp_min(tiny(g))
    return log_f.detach().exp().to(x), g / column(norm, g)


def _check(
    classifier: Classifier, x: Tensor, targets: Tensor, *, eta: float, steps: int, confidence: float, beyond: int
) -> None:
    if not eta > 0:
        raise InputError(f"eta is {eta}; give a positive length of a step, such as 0.05")
    if steps < 1 or beyond < 0:
        raise InputError(f"steps is {steps}, beyond {beyond}; give whole numbers of at least 1 and 0")
    if not 0 < confidence <= 1:
        raise InputError(f"confidence is {confidence}; give a probability, such as 0.95")
    if targets.shape != x.shape[:1] or not 0 <= int(targets.min()) <= int(targets.max()) < len(classifier.classes):
        raise InputError(f"targets must be one place among {len(classifier.classes)} classes for each image")
