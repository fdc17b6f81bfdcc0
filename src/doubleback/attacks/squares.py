"""Square: a random search that asks for scores alone (Andriushchenko, Croce, Flammarion & Hein 2020, "Square Attack").

    x^ <- start(x);  then queries - 1 times (algorithm 1):
        x_new <- P(x^ + delta),  delta ~ a distribution on squares of side h = sqrt(p H W) at a random corner
        x^ <- x_new where the score (a margin, a loss) falls

    Linf   start: vertical stripes of +-eps. delta: +-2 eps in the square, one sign a channel (algorithm 2)
    L2     start: a grid of tiles +-eta. delta: what the norm still allows, and all that lies in two squares W1 and W2,
           goes into W1, along rho eta* + nu / ||nu||, rho = +-1, nu = x^ - x; W2 is emptied (algorithm 3)

eta is a pyramid beside its negative. h is at least 1 (Linf) or 3 (L2) and at most the image's shorter side. Stripes lie
at +-eps and a step is 2 eps long, so that every Linf iterate is at the ball's lower or upper end in each pixel.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.attacks.ball import L2Ball, LinfBall
from doubleback.attacks.projected import leaving
from doubleback.attacks.rows import Advance, Best, RowObjective
from doubleback.errors import InputError
from doubleback.tensors import column, norm, tiny

# AutoAttack's settings: the share of the pixels in the first square, and the queries of 10,000 after which it is halved
# (the paper's own list lacks 500, its code does not)
P_INIT, HALVED = 0.8, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)

Draw = Callable[..., Tensor]
"""shape -> uniform numbers in [0, 1), (n, *shape)."""


def side(query: int, queries: int, H: int, W: int, least: int = 1) -> int:
    """h of a query (the start being 0), for p = 0.8 halved at 10, 50, 200, ... of 10,000 queries.

    >>> [side(query, 1000, 28, 28) for query in (1, 2, 6, 21, 51, 101, 201, 401, 601, 801)]
    [25, 18, 13, 9, 6, 4, 3, 2, 2, 1]
    """
    p = P_INIT / 2 ** sum(10_000 * query > mark * queries for mark in HALVED)
    return min(max(round(math.sqrt(p * H * W)), least), H, W)


def refuse_signals(x: Float[Tensor, "N ..."]) -> None:
    """Its squares lie in pictures. Raises: InputError, these are not pictures."""
    if x.dim() != 4:
        raise InputError("Square searches pictures, (N, C, H, W); attack signals by their gradient")


@torch.no_grad()
def random_search(
    score: RowObjective, ball: LinfBall | L2Ball, queries: int, draw: Draw, advance: Advance, *, keep: bool = False
) -> Best:
    """Algorithm 1, for all rows at once.

    Args:
        score: of iterates and their rows, (n,): what is to fall; no gradient is taken.
        ball: of each row.
        queries: points that are tried, the start being the first.
        draw: wants the rows that are still in the batch before the shape.
        advance: told of the progress, for a bar.
        keep: go on with rows whose score is no longer positive.
    """
    best, live = Best(ball.centre), torch.arange(len(ball.centre), device=ball.centre.device)
    H, W = ball.centre.shape[-2:]
    x_new = _stripes(ball, partial(draw, live)) if isinstance(ball, LinfBall) else _tiles(ball, partial(draw, live))
    for query in range(1, queries + 1):
        value = score(x_new, live)
        # a fooled row is left as it is while it waits for others to leave with it
        best.offer(live, x_new, value if keep else value.masked_fill(best.value[live] <= 0, torch.inf))
        advance(len(live))
        if not keep and (left := leaving(best, live)) is not None:
            advance(int((~left).sum()) * (queries - query))
            live, ball = live[left], ball.at(left)
        if query == queries or not len(live):
            break
        x_hat, fresh = best.x[live], partial(draw, live)
        if isinstance(ball, LinfBall):
            x_new = _square(x_hat, ball, side(query, queries, H, W), fresh)
        else:
            x_new = _two_squares(x_hat, ball, side(query, queries, H, W, least=3), fresh)
    return best


def _stripes(ball: LinfBall, draw: Draw) -> Float[Tensor, "n C H W"]:
    """x +- eps, one sign a column and channel."""
    _, C, _, W = ball.centre.shape
    return torch.where(draw(C, 1, W) < 0.5, ball.upper, ball.lower)


def _square(x_hat: Float[Tensor, "n C H W"], ball: LinfBall, h: int, draw: Draw) -> Float[Tensor, "n C H W"]:
    """Algorithm 2. As in the authors' code no query is lost on a square that changes nothing: its signs are turned."""
    window = _window(x_hat, h, draw)
    now, lower, upper = (part.flatten(2).gather(2, window) for part in (x_hat, ball.lower, ball.upper))
    rises = draw(x_hat.shape[1], 1) < 0.5
    same = (torch.where(rises, upper, lower) == now).all(2).all(1)
    new = torch.where(rises ^ column(same, rises), upper, lower)
    return x_hat.flatten(2).scatter(2, window, new).view_as(x_hat)


