"""What training an autoencoder minimises: its own loss, such as the negative ELBO, and a penalty on its input gradient.

    L  = L0 + kl_weight L1 + penalty_weight L2                                      (paper, eqs. 10-12)
    L0 = -log p(x|z),  L1 = KL(q(z|x) || N(0, I)),  L2: one of `penalties`

Every term is kept for each example, (B,), the penalty for each place where it is taken, and averaged last.
"""

import math
import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.data import Split
from doubleback.errors import InputError, reason
from doubleback.evaluation import evaluating, reconstruction_quality
from doubleback.models.base import Autoencoder, acquaint
from doubleback.objective.base import Terms, TrainingObjective
from doubleback.objective.losses import ELBO, Loss
from doubleback.objective.penalties.gradient import perturbed_gradient_penalty, target_moves
from doubleback.objective.penalties.kinds import KINDS, Site
from doubleback.objective.penalties.taken import PenaltyTaken
from doubleback.progress import note
from doubleback.settings.checks import not_negative
from doubleback.settings.penalty import Penalty

# Of `reconstruction`, by likelihood; the other penalties have one default each (`penalties.kinds`). A Gaussian's is for
# a variance of 0.02, and goes with it: the penalty over the loss falls as 1 / variance.
RECONSTRUCTION_WEIGHTS = {"bernoulli": 0.03, "gaussian": 0.01, "gaussian-learned": 0.001}


