"""Attacks on a classifier: change an image by at most eps, and change what it is taken for.

    min_d loss(scores(x + d), y),  ||d||_p <= eps,  x + d in the box [0, 1],     loss: one of `goal`

Each image keeps its best iterate over all steps, losses and restarts, and, as a ball lies in every larger one, over all
smaller epsilons.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from doubleback.attacks.ball import Ball, Norm, ball_about
from doubleback.attacks.engine import Optimum
from doubleback.attacks.goal import LOSSES, Goal, LossName, usable_losses
from doubleback.attacks.projected import Descent, minimize_in_ball
from doubleback.attacks.rows import Advance, Best
from doubleback.data import as_unit
from doubleback.errors import InputError
from doubleback.models.base import Classifier
from doubleback.randomness import Stream, check_seed, generator


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


def fgsm(
    model: Classifier,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, "N"],
    *,
    eps: Sequence[float],
    norm: Norm = "Linf",
    losses: Sequence[LossName] | None = None,
    targets: Int[Tensor, "N"] | None = None,
    samples: int = 1,
    seed: int = 0,
    advance: Advance | None = None,
) -> Adversarial:
    """One step of length eps along the gradient's sign, or, for L2, along the gradient (Goodfellow et al. 2015).

    Arguments and errors as in `pgd`.
    """
    settings = {"steps": 1, "step_size": 1.0, "restarts": 1, "random_start": False}
    x, goal, losses = attacked(model, x, y, targets, samples, losses)
    return _attack(goal, x, eps, norm, losses, "pgd", seed=seed, advance=advance, **settings)  # type: ignore[arg-type]


def pgd(
    model: Classifier,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, "N"],
    *,
    eps: Sequence[float],
    norm: Norm = "Linf",
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    losses: Sequence[LossName] | None = None,
    targets: Int[Tensor, "N"] | None = None,
    samples: int = 1,
    keep: bool = False,
    seed: int = 0,
    advance: Advance | None = None,
) -> Adversarial:
    """Projected gradient descent (Madry et al. 2018).

    Args:
        model: scores (N, K) of images in [0, 1]; put it into evaluation mode first.
        x: images in [0, 1].
        y: the place of each image's class in the scores.
        eps: radii of the ball, in units of a pixel for Linf.
        norm: "Linf" or "L2".
        steps: gradients of a start.
        step_size: of a step, in units of eps; None: 2.5 / steps.
        restarts: starts, each of `steps`; the best iterate counts, so more never hurt.
        random_start: start at a random point of the ball, not at the image.
        losses: what is minimised, one after the other, an image once fooled being left alone; None: all of them (two
            classes have no DLR).
        targets: the class that each image is to be taken for; None: any but its own.
        samples: answers of the model that are averaged at each step, for a model that draws fresh noise; the margin
            that is returned is then of fresh answers.
        keep: go on with images that are fooled already, to the last step: for comparisons of speed.
        seed: of the starts.
        advance: told how many row-steps are done, of at most N * E * len(losses) * restarts * steps in all.

    Raises:
        InputError: a setting or an image is out of range, or shapes do not match.
    """
    step_size = 2.5 / max(steps, 1) if step_size is None else step_size
    if not (math.isfinite(step_size) and step_size > 0):
        raise InputError(f"step size is {step_size}; give a positive number, in units of eps")
    settings = {"steps": steps, "step_size": step_size, "restarts": restarts, "random_start": random_start}
    x, goal, losses = attacked(model, x, y, targets, samples, losses)
    return _attack(goal, x, eps, norm, losses, "pgd", keep=keep, seed=seed, advance=advance, **settings)  # type: ignore[arg-type]


def apgd(
    model: Classifier,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, "N"],
    *,
    eps: Sequence[float],
    norm: Norm = "Linf",
    steps: int = 40,
    restarts: int = 1,
    random_start: bool = True,
    losses: Sequence[LossName] | None = None,
    targets: Int[Tensor, "N"] | None = None,
    samples: int = 1,
    seed: int = 0,
    advance: Advance | None = None,
) -> Adversarial:
    """Auto-PGD: momentum, and a step that halves by itself (Croce & Hein 2020).

    Arguments and errors as in `pgd`.
    """
    settings = {"steps": steps, "step_size": 2.0, "restarts": restarts, "random_start": random_start}
    x, goal, losses = attacked(model, x, y, targets, samples, losses)
    return _attack(goal, x, eps, norm, losses, "apgd", seed=seed, advance=advance, **settings)  # type: ignore[arg-type]


def random_noise(
    model: Classifier,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, "N"],
    *,
    eps: Sequence[float],
    norm: Norm = "Linf",
    steps: int = 40,
    targets: Int[Tensor, "N"] | None = None,
    samples: int = 1,
    seed: int = 0,
    advance: Advance | None = None,
) -> Adversarial:
    """`steps` random points of each ball's surface, without a gradient: what any attack must beat.

    Arguments and errors as in `pgd`.
    """
    x, goal, _ = attacked(model, x, y, targets, samples, ("margin",))
    check_counts(steps=steps)
    check_seed(seed)

    def search(ball: Ball, rows: Tensor, place: int) -> Best:
        best, fresh = Best(x[rows]), generator(seed, Stream.ATTEMPT, place)
        every = torch.arange(len(rows), device=x.device)
        for _ in range(steps):
            direction = torch.randn(x.shape, generator=fresh).to(x)[rows]
            tried = ball.project(x[rows] + ball.eps.view(-1, 1, 1, 1) * ball.descent(direction))
            best.offer(every, tried, goal.at_rows(rows).at(tried))
            (advance or (lambda _: None))(len(rows))
        return best

    return over_epsilons(goal, x, eps, norm, [search])


Search = Callable[[Ball, Tensor, int], Best | Optimum]
"""(balls of n rows, their numbers (n,), the place of their epsilon) -> the best found in each ball."""


def over_epsilons(
    goal: Goal,
    x: Float[Tensor, "N C H W"],
    eps: Sequence[float],
    norm: Norm,
    searches: Sequence[Search],
    *,
    keep: bool = False,
) -> Adversarial:
    """From the smallest epsilon to the largest, search after search, on the images that nothing has fooled yet.

    Args:
        goal: of the N images.
        x: images in [0, 1].
        eps: radii, in any order.
        norm: of the ball.
        searches: tried one after the other at each epsilon.
        keep: search on for the images that are fooled, too.

    Raises:
        InputError: no epsilon, or one that is negative or not finite; an unknown norm.
    """
    if not eps:
        raise InputError("eps is empty; give one or more radii")
    for radius in eps:
        ball_about(x[:1], radius, norm)  # refuse a bad one before any work
    best, found = Best(x), {}
    best.value = goal.at(x)
    for place, radius in enumerate(sorted(set(eps))):
        for search in searches:
            rows = torch.nonzero((best.value > 0) | keep).squeeze(1)
            if len(rows):
                result = search(ball_about(x[rows], radius, norm), rows, place)
                best.offer(rows, result.x, result.value)
        # of answers that differ the lowest was chosen: other answers have to say what it is worth
        found[radius] = best.x.clone(), goal.at(best.x) if goal.samples > 1 else best.value.clone()
    return Adversarial(tuple(eps), *(torch.stack([found[e][part] for e in eps]) for part in (0, 1)))


def _attack(
    goal: Goal,
    x: Tensor,
    eps: Sequence[float],
    norm: Norm,
    losses: Sequence[LossName],
    method: Descent,
    *,
    steps: int,
    step_size: float,
    restarts: int,
    random_start: bool,
    seed: int,
    advance: Advance | None,
    keep: bool = False,
) -> Adversarial:
    check_counts(steps=steps, restarts=restarts)
    check_seed(seed)

    def searching(number: int, loss: LossName) -> Search:
        def search(ball: Ball, rows: Tensor, place: int) -> Optimum:
            part = goal.at_rows(rows)
            start = x[rows]
            if random_start or number >= len(losses):
                # drawn for all images, so that no image's start hangs on which others are still in the batch
                whole = ball_about(x, float(ball.eps[0]), norm)
                start = whole.random(generator(seed, Stream.START, 1000 * place + number))[rows]
            return minimize_in_ball(
                part.loss(loss),
                ball,
                start,
                method=method,
                steps=steps,
                step_size=step_size,
                keep=keep,
                advance=advance,
            )

        return search

    runs = [loss for _ in range(restarts) for loss in losses]
    return over_epsilons(goal, x, eps, norm, [searching(number, loss) for number, loss in enumerate(runs)], keep=keep)


def attacked(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    targets: Tensor | None,
    samples: int,
    losses: Sequence[LossName] | None,
) -> tuple[Tensor, Goal, Sequence[LossName]]:
    """The images in [0, 1], the goal, and the losses to reach it by: all that the classes allow, if none is named.

    Raises:
        InputError: as `pgd`.
    """
    x = as_unit(x)
    for name, labels in (("y", y), ("targets", targets)):
        if labels is not None and labels.shape != x.shape[:1]:
            raise InputError(f"{name} is {tuple(labels.shape)} for {len(x)} images; give one class an image")
    check_counts(samples=samples)
    unknown = [name for name in losses or () if name not in LOSSES]
    if unknown or (losses is not None and not losses):
        raise InputError(f"loss {', '.join(unknown) or 'is missing'}; choose from {', '.join(LOSSES)}")
    goal = Goal(model, y.long(), None if targets is None else targets.long(), samples)
    with torch.no_grad():
        classes = goal.scores(x[:1]).shape[1]
    every = y if targets is None else torch.cat([y, targets])
    if not 0 <= int(every.min()) <= int(every.max()) < classes:
        raise InputError(f"classes reach from {int(every.min())} to {int(every.max())}; the model knows {classes}")
    usable = usable_losses(classes, targeted=targets is not None)
    if "dlr" in (losses or ()) and "dlr" not in usable:
        raise InputError(f"the loss dlr needs more classes than the model's {classes}; choose another loss")
    return x, goal, usable if losses is None else losses


def check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} is {count}; give a whole number of at least 1")
