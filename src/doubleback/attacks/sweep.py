"""One loss, minimised for every pair of images and every coefficient of a sweep, in one batch.

    min_d  E_noise loss(x0 + d, pair, noise) + C ||d||^2,    x0 + d in the box [0, 1],    C in the sweep

A row of the batch is one pair with one coefficient: row = pair * K + place of the coefficient.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from doubleback.attacks.engine import minimize_from
from doubleback.attacks.rows import Advance
from doubleback.data import as_unit
from doubleback.errors import InputError
from doubleback.randomness import Stream, generator

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(iterates (n, C, H, W), pair of each (n,), noise (n, ...) or None) -> what is to fall, (n,), without C ||d||^2."""

BLENDS = 21  # u = 0, 0.05, ..., 1 along the segment from the source to the target
RESTART_NOISE = 0.1  # standard deviation of the random starts about the source, in units of a pixel
NEGLIGIBLE = 3e-4  # of the loss at the source: a gain in ten steps that is not worth ten more


@dataclass(frozen=True)
class Attack:
    """Adversarial inputs for P pairs and K coefficients.

    Attributes:
        x_adv: (P, K, C, H, W) in [0, 1].
        coefficients: (K,), the C of each column.
        objective: (P, K), what was minimised, at x_adv.
        converged: (P, K), whether the row converged before the last step.
    """

    x_adv: Float[Tensor, "P K C H W"]
    coefficients: Float[Tensor, "K"]
    objective: Float[Tensor, "P K"]
    converged: Bool[Tensor, "P K"]


def coefficient_sweep(count: int = 50, low: float = 2.0**-20, high: float = 2.0**20) -> Float[Tensor, "K"]:
    """C = 0 and `count` values spaced evenly in the logarithm from `low` to `high`: (count + 1,).

    Raises:
        InputError: `count` is under 1.

    >>> coefficient_sweep(3, 0.25, 4.0)
    tensor([0.0000, 0.2500, 1.0000, 4.0000])
    """
    if count < 1:
        raise InputError(f"coefficients is {count}; give a whole number of at least 1")
    return torch.cat([torch.zeros(1), torch.logspace(0, 1, count, base=high / low) * low])


