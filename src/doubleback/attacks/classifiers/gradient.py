"""Attacks on a classifier that follow its gradient, and the random noise that any of them must beat.

    fgsm   x0 + eps d(g)                             one step (Goodfellow, Shlens & Szegedy 2015)
    pgd    x <- P(x + a d(g))                        steps of one length (Madry et al. 2018)
    apgd   the same, with momentum and a step that halves by itself (Croce & Hein 2020)

g is the loss's gradient, d the way down and P the way back into the ball (`ball`); `projected` takes the steps.
"""

import torch
from torch import Tensor

from doubleback.attacks.ball import Ball
from doubleback.attacks.classifiers.attack import Attempt, Inputs, attack
from doubleback.attacks.projected import Descent, minimize_in_ball
from doubleback.attacks.rows import Advance, Best
from doubleback.randomness import Stream, generator
from doubleback.settings.ball import BallSearch, LossName
from doubleback.tensors import column


@attack("losses", "samples", "seed", default=BallSearch(steps=1, step_size=1.0, random_start=False))
def fgsm(inputs: Inputs, search: BallSearch, advance: Advance) -> list[Attempt]:
    """One step of length eps along the gradient's sign, or, for L2, along the gradient (Goodfellow et al. 2015).

    Arguments and errors: `ClassifierAttack.__call__`. It takes `losses`, `samples` and `seed` of `BallSearch`.
    """
    return _descents(inputs, search, "pgd", advance)


@attack("steps", "step_size", "restarts", "random_start", "losses", "samples", "keep", "seed")
def pgd(inputs: Inputs, search: BallSearch, advance: Advance) -> list[Attempt]:
    """Projected gradient descent (Madry et al. 2018).

    Arguments and errors: `ClassifierAttack.__call__`. It takes all of `BallSearch` but `queries`.
    """
    return _descents(inputs, search, "pgd", advance)


@attack("steps", "restarts", "random_start", "losses", "samples", "keep", "seed")
def apgd(inputs: Inputs, search: BallSearch, advance: Advance) -> list[Attempt]:
    """Auto-PGD: momentum, and a step that halves by itself (Croce & Hein 2020).

    Arguments and errors: `ClassifierAttack.__call__`. It takes all of `BallSearch` but `step_size` and `queries`.
    """
    return _descents(inputs, search, "apgd", advance)


@attack("steps", "samples", "seed")
def random_noise(inputs: Inputs, search: BallSearch, advance: Advance) -> list[Attempt]:
    """`steps` random points of each ball's surface, without a gradient: what any attack must beat.

    Arguments and errors: `ClassifierAttack.__call__`. It takes `steps`, `samples` and `seed` of `BallSearch`.
    """
    x = inputs.x

    def attempt(balls: Ball, rows: Tensor, place: int) -> Best:
        best, fresh = Best(x[rows]), generator(search.seed, Stream.ATTEMPT, place)
        ball, goal = balls.at(rows), inputs.goal.at_rows(rows)
        every = torch.arange(len(rows), device=x.device)
        for _ in range(search.steps):
            direction = torch.randn(x.shape, generator=fresh).to(x)[rows]
            tried = ball.project(x[rows] + column(ball.eps, x) * ball.descent(direction))
            best.offer(every, tried, goal.at(tried))
            advance(len(rows))
        return best

    return [attempt]


def _descents(inputs: Inputs, search: BallSearch, method: Descent, advance: Advance) -> list[Attempt]:
    """A descent for each restart and loss."""
    losses = inputs.losses(search.losses)

    def descent(number: int, loss: LossName) -> Attempt:
        def attempt(balls: Ball, rows: Tensor, place: int) -> Best:
            start = inputs.x[rows]
            if search.random_start or number >= len(losses):
                # drawn for all images: an image's start does not depend on the others in the batch
                start = balls.random(generator(search.seed, Stream.START, 1000 * place + number))[rows]
            objective = inputs.goal.at_rows(rows).loss(loss)
            return minimize_in_ball(objective, balls.at(rows), start, search, method=method, advance=advance)

        return attempt

    runs = [loss for _ in range(search.restarts) for loss in losses]
    return [descent(number, loss) for number, loss in enumerate(runs)]
