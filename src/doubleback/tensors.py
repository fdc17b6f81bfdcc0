"""Batches of images as tensors: scaled to [0, 1], placed where a model is, cut into chunks, measured row by row.

A row is one example: what is measured of it is taken over everything but the first dimension.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from doubleback.errors import InputError

BATCH_VALUES = 1 << 20  # pixels' values in a batch of images


def as_unit(images: Tensor) -> Float[Tensor, "N C H W"]:
    """Return images as floats in [0, 1]: uint8 is divided by 255, floats are checked and returned as is.

    Raises:
        InputError: not (N, C, H, W) with N >= 1, neither uint8 nor float, not finite, or outside [0, 1].

    >>> as_unit(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item()
    1.0
    """
    if images.ndim != 4 or not images.numel():
        raise InputError(f"images have shape {tuple(images.shape)}; expected (N, C, H, W), none of them 0")
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; give uint8 in 0..255 or floats in [0, 1]")
    low, high = (bound.item() for bound in torch.aminmax(images.detach()))
    if low != low:
        raise InputError("images hold NaN; expected finite values in [0, 1]: mend or drop those images")
    if high > 1:
        fix = "divide by 255" if 2 < high <= 255 else "rescale or clamp them"
        raise InputError(f"images reach max {high}: {fix}; expected values in [0, 1]")
    if low < 0:
        fix = "use (x + 1) / 2 for pixels in [-1, 1]" if low >= -1 else "rescale or clamp them"
        raise InputError(f"images reach min {low}: {fix}; expected values in [0, 1]")
    return images


def as_pixels(x: Float[Tensor, "*N C H W"]) -> UInt8[np.ndarray, "*N C H W"]:
    """Images in [0, 1] as uint8, to be written down."""
    return (x.clamp(0, 1) * 255).round().byte().cpu().numpy()


def placed(model: object, images: Shaped[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Images, uint8 or in [0, 1], as floats in [0, 1], on the device and in the dtype of the model's parameters."""
    parameter = next(iter(model.parameters()), None) if isinstance(model, nn.Module) else None
    x = as_unit(images)
    return x if parameter is None else x.to(parameter.device, parameter.dtype)


def check_shape(model: object, images: Tensor) -> None:
    """Refuse images of another shape than those of the model, where it says them (`image_shape`).

    Raises:
        InputError: naming both.
    """
    if images.ndim != 4:
        raise InputError(f"images have shape {tuple(images.shape)}; expected (N, C, H, W)")
    wanted, have = getattr(model, "image_shape", None), tuple(images.shape[1:])
    if wanted is not None and tuple(wanted) != have:
        raise InputError(
            f"the model takes images of {_in_words(wanted)}, these are {_in_words(have)}; give it images like those it "
            "was trained on"
        )


def rows_at_once(images: Tensor) -> int:
    """How many images (N, C, H, W) go through a model together: this bounds the memory, whatever their size."""
    return max(1, BATCH_VALUES // images[0].numel())


def norm(x: Float[Tensor, "..."], rows: int = 1) -> Float[Tensor, "..."]:
    """The 2-norm of each row; the first `rows` dimensions number the rows.

    >>> norm(torch.ones(3, 1, 2, 2))
    tensor([2., 2., 2.])
    """
    result: Tensor = torch.linalg.vector_norm(x.flatten(rows), dim=-1)
    return result


def squared_norm(x: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """||x||^2 of each row."""
    return x.flatten(1).square().sum(1)


def squared_distance(x: Float[Tensor, "B ..."], y: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """||x - y||^2 of each row."""
    return F.mse_loss(x, y, reduction="none").flatten(1).sum(1)  # half the time of (x - y).square(), gradient included


def column(values: Tensor, like: Tensor) -> Tensor:
    """(n,) -> (n, 1, ...), to go with (n, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def tiny(values: Tensor) -> float:
    """What to divide by instead of zero."""
    return float(torch.finfo(values.dtype).tiny ** 0.5)


def _in_words(shape: Sequence[int]) -> str:
    """Channels, height and width in words."""
    channels, height, width = shape
    return f"{channels} channel{'s' * (channels > 1)} and {height}x{width} pixels"
