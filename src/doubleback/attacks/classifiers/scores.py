"""The attack that asks a classifier for scores alone: random search for the least margin."""

import torch
from torch import Tensor

from doubleback.attacks.ball import Ball, L2Ball, LinfBall
from doubleback.attacks.classifiers.attack import Attempt, Inputs, attack
from doubleback.attacks.rows import Advance, Best
from doubleback.attacks.squares import random_search
from doubleback.randomness import Stream, generator
from doubleback.settings.ball import BallSearch


@attack("queries", "samples", "seed")
def square(inputs: Inputs, search: BallSearch, advance: Advance) -> list[Attempt]:
    """Random search for the least margin, square by square; no gradient is taken (Andriushchenko et al. 2020).

    Arguments and errors: `ClassifierAttack.__call__`. It takes `queries`, `samples` and `seed` of `BallSearch`.
    """

    def attempt(balls: Ball, rows: Tensor, place: int) -> Best:
        ball, fresh = balls.at(rows), generator(search.seed, Stream.ATTEMPT, place)
        goal = inputs.goal.at_rows(rows)

        def draw(live: Tensor, *shape: int) -> Tensor:
            return torch.rand(len(inputs.x), *shape, generator=fresh).to(inputs.x.device)[rows[live]]

        assert isinstance(ball, LinfBall | L2Ball)
        return random_search(lambda x, live: goal.at_rows(live).at(x), ball, search.queries, draw, advance)

    return [attempt]