class Objective(TrainingObjective):
    """An autoencoder with the loss it is trained on: L = L0 + kl_weight L1 + penalty_weight L2.

    "The total loss focuses on the reconstruction in the first half of the time and on DBP in the other": the
    penalty is off for the first `penalty_start` of the steps. Its terms are those of the loss, of the negative ELBO
    `reconstruction` (nats) and `kl` (nats; not of a plain autoencoder), and, where it is taken, `penalty` (nats^2 per
    unit^2 of x, or 1).

    Args:
        model: what is trained.
        penalty: its settings, or only what is kept small: "none", or one of `penalties.kinds.KINDS`.
        kl_weight: lambda1.
        loss: L0 and L1 in one; None: the negative ELBO.
        changes: fields of `Penalty` by name, such as `penalty_weight`; a weight that is left out takes a measured
            default for the penalty and the likelihood.

    Raises:
        InputError: a setting is out of range, or "perturbed" is asked of a model that learns its variance.
    """

    def __init__(
        self,
        model: Autoencoder,
        penalty: Penalty | str = "none",
        *,
        kl_weight: float = 1.0,
        loss: Loss | None = None,
        **changes: Any,
    ) -> None:
        super().__init__()
        not_negative(kl_weight=kl_weight)
        if "penalty_every" in changes:
            warnings.warn("penalty_every is now called every: Objective(model, every=...)", DeprecationWarning, 2)
            changes["every"] = changes.pop("penalty_every")
        settings = Penalty(penalty=penalty) if isinstance(penalty, str) else penalty  # type: ignore[arg-type]  # checked
        self.settings = settings.changed(**changes).filled(penalty_start=0.5)
        learned = getattr(model, "likelihood", None) == "gaussian-learned"
        if self.settings.estimator == "perturbed" and self.settings.penalty == "reconstruction" and learned:
            raise InputError("a learned variance would be that of moved images; take the estimator exact")
        self.model, self.loss = model, loss or ELBO(kl_weight)
        self.terms = (*self.loss.terms, "penalty")
        self.penalty = PenaltyTaken(model, self.settings)

    def penalty_weight(self, step: int, steps: int) -> float:
        """lambda2 at one of `steps` training steps: 0 before the switch and between the k-th steps.

        >>> from doubleback.models import VAE
        >>> objective = Objective(VAE(), penalty="output", penalty_weight=0.5, every=2)
        >>> [objective.penalty_weight(step, 8) for step in range(8)]
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
        """
        since = step - self.first_step(steps)
        on = since >= 0 and since % self.settings.every == 0
        return self._weight_when_on if on else 0.0

    def first_step(self, steps: int) -> int:
        """The step, of so many, at which the penalty begins."""
        return math.ceil(self.settings.penalty_start * steps)

    @property
    def _weight_when_on(self) -> float:
        return self.settings.every * self.full_penalty_weight

    @property
    def full_penalty_weight(self) -> float:
        """lambda2 once it is on: as given, or the measured default."""
        penalty, given = self.settings.penalty, self.settings.penalty_weight
        if given is not None:
            return given if penalty != "none" else 0.0
        if penalty != "reconstruction":
            return KINDS[penalty].weight if penalty != "none" else 0.0
        likelihood = getattr(self.model, "likelihood", None)
        if likelihood not in RECONSTRUCTION_WEIGHTS:
            raise InputError(
                "the model does not say its `likelihood`, and the default depends on it; give penalty_weight"
            )
        of_variance = getattr(self.model, "variance", 0.02) / 0.02 if likelihood == "gaussian" else 1.0
        return RECONSTRUCTION_WEIGHTS[likelihood] * of_variance

    def prepare(self, x: Float[Tensor, "n ..."]) -> None:
        """Let the model see its first images; where it has no second derivative, take finite differences instead."""
        acquaint(self.model, x)
        if self.settings.penalty == "none" or self.settings.estimator == "perturbed":
            return
        by_differences = self.settings.differentiates and self.settings.estimator == "exact"
        had = [(one, one.grad) for one in self.parameters()]
        try:
            self._follow(x)
        except (RuntimeError, NotImplementedError) as error:  # "derivative for ... is not implemented", and its like
            if not by_differences:
                raise
            self.settings = self.settings.changed(estimator="finite-difference")
            self.penalty = PenaltyTaken(self.model, self.settings)
            note(f"no second derivative ({reason(error)[:100]}): the penalty is taken by finite differences")
        finally:
            for one, gradient in had:
                one.grad = gradient

    def _follow(self, x: Float[Tensor, "n ..."]) -> None:
        """Take the penalty once, and its gradient.

        Raises:
            InputError: it reaches no weight that learns.
        """
        noise, *site = self.draw(x.cpu(), torch.Generator().manual_seed(0))
        penalty = self(x, *(None if part is None else part.to(x) for part in (noise, *site)))["penalty"]
        for one in self.parameters():
            one.grad = None
        if penalty.requires_grad:
            penalty.sum().backward()  # not `grad` of weights: it never visits `once_differentiable`
        if all(one.grad is None for one in self.parameters() if one.requires_grad):
            raise InputError(
                f"the penalty {self.settings.penalty} follows no weight that is trained; freeze less, or name another "
                "penalty"
            )

    def draw(
        self, x: Float[Tensor, "B ..."], generator: torch.Generator, mine: slice = slice(None)
    ) -> tuple[Tensor | None, ...]:
        """What `forward` takes of a batch beside its images: noise from N(0, I), and where the penalty is taken.

        Args:
            x: the whole batch.
            generator: draws for the whole batch, on its device.
            mine: the rows of this process.
        """
        shape = (len(x), *self.model.noise_shape)
        noise = torch.randn(shape, generator=generator, dtype=x.dtype, device=generator.device)
        at, noise_there, directions, target = self.penalty.site(x, noise, generator, mine.step or 1).rows(mine)
        elsewhere = (at, noise_there) if self.penalty.at_blends else (None, None)
        return noise[mine], directions, *elsewhere, target

    def share(
        self, x: Float[Tensor, "B ..."], labels: Tensor | None, generator: torch.Generator, mine: slice
    ) -> tuple[Tensor | None, ...]:
        """What `forward` takes of the batch in this process, drawn for the whole batch."""
        del labels
        return x[mine], *self.draw(x, generator, mine)

    def total(self, terms: Terms, penalty_weight: float) -> Float[Tensor, ""]:
        """L, averaged over the batch.

        With the "perturbed" estimator the weight is in the terms' gradients already, as `penalty_weight()` has it.
        """
        loss = self.loss.total(terms)
        return loss + penalty_weight * terms["penalty"].mean() if "penalty" in terms else loss

    def logged(self, penalty_weight: float) -> dict[str, float]:
        """lambda2 as it was at the epoch's last step."""
        return {"penalty_weight": penalty_weight}

    def validated(self, split: Split) -> dict[str, float | None]:
        """L0, L1 and the L2 error on held-out images, on the mean path."""
        with evaluating(self.model):
            quality = reconstruction_quality(self.model, split.images)
        return {
            "reconstruction": quality["reconstruction_nll"],
            "kl": quality["kl"],
            "l2": quality["reconstruction_l2"],
        }

    def forward(
        self,
        x: Float[Tensor, "B ..."],
        noise: Float[Tensor, "B ..."] | None,
        directions: Float[Tensor, "P n ..."] | None = None,
        at: Float[Tensor, "n ..."] | None = None,
        noise_there: Float[Tensor, "n ..."] | None = None,
        target: Float[Tensor, "n ..."] | None = None,
        penalised: bool = True,
    ) -> Terms:
        """The terms for each example, those that are taken: no `penalty` unless it is on.

        With the "perturbed" estimator their values are those at x, their gradients those at the moved images.

        Args:
            x: images in [0, 1].
            noise: (B, *noise_shape), or None for the mean path.
            directions: of the penalties on a Jacobian.
            at: where the penalty is taken; None: at x, with its noise.
            noise_there: the noise there.
            target: of the targeted penalty.
            penalised: whether the penalty is on.
        """
        if not penalised or self.settings.penalty == "none":
            return self.loss(self.model, x, noise)
        if self.settings.estimator == "perturbed":
            return self._perturbed(x, noise)
        site = Site(x, noise, directions, target) if at is None else Site(at, noise_there, directions, target)
        reconstruction, penalty = self.penalty(site)
        if isinstance(self.loss, ELBO) and not self.penalty.has_own_pass:
            assert reconstruction is not None
            return {**self.loss.of(self.model, reconstruction, x), "penalty": penalty}
        return {**self.loss(self.model, x, noise), "penalty": penalty}

    def _perturbed(self, x: Tensor, noise: Tensor | None) -> Terms:
        if not isinstance(self.loss, ELBO):
            raise InputError("the perturbed estimator works for the negative ELBO only; take the estimator exact")
        through_target = self.settings.through_target
        here, penalty, moved = perturbed_gradient_penalty(
            self.model, x, noise, self._weight_when_on, through_target=through_target
        )
        there = self.model(moved, noise)
        target = moved if target_moves(there, through_target) else x
        values, learned = self.loss.of(self.model, here, x), self.loss.of(self.model, there, target)
        moved_terms = {name: values[name].detach() + (term - term.detach()) for name, term in learned.items()}
        return {**moved_terms, "penalty": penalty}
