"""What training minimises: the negative ELBO and the double-backpropagation penalties.

    L = L0 + kl_weight * L1 + penalty_weight * L2                                   (paper, eqs. 10-12)
    L0 = -log p(x|z)      L1 = KL(q(z|x) || N(0, I))
    L2 = ||d L0 / d x||^2           penalty "reconstruction" (algorithms 1 and 2; Drucker & LeCun 1991)
    L2 = E_v ||v' d xhat / d x||^2  penalty "output": the squared Frobenius norm of the output Jacobian
    L2 = E_v ||v' d mean / d x||^2  penalty "latent": the same of the code's mean        v ~ N(0, I)

All terms are kept for each example, (B,), and averaged over the batch last. Rows never interact, so the gradient
of the summed loss in x holds each example's own gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.distributions import Bernoulli, Likelihood

Kind = Literal["none", "reconstruction", "output", "latent"]
Estimator = Literal["exact", "finite-difference"]


class Terms(NamedTuple):
    """The three terms of the objective for each example, in nats and nats^2 per unit of x: each (B,)."""

    reconstruction: Tensor
    kl: Tensor
    penalty: Tensor


def _squared_rows(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(1)


def _negative_log_likelihood(reconstruction: Reconstruction, target: Tensor) -> Tensor:
    return -reconstruction.likelihood.log_prob(target)


def gradient_penalty(model, x, noise, through_target):
    def loss(moving):
        r = model(moving, noise)
        return _negative_log_likelihood(r, moving if through_target else x).sum(), r
    gradient, r = torch.func.grad(loss, has_aux=True)(x)
    return r, _squared_rows(gradient)