def matching(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Source and target in [0, 1], one target a source.

    Raises:
        InputError: their shapes differ, or they are no images (`as_unit`).
    """
    source, target = as_unit(source), as_unit(target)
    if source.shape != target.shape:
        raise InputError(f"source is {tuple(source.shape)}, target {tuple(target.shape)}; give one target a source")
    return source, target


def sweep(
    loss: Loss,
    source: Float[Tensor, "P C H W"],
    target: Float[Tensor, "P C H W"],
    noise_shape: tuple[int, ...],
    *,
    coefficients: Float[Tensor, "K"] | None,
    steps: int,
    restarts: int,
    samples: int,
    seed: int,
    advance: Advance | None,
    start_noise: float = 1e-8,
) -> Attack:
    """Minimise the loss from the source, from the best blend with the target, and from `restarts` random points.

    Without samples the loss is deterministic: `minimize(method="spectral")`. With them every step averages fresh
    noise, Adam minimises, and the best iterate is chosen on noise that no step has seen.

    Args and Raises: as in `latent_attack`; `start_noise` is the range of the uniform noise on the source.
    """
    for name, count in (("restarts", restarts), ("samples", samples)):
        if count < 0:
            raise InputError(f"{name} is {count}; give a whole number of at least 0")
    C = (coefficient_sweep() if coefficients is None else coefficients).to(source)
    if C.ndim != 1 or not len(C) or not bool(((C >= 0) & C.isfinite()).all()):
        raise InputError("coefficients must be a row of finite numbers of at least 0; see `coefficient_sweep`")
    problem = _Sweep(loss, source, target, C, noise_shape, samples, seed)
    best = minimize_from(
        problem.attempted,
        problem.starts(start_noise, restarts),
        steps=steps,
        method="adam" if samples else "spectral",
        score=problem.scored if samples else None,
        floor=problem.floor(),
        advance=advance,
    )
    P, K = len(source), len(C)
    return Attack(best.x.view(P, K, *source.shape[1:]), C, best.value.view(P, K), best.converged.view(P, K))


class _Sweep:
    """The rows of all pairs and coefficients: what they minimise and where they start."""

    def __init__(
        self,
        loss: Loss,
        source: Tensor,
        target: Tensor,
        C: Tensor,
        noise_shape: tuple[int, ...],
        samples: int,
        seed: int,
    ) -> None:
        self.loss, self.source, self.target, self.C = loss, source, target, C
        self.noise_shape, self.samples, self.seed = noise_shape, samples, seed
        self.fresh = generator(seed, Stream.ATTEMPT)
        self.held = self._normal(generator(seed, Stream.SELECT), samples, 1, *noise_shape)

    def attempted(self, x: Float[Tensor, "n ..."], rows: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The objective on the mean path, or averaged over fresh noise."""
        pair = rows // len(self.C)
        noise = self._normal(self.fresh, self.samples, len(x), *self.noise_shape)
        return self._averaged(x, pair, noise) + self.C[rows % len(self.C)] * self._cost(x, pair)

    def scored(self, x: Float[Tensor, "n ..."], rows: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The objective on the held noise, the same for every row."""
        pair = rows // len(self.C)
        return self._held(x, pair) + self.C[rows % len(self.C)] * self._cost(x, pair)

    def starts(self, start_noise: float, restarts: int) -> Iterator[Float[Tensor, "S N ..."]]:
        """The source and the best blends, then random points about the source; nested in the number of restarts."""
        K, randomness = len(self.C), generator(self.seed, Stream.START)
        source = (self.source + start_noise * self._uniform(randomness)).repeat_interleave(K, 0)
        yield torch.stack([source, self._best_blends().flatten(0, 1)])
        near = self.source.repeat_interleave(K, 0)
        for _ in range(restarts):
            yield (near + RESTART_NOISE * self._normal(randomness, *near.shape))[None]

    @torch.no_grad()
    def floor(self) -> Float[Tensor, "N"]:
        """What a row need not gain any more: a small share of what the loss is at the source."""
        pair = torch.arange(len(self.source), device=self.source.device)
        return NEGLIGIBLE * self._held(self.source, pair).abs().repeat_interleave(len(self.C))

    @torch.no_grad()
    def _best_blends(self) -> Float[Tensor, "P K C H W"]:
        """x0 + u (x_t - x0), with the u that serves each pair and coefficient best."""
        pair = torch.arange(len(self.source), device=self.source.device)
        shares = torch.linspace(0, 1, BLENDS).to(self.source)
        blends = [self.source.lerp(self.target, u) for u in shares]
        loss = torch.stack([self._held(x, pair) for x in blends])  # (U, P)
        cost = torch.stack([self._cost(x, pair) for x in blends])
        u = shares[(loss[:, :, None] + self.C * cost[:, :, None]).argmin(0)]  # (P, K)
        return self.source[:, None].lerp(self.target[:, None], u[..., None, None, None])

    def _cost(self, x: Tensor, pair: Tensor) -> Tensor:
        return squared_norm(x - self.source[pair])

    def _held(self, x: Tensor, pair: Tensor) -> Tensor:
        return self._averaged(x, pair, self.held.expand(-1, len(x), *self.noise_shape))

    def _averaged(self, x: Tensor, pair: Tensor, noise: Iterable[Tensor]) -> Tensor:
        draws: list[Tensor | None] = [*noise] or [None]
        return torch.stack([self.loss(x, pair, draw) for draw in draws]).mean(0)

    def _uniform(self, randomness: torch.Generator) -> Tensor:
        return torch.rand(self.source.shape, generator=randomness).to(self.source)

    def _normal(self, randomness: torch.Generator, *shape: int) -> Tensor:
        return torch.randn(shape, generator=randomness).to(self.source)


def squared_norm(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n"]:
    """||x||^2 over everything but the first dimension."""
    return x.flatten(1).square().sum(1)
