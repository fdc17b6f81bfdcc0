"""Problems that carry their exact answers, for all tests: a linear autoencoder, curves worked by hand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from doubleback.distributions import Bernoulli, DiagonalGaussian, Gaussian
from doubleback.models import Reconstruction


class LinearAutoencoder(nn.Module):
    """mean = W x + b, log_var constant; V z + c is a Gaussian's mean or a Bernoulli's logits. In float64.

    W has singular values from 1 to 2, V is its pseudo-inverse and b = -W c with c = 1/2: with the Gaussian
    likelihood the mean path projects x - 1/2 on the span of W's rows. d mean / dx is W, d x_hat / dx is V W.

    Args:
        image_shape: (C, H, W).
        latent: D, at most C H W.
        seed: of W.
        likelihood: "gaussian" or "bernoulli".
        log_var: of the posterior, the same for every code and dimension.
        variance: of the Gaussian likelihood.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 4, 4),
        *,
        latent: int = 3,
        seed: int = 0,
        likelihood: str = "gaussian",
        log_var: float = 0.0,
        variance: float = 0.02,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.noise_shape = (latent,)
        self.likelihood = likelihood
        self.log_var = log_var
        self.variance = variance
        pixels = int(np.prod(image_shape))
        generator = torch.Generator().manual_seed(seed)
        rows, _ = torch.linalg.qr(torch.randn(pixels, latent, generator=generator, dtype=torch.float64))
        mix, _ = torch.linalg.qr(torch.randn(latent, latent, generator=generator, dtype=torch.float64))
        W = mix @ torch.linspace(1, 2, latent, dtype=torch.float64).diag() @ rows.mT
        self.W = nn.Parameter(W)
        self.V = nn.Parameter(torch.linalg.pinv(W))
        self.c = nn.Parameter(torch.full((pixels,), 0.5, dtype=torch.float64))
        self.b = nn.Parameter(-W @ self.c.detach())
        self.eval()

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        """q(z|x), (B, D); independent of the noise."""
        del noise
        mean = x.flatten(1) @ self.W.mT + self.b
        return DiagonalGaussian(mean, torch.full_like(mean, self.log_var))

    def decode(self, z: Tensor) -> Gaussian | Bernoulli:
        """p(x|z) over (B, C, H, W)."""
        output = (z @ self.V.mT + self.c).view(-1, *self.image_shape)
        if self.likelihood == "bernoulli":
            return Bernoulli(output)
        return Gaussian(output, output.new_tensor(self.variance).log())

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
        """Encode, draw z (None: the mean), decode."""
        posterior = self.encode(x)
        z = posterior.mean if noise is None else posterior.sample(noise)
        return Reconstruction(posterior, self.decode(z))

    def optimal_perturbation(self, source: Tensor, target: Tensor, coefficient: float) -> Tensor:
        """argmin_d ||W (x_0 + d) - W x_t||^2 + C ||d||^2 = W' (C I + W W')^-1 W (x_t - x_0), no box.

        Equal to (C I + W'W)^-1 W'W (x_t - x_0) by the push-through identity; at C = 0 the shortest minimiser.

        >>> model = LinearAutoencoder()
        >>> source, target = torch.rand(2, 5, 1, 4, 4, dtype=torch.float64)
        >>> d = model.optimal_perturbation(source, target, 0.3).requires_grad_()
        >>> codes = model.encode(source + d).mean - model.encode(target).mean
        >>> (gradient,) = torch.autograd.grad(codes.square().sum() + 0.3 * d.square().sum(), d)
        >>> bool(gradient.abs().max() < 1e-12)
        True
        """
        W = self.W.detach()
        normal = coefficient * torch.eye(len(W), dtype=W.dtype) + W @ W.mT
        codes = (target - source).flatten(1) @ W.mT
        optimum: Tensor = torch.linalg.solve(normal, codes.mT).mT @ W
        return optimum.view_as(source)


@dataclass(frozen=True)
class KnownCurve:
    """The points of one pair, and the areas under its curve in both conventions, worked by hand."""

    name: str
    distortion: tuple[float, ...]
    adversarial_distance: tuple[float, ...]
    envelope: float
    reference: float


KNOWN_CURVES = (
    # envelope: one triangle. reference: the triangle from 0.5 to 1
    KnownCurve("straight", (0.5, 1.0), (0.5, 0.0), 1 / 2, 1 / 8),
    # envelope, by quarters: 3/16 + 2/16 + 3/32 + 1/16. reference: 5/32 + 4/32 + 0 + 2/32
    KnownCurve("failed in the middle", (0.25, 0.5, 0.75), (0.5, 0.75, 0.25), 15 / 32, 11 / 32),
    # the best point is not the last. envelope: 5/32 + 6/32. reference: 4/32, a step down to the best, 4/32
    KnownCurve("failed at the end", (0.25, 0.5), (0.25, 0.75), 11 / 32, 8 / 32),
    # the last point lies outside: envelope 3/8 + 1/4, reference 0 + 1/4
    KnownCurve("beyond one", (0.5, 2.0), (0.5, 0.0), 5 / 8, 1 / 4),
    KnownCurve("nothing within one", (1.5, 2.0), (0.5, 0.0), 1.0, 1.0),
    # envelope: 1 to 0.2 over half the way, then 0.2. reference: a step, then 0.2
    KnownCurve("tie", (0.5, 0.5), (0.2, 0.8), 3 / 10 + 1 / 10, 1 / 10),
    # reference: from 0.8 to 0.6 on the way to the tie, a step at it, 0.2 after it
    KnownCurve("tie after a point", (0.5, 0.25, 0.5), (0.2, 0.8, 0.6), 9 / 40 + 5 / 40 + 4 / 40, 7 / 40 + 4 / 40),
    # worse than no attack: the envelope never exceeds 1
    KnownCurve("above one", (0.5,), (1.5,), 1.0, 3 / 4),
    # past the target's own reconstruction: envelope 1/8 - 1/4
    KnownCurve("below zero", (0.5,), (-0.5,), -1 / 8, -1 / 4),
    KnownCurve("at the ends", (0.0, 1.0), (1.0, 0.2), 3 / 5, 3 / 5),
    KnownCurve("gained for free", (0.0, 0.5), (0.8, 0.4), 3 / 10 + 2 / 10, 3 / 10 + 2 / 10),
)


class StraightThrough(torch.autograd.Function):
    """Rounds to eighths; its gradient is that of the identity. Of the old form, which `torch.func` refuses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return (8 * x).round() / 8

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]  # torch's hint knows no arguments
        del ctx
        return g


class Undifferentiable(StraightThrough):
    """The same, with a backward pass that leaves no graph: no second derivative is to be had."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        del ctx
        return g.detach().clone()