def _tiles(ball: L2Ball, draw: Draw) -> Float[Tensor, "n C H W"]:
    """x + eps delta / ||delta||, where delta is a grid of +-eta, five tiles along the shorter side of the image."""
    n, C, H, W = ball.centre.shape
    h = max(min(H, W) // 5, 1)
    rows, columns = H // h, W // h
    tiles = _signs(draw(C, rows, columns, 1, 1), ball) * _eta(draw(1, rows, columns, 1, 1), h, ball)
    grid = tiles.transpose(3, 4).reshape(n, C, rows * h, columns * h)
    top, left = (H - rows * h) // 2, (W - columns * h) // 2
    delta = torch.zeros_like(ball.centre)
    delta[:, :, top : top + rows * h, left : left + columns * h] = grid
    return ball.project(ball.centre + column(ball.eps, delta) * ball.descent(delta))


def _two_squares(x_hat: Float[Tensor, "n C H W"], ball: L2Ball, h: int, draw: Draw) -> Float[Tensor, "n C H W"]:
    """Algorithm 3, in its symbols."""
    C = x_hat.shape[1]
    nu = (x_hat - ball.centre).flatten(2)
    W1, W2 = _window(x_hat, h, draw), _window(x_hat, h, draw)
    unused = (ball.eps.square() - norm(nu).square()).clamp_min(0)
    nu_1 = nu.gather(2, W1)
    nu_2 = nu.scatter_(2, W1, 0).gather(2, W2)  # of W2 without W1
    available = (nu_1.square().sum(2) + nu_2.square().sum(2) + unused[:, None] / C).sqrt()
    eta = _eta(draw(1, 1, 1), h, ball).flatten(2)
    unit = partial(F.normalize, dim=2, eps=tiny(nu))
    nu_new = available[:, :, None] * unit(_signs(draw(C, 1), ball) * eta + unit(nu_1))
    nu.scatter_(2, W2, 0).scatter_(2, W1, nu_new)
    return ball.project(ball.centre + nu.view_as(x_hat))


def _window(x: Float[Tensor, "n C H W"], h: int, draw: Draw) -> Int[Tensor, "n C hh"]:
    """Where in a flattened channel the h x h square lies whose corner is drawn from all that fit; hh = h * h."""
    _, C, H, W = x.shape
    fits = torch.tensor([H - h + 1, W - h + 1], device=x.device)
    corner, along = (draw(2) * fits).long(), torch.arange(h, device=x.device)
    rows, columns = (corner[:, :, None] + along).unbind(1)
    return (rows[:, :, None] * W + columns[:, None, :]).flatten(1)[:, None].expand(-1, C, -1)


def _eta(uniform: Float[Tensor, "*n 1 1"], h: int, ball: L2Ball) -> Float[Tensor, "*n h h"]:
    """eta* = eta / ||eta||: a pyramid above its negative, or, for half of the uniform numbers, beside it."""
    k = h // 2
    eta = torch.cat([_pyramid(k, h), -_pyramid(h - k, h)])
    eta = (eta / eta.norm()).to(ball.centre)
    return torch.where(uniform < 0.5, eta, eta.T)


def _pyramid(h1: int, h2: int) -> Float[Tensor, "h1 h2"]:
    """sum_{k=0}^{M} 1 / (n + 1 - k)^2, M = n less the steps to the middle, n half the longer side (equation 1).

    >>> _pyramid(1, 3)
    tensor([[0.2500, 1.2500, 0.2500]])
    """
    n = max(h1, h2) // 2
    down, along = ((torch.arange(h) - h // 2).abs() for h in (h1, h2))
    steps = torch.maximum(down[:, None], along)
    sums = (1 / (n + 1 - torch.arange(n + 1)).square()).cumsum(0)
    return sums[n - steps]


def _signs(uniform: Tensor, ball: L2Ball) -> Tensor:
    """+1 or -1, each with probability 1/2."""
    return torch.where(uniform < 0.5, 1, -1).to(ball.centre)
