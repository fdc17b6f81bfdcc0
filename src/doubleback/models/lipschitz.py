"""A dense autoencoder with a proven Lipschitz constant: no change of the image moves the reconstruction farther.

    ||x_hat(a) - x_hat(b)|| <= L ||a - b||

Every layer has orthonormal rows or columns (`SemiOrthogonal`), every unit sorts its inputs two by two, which keeps
lengths (GroupSort: Anil, Lucas & Grosse 2019, "Sorting out Lipschitz function approximation"), and the last step
multiplies by L. Barrett et al. 2022, "Certifiably robust variational autoencoders", prove bounds of this kind.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from doubleback.distributions import DiagonalGaussian, Gaussian
from doubleback.errors import InputError
from doubleback.models.base import Reconstruction
from doubleback.models.parts import check_sizes, dense
from doubleback.models.pulling import Pullable
from doubleback.settings.checks import positive


class LipschitzAE(nn.Module, Pullable):
    """A plain dense autoencoder that stretches no change by more than `slope`.

    Args:
        image_shape: (C, H, W).
        hidden: the encoder's widths, even numbers; the decoder mirrors them.
        latent: D, the size of the code.
        slope: L.
        likelihood: "gaussian", no other: a sigmoid would flatten what has to keep its length.
        variance: of the Gaussian likelihood.
        variational: False, nothing else: noise in the code has no Lipschitz constant.

    Raises:
        InputError: a size, the slope or the variance is not positive, a width is odd, or the likelihood another.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        *,
        hidden: Sequence[int] = (256, 256),
        latent: int = 64,
        slope: float = 1.0,
        likelihood: str = "gaussian",
        variance: float = 0.02,
        variational: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("Lipschitz autoencoder", image_shape=image_shape, hidden=hidden, latent=latent)
        positive(slope=slope, variance=variance)
        if likelihood != "gaussian" or variational:
            raise InputError(f"likelihood is {likelihood!r}; the Lipschitz autoencoder takes gaussian, and no KL")
        if odd := [width for width in hidden if width % 2]:
            raise InputError(f"hidden is {odd[0]}; units sort two by two: give even widths")
        self.image_shape, self.noise_shape = image_shape, (latent,)
        self.likelihood, self.variance, self.slope = likelihood, variance, slope
        self.variational = variational
        self.encoder = _orthogonal((math.prod(image_shape), *hidden, latent))
        self.decoder = _orthogonal((latent, *reversed(hidden), math.prod(image_shape)))

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> DiagonalGaussian:
        """N(z, I) about the code; no noise moves it."""
        del noise
        mean = self.encoder((x - 0.5).flatten(1)).to(torch.promote_types(x.dtype, torch.float32))
        return DiagonalGaussian(mean, torch.zeros_like(mean))

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B D"] | None = None) -> Reconstruction:
        """1/2 + L g(f(x - 1/2)), clamped to [0, 1], but not in training."""
        posterior = self.encode(x, noise)
        x_hat = 0.5 + self.slope * self.decoder(posterior.mean).view(-1, *self.image_shape).to(posterior.mean.dtype)
        x_hat = x_hat if self.training else x_hat.clamp(0, 1)
        return Reconstruction(posterior, Gaussian(x_hat, x_hat.new_tensor(math.log(self.variance))))

    @property
    def lipschitz(self) -> float:
        """L as these weights have it: the product of all layers' largest singular values, in float64, times `slope`."""
        layers = [one for one in self.modules() if isinstance(one, nn.Linear)]
        stretches = [torch.linalg.matrix_norm(one.weight.detach().double(), 2).item() for one in layers]
        return float(self.slope * math.prod(stretches))


class SortedPairs(nn.Module):
    """(a, b) -> (max, min): a unit that keeps the length of what passes."""

    def forward(self, x: Float[Tensor, "B n"]) -> Float[Tensor, "B n"]:
        """The inputs, two by two."""
        a, b = x.view(len(x), -1, 2).unbind(2)
        return torch.stack([torch.maximum(a, b), torch.minimum(a, b)], dim=2).flatten(1)


class SemiOrthogonal(nn.Module):
    """Any matrix as one with orthonormal columns (rows, if it is wide): the Cayley transform.

        W = [U; V] with n rows and k <= n columns,   A = U - U' + V'V,   Q = [(I + A)^-1 (I - A); -2 V (I + A)^-1]

    Only k x k matrices are inverted. torch's `orthogonal` inverts n x n ones: of 3072 x 256 it takes over a hundred
    times as long. Source: Trockman & Kolter 2021, "Orthogonalizing convolutional layers with the Cayley transform".
    """

    def forward(self, W: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        """Q. In full precision also where training computes in bf16, in which no column would keep its length."""
        tall = W if W.shape[0] >= W.shape[1] else W.T
        k = tall.shape[1]
        with torch.autocast(W.device.type, enabled=False):
            U, V = tall[:k], tall[k:]
            identity = torch.eye(k, dtype=W.dtype, device=W.device)
            A = U - U.T + V.T @ V
            inverse = torch.linalg.solve(identity + A, identity)
            Q = torch.cat([inverse @ (identity - A), -2 * V @ inverse])
        return Q if W.shape[0] >= W.shape[1] else Q.T


def _orthogonal(widths: Sequence[int]) -> nn.Sequential:
    layers = dense(widths, SortedPairs)
    for one in layers:
        if isinstance(one, nn.Linear) and not one.weight.is_meta:  # on `meta` weights are only counted
            register_parametrization(one, "weight", SemiOrthogonal())
    return layers
