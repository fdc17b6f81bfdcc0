"""The convolutional autoencoder, variational or plain.

4x4 convolutions of stride 2 with 32, 64, 128, ... filters, ELU, a dense layer of 512, the code; the decoder mirrors
them with transposed convolutions. The sizes of Gondim-Ribeiro, Tabacof & Valle 2018 (arXiv 1806.04646), which the paper
adopts, come out: three convolutions for 28x28 and 32x32, four for 64x64.
"""

import itertools
import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from doubleback.distributions import DiagonalGaussian, Likelihood
from doubleback.errors import InputError
from doubleback.models.base import Reconstruction
from doubleback.models.parts import PixelLikelihood, as_posterior, check_sizes, dense, drawn

FIRST_FILTERS = 32
SMALLEST = 3  # the side, in pixels, under which images are not halved any more


class ConvVAE(nn.Module):
    """Convolutional encoder and decoder, a diagonal Gaussian code, and a pixel likelihood.

    Args:
        image_shape: (C, H, W), any that can be halved once for every convolution.
        filters: of each convolution, input side first; None doubles them from 32 on, for as long as halving the
            smaller side leaves 3 pixels.
        hidden: the width of the dense layer between the convolutions and the code.
        latent: D, the size of the code.
        likelihood: "bernoulli", "gaussian" (fixed variance) or "gaussian-learned", see `PixelLikelihood`.
        variance: of the Gaussian likelihood, or where its learning starts; 0.02 weighs the squared error by 25.
        variational: False makes a plain autoencoder: the code is deterministic, its posterior N(z, I), and training
            knows no KL.

    Raises:
        InputError: the images are too small, a size or the variance is not positive, or the likelihood is unknown.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        *,
        filters: Sequence[int] | None = None,
        hidden: int = 512,
        latent: int = 32,
        likelihood: str = "bernoulli",
        variance: float = 0.02,
        variational: bool = True,
    ) -> None:
        super().__init__()
        check_sizes("ConvVAE", image_shape=image_shape, filters=filters or (), hidden=hidden, latent=latent)
        channels, *side = image_shape
        filters = _fitting_filters(min(side)) if filters is None else tuple(filters)
        sides = [[length >> level for length in side] for level in range(len(filters) + 1)]
        if not filters or min(sides[-1]) < 1:
            number = max(len(filters), 1)
            halvings = f"{number} convolution{'s' * (number > 1)}, each of which halves them"
            least = 2**number if filters else 2 * SMALLEST
            raise InputError(
                f"images of {side[0]}x{side[1]} are too small for {halvings}; at least {least}x{least} is needed: "
                "enlarge them (--image-size), or use a dense model"
            )
        self.image_shape = image_shape
        self.noise_shape: tuple[int, ...] = (latent,)
        self.likelihood = likelihood
        self.variance = variance
        self.variational = variational
        innermost = (filters[-1], *sides[-1])
        self.encoder = nn.Sequential(
            *_halvings((channels, *filters)),
            nn.Flatten(),
            *dense((math.prod(innermost), hidden, latent * (2 if variational else 1)), nn.ELU),
        )
        self.decoder = nn.Sequential(
            *dense((latent, hidden, math.prod(innermost)), nn.ELU),
            nn.ELU(),
            nn.Unflatten(1, innermost),
            *_doublings((*reversed(filters), channels), sides[::-1]),
        )
        self.pixels = PixelLikelihood(likelihood, variance)

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> DiagonalGaussian:
        """q(z|x), (B, D). `noise` is taken for the protocol's sake: this posterior does not depend on it."""
        del noise
        return as_posterior(self.encoder(x), variational=self.variational)

    def decode(self, z: Float[Tensor, "B D"]) -> Likelihood:
        """p(x|z) over (B, C, H, W)."""
        likelihood: Likelihood = self.pixels(self.decoder(z))
        return likelihood

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> Reconstruction:
        """Encode, draw z = mean + sigma * noise (None: the mean), decode."""
        posterior = self.encode(x)
        return Reconstruction(posterior, self.decode(drawn(posterior, noise, variational=self.variational)))


def _fitting_filters(side: int) -> tuple[int, ...]:
    """32, 64, 128, ...: one for every halving that leaves at least `SMALLEST` pixels.

    >>> [len(_fitting_filters(side)) for side in (5, 6, 28, 32, 64, 218)]
    [0, 1, 3, 3, 4, 6]
    """
    return tuple(FIRST_FILTERS << level for level in range(side.bit_length()) if side >> (level + 1) >= SMALLEST)


def _halvings(channels: Sequence[int]) -> list[nn.Module]:
    """Convolutions from each number of channels to the next, an ELU after each; an odd side loses a pixel."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), nn.ELU()]
    return layers


def _doublings(channels: Sequence[int], sides: Sequence[Sequence[int]]) -> list[nn.Module]:
    """Transposed convolutions from each (height, width) to the next, an ELU between each two."""
    layers: list[nn.Module] = []
    for (inputs, outputs), (small, large) in zip(itertools.pairwise(channels), itertools.pairwise(sides), strict=True):
        odd = tuple(after - 2 * before for before, after in zip(small, large, strict=True))
        layers += [
            nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1, output_padding=odd),  # type: ignore[arg-type]
            nn.ELU(),
        ]
    return layers[:-1]
