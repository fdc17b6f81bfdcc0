"""Attacks on an autoencoder: make a small change of the input move the code, or the reconstruction.

    latent      min_d  KL(q(z|x0 + d) || q(z|x_t)) + C ||d||^2      (or ||mean - mean_t||^2 + C ||d||^2)
    output      min_d  ||x_hat(x0 + d) - x_t||^2 + C ||d||^2
    untargeted  min_d -||x_hat(x0 + d) - x_hat(x0)||^2 + C ||d||^2

with x0 + d in the box [0, 1], for C = 0 and a sweep of coefficients, every pair and coefficient in one batch.
Sources: the paper, section 2.2; Gondim-Ribeiro, Tabacof & Valle 2018 (arXiv 1806.04646), who solve one pair and one
coefficient at a time.

Every eighth coefficient starts from the source and from the best blend of source and target, the others from where
these have ended; each keeps the best of all ends and blends: no attack does worse, by its own objective, than mere
blending (`sweep`).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.attacks.rows import Advance
from doubleback.attacks.sweep import Attack, matching, squared_distance, sweep
from doubleback.distributions import DiagonalGaussian
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder

CodeDistance = Literal["kl", "l2"]


def latent_attack(
    model: Autoencoder,
    source: Float[Tensor, "P C H W"],
    target: Float[Tensor, "P C H W"],
    *,
    coefficients: Float[Tensor, "K"] | None = None,
    distance: CodeDistance = "kl",
    steps: int = 300,
    restarts: int = 0,
    samples: int = 0,
    seed: int = 0,
    advance: Advance | None = None,
) -> Attack:
    """Move the code of each source towards the code of its target.

    Args:
        model: any autoencoder; only its encoder runs.
        source: images in [0, 1].
        target: images in [0, 1], one for each source.
        coefficients: C; None takes `coefficient_sweep()`.
        distance: "kl", KL(q(z|x_a) || q(z|x_t)), or "l2", the squared distance of the means.
        steps: at most so many evaluations a start; a row that has converged stops sooner.
        restarts: further starts, from random points about the source; the best end counts, so more never hurt.
        samples: 0 attacks the mean path; n averages n fresh draws of the model's noise at every step.
        seed: of the starts and the noise.
        advance: told how many row-steps are done, of P * K * steps * (2 + restarts) in all: for a progress bar.

    Raises:
        InputError: the images do not match in shape, lie outside [0, 1] or are not finite; a count is out of range.
    """
    if distance not in ("kl", "l2"):
        raise InputError(f"distance is {distance!r}; choose 'kl' or 'l2'")
    source, target = matching(source, target)
    with torch.no_grad():
        mean_path = model.encode(target)

    def loss(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
        q = model.encode(x, noise)
        if noise is None:
            aim = DiagonalGaussian(*(part.index_select(0, pair) for part in (mean_path.mean, mean_path.log_var)))
        else:
            aim = model.encode(target.index_select(0, pair), noise)
        return q.kl(aim) if distance == "kl" else squared_distance(q.mean, aim.mean)

    return sweep(
        loss,
        source,
        target,
        model.noise_shape,
        coefficients=coefficients,
        steps=steps,
        restarts=restarts,
        samples=samples,
        seed=seed,
        advance=advance,
    )


def output_attack(
    model: Autoencoder,
    source: Float[Tensor, "P C H W"],
    target: Float[Tensor, "P C H W"],
    *,
    coefficients: Float[Tensor, "K"] | None = None,
    steps: int = 300,
    restarts: int = 0,
    samples: int = 0,
    seed: int = 0,
    advance: Advance | None = None,
) -> Attack:
    """Move the reconstruction of each source towards its target: ||x_hat(x_a) - x_t||^2 + C ||d||^2.

    Arguments, results and errors as in `latent_attack`.
    """
    source, target = matching(source, target)

    def loss(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
        return squared_distance(model(x, noise).likelihood.mean, target.index_select(0, pair))

    return sweep(
        loss,
        source,
        target,
        model.noise_shape,
        coefficients=coefficients,
        steps=steps,
        restarts=restarts,
        samples=samples,
        seed=seed,
        advance=advance,
    )


def untargeted_attack(
    model: Autoencoder,
    source: Float[Tensor, "P C H W"],
    target: Float[Tensor, "P C H W"],
    *,
    coefficients: Float[Tensor, "K"] | None = None,
    steps: int = 300,
    restarts: int = 0,
    samples: int = 0,
    seed: int = 0,
    advance: Advance | None = None,
) -> Attack:
    """Move the reconstruction of each source as far as its cost allows: -||x_hat(x_a) - x_hat(x0)||^2 + C ||d||^2.

    The target only gives the direction of the blending start: at d = 0 the objective's gradient vanishes.
    Arguments, results and errors as in `latent_attack`.
    """
    source, target = matching(source, target)
    with torch.no_grad():
        mean_path = model(source).likelihood.mean

    def loss(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
        with torch.no_grad():
            before = mean_path.index_select(0, pair)
            if noise is not None:
                before = model(source.index_select(0, pair), noise).likelihood.mean
        return -squared_distance(model(x, noise).likelihood.mean, before)

    return sweep(
        loss,
        source,
        target,
        model.noise_shape,
        coefficients=coefficients,
        steps=steps,
        restarts=restarts,
        samples=samples,
        seed=seed,
        advance=advance,
        start_noise=1e-2,
    )
