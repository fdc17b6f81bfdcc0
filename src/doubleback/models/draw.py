"""DRAW: an autoencoder that looks at the image and paints its reconstruction in T steps, with or without attention.

    x_err = x - sigmoid(c_{t-1})
    r_t = read(x, x_err, h_dec_{t-1})
    h_enc_t = LSTM_enc(h_enc_{t-1}, [r_t, h_dec_{t-1}])
    z_t ~ q_t = N(mean(h_enc_t), diag exp(log_var(h_enc_t)))
    h_dec_t = LSTM_dec(h_dec_{t-1}, z_t)
    c_t = c_{t-1} + write(h_dec_t),    x_hat = sigmoid(c_T)

The code is that of all steps side by side, so KL = 1/2 sum_t sum_d (mean^2 + sigma^2 - log sigma^2 - 1): the constant
is there for each step and each dimension.

Source: Gregor, Danihelka, Graves, Rezende & Wierstra, "DRAW: a recurrent neural network for image generation", 2015
(arXiv 1502.04623), equations 3 to 10; their section 3.2 for the windows of `attention`.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.distributions import DiagonalGaussian
from doubleback.errors import InputError
from doubleback.models.attention import ReadWindow, WriteWindow
from doubleback.models.base import Reconstruction
from doubleback.models.parts import PixelLikelihood, check_sizes, unrounded
from doubleback.models.pulling import Pullable


class DRAW(nn.Module, Pullable):
    """Deep Recurrent Attentive Writer.

    Args:
        image_shape: (C, H, W); in colour the windows are shared by the channels.
        steps: T.
        hidden: units of each of the two LSTMs.
        latent: D, the size of a step's code; the whole code has T D dimensions.
        read_size: N, the side of the window that is read, in samples; None reads the whole image (no attention).
        write_size: N, the side of the window that is written; None writes the whole canvas.
        likelihood: "bernoulli", "gaussian" (fixed variance) or "gaussian-learned", see `PixelLikelihood`.
        variance: of the Gaussian likelihood, or where its learning starts.

    The noise has shape (B, T, D), one draw for each step. LSTM cells, not layers: cuDNN's have no double backward.

    Raises:
        InputError: a size or the variance is not positive, a window is larger than the image, or the likelihood is
            unknown.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        *,
        steps: int = 8,
        hidden: int = 256,
        latent: int = 32,
        read_size: int | None = None,
        write_size: int | None = None,
        likelihood: str = "bernoulli",
        variance: float = 0.02,
    ) -> None:
        super().__init__()
        windows = {"read_size": read_size, "write_size": write_size}
        given = {name: size for name, size in windows.items() if size is not None}
        check_sizes("DRAW", image_shape=image_shape, steps=steps, hidden=hidden, latent=latent, **given)
        for name, size in given.items():
            if size > min(image_shape[1:]):
                raise InputError(
                    f"{name.replace('_', ' ')} is {size}, but the images are {image_shape[1]}x{image_shape[2]}; "
                    f"give at most {min(image_shape[1:])}, or none to use the whole image"
                )
        self.image_shape = image_shape
        self.noise_shape: tuple[int, ...] = (steps, latent)
        self.likelihood = likelihood
        self.variance = variance
        self.read = WholeRead() if read_size is None else ReadWindow(image_shape, hidden, read_size)
        self.write = (
            WholeWrite(image_shape, hidden) if write_size is None else WriteWindow(image_shape, hidden, write_size)
        )
        pixels = (read_size or image_shape[1]) * (read_size or image_shape[2])
        self.encoder = nn.LSTMCell(2 * image_shape[0] * pixels + hidden, hidden)
        self.code = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.LSTMCell(latent, hidden)
        self.canvas = nn.Parameter(torch.zeros(image_shape))
        self.pixels = PixelLikelihood(likelihood, variance)

    def encode(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B T D"] | None = None) -> DiagonalGaussian:
        """The T steps' posteriors side by side, (B, T D), along the path that `noise` draws (None: the mean's)."""
        return side_by_side([q for q, _ in self.trajectory(x, noise)])

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B T D"] | None = None) -> Reconstruction:
        """Read, draw z_t = mean + sigma * noise_t (None: the mean), write: T times."""
        posteriors, canvases = zip(*self.trajectory(x, noise), strict=True)
        return Reconstruction(side_by_side(posteriors), self.pixels(canvases[-1]))

    def trajectory(
        self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B T D"] | None = None
    ) -> Iterator[tuple[DiagonalGaussian, Float[Tensor, "B C H W"]]]:
        """For each step its posterior q_t, (B, D), and the canvas c_t, (B, C, H, W), before the sigmoid."""
        steps, _ = self.noise_shape
        h_enc = c_enc = h_dec = c_dec = x.new_zeros(len(x), self.decoder.hidden_size)
        canvas = self.canvas.expand(len(x), -1, -1, -1)
        for t in range(steps):
            r = self.read(x, x - torch.sigmoid(canvas), h_dec)
            h_enc, c_enc = self.encoder(torch.cat([r, h_dec], dim=1), (h_enc, c_enc))
            q = DiagonalGaussian(*unrounded(self.code(h_enc)).chunk(2, dim=1))
            z = q.mean if noise is None else q.sample(noise[:, t])
            h_dec, c_dec = self.decoder(z, (h_dec, c_dec))
            canvas = canvas + unrounded(self.write(h_dec))
            yield q, canvas


class WholeRead(nn.Module):
    """read(x, x_err) = [x, x_err], flattened: no attention."""

    def forward(self, x: Tensor, error: Tensor, h_dec: Tensor) -> Float[Tensor, "B n"]:
        """(B, C, H, W), (B, C, H, W) -> (B, 2 C H W)."""
        del h_dec
        return torch.cat([x.flatten(1), error.flatten(1)], dim=1)


class WholeWrite(nn.Module):
    """write(h_dec) = W h_dec + b over the whole canvas: no attention."""

    def __init__(self, image_shape: tuple[int, int, int], hidden: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.patch = nn.Linear(hidden, image_shape[0] * image_shape[1] * image_shape[2])

    def forward(self, h_dec: Float[Tensor, "B n"]) -> Float[Tensor, "B C H W"]:
        """(B, hidden) -> (B, C, H, W)."""
        patch: Tensor = self.patch(h_dec)
        return patch.view(-1, *self.image_shape)


def side_by_side(posteriors: list[DiagonalGaussian] | tuple[DiagonalGaussian, ...]) -> DiagonalGaussian:
    """T posteriors (B, D) as one (B, T D)."""
    return DiagonalGaussian(
        torch.cat([q.mean for q in posteriors], dim=1), torch.cat([q.log_var for q in posteriors], dim=1)
    )
