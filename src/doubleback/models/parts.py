"""What every model here is made of: its code, its pixel likelihood, its dense layers.

q(z|x) = N(mean, diag exp(log_var)), or N(z, I) around a plain autoencoder's code
p(x|z) = Bernoulli(logits), or N(sigmoid(logits), variance) with a fixed or a learned variance
"""

import itertools
import math
from abc import ABC
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.distributions import Bernoulli, DiagonalGaussian, Gaussian, Likelihood
from doubleback.errors import InputError
from doubleback.models.base import Reconstruction
from doubleback.models.pulling import Pullable

LIKELIHOODS = ("bernoulli", "gaussian", "gaussian-learned")


class CodeAutoencoder(nn.Module, Pullable, ABC):
    """What the dense and the convolutional autoencoder share: a diagonal Gaussian code, and a pixel likelihood.

    Args:
        encoder: images -> the code's mean and log-variance side by side, or a plain code.
        decoder: a code -> what the likelihood makes pixels of.
        image_shape: (C, H, W).
        latent: D, the size of the code.
        likelihood: "bernoulli", "gaussian" (fixed variance) or "gaussian-learned", see `PixelLikelihood`.
        variance: of the Gaussian likelihood, or where its learning starts; 0.02 weighs the squared error by 25.
        variational: False makes a plain autoencoder: the code is deterministic, its posterior N(z, I), and training
            knows no KL.

    Raises:
        InputError: the variance is not positive, or the likelihood is unknown.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        image_shape: tuple[int, int, int],
        latent: int,
        *,
        likelihood: str = "bernoulli",
        variance: float = 0.02,
        variational: bool = True,
    ) -> None:
        super().__init__()
        self.image_shape, self.noise_shape = image_shape, (latent,)
        self.likelihood, self.variance, self.variational = likelihood, variance, variational
        self.encoder, self.decoder = encoder, decoder
        self.pixels = PixelLikelihood(likelihood, variance)

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> DiagonalGaussian:
        """q(z|x), (B, D). `noise` is taken for the protocol's sake: this posterior does not depend on it."""
        del noise
        return as_posterior(self.encoder(x), variational=self.variational)

    def decode(self, z: Float[Tensor, "B D"]) -> Likelihood:
        """p(x|z) over (B, C, H, W)."""
        likelihood: Likelihood = self.pixels(self.decoder(z))
        return likelihood

    def decode_as(self, z: Float[Tensor, "B D"], x: Float[Tensor, "B C H W"]) -> Likelihood:
        """p(x|z) over images like x."""
        del x
        return self.decode(z)

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> Reconstruction:
        """Encode, draw z = mean + sigma * noise (None: the mean), decode."""
        posterior = self.encode(x)
        return Reconstruction(posterior, self.decode(drawn(posterior, noise, variational=self.variational)))


class PixelLikelihood(nn.Module):
    """What a decoder's output says of the pixels.

    Args:
        name: "bernoulli"; "gaussian", a sigmoid mean with a fixed variance; "gaussian-learned", the same with one
            learned variance for all pixels (Rybkin, Daniilidis & Levine 2021, "Simple and effective VAE training with
            calibrated decoders").
        variance: of the Gaussian, or where its learning starts; 0.02 weighs the squared error by 25.

    Raises:
        InputError: the name is unknown or the variance is not positive.
    """

    log_var: Tensor

    def __init__(self, name: str, variance: float) -> None:
        super().__init__()
        if name not in LIKELIHOODS:
            raise InputError(f"likelihood is {name!r}; choose one of {', '.join(LIKELIHOODS)}")
        if not (math.isfinite(variance) and variance > 0):
            raise InputError(f"variance is {variance}; give a positive number")
        self.name = name
        log_var = torch.tensor(math.log(variance))
        if name == "gaussian-learned":
            self.log_var = nn.Parameter(log_var)
        else:
            self.register_buffer("log_var", log_var, persistent=False)

    def forward(self, logits: Float[Tensor, "B C H W"]) -> Likelihood:
        """p(x|z) over (B, C, H, W)."""
        logits = unrounded(logits)
        return Bernoulli(logits) if self.name == "bernoulli" else Gaussian(torch.sigmoid(logits), self.log_var)


def as_posterior(code: Float[Tensor, "B N"], *, variational: bool) -> DiagonalGaussian:
    """q(z|x) from an encoder's output: (mean, log_var) side by side, or a plain code z, which stands for N(z, I).

    Around plain codes KL(q(z|x_a) || q(z|x_t)) = ||z_a - z_t||^2 / 2.
    """
    code = unrounded(code)
    if variational:
        return DiagonalGaussian(*code.chunk(2, dim=1))
    return DiagonalGaussian(code, torch.zeros_like(code))


def drawn(q: DiagonalGaussian, noise: Float[Tensor, "B ..."] | None, *, variational: bool) -> Float[Tensor, "B ..."]:
    """z = mean + sigma * noise; the mean without noise, and always of a plain autoencoder."""
    return q.sample(noise) if variational and noise is not None else q.mean


def dense(widths: Sequence[int], unit: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers of the given widths with a unit between each two."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), unit()]
    return nn.Sequential(*layers[:-1])


def check_sizes(model: str, **sizes: int | Sequence[int]) -> None:
    """Refuse sizes that are not positive.

    Raises:
        InputError: naming the model, the size and its value.
    """
    for name, value in sizes.items():
        every = (value,) if isinstance(value, int) else tuple(value)
        if min(every, default=1) < 1:
            raise InputError(f"{name.replace('_', ' ')} of the {model} is {value}; give whole numbers of at least 1")


def unrounded(x: Tensor) -> Tensor:
    """Under bf16 autocast the sums over pixels and dimensions still run in float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
