"""A goal's loss as attacks take it: on the mean path, or averaged over fresh noise, and compared on held noise.

    E_noise loss(x, pair, noise)

Steps draw fresh noise, at each step the same for every row, so that no row's depends on which others go through with
it; what is kept is chosen on noise that no step has seen.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.attacks.engine import rows_together
from doubleback.attacks.goals import RowLoss
from doubleback.models.rounding import Rounding
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
        rounding: what is rounded before it reaches the model, where small steps are lost in it.
        queries: how often the model may be asked, where only its scores are known; 0: its gradient is known.
    """

    loss: RowLoss
    source: Float[Tensor, "P C H W"]
    target: Float[Tensor, "P C H W"]
    noise_shape: tuple[int, ...]
    targeted: bool = True
    queries: int = 0
    rounding: Rounding | None = None

    @property
    def start_noise(self) -> float:
        """The range of the uniform noise on the source: enough to leave a point without a gradient."""
        return 1e-8 if self.targeted else 1e-2


Attempt = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(iterates (n, ...), pair of each (n,), row of each in its search (n,)) -> the loss that a step lowers, (n,)."""
SEARCH = 2**32  # steps, more than a search ever has: where the next one's noise begins


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
        self.seed, self.searches = search.seed, 0
        self.random = generator(search.seed, Stream.START)
        self.held = self.normal(generator(search.seed, Stream.SELECT), self.samples, 1, *self.noise_shape)

    def attempts(self) -> Attempt:
        """The loss of one search, on the mean path, or averaged over noise that is fresh at each of its steps.

        Rows that go through together have taken as many steps, and go on together: with noise, none leaves early.
        """
        self.searches += 1
        first, steps = self.searches * SEARCH, Counter[int]()

        def attempted(x: Tensor, pair: Tensor, rows: Tensor) -> Tensor:
            if not self.samples:
                return self.loss(x, pair, None)
            chunk = int(rows[0])
            steps[chunk] += 1
            fresh = generator(self.seed, Stream.ATTEMPT, first + steps[chunk])
            return self._averaged(x, pair, self.normal(fresh, self.samples, 1, *self.noise_shape))

        return attempted

    def worth(self, x: Float[Tensor, "n ..."], pair: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The loss on the mean path, or on the held noise, the same for every row."""
        return self._averaged(x, pair, self.held)

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

    def _averaged(self, x: Tensor, pair: Tensor, noise: Float[Tensor, "S 1 ..."]) -> Tensor:
        """A mean over these draws of the noise, each the same for every row; on the mean path without any."""
        draws: list[Tensor | None] = [*noise.expand(-1, len(x), *self.noise_shape)] or [None]
        return torch.stack([self.loss(x, pair, draw) for draw in draws]).mean(0)
