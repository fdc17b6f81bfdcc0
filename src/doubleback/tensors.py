"""Batches of images as tensors: let in, scaled to [0, 1], placed where a model is, cut into chunks, measured by rows.

Whatever a public function is handed comes in by one gate: images by `as_images` (and `as_unit` and `placed`, which
scale and place what it lets in), labels by `as_labels`. A row is one example: what is measured of it is taken over
everything but the first dimension.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.memory import rows_within

BATCH_VALUES = 1 << 20  # pixels' values in a batch of images
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
Images = Tensor | NDArray[Any]
"""Images as they may be handed in: (N, C, H, W), uint8 in 0..255 or floats in [0, 1], a tensor or a NumPy array, in any
memory layout."""
Labels = Tensor | NDArray[Any] | Sequence[Any]
"""Labels as they may be handed in: (N,), whole numbers from 0 in any type: a tensor, a NumPy array or a list."""


def as_images(given: Images, model: object = None, name: str = "images") -> Tensor:
    """Let images in: as a tensor (N, C, H, W), contiguous and without a graph, uint8 or float in its own precision.

    Args:
        given: as `Images` says.
        model: whose `image_shape`, where it says one, the images must have.
        name: what an error calls them.

    Raises:
        InputError: not (N, C, H, W) with N >= 1, channels last, neither uint8 nor float, not finite, outside [0, 1], or
            of another shape than the model's.
    """
    images = _as_tensor(given, name)
    if images.layout != torch.strided or images.is_meta or images.dtype not in (torch.uint8, *FLOATS):
        raise InputError(f"{name} are {_kind(images)}; give uint8 in 0..255 or floats in [0, 1]")
    _check_layout(images, model, name)
    images = _without_history(images).contiguous()
    if images.dtype != torch.uint8:
        _check_range(images, name)
    return images


def as_unit(images: Images) -> Float[Tensor, "N C H W"]:
    """Return images as floats in [0, 1], in 32 bits at least: uint8 is divided by 255.

    Raises:
        InputError: as `as_images`.

    >>> as_unit(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item()
    1.0
    """
    return _scaled(as_images(images))


def as_labels(
    given: Labels,
    count: int,
    *,
    classes: int | None = None,
    any_number: bool = False,
    unlabelled: bool = False,
    name: str = "labels",
) -> Int[Tensor, "N"]:
    """Let labels in: one whole number for each of `count` images, (N,) int64.

    Args:
        given: as `Labels` says; floats may be whole numbers, too.
        count: N.
        classes: how many there are; None: any number.
        any_number: whether they are names of classes, which may be negative, not places.
        unlabelled: whether -1 may stand for an image without a label.
        name: what an error calls them.

    Raises:
        InputError: there are not N, one is not a whole number, negative, or none of the classes.

    >>> as_labels([2, 0, 1], 3)
    tensor([2, 0, 1])
    """
    try:
        values = given if isinstance(given, Tensor) else np.asarray(given)
    except ValueError as error:
        raise InputError(f"{name} are not a row of numbers; give one whole number for each image") from error
    labels = _without_history(_as_tensor(values, name))
    if labels.is_complex() or labels.is_meta or labels.layout != torch.strided:
        raise InputError(f"{name} are {_kind(labels)}; give whole numbers from 0")
    if labels.shape != (count,):
        have = f"{len(labels)} {name}" if labels.ndim == 1 else f"{name} of shape {tuple(labels.shape)}"
        raise InputError(f"there are {have} for {count} images; give one for each image")
    whole = labels.long()
    if labels.is_floating_point() and not bool((labels.double() == whole.double()).all()):
        odd = labels[labels.double() != whole.double()][0].item()
        raise InputError(f"{name} hold {odd}; give whole numbers from 0")
    low, high = int(whole.min()), int(whole.max())
    if low < 0 and not any_number:
        raise InputError(f"{name} reach from {low} to {high}; give whole numbers from 0")
    if not unlabelled and bool((whole == -1).any()):
        raise InputError(
            f"{name} hold -1, which stands for no label; leave these images out, or number the classes again"
        )
    if classes is not None and high >= classes:
        raise InputError(f"{name} reach from {low} to {high}; the model knows {classes} classes, 0 to {classes - 1}")
    return whole


def as_pixels(x: Float[Tensor, "*N C H W"]) -> UInt8[np.ndarray, "*N C H W"]:
    """Images in [0, 1] as uint8, to be written down."""
    return (x.clamp(0, 1) * 255).round().byte().cpu().numpy()


def let_in(images: Images, labels: Labels | None, model: object = None) -> tuple[Tensor, Tensor | None]:
    """Images by `as_images`, and their labels by `as_labels` where there are any; -1 is an image without a label.

    Raises:
        InputError: as those.
    """
    x = as_images(images, model)
    return x, None if labels is None else as_labels(labels, len(x), any_number=True, unlabelled=True)


def placed(model: object, images: Images, name: str = "images") -> Float[Tensor, "N C H W"]:
    """Images as floats in [0, 1], on the device and in the precision of the model's parameters.

    Raises:
        InputError: as `as_images`.
    """
    x = _scaled(as_images(images, model, name))
    takes = getattr(model, "takes", None)  # a wrapped model's, which works in its own precision inside
    parameter = next(iter(model.parameters()), None) if isinstance(model, nn.Module) else None
    if takes is None and parameter is not None:
        takes = parameter.device, parameter.dtype
    return x if takes is None else x.to(*takes)


def check_shape(model: object, images: Tensor, name: str = "images") -> None:
    """Refuse images of another shape than those of the model, where it says them (`image_shape`).

    Raises:
        InputError: naming both.
    """
    wanted, have = image_shape_of(model), tuple(images.shape[1:])
    if images.ndim != 4 and not (images.ndim >= 2 and getattr(model, "takes_signals", False)):
        fix = {2: "", 3: "; of one image: x[None]; of grey images without channels: x[:, None]"}.get(images.ndim, "")
        raise InputError(f"{name} have shape {tuple(images.shape)}; expected (N, C, H, W){fix}")
    if wanted is not None and wanted != have:
        if (have[2], *have[:2]) == wanted:
            raise InputError(_channels_last(images, name))
        raise InputError(
            f"the model takes images of {_in_words(wanted)}, these are {_in_words(have)}; give it images like those it "
            "was trained on"
        )


def image_shape_of(model: object) -> tuple[int, int, int] | None:
    """(C, H, W) of the images that a model takes, if it says so in `image_shape`."""
    said = getattr(model, "image_shape", None)
    if not isinstance(said, Sequence) or len(said) != 3:
        return None
    channels, height, width = said
    return channels, height, width


def rows_at_once(images: Tensor) -> int:
    """How many images (N, C, H, W) go through a model together: this bounds the memory, whatever their size."""
    return min(max(1, BATCH_VALUES // images[0].numel()), rows_within())


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
    """(n, ...) -> (n, ..., 1, ...), to go with a tensor of more dimensions."""
    return values.view(*values.shape, *[1] * (like.dim() - values.dim()))


def tiny(values: Tensor) -> float:
    """What to divide by instead of zero."""
    return float(torch.finfo(values.dtype).tiny ** 0.5)


def _as_tensor(given: object, name: str) -> Tensor:
    """A tensor as it is; a NumPy array as a tensor, which shares its memory where it can."""
    if isinstance(given, Tensor):
        return given
    if not isinstance(given, np.ndarray) or isinstance(given, np.ma.MaskedArray):
        raise InputError(f"{name} are a {type(given).__name__}; give a torch tensor or a NumPy array")
    array = np.ascontiguousarray(given, dtype=given.dtype.newbyteorder("="))
    try:
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except TypeError:
        raise InputError(f"{name} are a NumPy array of {given.dtype}; give numbers that torch also has") from None


def _without_history(given: Tensor) -> Tensor:
    """Without its graph; outside inference mode an ordinary tensor, whatever it was before."""
    plain = given.detach() if given.requires_grad else given
    return plain.clone() if plain.is_inference() and not torch.is_inference_mode_enabled() else plain


def _check_layout(images: Tensor, model: object, name: str) -> None:
    check_shape(model, images, name)
    if not images.numel():
        raise InputError(f"{name} have shape {tuple(images.shape)}; expected (N, C, H, W), each at least 1")
    if images.ndim == 4 and image_shape_of(model) is None and images.shape[3] <= 4 < min(images.shape[1:3]):
        raise InputError(_channels_last(images, name))


def _channels_last(images: Tensor, name: str) -> str:
    return (
        f"{name} have shape {tuple(images.shape)}, channels last; expected (N, C, H, W): "
        "give tensor.permute(0, 3, 1, 2), or array.transpose(0, 3, 1, 2)"
    )


def _check_range(images: Tensor, name: str) -> None:
    low, high = (bound.item() for bound in torch.aminmax(images))
    if low != low:
        raise InputError(f"{name} hold NaN; expected finite values in [0, 1]; fix or drop those images")
    if high > 1:
        fix = "divide by 255" if 2 < high <= 255 else "rescale or clamp them"
        raise InputError(f"{name} reach max {high}: {fix}; expected values in [0, 1]")
    if low < 0:
        fix = "use (x + 1) / 2 for pixels in [-1, 1]" if low >= -1 else "rescale or clamp them"
        raise InputError(f"{name} reach min {low}: {fix}; expected values in [0, 1]")


def _scaled(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images.float() / 255
    return images if images.dtype == torch.float64 else images.float()


def _kind(values: Tensor) -> str:
    """What a tensor is that cannot be taken."""
    dense = values.layout == torch.strided
    return f"{values.dtype}{' on the meta device' * values.is_meta}{'' if dense else f' in {values.layout}'}"


def _in_words(shape: Sequence[int]) -> str:
    """Channels, height and width in words."""
    channels, height, width = shape
    return f"{channels} channel{'s' * (channels > 1)} and {height}x{width} pixels"
