"""How well a model does on a split: what an autoencoder reconstructs, and how strongly it answers to its input (always
on the mean path); what a classifier gets right.

An AUDDC never stands without these beside it: an autoencoder that reconstructs badly can look robust.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.data import Split
from doubleback.distributions import DiagonalGaussian
from doubleback.errors import InputError
from doubleback.metrics.described import Described
from doubleback.metrics.images import l2, psnr
from doubleback.metrics.smoothness import input_gradient_norm, jacobian_frobenius, jacobian_spectral
from doubleback.models import Autoencoder, Classifier, is_variational
from doubleback.models.base import acquaint, decodes
from doubleback.progress import progress_bar
from doubleback.state import at_work
from doubleback.state import evaluating as evaluating
from doubleback.tensors import Images, as_images, as_labels, placed, rows_at_once

JACOBIAN_PASSES = 2_500  # about as long as so many images' gradients take: for the bar
JACOBIAN_IMAGES = 64  # the norms of a Jacobian take some hundred passes, so they are means over the first images


def reconstruction_quality(model: Autoencoder, images: Images) -> dict[str, float | None]:
    """Means over the images (N, C, H, W), uint8 or in [0, 1]; pixels count in [0, 1], the mode is evaluation.

    Returns:
        `reconstruction_l2` (2-norm of x_hat - x), `reconstruction_nll` (nats), `reconstruction_psnr` (dB), `kl` (nats;
        None for a plain autoencoder, which has no prior).

    Raises:
        InputError: as `tensors.as_images`.
    """

    def of_batch(x: Tensor) -> Tensor:
        r = model(x)
        x_hat = r.likelihood.mean
        return torch.stack([l2(x_hat, x), -r.likelihood.log_prob(x), psnr(x_hat, x), r.posterior.kl_to_standard()])

    with at_work(model), torch.no_grad():
        images = as_images(images, model)
        acquaint(model, placed(model, images[:1]))
        rows = torch.cat([of_batch(x) for x in _batches(model, images)], dim=1)
    names = ("reconstruction_l2", "reconstruction_nll", "reconstruction_psnr", "kl")
    means: dict[str, float | None] = dict(zip(names, rows.cpu().double().mean(1).tolist(), strict=True))
    return means if is_variational(model) else means | {"kl": None}


def classification_quality(model: Classifier, split: Split) -> dict[str, float | None]:
    """Means over labelled images, in evaluation mode.

    Returns:
        `cross_entropy` (nats) and `accuracy` (a share; a tie of two classes goes to the first).

    Raises:
        InputError: there are no labels, or a label is none of the model's classes; or as `tensors.as_images`.
    """
    if split.labels is None:
        raise InputError("the images have no labels to compare with; give a data set that has them")
    rows = []
    with at_work(model), torch.no_grad():
        images = as_images(split.images, model)
        labels = as_labels(split.labels, len(images), classes=len(model.classes))
        for x, y in zip(_batches(model, images), torch.split(labels, rows_at_once(images)), strict=True):
            scores, y = model(x), y.to(x.device)
            rows.append(torch.stack([F.cross_entropy(scores, y, reduction="none"), (scores.argmax(1) == y).to(scores)]))
    cross_entropy, accuracy = torch.cat(rows, dim=1).cpu().double().mean(1).tolist()
    return {"cross_entropy": cross_entropy, "accuracy": accuracy}


def evaluate(model: Autoencoder, images: Images, *, seed: int = 0, progress: bool = False) -> dict[str, Any]:
    """`reconstruction_quality`, and how strongly the model answers to its input.

    Args:
        model: any autoencoder; a module is put into evaluation mode meanwhile.
        images: the test images, (N, C, H, W), uint8 or in [0, 1].
        seed: of the random projections behind the Jacobian norms.
        progress: show a bar with the time left.

    Returns:
        Nested: `images` (count), the four of `reconstruction_quality`, `input_gradient_norm` (mean 2-norm of the
        reconstruction loss's gradient in x, its target held fixed), `output_jacobian` and `latent_jacobian` (of
        x_hat and of the code's mean: mean `spectral` and `frobenius` norm over the first 64 images). Of these last
        three, what a model does not allow to be measured is None; `not_measured` then says why, by name.

    Raises:
        InputError: as `tensors.as_images`.
    """
    with at_work(model):
        return _evaluated(model, as_images(images, model), seed, progress)


def _evaluated(model: Autoencoder, images: Tensor, seed: int, progress: bool) -> dict[str, Any]:
    """`evaluate`, of images that are let in."""
    with progress_bar("measuring", len(images) + 4 * JACOBIAN_PASSES, progress) as advance:

        def gradient_norm(x: Tensor) -> Tensor:
            advance(len(x))
            return input_gradient_norm(lambda moving: -model(moving).likelihood.log_prob(x), x)

        def jacobian_norm(norm: Callable[..., Tensor], f: Callable[[Tensor], Tensor], **settings: Any) -> float:
            advance(JACOBIAN_PASSES)
            x = placed(model, images[:JACOBIAN_IMAGES])
            return norm(f, x, generator=torch.Generator().manual_seed(seed), **settings).mean().item()

        quality = reconstruction_quality(model, images)
        described = Described()
        described.measure(
            "input_gradient_norm",
            lambda: torch.cat([gradient_norm(x) for x in _batches(model, images)]).mean().item(),
        )
        of = {"output_jacobian": lambda x: model(x).likelihood.mean, "latent_jacobian": lambda x: model.encode(x).mean}
        for name, f in of.items():
            spectral = partial(jacobian_norm, jacobian_spectral, f, tolerance=1e-3)
            described.measure(f"{name}.spectral", spectral)
            described.measure(f"{name}.frobenius", partial(jacobian_norm, jacobian_frobenius, f))
        return {"images": len(images), **quality, **described.results()}


@dataclass(frozen=True)
class Answer:
    """What a model makes of N inputs.

    Attributes:
        mean: (N, ...), the reconstruction; of an encoder alone its code.
        rate: bits per pixel, (N,), of a codec.
        tokens: places in a codebook, (N, n), of a quantised code.
        code: q(z|x) of each.
    """

    mean: Float[Tensor, "N ..."]
    rate: Float[Tensor, "N"] | None = None
    tokens: Int[Tensor, "N n"] | None = None
    code: DiagonalGaussian | None = None

    def at(self, rows: Int[Tensor, "n"]) -> "Answer":
        """Of these inputs."""
        parts = (self.mean, self.rate, self.tokens)
        mean, rate, tokens = (None if part is None else part.index_select(0, rows) for part in parts)
        assert mean is not None
        return Answer(mean, rate, tokens, None if self.code is None else self.code.at(rows))


@torch.no_grad()
def answer(model: Autoencoder, x: Float[Tensor, "N ..."], noise: Float[Tensor, "..."] | None = None) -> Answer:
    """What the model makes of any number of inputs, a batch at a time, on the mean path or with one `noise` for all."""

    def of_batch(x: Tensor) -> tuple[Tensor | None, ...]:
        if not decodes(model):
            q = model.encode(x)
            return q.mean, None, None, q.mean, q.log_var
        made = model(x, None if noise is None else noise.expand(len(x), *noise.shape))
        return made.likelihood.mean, made.rate, made.tokens, made.posterior.mean, made.posterior.log_var

    columns = zip(*(of_batch(batch) for batch in torch.split(x, rows_at_once(x))), strict=True)
    mean, rate, tokens, *code = (None if column[0] is None else torch.cat(column) for column in columns)
    assert mean is not None
    return Answer(mean, rate, tokens, DiagonalGaussian(*code))  # type: ignore[arg-type]  # no model lacks these two


def reconstruct(
    model: Autoencoder, x: Float[Tensor, "N ..."], noise: Float[Tensor, "..."] | None = None
) -> Float[Tensor, "N ..."]:
    """x_hat of any number of images, a batch at a time, on the mean path or with one `noise` shared by all."""
    return answer(model, x, noise).mean


def _batches(model: Autoencoder | Classifier, images: Tensor) -> Iterator[Tensor]:
    return (placed(model, batch) for batch in torch.split(images, rows_at_once(images)))
