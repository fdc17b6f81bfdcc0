"""DRAW's attention: N x N Gaussian filters laid over an A x B image (A wide, B high).

    (gx~, gy~, log sigma^2, log delta~, log gamma) = W h_dec
    gx = (A + 1) / 2 (gx~ + 1),   gy = (B + 1) / 2 (gy~ + 1),   delta = (max(A, B) - 1) / (N - 1) delta~
    mu_i = g + (i - N/2 - 1/2) delta,   i = 1..N
    F[i, a] = exp(-(a - mu_i)^2 / (2 sigma^2)) / sum_a' exp(-(a' - mu_i)^2 / (2 sigma^2)),   a = 1..A

    read(x, x_err) = gamma [F_Y x F_X', F_Y x_err F_X'],   write = 1 / gamma F_Y' w F_X

Rows are normalised as a softmax over a: the plain ratio underflows to 0/0 when a filter leaves the image. The filters
are shared by the channels.

Source: Gregor et al. 2015 (arXiv 1502.04623), equations 19 to 29.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.models.parts import unrounded


@dataclass(frozen=True)
class Window:
    """Where a window lies in each image of a batch.

    Attributes:
        across: F_X, (B, N, A), rows that sum to 1.
        down: F_Y, (B, N, B), rows that sum to 1.
        gamma: (B,), the intensity, positive.
    """

    across: Float[Tensor, "B N A"]
    down: Float[Tensor, "B N H"]
    gamma: Float[Tensor, "B"]

    @classmethod
    def of(cls, parameters: Float[Tensor, "B 5"], size: int, height: int, width: int) -> "Window":
        """The window of (gx~, gy~, log sigma^2, log delta~, log gamma); all zero: centred, spread over the image."""
        gx, gy, log_variance, log_delta, log_gamma = parameters.unbind(1)
        delta = (max(width, height) - 1) / max(size - 1, 1) * log_delta.exp()
        variance = log_variance.exp()
        across = filterbank((width + 1) / 2 * (gx + 1), delta, variance, size, width)
        down = filterbank((height + 1) / 2 * (gy + 1), delta, variance, size, height)
        return cls(across, down, log_gamma.exp())

    def read(self, image: Float[Tensor, "B C H A"]) -> Float[Tensor, "B C N N"]:
        """gamma F_Y image F_X'."""
        patch = self.down[:, None] @ image @ self.across[:, None].mT
        return self.gamma.view(-1, 1, 1, 1) * patch

    def write(self, patch: Float[Tensor, "B C N N"]) -> Float[Tensor, "B C H A"]:
        """1 / gamma F_Y' patch F_X."""
        canvas = self.down[:, None].mT @ patch @ self.across[:, None]
        return canvas / self.gamma.view(-1, 1, 1, 1)


def filterbank(
    centre: Float[Tensor, "B"], delta: Float[Tensor, "B"], variance: Float[Tensor, "B"], size: int, length: int
) -> Float[Tensor, "B N A"]:
    """F[i, a]: N Gaussian filters, `delta` pixels apart about `centre`, over pixels 1..length (units of a pixel).

    >>> one = torch.ones(1)
    >>> filterbank(2 * one, one, 1e-3 * one, size=3, length=4)[0]
    tensor([[1., 0., 0., 0.],
            [0., 1., 0., 0.],
            [0., 0., 1., 0.]])
    """
    i = torch.arange(1, size + 1, dtype=centre.dtype, device=centre.device)
    a = torch.arange(1, length + 1, dtype=centre.dtype, device=centre.device)
    mu = centre[:, None] + (i - size / 2 - 0.5) * delta[:, None]
    square = (a - mu[:, :, None]).square()
    return torch.softmax(-square / (2 * variance[:, None, None]), dim=2)


class ReadWindow(nn.Module):
    """read(x, x_err, h_dec) = gamma [F_Y x F_X', F_Y x_err F_X'], the window chosen by h_dec."""

    def __init__(self, image_shape: tuple[int, int, int], hidden: int, size: int) -> None:
        super().__init__()
        self.size, self.image_shape = size, image_shape
        self.where = nn.Linear(hidden, 5)

    def forward(
        self, x: Float[Tensor, "B C H W"], error: Float[Tensor, "B C H W"], h_dec: Float[Tensor, "B n"]
    ) -> Float[Tensor, "B m"]:
        """(B, C, H, W), (B, C, H, W), (B, hidden) -> (B, 2 C N N)."""
        window = Window.of(unrounded(self.where(h_dec)), self.size, *self.image_shape[1:])
        return window.read(torch.cat([x, error], dim=1)).flatten(1)


class WriteWindow(nn.Module):
    """write(h_dec) = 1 / gamma F_Y' w F_X, the patch w and the window chosen by h_dec."""

    def __init__(self, image_shape: tuple[int, int, int], hidden: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.image_shape = image_shape
        self.where = nn.Linear(hidden, 5)
        self.patch = nn.Linear(hidden, image_shape[0] * size * size)

    def forward(self, h_dec: Float[Tensor, "B n"]) -> Float[Tensor, "B C H W"]:
        """(B, hidden) -> (B, C, H, W)."""
        window = Window.of(unrounded(self.where(h_dec)), self.size, *self.image_shape[1:])
        return window.write(unrounded(self.patch(h_dec)).view(-1, self.image_shape[0], self.size, self.size))
