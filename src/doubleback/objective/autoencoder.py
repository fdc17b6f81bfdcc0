"""What training an autoencoder minimises: the negative ELBO and a double-backpropagation penalty.

    L  = L0 + kl_weight L1 + penalty_weight L2                                      (paper, eqs. 10-12)
    L0 = -log p(x|z),  L1 = KL(q(z|x) || N(0, I)),  L2: one of `penalties`

Every term is kept for each example, (B,), and averaged over the batch last.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models.base import Autoencoder, Reconstruction, is_variational
from doubleback.objective.penalties import (
    gradient_penalty,
    gradient_penalty_by_differences,
    jacobian_penalty,
    jacobian_penalty_by_differences,
    perturbed_gradient_penalty,
    reconstruction_loss,
    target_moves,
)

Penalty = Literal["none", "reconstruction", "output", "latent"]
Estimator = Literal["exact", "finite-difference", "perturbed"]

# The values that serve on MNIST (docs/choices.md says how each was measured): [penalty][likelihood]. A Gaussian's are
# for a variance of 0.02, and go with it: the penalty over the loss falls as 1 / variance.
DEFAULT_WEIGHTS = {
    "none": {"bernoulli": 0.0, "gaussian": 0.0, "gaussian-learned": 0.0},
    "reconstruction": {"bernoulli": 0.03, "gaussian": 0.01, "gaussian-learned": 0.001},
    "output": {"bernoulli": 1.0, "gaussian": 1.0, "gaussian-learned": 1.0},
    "latent": {"bernoulli": 1.0, "gaussian": 1.0, "gaussian-learned": 1.0},
}


class Terms(NamedTuple):
    """The objective's terms for each example, each (B,): nats, nats, and nats^2 per unit^2 of x (or 1)."""

    reconstruction: Float[Tensor, "B"]
    kl: Float[Tensor, "B"]
    penalty: Float[Tensor, "B"]


