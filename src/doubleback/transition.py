"""Image transition: follow the gradient of a class's probability, and watch what the image becomes.

    x <- clip(x + eta grad log f_t(x) / ||grad log f_t(x)||)                                     (paper, equation 15)

until f_t(x) >= confidence, and for some steps beyond;

in log space, where the gradient does not vanish however small f_t is. Away from a robust classifier this makes noise;
with a smooth encoder and class mixtures the image turns into the target class. Whether it does is for a judge to say
that has no part in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.models import Classifier
from doubleback.settings.transition import Walk
from doubleback.state import at_work
from doubleback.tensors import Images, Labels, as_labels, column, norm, placed, rows_at_once, tiny


@dataclass(frozen=True)
class Moved:
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
    x: Images,
    targets: Labels,
    walk: Walk | None = None,
    *,
    shown: int = 8,
    advance: Callable[[int], None] | None = None,
    **changes: Any,
) -> Moved:
    """Move every image towards its target class.

    Args:
        classifier: scores whose softmax is f; a module is asked in evaluation mode, and left in the mode it was in.
        x: images (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1].
        targets: (N,), the place of each target class in the scores: a tensor, a NumPy array or a list.
        walk: length and number of the steps, and where to stop; None: the defaults of `Walk`, but for `beyond`, which
            is 0: an image stops as soon as f_t(x) reaches the confidence.
        shown: M, of how many images the whole path is kept.
        advance: told of each step, of at most T: for a bar.
        changes: fields of the walk to change.

    Raises:
        InputError: a setting or an image is out of range, or a target is not a class.

    Warns:
        UserWarning: the classifier is in training mode.
    """
    walk = (walk or Walk(beyond=0)).changed(**changes)
    with at_work(classifier, warn=True):
        images = placed(classifier, x).clone()
        places = as_labels(targets, len(images), classes=len(classifier.classes), name="targets").to(images.device)
        return _moved(classifier, images, places, walk, shown, advance)


def _moved(
    classifier: Classifier,
    x: Float[Tensor, "N C H W"],
    targets: Int[Tensor, "N"],
    walk: Walk,
    shown: int,
    advance: Callable[[int], None] | None,
) -> Moved:
    """`image_transition` of images that are its own to change."""
    K = len(classifier.classes)
    taken = torch.zeros(len(x), dtype=torch.long, device=x.device)
    further = torch.full_like(taken, -1)  # steps that are left beyond the stop; -1 before it
    moving = torch.arange(len(x), device=x.device)
    f, direction = x.new_empty(len(x), K), torch.zeros_like(x)
    probabilities, path = [], []
    for step in range(walk.steps + 1):
        for rows in torch.split(moving, rows_at_once(x)):
            f[rows], direction[rows] = _probabilities_and_direction(classifier, x[rows], targets[rows])
        probabilities.append(f.clone())
        path.append(x[:shown].clone())
        arrived = (f.gather(1, targets[:, None]).squeeze(1) >= walk.confidence) & (further < 0)
        further[arrived] = walk.beyond
        moving = torch.nonzero(further != 0).squeeze(1)
        if step == walk.steps or not len(moving):
            break
        x[moving] = (x[moving] + walk.eta * direction[moving]).clamp(0, 1)
        taken[moving] += 1
        further[further > 0] -= 1
        if advance:
            advance(1)
    return Moved(x, taken, torch.stack(probabilities), torch.stack(path))


def _probabilities_and_direction(classifier: Classifier, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """f(x), and grad log f_t(x) at length 1."""
    x = x.detach().requires_grad_()
    log_f = classifier(x).log_softmax(1)
    (g,) = torch.autograd.grad(log_f.gather(1, targets[:, None]).sum(), x)
    return log_f.detach().exp().to(x), g / column(norm(g).clamp_min(tiny(g)), g)
