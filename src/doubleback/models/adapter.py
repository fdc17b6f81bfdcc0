"""Anyone's encoder and decoder as an `Autoencoder`, taken as they are; `wrap` does more (rounding, libraries)."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.distributions import DiagonalGaussian, Gaussian
from doubleback.errors import InputError
from doubleback.models.base import Reconstruction
from doubleback.models.found import modules_in
from doubleback.models.parts import drawn

Encoder = Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]
Decoder = Callable[[Tensor], Tensor]


class AutoencoderAdapter(nn.Module):
    """A third-party encoder and decoder, seen as an autoencoder over images in [0, 1].

    Attacks, audits and penalties see images in [0, 1]; the encoder is given low + (high - low) x, then
    (. - mean) / std, and what the decoder gives is scaled back to [0, 1].

    Args:
        encoder: scaled images (B, C, H, W) -> code (B, ...), or the pair (mean, log_var) of a variational encoder.
        decoder: codes -> images (B, C, H, W) in the range `bounds` (normalised, if `mean` and `std` are given).
        latent: the shape of a code, without the batch, or the number of its elements.
        variational: whether the encoder gives a pair; without one, the code takes no noise and training no KL.
        bounds: (low, high), the range of pixels that encoder and decoder were trained on.
        mean: of each channel, subtracted in units of `bounds`; None: no normalisation.
        std: of each channel; None: no normalisation.
        variance: of the Gaussian pixel likelihood that judges a reconstruction.

    A plain code z stands for N(z, I): KL(q(z|x_a) || q(z|x_t)) is then half the squared distance of the codes.
    Modules given as encoder and decoder, or used by functions that are given, become submodules: they are trained by
    `fit`, moved by `to`, and put into evaluation mode by an audit.

    Raises:
        InputError: low is not below high, a std is not positive, or `latent` or the variance is not positive.

    >>> model = AutoencoderAdapter(nn.Flatten(), nn.Unflatten(1, (1, 2, 2)), latent=4, bounds=(-1, 1))
    >>> x = torch.rand(3, 1, 2, 2)
    >>> bool(model(x).likelihood.mean.allclose(x))
    True
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        *,
        latent: int | tuple[int, ...],
        variational: bool = False,
        bounds: tuple[float, float] = (0.0, 1.0),
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        variance: float = 0.02,
    ) -> None:
        super().__init__()
        low, high = bounds
        if not low < high:
            raise InputError(f"bounds are {bounds}; give (low, high) with low < high")
        shape = (latent,) if isinstance(latent, int) else tuple(latent)
        if min(shape, default=0) < 1 or not variance > 0 or min(std or (1.0,)) <= 0:
            raise InputError(f"latent is {latent}, variance {variance}, std {std}; all must be positive")
        self.encoder, self.decoder = encoder, decoder
        self.members = nn.ModuleList(modules_in(encoder, decoder))
        self.noise_shape: tuple[int, ...] = shape
        self.likelihood = "gaussian"
        self.variational = variational
        self.variance = variance
        spread = torch.tensor(std or (1.0,)).view(1, -1, 1, 1)
        self.register_buffer("scale", (high - low) / spread, persistent=False)
        self.register_buffer("shift", (low - torch.tensor(mean or (0.0,)).view(1, -1, 1, 1)) / spread, persistent=False)

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B ..."] | None = None) -> DiagonalGaussian:
        """q(z|x), (B, ...); independent of the noise.

        Raises:
            InputError: the encoder gives a pair although `variational` is False, or no pair although it is True; or the
                code is not of the shape that `latent` says.
        """
        del noise
        code = self.encoder(self.scale * x + self.shift)
        if isinstance(code, tuple) != self.variational:
            gives, fix = ("a pair", "True") if isinstance(code, tuple) else ("no pair (mean, log_var)", "False")
            raise InputError(f"the encoder gives {gives}; pass variational={fix} to the adapter")
        mean, log_var = code if isinstance(code, tuple) else (code, torch.zeros_like(code))
        if tuple(mean.shape[1:]) != self.noise_shape and self.noise_shape != (mean[0].numel(),):
            own = tuple(mean.shape[1:])
            raise InputError(f"the code has the shape {own}, but latent is {self.noise_shape}; pass latent={own}")
        return DiagonalGaussian(mean, log_var)

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B ..."] | None = None) -> Reconstruction:
        """Encode, draw z (None: the mean), decode."""
        posterior = self.encode(x)
        noise = None if noise is None else noise.reshape(posterior.mean.shape)
        return Reconstruction(posterior, self.decode_as(drawn(posterior, noise, variational=self.variational), x))

    def decode_as(self, z: Float[Tensor, "B ..."], x: Float[Tensor, "B C H W"]) -> Gaussian:
        """p(x|z) over images like x."""
        del x
        x_hat = (self.decoder(z) - self.shift) / self.scale
        return Gaussian(x_hat, x_hat.new_tensor(math.log(self.variance)))