class Objective(nn.Module):
    """An autoencoder with the loss it is trained on: L = L0 + kl_weight L1 + penalty_weight L2.

    "The total loss focuses on the reconstruction in the first half of the time and on DBP in the other": the
    penalty is off for the first `penalty_start` of the steps.

    Args:
        model: what is trained.
        penalty: what is kept small, "none", "reconstruction", "output" or "latent".
        penalty_weight: lambda2; None takes a measured default for the penalty and the likelihood.
        kl_weight: lambda1.
        through_target: of the "reconstruction" penalty, see `gradient_penalty`.
        projections: draws of v a step, of the Jacobian penalties.
        estimator: "exact" double backward; "finite-difference"; or "perturbed", of the "reconstruction" penalty to
            first order: the loss, KL included, is lowered at images moved along its gradient, see
            `perturbed_gradient_penalty`.
        difference_step: h of the finite differences, in units of x.
        penalty_start: share of the steps, in [0, 1], after which the penalty is on.
        penalty_every: take the penalty every k-th step only, its weight multiplied by k.

    Raises:
        InputError: a weight is negative or not finite, a name unknown, a count under 1, a share outside [0, 1]; or
            "perturbed" is asked of another penalty, or of a model that learns its variance.
    """

    def __init__(
        self,
        model: Autoencoder,
        *,
        penalty: Penalty = "none",
        penalty_weight: float | None = None,
        kl_weight: float = 1.0,
        through_target: bool | None = None,
        projections: int = 1,
        estimator: Estimator = "exact",
        difference_step: float = 1e-2,
        penalty_start: float = 0.5,
        penalty_every: int = 1,
    ) -> None:
        super().__init__()
        _check_choice("penalty", penalty, get_args(Penalty))
        _check_choice("estimator", estimator, get_args(Estimator))
        for name, weight in (("penalty_weight", penalty_weight or 0.0), ("kl_weight", kl_weight)):
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"{name} is {weight}; give a number of at least 0")
        for name, count in (("projections", projections), ("penalty_every", penalty_every)):
            if count < 1:
                raise InputError(f"{name} is {count}; give a whole number of at least 1")
        if estimator == "perturbed" and penalty in ("output", "latent"):
            raise InputError(
                f"the {penalty} penalty cannot be perturbed; take the estimator exact or finite-difference"
            )
        learned = getattr(model, "likelihood", None) == "gaussian-learned"
        if estimator == "perturbed" and penalty == "reconstruction" and learned:
            raise InputError("a learned variance would be that of moved images; take the estimator exact")
        if not 0 <= penalty_start <= 1:
            raise InputError(f"penalty_start is {penalty_start}; give a share of the steps between 0 and 1")
        if not (math.isfinite(difference_step) and difference_step > 0):
            raise InputError(f"difference_step is {difference_step}; give a positive number, such as 0.01")
        self.model = model
        self.penalty = penalty
        self.kl_weight = kl_weight
        self.through_target = through_target
        self.projections = projections
        self.estimator = estimator
        self.difference_step = difference_step
        self.penalty_start = penalty_start
        self.penalty_every = penalty_every
        self._penalty_weight = penalty_weight

    def penalty_weight(self, step: int, steps: int) -> float:
        """lambda2 at one of `steps` training steps: 0 before the switch and between the k-th steps.

        >>> from doubleback.models import VAE
        >>> objective = Objective(VAE(), penalty="output", penalty_weight=0.5, penalty_every=2)
        >>> [objective.penalty_weight(step, 8) for step in range(8)]
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
        """
        since = step - math.ceil(self.penalty_start * steps)
        on = since >= 0 and since % self.penalty_every == 0
        return self._weight_when_on if on else 0.0

    @property
    def _weight_when_on(self) -> float:
        return self.penalty_every * self.full_penalty_weight

    @property
    def full_penalty_weight(self) -> float:
        """lambda2 once it is on: as given, or the measured default."""
        if self._penalty_weight is not None:
            return self._penalty_weight if self.penalty != "none" else 0.0
        likelihood = getattr(self.model, "likelihood", None)
        if self.penalty == "reconstruction" and likelihood not in DEFAULT_WEIGHTS["reconstruction"]:
            raise InputError("the model does not say its `likelihood`, which the default hangs on; give penalty_weight")
        weights = DEFAULT_WEIGHTS[self.penalty]
        weight = weights.get(str(likelihood), weights["gaussian"])
        if self.penalty == "reconstruction" and likelihood == "gaussian":
            weight *= getattr(self.model, "variance", 0.02) / 0.02
        return weight

    def draw(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The step's randomness: noise (B, *noise_shape), and the projections of a Jacobian penalty (or None).

        Drawn from N(0, I) on the generator's device, for the batch `x` of shape (B, C, H, W).
        """

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=x.dtype, device=generator.device)

        noise = normal(len(x), *self.model.noise_shape)
        if self.penalty not in ("output", "latent"):
            return noise, None
        in_code = self.penalty == "latent" and self.estimator == "exact"
        shape = (math.prod(self.model.noise_shape),) if in_code else x.shape[1:]
        return noise, normal(self.projections, len(x), *shape)

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
        loss = terms.reconstruction.mean() + self.kl_weight * terms.kl.mean()
        return loss + penalty_weight * terms.penalty.mean()

    def forward(
        self,
        x: Float[Tensor, "B C H W"],
        noise: Float[Tensor, "B ..."] | None,
        projections: Tensor | None = None,
        penalised: bool = True,
    ) -> Terms:
        """The three terms for each example; a plain autoencoder's KL is zero, and so is a penalty not asked for.

        With the "perturbed" estimator their values are those at x, their gradients those at the moved images.
        """
        if not penalised or self.penalty == "none":
            return Terms(*self._elbo(self.model(x, noise), x), x.new_zeros(len(x)))
        if self.estimator != "perturbed":
            reconstruction, penalty = self._penalty(x, noise, projections)
            return Terms(*self._elbo(reconstruction, x), penalty)
        return self._perturbed(x, noise)

    def _perturbed(self, x: Tensor, noise: Tensor | None) -> Terms:
        here, penalty, moved = perturbed_gradient_penalty(
            self.model, x, noise, self._weight_when_on, through_target=self.through_target
        )
        there = self.model(moved, noise)
        target = moved if target_moves(there, self.through_target) else x
        reconstruction, kl = (
            value.detach() + (learned - learned.detach())
            for value, learned in zip(self._elbo(here, x), self._elbo(there, target), strict=True)
        )
        return Terms(reconstruction, kl, penalty)

    def _elbo(self, reconstruction: Reconstruction, x: Tensor) -> tuple[Tensor, Tensor]:
        """L0 and L1 of each example."""
        variational = is_variational(self.model)
        kl = reconstruction.posterior.kl_to_standard() if variational else x.new_zeros(len(x))
        return reconstruction_loss(reconstruction, x), kl

    def _penalty(self, x: Tensor, noise: Tensor | None, projections: Tensor | None) -> tuple[Reconstruction, Tensor]:
        exact, step = self.estimator == "exact", self.difference_step
        if self.penalty == "reconstruction":
            through = self.through_target
            if exact:
                return gradient_penalty(self.model, x, noise, through_target=through)
            return gradient_penalty_by_differences(self.model, x, noise, through_target=through, step=step)
        assert projections is not None
        of: Literal["output", "latent"] = "output" if self.penalty == "output" else "latent"
        if exact:
            return jacobian_penalty(self.model, x, noise, projections, of=of)
        return jacobian_penalty_by_differences(self.model, x, noise, projections, of=of, step=step)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
