"""A penalty whose weight keeps to a budget: training that may cost so much reconstruction, and no more.

    min  L0 + lambda1 L1 + w L2    with w as large as    measure(model) <= (1 + within) measure(start)    allows

for each measure on held-out images: the L2 of the reconstruction, and the rate of a codec. At every look w goes up
while there is room and down where there is none (dual ascent, in log w). The weights that are looked at are averages
over the last steps, which hardly feel the learning rate. Those with the smallest penalty within the budget are kept;
the start is within it, so there always are some. Where the last average is beyond the budget, the way back from it to
the kept weights is searched for the first point within (Wortsman et al. 2022: the error between a model and the one
that it was fine-tuned from changes smoothly along the straight line).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.data import Split
from doubleback.evaluation import answer
from doubleback.metrics.images import l2
from doubleback.models.base import acquaint
from doubleback.objective import Objective, Terms, TrainingObjective
from doubleback.objective.losses import TOGETHER
from doubleback.randomness import Stream, generator
from doubleback.state import at_work
from doubleback.tensors import placed, rows_at_once

HELD = 1000  # validation images that are looked at
LOOKS = 100  # in a training
MEMORY = 50  # the average reaches back over a fiftieth of the steps
GAIN = 0.2  # how far log w moves at a look, at most
SLACK = 0.1  # so much beyond the budget is free at first, and ever less: what a high learning rate spoils comes back
FREE = 0.8  # after this share of the steps nothing is: the last steps are too small to come back
AIM = 0.001  # of the measure: so far within the budget the weight aims, for the same reason
ROOM = (0.002, 0.01)  # room, as a share of the measure, at which it moves by all of that: as small as the slack, within
HALVINGS = 8  # of the way back to the budget
EXACT = 1e-6  # of the measure: twice the same images may differ by so much on a GPU


@dataclass(frozen=True)
class Measured:
    """What a budget bounds, means over images.

    Attributes:
        reconstruction_l2: ||x_hat - x||.
        rate: bits per pixel, of a codec.
    """

    reconstruction_l2: float
    rate: float | None = None

    def excess(self, start: "Measured", within: float) -> float:
        """How far the worst measure is over (1 + within) of the start's, as a share; negative: there is room."""
        pairs = [(getattr(self, one.name), getattr(start, one.name)) for one in fields(self)]
        shares = [now / ((1 + within) * before) - 1 if before else now for now, before in pairs if before is not None]
        return math.nan if any(map(math.isnan, shares)) else float(max(shares))


def looked_at(held: Split) -> Tensor:
    """The images that decide."""
    return held.images[:HELD]


def measured(model: Any, images: Float[Tensor, "N ..."]) -> Measured:
    """What a budget bounds, of a model as it is deployed."""
    with at_work(model), torch.no_grad():
        errors, rates = [], []
        acquaint(model, placed(model, images[:1]))
        for x in torch.split(images, rows_at_once(images)):
            found = answer(model, x := placed(model, x))
            errors.append(l2(found.mean, x))
            rates += [] if found.rate is None else [found.rate]
        return Measured(torch.cat(errors).mean().item(), torch.cat(rates).mean().item() if rates else None)


def balanced(objective: Objective, x: Float[Tensor, "N ..."]) -> float:
    """The weight at which the penalty pulls at the weights as hard as the loss does, on average over batches.

    Args:
        objective: whatever its own weight is.
        x: training images in [0, 1], where the model is.
    """
    learned = [one for one in objective.parameters() if one.requires_grad]
    random, norms = generator(0, Stream.NOISE), []
    for images in torch.split(x, TOGETHER):
        draws = (None if one is None else one.to(images) for one in objective.draw(images.cpu(), random))
        terms = objective(images, *draws)
        parts = objective.total(terms, 0.0), terms["penalty"].mean()
        found = [torch.autograd.grad(one, learned, retain_graph=True, materialize_grads=True) for one in parts]
        norms.append([torch.nn.utils.get_total_norm(one).item() for one in found])
    of_loss, of_penalty = torch.tensor(norms, dtype=torch.float64).mean(0).tolist()
    return float(of_loss / of_penalty) if of_penalty > 0 and math.isfinite(of_loss / of_penalty) else 1.0


