"""What every attack on a classifier shares: its arguments, its answer, and the way from small balls to large ones.

    min_d loss(scores(x + d), y),  ||d||_p <= eps,  x + d in the box [0, 1],     loss: one of `losses`

Each image keeps its best iterate over all steps, losses and restarts, and, as a ball lies in every larger one, over all
smaller epsilons.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from doubleback.attacks.ball import Ball, ball_about
from doubleback.attacks.classifiers.losses import Misclassification, usable_losses
from doubleback.attacks.rows import Advance, Best
from doubleback.errors import InputError
from doubleback.models.base import Classifier
from doubleback.settings.ball import BallSearch, LossName, Norm
from doubleback.state import at_work
from doubleback.tensors import Images, Labels, as_labels, placed


@dataclass(frozen=True)
class Adversarial:
    """Adversarial images of N images for E epsilons.

    Attributes:
        eps: E radii, in the order asked for.
        x_adv: (E, N, C, H, W) in [0, 1], each in its ball; the image itself where it is misclassified untouched.
        margin: (E, N), the least that was reached, at x_adv.
    """

    eps: tuple[float, ...]
    x_adv: Float[Tensor, "E N C H W"]
    margin: Float[Tensor, "E N"]

    @property
    def fooled(self) -> Bool[Tensor, "E N"]:
        """Whether the margin is 0 or less."""
        return self.margin <= 0


@dataclass(frozen=True)
class Inputs:
    """Images under attack.

    Attributes:
        x: (N, C, H, W) in [0, 1].
        goal: of the N images.
        classes: how many the model has scores for.
    """

    x: Float[Tensor, "N C H W"]
    goal: Misclassification
    classes: int

    def losses(self, asked: Sequence[LossName] | None) -> Sequence[LossName]:
        """The losses that are asked for; None: all that the number of classes allows.

        Raises:
            InputError: DLR is asked for, and there are too few classes.
        """
        usable = usable_losses(self.classes, targeted=self.goal.targets is not None)
        if "dlr" in (asked or ()) and "dlr" not in usable:
            raise InputError(f"the loss dlr needs more classes than the model's {self.classes}; choose another loss")
        return usable if asked is None else asked


Attempt = Callable[[Ball, Tensor, int], Best]
"""(the balls of all N images, the numbers of the rows to attack (n,), the place of their epsilon) -> their best."""

Attempts = Callable[[Inputs, BallSearch, Advance], list[Attempt]]
"""What an attack tries, one after the other; it tells `Advance` of each row-step."""


class ClassifierAttack:
    """An attack on a classifier, called as a function: `pgd(model, x, y, eps=[8 / 255], steps=100)`.

    Args:
        attempts: what it tries. Its name and docstring are the attack's.
        takes: the fields of `BallSearch` that it takes.
        default: the search where the caller gives none; its other fields hold always.
    """

    def __init__(self, attempts: Attempts, takes: Sequence[str], default: BallSearch) -> None:
        self.attempts, self.takes, self.default = attempts, tuple(takes), default
        self.__name__, self.__doc__, self.__module__ = attempts.__name__, attempts.__doc__, attempts.__module__

    def __call__(
        self,
        model: Classifier,
        x: Images,
        y: Labels,
        search: BallSearch | None = None,
        *,
        eps: Sequence[float],
        norm: Norm = "Linf",
        targets: Labels | None = None,
        advance: Advance | None = None,
        **changes: Any,
    ) -> Adversarial:
        """Attack the images in a ball of each radius.

        Args:
            model: scores (N, K) of images in [0, 1]; a module is attacked in evaluation mode, and left in the mode it
                was in.
            x: images (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1].
            y: (N,), the place of each image's class in the scores: a tensor, a NumPy array or a list.
            search: how hard to try; of its fields only those count that the attack takes.
            eps: radii of the ball, in units of a pixel for Linf.
            norm: "Linf" or "L2".
            targets: the class that each image is to be taken for; None: any but its own.
            advance: told how many row-steps are done. There are at most N * E * len(losses) * restarts * steps of them
                (Square: N * E * queries), and fewer where images are fooled before.
            changes: fields of the search to change.

        Raises:
            InputError: a setting, an image or a label is out of range, or shapes do not match.
            TypeError: a change is not a field that the attack takes.

        Warns:
            UserWarning: the model is in training mode.
        """
        if unknown := sorted(set(changes) - set(self.takes)):
            raise TypeError(f"{self.__name__}() takes no {unknown[0]!r}; its search has {', '.join(self.takes)}")
        given = {} if search is None else {name: getattr(search, name) for name in self.takes}
        search = self.default.changed(**{**given, **changes})
        with at_work(model, warn=True):
            inputs = checked_inputs(model, x, y, targets, search.samples)
            attempts = self.attempts(inputs, search, advance or (lambda _: None))
            return over_epsilons(inputs, eps, norm, attempts, keep=search.keep)

    def __reduce__(self) -> str:
        """Pickled by its name, as a function is: for processes that are handed attacks."""
        return self.__name__


def attack(*takes: str, default: BallSearch | None = None) -> Callable[[Attempts], ClassifierAttack]:
    """Make the function below an attack on classifiers. Arguments as in `ClassifierAttack`."""
    return lambda attempts: ClassifierAttack(attempts, takes, default or BallSearch())


def over_epsilons(
    inputs: Inputs, eps: Sequence[float], norm: Norm, attempts: Iterable[Attempt], *, keep: bool = False
) -> Adversarial:
    """From the smallest epsilon to the largest, attempt after attempt, on the images that nothing has fooled yet.

    Args:
        inputs: N images and the goal.
        eps: radii, in any order.
        norm: of the ball.
        attempts: tried one after the other at each epsilon.
        keep: go on with the images that are fooled, too.

    Raises:
        InputError: no epsilon, or one that is negative or not finite; an unknown norm.
    """
    if not eps:
        raise InputError("eps is empty; give one or more radii")
    x, goal = inputs.x, inputs.goal
    for radius in eps:
        ball_about(x[:1], radius, norm)  # refuse a bad one before any work
    best, found = Best(x), {}
    best.value = goal.at(x)
    for place, radius in enumerate(sorted(set(eps))):
        ball = ball_about(x, radius, norm)
        for attempt in attempts:
            rows = torch.nonzero((best.value > 0) | keep).squeeze(1)
            if len(rows):
                result = attempt(ball, rows, place)
                best.offer(rows, result.x, result.value)
        # of answers that differ the lowest was chosen: other answers have to say what it is worth
        found[radius] = best.x.clone(), goal.at(best.x) if goal.samples > 1 else best.value.clone()
    return Adversarial(tuple(eps), *(torch.stack([found[e][part] for e in eps]) for part in (0, 1)))


def checked_inputs(model: Classifier, x: Images, y: Labels, targets: Labels | None, samples: int) -> Inputs:
    """Images scaled to [0, 1], and what is to be reached. Asks the model once, how many classes it knows.

    Args:
        model: scores of images in [0, 1].
        x: images, uint8 or in [0, 1].
        y: the place of each image's class.
        targets: the class that each image is to be taken for; None: any but its own.
        samples: answers of the model that are averaged.

    Raises:
        InputError: an image is out of range, shapes do not match, or a class is none of the model's.
    """
    images = placed(model, x)
    given = {"y": y} if targets is None else {"y": y, "targets": targets}
    places = {name: as_labels(each, len(images), name=name).to(images.device) for name, each in given.items()}
    goal = Misclassification(model, **places, samples=samples)
    with torch.no_grad():
        classes = goal.scores(images[:1]).shape[1]
    for name, each in places.items():
        as_labels(each, len(images), classes=classes, name=name)
    return Inputs(images, goal, classes)
