"""Smoothing by noise: the mean of what a model makes of noisy copies of an image.

    x_hat(x) = 1/n sum_k f(x + sigma e_k),    e_k ~ N(0, I)

Source: Cohen, Rosenfeld & Kolter 2019, "Certified adversarial robustness via randomized smoothing", whose classifier
votes where an autoencoder averages. Whoever attacks it differentiates the mean. Without noise from the caller the
copies are the same ones for every image, and the attacker knows them; with `samples` they are fresh at every step.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.distributions import Bernoulli, DiagonalGaussian, Gaussian, Likelihood
from doubleback.models.around import Around
from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.randomness import Stream, generator
from doubleback.settings.checks import positive

COPIES = 8


class Smoothed(Around):
    """An autoencoder that averages over noisy copies.

    Args:
        model: the autoencoder.
        sigma: the standard deviation of the noise, in units of a pixel.
        copies: n.

    Raises:
        InputError: sigma is not positive.
    """

    def __init__(self, model: Autoencoder, sigma: float, copies: int = COPIES, *, straight: bool = False) -> None:
        super().__init__(model, straight=straight)
        positive(sigma=sigma)
        self.sigma, self.copies = sigma, copies

    def meet(self, images: Float[Tensor, "N ..."]) -> None:
        """As the model's own; and learn how much noise an image takes."""
        super().meet(images)
        self.code_shape = tuple(self.inner.noise_shape)
        self.noise_shape = (self.copies * images[0].numel() + math.prod(self.code_shape),)

    def encode(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B n"] | None = None) -> DiagonalGaussian:
        """The Gaussian with the mean of the copies' means, and the mean of their variances."""
        found: DiagonalGaussian = self.inner.encode(*self._copies(x, noise))
        return self._code(found)

    def forward(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B n"] | None = None) -> Reconstruction:
        """The mean of the copies' reconstructions, and of their rates."""
        found: Reconstruction = self.inner(*self._copies(x, noise))
        rate = None if found.rate is None else self._mean(found.rate)
        return Reconstruction(self._code(found.posterior), self._likelihood(found.likelihood), rate)

    def about(self, model: Autoencoder, *, straight: bool) -> "Smoothed":
        """The same about another model."""
        return Smoothed(model, self.sigma, self.copies, straight=straight)

    def _copies(self, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(n B, ...) noisy images, the copies of all images one after the other; and the model's own noise."""
        if noise is None:
            e = torch.randn(self.copies, 1, *x.shape[1:], generator=generator(0, Stream.NOISE)).to(x)
            return (x + self.sigma * e).flatten(0, 1), None
        of_image, own = torch.split(noise, [self.copies * x[0].numel(), math.prod(self.code_shape)], dim=1)
        e = of_image.view(len(x), self.copies, *x.shape[1:]).transpose(0, 1)
        return (x + self.sigma * e).flatten(0, 1), own.view(len(x), *self.code_shape).repeat(
            self.copies, *[1] * len(self.code_shape)
        )

    def _mean(self, values: Tensor) -> Tensor:
        return values.view(self.copies, -1, *values.shape[1:]).mean(0)

    def _code(self, q: DiagonalGaussian) -> DiagonalGaussian:
        return DiagonalGaussian(self._mean(q.mean), self._mean(q.log_var.exp()).log())

    def _likelihood(self, found: Likelihood) -> Likelihood:
        mean = self._mean(found.mean)
        if isinstance(found, Bernoulli):
            return Bernoulli(torch.logit(mean, eps=1e-7))
        assert isinstance(found, Gaussian)
        log_var = found.log_var if found.log_var.dim() < found.mean.dim() else self._mean(found.log_var)
        return Gaussian(mean, log_var)
