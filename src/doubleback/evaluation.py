"""How well a model does on a split: what an autoencoder reconstructs, and how strongly it answers to its input (always
on the mean path); what a classifier gets right.

An AUDDC never stands without these beside it: an autoencoder that reconstructs badly can look robust.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from doubleback.data import Split
from doubleback.errors import InputError
from doubleback.metrics.images import l2, psnr
from doubleback.metrics.smoothness import input_gradient_norm, jacobian_frobenius, jacobian_spectral
from doubleback.models import Autoencoder, Classifier, is_variational
from doubleback.progress import progress_bar
from doubleback.tensors import placed, rows_at_once

JACOBIAN_PASSES = 2_500  # about as long as so many images' gradients take: for the bar
JACOBIAN_IMAGES = 64  # the norms of a Jacobian take some hundred passes, so they are means over the first images


def reconstruction_quality(model: Autoencoder, images: UInt8[Tensor, "N C H W"]) -> dict[str, float | None]:
    """Means over the images, pixels in [0, 1].

    Returns:
        `reconstruction_l2` (2-norm of x_hat - x), `reconstruction_nll` (nats), `reconstruction_psnr` (dB), `kl` (nats;
        None for a plain autoencoder, which has no prior).
    """

    def of_batch(x: Tensor) -> Tensor:
        r = model(x)
        x_hat = r.likelihood.mean
        return torch.stack([l2(x_hat, x), -r.likelihood.log_prob(x), psnr(x_hat, x), r.posterior.kl_to_standard()])

    with torch.no_grad():
        rows = torch.cat([of_batch(x) for x in _batches(model, images)], dim=1)
    names = ("reconstruction_l2", "reconstruction_nll", "reconstruction_psnr", "kl")
    means: dict[str, float | None] = dict(zip(names, rows.cpu().double().mean(1).tolist(), strict=True))
    return means if is_variational(model) else means | {"kl": None}


def classification_quality(model: Classifier, split: Split) -> dict[str, float | None]:
    """Means over labelled images.

    Returns:
        `cross_entropy` (nats) and `accuracy` (a share; a tie of two classes goes to the first).
    """
    if split.labels is None:
        raise InputError("the images have no labels to compare with; give a data set that has them")
    rows = []
    with torch.no_grad():
        for x, y in zip(
            _batches(model, split.images), torch.split(split.labels, rows_at_once(split.images)), strict=True
        ):
            scores, y = model(x), y.to(x.device)
            rows.append(torch.stack([F.cross_entropy(scores, y, reduction="none"), (scores.argmax(1) == y).to(scores)]))
    cross_entropy, accuracy = torch.cat(rows, dim=1).cpu().double().mean(1).tolist()
    return {"cross_entropy": cross_entropy, "accuracy": accuracy}


def evaluate(
    model: Autoencoder, images: UInt8[Tensor, "N C H W"], *, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """`reconstruction_quality`, and how strongly the model answers to its input.

    Args:
        model: any autoencoder; a module is evaluated in the mode it is in (call `eval()` first).
        images: the test images.
        seed: of the random projections behind the Jacobian norms.
        progress: show a bar with the time left.

    Returns:
        Nested: `images` (count), the four of `reconstruction_quality`, `input_gradient_norm` (mean 2-norm of the
        reconstruction loss's gradient in x, its target held fixed), `output_jacobian` and `latent_jacobian` (of
        x_hat and of the code's mean: mean `spectral` and `frobenius` norm over the first 64 images).
    """
    with progress_bar("measuring", len(images) + 4 * JACOBIAN_PASSES, progress) as advance:

        def gradient_norm(x: Tensor) -> Tensor:
            advance(len(x))
            return input_gradient_norm(lambda moving: -model(moving).likelihood.log_prob(x), x)

        def jacobian_norms(f: Callable[[Tensor], Tensor]) -> dict[str, float]:
            x = placed(model, images[:JACOBIAN_IMAGES])
            spectral = jacobian_spectral(f, x, generator=torch.Generator().manual_seed(seed), tolerance=1e-3)
            advance(JACOBIAN_PASSES)
            frobenius = jacobian_frobenius(f, x, generator=torch.Generator().manual_seed(seed))
            advance(JACOBIAN_PASSES)
            return {"spectral": spectral.mean().item(), "frobenius": frobenius.mean().item()}

        return {
            "images": len(images),
            **reconstruction_quality(model, images),
            "input_gradient_norm": torch.cat([gradient_norm(x) for x in _batches(model, images)]).mean().item(),
            "output_jacobian": jacobian_norms(lambda x: model(x).likelihood.mean),
            "latent_jacobian": jacobian_norms(lambda x: model.encode(x).mean),
        }


@torch.no_grad()
def reconstruct(
    model: Autoencoder, x: Float[Tensor, "N C H W"], noise: Float[Tensor, "..."] | None = None
) -> Float[Tensor, "N C H W"]:
    """x_hat of any number of images, a batch at a time, on the mean path or with one `noise` shared by all."""

    def of_batch(x: Tensor) -> Tensor:
        return model(x, None if noise is None else noise.expand(len(x), *noise.shape)).likelihood.mean

    return torch.cat([of_batch(batch) for batch in torch.split(x, rows_at_once(x))])


@contextmanager
def evaluating(model: Autoencoder | Classifier | nn.Module) -> Iterator[None]:
    """A module in evaluation mode; afterwards each of its parts in the mode it was in."""
    modes = [(part, part.training) for part in model.modules()] if isinstance(model, nn.Module) else []
    for part, _ in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _batches(model: Autoencoder | Classifier, images: Tensor) -> Iterator[Tensor]:
    return (placed(model, batch) for batch in torch.split(images, rows_at_once(images)))
