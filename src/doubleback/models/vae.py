"""The dense variational autoencoder.

Source: Kingma & Welling 2013, in the sizes of Gondim-Ribeiro, Tabacof & Valle 2018 (arXiv 1806.04646), which
the paper adopts: encoder 512-512, decoder 512-512, softplus, 32 latent dimensions.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.distributions import Bernoulli, DiagonalGaussian, Gaussian, Likelihood
from doubleback.errors import InputError
from doubleback.models.base import Reconstruction


class VAE(nn.Module):
    """Dense encoder and decoder with softplus units, a diagonal Gaussian code, and a pixel likelihood.

    Args:
        image_shape: (C, H, W).
        hidden: the encoder's widths, input side first; the decoder mirrors them.
        latent: D, the size of the code.
        likelihood: "bernoulli" (the decoder gives logits) or "gaussian" (sigmoid mean, fixed variance).
        variance: of the Gaussian likelihood; 0.02 weighs the squared error by 25.

    Raises:
        InputError: a size or the variance is not positive, or the likelihood is unknown.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        *,
        hidden: Sequence[int] = (512, 512),
        latent: int = 32,
        likelihood: str = "bernoulli",
        variance: float = 0.02,
    ) -> None:
        super().__init__()
        if min(*image_shape, *hidden, latent) < 1:
            raise InputError(
                f"VAE sizes are image {image_shape}, hidden {tuple(hidden)}, latent {latent}; all must be 1 or more"
            )
        if likelihood not in ("bernoulli", "gaussian"):
            raise InputError(f"likelihood is {likelihood!r}; choose 'bernoulli' or 'gaussian'")
        if not (math.isfinite(variance) and variance > 0):
            raise InputError(f"variance is {variance}; give a positive number")
        self.image_shape = image_shape
        self.noise_shape: tuple[int, ...] = (latent,)
        self.likelihood = likelihood
        self.variance = variance
        self.encoder = _dense(math.prod(image_shape), *hidden, 2 * latent)
        self.decoder = _dense(latent, *reversed(hidden), math.prod(image_shape))

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> DiagonalGaussian:
        """q(z|x), (B, D). `noise` is taken for the protocol's sake: this posterior does not depend on it."""
        del noise
        mean, log_var = _unrounded(self.encoder(x.flatten(1))).chunk(2, dim=1)
        return DiagonalGaussian(mean, log_var)

    def decode(self, z: Float[Tensor, "B D"]) -> Likelihood:
        """p(x|z) over (B, C, H, W)."""
        logits = _unrounded(self.decoder(z)).view(-1, *self.image_shape)
        if self.likelihood == "bernoulli":
            return Bernoulli(logits)
        return Gaussian(torch.sigmoid(logits), logits.new_tensor(math.log(self.variance)))

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> Reconstruction:
        """Encode, draw z = mean + sigma * noise (None: the mean), decode."""
        posterior = self.encode(x)
        z = posterior.mean if noise is None else posterior.sample(noise)
        return Reconstruction(posterior, self.decode(z))


def _dense(*widths: int) -> nn.Sequential:
    """Linear layers of the given widths with a softplus between each two."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Softplus()]
    return nn.Sequential(*layers[:-1])


def _unrounded(x: Tensor) -> Tensor:
    """Under bf16 autocast the sums over pixels and dimensions still run in float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
