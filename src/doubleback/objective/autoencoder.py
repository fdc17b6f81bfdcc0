"""What training an autoencoder minimises: the negative ELBO and a double-backpropagation penalty.

    L  = L0 + kl_weight L1 + penalty_weight L2                                      (paper, eqs. 10-12)
    L0 = -log p(x|z),  L1 = KL(q(z|x) || N(0, I)),  L2: one of `penalties`

Every term is kept for each example, (B,), and averaged over the batch last.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.data import Split
from doubleback.errors import InputError
from doubleback.evaluation import evaluating, reconstruction_quality
from doubleback.models.base import Autoencoder, Reconstruction, is_variational
from doubleback.objective.base import Terms, TrainingObjective
from doubleback.objective.penalties import (
    gradient_penalty,
    gradient_penalty_by_differences,
    jacobian_penalty,
    jacobian_penalty_by_differences,
    perturbed_gradient_penalty,
    reconstruction_loss,
    target_moves,
)
from doubleback.settings.checks import not_negative
from doubleback.settings.penalty import Penalty

# The values that serve on MNIST (docs/choices.md says how each was measured): [penalty][likelihood]. A Gaussian's are
# for a variance of 0.02, and go with it: the penalty over the loss falls as 1 / variance.
DEFAULT_WEIGHTS = {
    "none": {"bernoulli": 0.0, "gaussian": 0.0, "gaussian-learned": 0.0},
    "reconstruction": {"bernoulli": 0.03, "gaussian": 0.01, "gaussian-learned": 0.001},
    "output": {"bernoulli": 1.0, "gaussian": 1.0, "gaussian-learned": 1.0},
    "latent": {"bernoulli": 1.0, "gaussian": 1.0, "gaussian-learned": 1.0},
}


class Objective(TrainingObjective):
    """An autoencoder with the loss it is trained on: L = L0 + kl_weight L1 + penalty_weight L2.

    "The total loss focuses on the reconstruction in the first half of the time and on DBP in the other": the
    penalty is off for the first `penalty_start` of the steps. Its terms are `reconstruction` (nats), `kl` (nats; not of
    a plain autoencoder) and, where it is taken, `penalty` (nats^2 per unit^2 of x, or 1).

    Args:
        model: what is trained.
        penalty: its settings, or only what is kept small: "none", "reconstruction", "output" or "latent".
        kl_weight: lambda1.
        changes: fields of `Penalty` by name, such as `penalty_weight`; a weight that is left out takes a measured
            default for the penalty and the likelihood.

    Raises:
        InputError: a setting is out of range, or "perturbed" is asked of a model that learns its variance.
    """

    terms = ("reconstruction", "kl", "penalty")

    def __init__(
        self, model: Autoencoder, penalty: Penalty | str = "none", *, kl_weight: float = 1.0, **changes: Any
    ) -> None:
        super().__init__()
        not_negative(kl_weight=kl_weight)
        settings = Penalty(penalty=penalty) if isinstance(penalty, str) else penalty  # type: ignore[arg-type]  # checked
        self.settings = settings.changed(**changes).filled(penalty_start=0.5)
        learned = getattr(model, "likelihood", None) == "gaussian-learned"
        if self.settings.estimator == "perturbed" and self.settings.penalty == "reconstruction" and learned:
            raise InputError("a learned variance would be that of moved images; take the estimator exact")
        self.model = model
        self.kl_weight = kl_weight

    def penalty_weight(self, step: int, steps: int) -> float:
        """lambda2 at one of `steps` training steps: 0 before the switch and between the k-th steps.

        >>> from doubleback.models import VAE
        >>> objective = Objective(VAE(), penalty="output", penalty_weight=0.5, every=2)
        >>> [objective.penalty_weight(step, 8) for step in range(8)]
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
        """
        since = step - math.ceil(self.settings.penalty_start * steps)
        on = since >= 0 and since % self.settings.every == 0
        return self._weight_when_on if on else 0.0

    @property
    def _weight_when_on(self) -> float:
        return self.settings.every * self.full_penalty_weight

    @property
    def full_penalty_weight(self) -> float:
        """lambda2 once it is on: as given, or the measured default."""
        penalty, given = self.settings.penalty, self.settings.penalty_weight
        if given is not None:
            return given if penalty != "none" else 0.0
        likelihood = getattr(self.model, "likelihood", None)
        if penalty == "reconstruction" and likelihood not in DEFAULT_WEIGHTS["reconstruction"]:
            raise InputError(
                "the model does not say its `likelihood`, and the default depends on it; give penalty_weight"
            )
        weights = DEFAULT_WEIGHTS[penalty]
        weight = weights.get(str(likelihood), weights["gaussian"])
        if penalty == "reconstruction" and likelihood == "gaussian":
            weight *= getattr(self.model, "variance", 0.02) / 0.02
        return weight

    def draw(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The step's randomness: noise (B, *noise_shape), and the projections of a Jacobian penalty (or None).

        Drawn from N(0, I) on the generator's device, for the batch `x` of shape (B, C, H, W).
        """

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=x.dtype, device=generator.device)

        noise = normal(len(x), *self.model.noise_shape)
        settings = self.settings
        if settings.penalty not in ("output", "latent"):
            return noise, None
        in_code = settings.penalty == "latent" and settings.estimator == "exact"
        shape = (math.prod(self.model.noise_shape),) if in_code else x.shape[1:]
        return noise, normal(settings.projections, len(x), *shape)

    def share(
        self, x: Float[Tensor, "B C H W"], labels: Tensor | None, generator: torch.Generator, mine: slice
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What `forward` takes of the batch in this process: images, noise, projections, drawn for the whole batch."""
        del labels
        noise, projections = self.draw(x, generator)
        return x[mine], None if noise is None else noise[mine], None if projections is None else projections[:, mine]

    def total(self, terms: Terms, penalty_weight: float) -> Float[Tensor, ""]:
        """L, averaged over the batch.

        With the "perturbed" estimator the weight is in the terms' gradients already, as `penalty_weight()` has it.
        """
        loss = terms["reconstruction"].mean()
        if "kl" in terms:
            loss = loss + self.kl_weight * terms["kl"].mean()
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
        x: Float[Tensor, "B C H W"],
        noise: Float[Tensor, "B ..."] | None,
        projections: Tensor | None = None,
        penalised: bool = True,
    ) -> Terms:
        """The terms for each example, those that are taken: no `penalty` unless it is on.

        With the "perturbed" estimator their values are those at x, their gradients those at the moved images.
        """
        if not penalised or self.settings.penalty == "none":
            return self._elbo(self.model(x, noise), x)
        if self.settings.estimator != "perturbed":
            reconstruction, penalty = self._penalty(x, noise, projections)
            return {**self._elbo(reconstruction, x), "penalty": penalty}
        return self._perturbed(x, noise)

    def _perturbed(self, x: Tensor, noise: Tensor | None) -> Terms:
        through_target = self.settings.through_target
        here, penalty, moved = perturbed_gradient_penalty(
            self.model, x, noise, self._weight_when_on, through_target=through_target
        )
        there = self.model(moved, noise)
        target = moved if target_moves(there, through_target) else x
        values, learned = self._elbo(here, x), self._elbo(there, target)
        moved_terms = {name: values[name].detach() + (term - term.detach()) for name, term in learned.items()}
        return {**moved_terms, "penalty": penalty}

    def _elbo(self, reconstruction: Reconstruction, x: Tensor) -> Terms:
        """L0, and L1 unless the model is a plain autoencoder."""
        terms = {"reconstruction": reconstruction_loss(reconstruction, x)}
        return terms | {"kl": reconstruction.posterior.kl_to_standard()} if is_variational(self.model) else terms

    def _penalty(self, x: Tensor, noise: Tensor | None, projections: Tensor | None) -> tuple[Reconstruction, Tensor]:
        settings = self.settings
        exact, through, step = settings.estimator == "exact", settings.through_target, settings.difference_step
        if settings.penalty == "reconstruction":
            if exact:
                return gradient_penalty(self.model, x, noise, through_target=through)
            return gradient_penalty_by_differences(self.model, x, noise, through_target=through, step=step)
        assert projections is not None
        of: Literal["output", "latent"] = "output" if settings.penalty == "output" else "latent"
        if exact:
            return jacobian_penalty(self.model, x, noise, projections, of=of)
        return jacobian_penalty_by_differences(self.model, x, noise, projections, of=of, step=step)