class WithinBudget(TrainingObjective):
    """An objective whose penalty weight follows a budget; all that it keeps is in its buffers, and so in a checkpoint.

    Args:
        objective: its `penalty_weight` is where the weight begins; `balanced` finds one.
        held: validation images; the first `HELD` are looked at.
        within: how much a measure may grow, as a share; 0: not at all.
    """

    weight: Tensor
    least: Tensor
    kept_weight: Tensor
    kept_step: Tensor
    taken: Tensor

    def __init__(self, objective: Objective, held: Split, within: float) -> None:
        super().__init__()
        self.objective, self.model, self.within = objective, objective.model, within
        self.terms = objective.terms
        self.held = looked_at(held)
        self.start = measured(self.model, self.held)
        self._learned: list[Tensor] = [one for one in objective.parameters() if one.requires_grad]
        for name in ("averaged", "kept"):
            for place, one in enumerate(self._learned):
                self.register_buffer(f"{name}_{place}", one.detach().clone())
        with torch.no_grad():
            first = self._penalty()
        self.register_buffer("weight", torch.tensor(objective.full_penalty_weight, dtype=torch.float64))
        self.register_buffer("least", torch.tensor(first, dtype=torch.float64))
        self.register_buffer("kept_weight", torch.zeros((), dtype=torch.float64))
        for name in ("kept_step", "taken"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.now = self.start

    # -- what the loop asks for ----------------------------------------------------------------------------------

    def penalty_weight(self, step: int, steps: int) -> float:
        """lambda2 as the budget has it now."""
        on = self.objective.penalty_weight(step, steps) > 0
        return self.objective.settings.every * float(self.weight) if on else 0.0

    def prepare(self, x: Float[Tensor, "n ..."]) -> None:
        """Be shown the first images."""
        self.objective.prepare(x)

    def share(
        self, x: Float[Tensor, "B ..."], labels: Tensor | None, generator: torch.Generator, mine: slice
    ) -> tuple[Tensor | None, ...]:
        """What `forward` takes."""
        return self.objective.share(x, labels, generator, mine)

    def forward(self, *share: Any) -> Terms:
        """The terms of a share."""
        terms: Terms = self.objective(*share)
        return terms

    def total(self, terms: Terms, penalty_weight: float) -> Float[Tensor, ""]:
        """The terms weighed."""
        return self.objective.total(terms, penalty_weight)

    def validated(self, split: Split) -> dict[str, float | None]:
        """L0, L1 and the L2 error on held-out images, of the weights as they are now."""
        return self.objective.validated(split)

    def logged(self, penalty_weight: float) -> dict[str, float]:
        """The weight, and the share by how much the averaged model is over the budget."""
        return {"penalty_weight": penalty_weight, "beyond_budget": self.now.excess(self.start, self.within)}

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Average the weights; at a look, move the weight of the penalty and keep what is best."""
        share = min(1.0, max(MEMORY / steps, 1 / (step + 1)))
        torch._foreach_lerp_(self._stored("averaged"), self._learned, share)
        if (step + 1) % max(steps // LOOKS, 1) == 0 or step + 1 == steps:
            self._look(step, steps)

    # -- inside --------------------------------------------------------------------------------------------------

    def _look(self, step: int, steps: int) -> None:
        self.taken.fill_(step + 1)
        with self._holding("averaged"):
            self.now = measured(self.model, self.held)
            excess, penalty = self.now.excess(self.start, self.within), self._penalty()
        if not math.isfinite(excess):
            return
        if excess <= 0 and penalty < float(self.least):
            torch._foreach_copy_(self._stored("kept"), self._stored("averaged"))
            self.least.fill_(penalty)
            self.kept_weight.copy_(self.weight)
            self.kept_step.fill_(step + 1)
        if step < self.objective.first_step(steps):
            return
        slack = SLACK * max(0.0, 1 - (step + 1) / (FREE * steps)) ** 2
        least, most = ROOM
        pressing = (excess + AIM - slack) / min(max(slack, least), most)
        self.weight.mul_(math.exp(-GAIN * max(-1.0, min(1.0, pressing))))

    def keep(self) -> Measured:
        """Put the best weights within the budget into the model; returns what they measure.

        If the model does not keep to the budget with them after all, because something beside its weights has changed,
        `kept_weight` is 0: nothing was found.
        """
        with torch.no_grad():
            self._step_back()
            torch._foreach_copy_(self._learned, self._stored("kept"))
        found = measured(self.model, self.held)
        if not found.excess(self.start, self.within) <= EXACT:
            self.kept_weight.zero_()
            self.kept_step.zero_()
        return found

    def _step_back(self) -> None:
        """If the last average is beyond the budget: the farthest point within it on the way there, if that is best."""
        within, beyond = [one.clone() for one in self._stored("kept")], self._stored("averaged")
        with self._holding("averaged"):
            if (excess := self._excess()) <= 0:
                return
            near, far, best = 0.0, 1.0, None
            for _ in range(HALVINGS if math.isfinite(excess) else 0):
                middle = (near + far) / 2
                torch._foreach_copy_(self._learned, torch._foreach_lerp(within, beyond, middle))
                if not self._excess() <= 0:  # NaN is beyond
                    far = middle
                    continue
                near = middle
                if (penalty := self._penalty()) < float(self.least):
                    self.least.fill_(penalty)
                    best = middle
        if best is not None:
            torch._foreach_copy_(self._stored("kept"), torch._foreach_lerp(within, beyond, best))
            self.kept_weight.copy_(self.weight)
            self.kept_step.copy_(self.taken)

    def _excess(self) -> float:
        """How far the model, as it is now, is over the budget."""
        return measured(self.model, self.held).excess(self.start, self.within)

    def _penalty(self) -> float:
        """The mean penalty on held-out images, at the same places and by the same draws at every look."""
        taken, total, count = self.objective.penalty, 0.0, 0
        random = generator(0, Stream.SELECT)
        with at_work(self.model):
            for images in torch.split(self.held, rows_at_once(self.held)):
                x = placed(self.model, images)
                noise = torch.randn(len(x), *self.model.noise_shape, generator=random).to(x)
                site = taken.site(x.cpu(), noise.cpu(), random)
                values = taken(site.to(x))[1]
                total, count = total + float(values.detach().sum()), count + len(values)
        return total / max(count, 1)

    def _stored(self, name: str) -> list[Tensor]:
        return [getattr(self, f"{name}_{place}") for place in range(len(self._learned))]

    @contextmanager
    def _holding(self, name: str) -> Iterator[None]:
        """The model with these weights, for a while."""
        now = [one.detach().clone() for one in self._learned]
        torch._foreach_copy_(self._learned, self._stored(name))
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._learned, now)
