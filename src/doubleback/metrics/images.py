"""How far a reconstruction is from its image, for each example.

||x_hat - x||_2 over the pixels, and PSNR = -10 log10 mean (x_hat - x)^2 with pixels in [0, 1].
"""

from jaxtyping import Float
from torch import Tensor

from doubleback.tensors import norm


def l2(x_hat: Float[Tensor, "B C H W"], x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
    """||x_hat - x||_2, in units of a pixel: from 0 to sqrt(C H W) for pixels in [0, 1].

    >>> import torch
    >>> l2(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    tensor([2.])
    """
    return norm(x_hat - x)


def psnr(x_hat: Float[Tensor, "B C H W"], x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
    """-10 log10 mean (x_hat - x)^2, in dB: the peak signal-to-noise ratio at a data range of 1.

    At least 0 for pixels in [0, 1]; inf for identical images, so a mean over them is inf too.

    >>> import torch
    >>> psnr(torch.full((1, 1, 2, 2), 0.1), torch.zeros(1, 1, 2, 2))
    tensor([20.])
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio  # takes seconds to import

    ratio: Tensor = peak_signal_noise_ratio(x_hat, x, data_range=1.0, reduction="none", dim=(1, 2, 3))
    return ratio
