"""The dense autoencoder, variational or plain.

Source: Kingma & Welling 2013, in the sizes of Gondim-Ribeiro, Tabacof & Valle 2018 (arXiv 1806.04646), which
the paper adopts: encoder 512-512, decoder 512-512, softplus, 32 latent dimensions.
"""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from doubleback.distributions import DiagonalGaussian, Likelihood
from doubleback.models.base import Reconstruction
from doubleback.models.parts import PixelLikelihood, as_posterior, check_sizes, dense, drawn


class VAE(nn.Module):
    """Dense encoder and decoder with softplus units, a diagonal Gaussian code, and a pixel likelihood.

    Args:
        image_shape: (C, H, W).
        hidden: the encoder's widths, input side first; the decoder mirrors them.
        latent: D, the size of the code.
        likelihood: "bernoulli", "gaussian" (fixed variance) or "gaussian-learned", see `PixelLikelihood`.
        variance: of the Gaussian likelihood, or where its learning starts; 0.02 weighs the squared error by 25.
        variational: False makes a plain autoencoder: the code is deterministic, its posterior N(z, I), and training
            knows no KL.

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
        variational: bool = True,
    ) -> None:
        super().__init__()
        check_sizes("VAE", image_shape=image_shape, hidden=hidden, latent=latent)
        self.image_shape = image_shape
        self.noise_shape: tuple[int, ...] = (latent,)
        self.likelihood = likelihood
        self.variance = variance
        self.variational = variational
        self.encoder = dense((math.prod(image_shape), *hidden, latent * (2 if variational else 1)), nn.Softplus)
        self.decoder = dense((latent, *reversed(hidden), math.prod(image_shape)), nn.Softplus)
        self.pixels = PixelLikelihood(likelihood, variance)

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> DiagonalGaussian:
        """q(z|x), (B, D). `noise` is taken for the protocol's sake: this posterior does not depend on it."""
        del noise
        return as_posterior(self.encoder(x.flatten(1)), variational=self.variational)

    def decode(self, z: Float[Tensor, "B D"]) -> Likelihood:
        """p(x|z) over (B, C, H, W)."""
        likelihood: Likelihood = self.pixels(self.decoder(z).view(-1, *self.image_shape))
        return likelihood

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> Reconstruction:
        """Encode, draw z = mean + sigma * noise (None: the mean), decode."""
        posterior = self.encode(x)
        return Reconstruction(posterior, self.decode(drawn(posterior, noise, variational=self.variational)))
