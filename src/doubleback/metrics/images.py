"""How far a reconstruction is from its image, for each example.

||x_hat - x||_2 over the pixels; PSNR = -10 log10 mean (x_hat - x)^2 with pixels in [0, 1]; MS-SSIM, structure at
several scales (Wang, Simoncelli & Bovik 2003).
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


BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, from the finest
WINDOW = 11  # pixels, of a Gaussian of sigma 1.5


def ms_ssim(x_hat: Float[Tensor, "B C H W"], x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
    """Multi-scale structural similarity for pixels in [0, 1]: 1 for identical images.

    On small images as many of the five scales as the window allows, their weights scaled to a sum of 1: with one it is
    SSIM; under 11 pixels the window shrinks to the image.

    >>> import torch
    >>> ms_ssim(torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), 0.5))
    tensor([1.])
    """
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        structural_similarity_index_measure,
    )

    side = min(x.shape[-2:])
    scales = sum(side >= WINDOW * max(2**scale, scale**2) for scale in range(len(BETAS)))  # as torchmetrics takes
    if scales < 2:
        window = min(WINDOW, side - 1 + side % 2)
        found = structural_similarity_index_measure(
            x_hat, x, gaussian_kernel=side >= WINDOW, kernel_size=window, reduction="none", data_range=1.0
        )
        assert isinstance(found, Tensor)
        return found.flatten()
    betas = tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])
    return multiscale_structural_similarity_index_measure(
        x_hat, x, betas=betas, normalize="relu", reduction="none", data_range=1.0
    ).flatten()
