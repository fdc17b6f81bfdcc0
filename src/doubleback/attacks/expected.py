"""A goal's loss as attacks take it: on the mean path, or averaged over fresh noise, and compared on held noise.

    E_noise loss(x, pair, noise)

Steps draw fresh noise; what is kept is chosen on noise that no step has seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.attacks.engine import rows_together
from doubleback.attacks.goals import RowLoss
from doubleback.randomness import Stream, generator
from doubleback.settings.search import Search


@dataclass(frozen=True)
class Problem:
    """What is minimised for P pairs.

    Attributes:
        loss: falls as the attack succeeds, the price of the distortion left out.
        source, target: images in [0, 1].
        noise_shape: of the model's noise.
        targeted: whether the loss knows the target; if not, its gradient vanishes at the source.
        queries: how often the model may be asked, where only its scores are known; 0: its gradient is known.
    """

    loss: RowLoss
    source: Float[Tensor, "P C H W"]
    target: Float[Tensor, "P C H W"]
    noise_shape: tuple[int, ...]
    targeted: bool = True
    queries: int = 0

    @property
    def start_noise(self) -> float:
        """The range of the uniform noise on the source: enough to leave a point without a gradient."""
        return 1e-8 if self.targeted else 1e-2


class Expected:
    """The loss of P pairs, and its randomness.

    Attributes:
        source, target: images in [0, 1].
        pair: 0 to P - 1.
        samples: draws of the noise that are averaged; 0: the mean path.
        random: draws the starts.
    """

    def __init__(self, problem: Problem, search: Search) -> None:
        self.loss, self.source, self.target = problem.loss, problem.source, problem.target
        self.noise_shape, self.samples, self.start_noise = problem.noise_shape, search.samples, problem.start_noise
        self.pair = torch.arange(len(self.source), device=self.source.device)
        self.fresh = generator(search.seed, Stream.ATTEMPT)
        self.random = generator(search.seed, Stream.START)
        self.held = self.normal(generator(search.seed, Stream.SELECT), self.samples, 1, *self.noise_shape)

    def attempted(self, x: Float[Tensor, "n ..."], pair: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The loss on the mean path, or averaged over fresh noise."""
        return self._averaged(x, pair, self.normal(self.fresh, self.samples, len(x), *self.noise_shape))

    def worth(self, x: Float[Tensor, "n ..."], pair: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The loss on the mean path, or on the held noise, the same for every row."""
        return self._averaged(x, pair, self.held.expand(-1, len(x), *self.noise_shape))

    @torch.no_grad()
    def worth_in_chunks(self, x: Float[Tensor, "N ..."], pair: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        """`worth`, a chunk at a time and without a gradient."""
        at_once = rows_together(x)
        together = zip(torch.split(x, at_once), torch.split(pair, at_once), strict=True)
        return torch.cat([self.worth(*rows) for rows in together])

    def source_start(self) -> Float[Tensor, "P ..."]:
        """The source, with a trace of uniform noise."""
        noise = torch.rand(self.source.shape, generator=self.random).to(self.source)
        return self.source + self.start_noise * noise

    def normal(self, randomness: torch.Generator, *shape: int) -> Tensor:
        """Numbers from N(0, 1), as the source's."""
        return torch.randn(shape, generator=randomness).to(self.source)

    def _averaged(self, x: Tensor, pair: Tensor, noise: Iterable[Tensor]) -> Tensor:
        draws: list[Tensor | None] = [*noise] or [None]
        return torch.stack([self.loss(x, pair, draw) for draw in draws]).mean(0)
