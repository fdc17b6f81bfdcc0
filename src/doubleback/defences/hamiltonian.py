"""Hamiltonian Monte Carlo on the code: the code moves to where it explains the image that was received.

    U(z) = -log p(x|z) - log p(z),    z = m + s u  with (m, s) of q(z|x)
    p ~ N(0, I);   p <- p - e/2 dU/du,  u <- u + e p,  p <- p - e/2 dU/du  (leapfrog);   accepted with min(1, e^-dH)

The chain starts at the code that the encoder gives, which an attacker has moved, and ends near p(z|x).
Source: Kuzina, Welling & Tomczak 2022, "Alleviating adversarial attacks on variational autoencoders with MCMC". Whoever
attacks it differentiates the whole chain; what is accepted is held fixed.
"""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.distributions import DiagonalGaussian, Likelihood
from doubleback.errors import InputError
from doubleback.models.around import Around
from doubleback.models.base import Autoencoder, Reconstruction, is_variational
from doubleback.randomness import Stream, generator
from doubleback.settings.checks import at_least
from doubleback.tensors import column

LEAPFROGS = 5  # of each step
LENGTH = 0.1  # of a leapfrog, in standard deviations of the code


class Hamiltonian(Around):
    """A variational autoencoder whose code takes steps of Hamiltonian Monte Carlo before it is decoded.

    Args:
        model: the autoencoder; it decodes (`decode_as`).
        steps: of the chain.
        length: of a leapfrog.

    Raises:
        InputError: the model is not variational or does not say how a code is decoded, or there are no steps.
    """

    def __init__(self, model: Autoencoder, steps: int, length: float = LENGTH, *, straight: bool = False) -> None:
        super().__init__(model, straight=straight)
        at_least(1, steps=steps)
        self.steps, self.length = steps, length

    def meet(self, images: Float[Tensor, "N ..."]) -> None:
        """As the model's own; and learn how much noise a chain takes."""
        super().meet(images)
        if not is_variational(self.inner) or getattr(self.inner, "decode_as", None) is None:
            raise InputError("hmc needs a variational autoencoder that can decode any given code; leave it out")
        self.code_shape = tuple(getattr(self.inner, "code_shape", self.inner.noise_shape))
        self.noise_shape = ((self.steps + 1) * math.prod(self.code_shape) + self.steps,)

    def encode(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B n"] | None = None) -> DiagonalGaussian:
        """q(z|x), where the chain starts."""
        del noise
        found: DiagonalGaussian = self.inner.encode(x)
        return found

    def forward(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B n"] | None = None) -> Reconstruction:
        """Encode, walk, decode."""
        q = self.encode(x)
        z = self.walked(x, q, noise)
        return Reconstruction(q, self.inner.decode_as(z, x))

    def about(self, model: Autoencoder, *, straight: bool) -> "Hamiltonian":
        """The same about another model."""
        return Hamiltonian(model, self.steps, self.length, straight=straight)

    def walked(
        self, x: Float[Tensor, "B ..."], q: DiagonalGaussian, noise: Float[Tensor, "B n"] | None = None
    ) -> Float[Tensor, "B ..."]:
        """Where the chain ends; without noise it begins at the mean, and its draws are the same for every image.

        Args:
            x: images in [0, 1].
            q: where it starts.
            noise: (B, *noise_shape), or None.
        """
        graph, (start, momenta, lots) = torch.is_grad_enabled(), self._draws(x, q, noise)
        scale = (q.log_var / 2).exp()
        energy = partial(self._energy, x, q.mean, scale)
        u = start
        for p, lot in zip(momenta, lots, strict=True):
            u = self._stepped(energy, u, p, lot, graph)
        return q.mean + scale * u

    def _draws(self, x: Tensor, q: DiagonalGaussian, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """u of the start, the momenta of every step, and the normal numbers that decide what is accepted."""
        drawn = noise
        if drawn is None:
            drawn = torch.randn(1, *self.noise_shape, generator=generator(0, Stream.NOISE)).to(x).expand(len(x), -1)
        of_codes, lots = torch.split(drawn, [drawn.shape[1] - self.steps, self.steps], dim=1)
        codes = of_codes.reshape(len(x), self.steps + 1, *self.code_shape).transpose(0, 1)
        start = torch.zeros_like(q.mean) if noise is None else codes[0]
        return start, codes[1:], lots.T

    def _energy(self, x: Tensor, mean: Tensor, scale: Tensor, u: Tensor) -> Float[Tensor, "B"]:
        z = mean + scale * u
        likelihood: Likelihood = self.inner.decode_as(z, x)
        return -likelihood.log_prob(x) + 0.5 * z.flatten(1).square().sum(1)

    def _stepped(self, energy: "partial[Tensor]", u: Tensor, p: Tensor, lot: Tensor, graph: bool) -> Tensor:
        """One step of the chain."""

        def of(moving: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                at = moving if moving.requires_grad else moving.detach().requires_grad_()
                U = energy(at)
                (force,) = torch.autograd.grad(U.sum(), at, create_graph=graph)
            return (U, force) if graph else (U.detach(), force)

        e, moved, momentum = self.length, u, p
        U, force = of(u)
        before = (U + 0.5 * p.flatten(1).square().sum(1)).detach()
        for _ in range(LEAPFROGS):
            momentum = momentum - e / 2 * force
            moved = moved + e * momentum
            U, force = of(moved)
            momentum = momentum - e / 2 * force
        after = (U + 0.5 * momentum.flatten(1).square().sum(1)).detach()
        accepted = torch.special.log_ndtr(lot) < before - after  # ndtr(lot) is uniform on (0, 1)
        return torch.where(column(accepted, u), moved, u)
