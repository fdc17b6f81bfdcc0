"""The convolutional autoencoder, variational or plain.

4x4 convolutions of stride 2 with 32, 64, 128, ... filters, ELU, a dense layer of 512, the code; the decoder mirrors
them with transposed convolutions. The sizes of Gondim-Ribeiro, Tabacof & Valle 2018 (arXiv 1806.04646), which the paper
adopts, come out: three convolutions for 28x28 and 32x32, four for 64x64.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from doubleback.errors import InputError
from doubleback.models.parts import CodeAutoencoder, check_sizes, dense

FIRST_FILTERS = 32
SMALLEST = 3  # the side, in pixels, under which images are not halved any more


class ConvVAE(CodeAutoencoder):
    """Convolutional encoder and decoder.

    Args:
        image_shape: (C, H, W), any that can be halved once for every convolution.
        filters: of each convolution, input side first; None doubles them from 32 on, for as long as halving the
            smaller side leaves 3 pixels.
        hidden: the width of the dense layer between the convolutions and the code.
        latent: D, the size of the code.
        pixels: `likelihood`, `variance` and `variational` of `CodeAutoencoder`.

    Raises:
        InputError: the images are too small, a size or the variance is not positive, or the likelihood is unknown.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        *,
        filters: Sequence[int] | None = None,
        hidden: int = 512,
        latent: int = 32,
        **pixels: Any,
    ) -> None:
        check_sizes("ConvVAE", image_shape=image_shape, filters=filters or (), hidden=hidden, latent=latent)
        channels, *side = image_shape
        filters = _fitting_filters(min(side)) if filters is None else tuple(filters)
        sides = [[length >> level for length in side] for level in range(len(filters) + 1)]
        if not filters or min(sides[-1]) < 1:
            number = max(len(filters), 1)
            halvings = f"{number} convolution{'s' * (number > 1)}, each of which halves them"
            least = 2**number if filters else 2 * SMALLEST
            raise InputError(
                f"images of {side[0]}x{side[1]} are too small for {halvings}; at least {least}x{least} is needed: "
                "enlarge them (--image-size), or use a dense model"
            )
        innermost = (filters[-1], *sides[-1])
        outputs = latent * (2 if pixels.get("variational", True) else 1)
        encoder = nn.Sequential(
            *_halvings((channels, *filters)),
            nn.Flatten(),
            *dense((math.prod(innermost), hidden, outputs), nn.ELU),
        )
        decoder = nn.Sequential(
            *dense((latent, hidden, math.prod(innermost)), nn.ELU),
            nn.ELU(),
            nn.Unflatten(1, innermost),
            *_doublings((*reversed(filters), channels), sides[::-1]),
        )
        super().__init__(encoder, decoder, image_shape, latent, **pixels)


def _fitting_filters(side: int) -> tuple[int, ...]:
    """32, 64, 128, ...: one for every halving that leaves at least `SMALLEST` pixels.

    >>> [len(_fitting_filters(side)) for side in (5, 6, 28, 32, 64, 218)]
    [0, 1, 3, 3, 4, 6]
    """
    return tuple(FIRST_FILTERS << level for level in range(side.bit_length()) if side >> (level + 1) >= SMALLEST)


def _halvings(channels: Sequence[int]) -> list[nn.Module]:
    """Convolutions from each number of channels to the next, an ELU after each; an odd side loses a pixel."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), nn.ELU()]
    return layers


def _doublings(channels: Sequence[int], sides: Sequence[Sequence[int]]) -> list[nn.Module]:
    """Transposed convolutions from each (height, width) to the next, an ELU between each two."""
    layers: list[nn.Module] = []
    for (inputs, outputs), (small, large) in zip(itertools.pairwise(channels), itertools.pairwise(sides), strict=True):
        odd = tuple(after - 2 * before for before, after in zip(small, large, strict=True))
        layers += [
            nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1, output_padding=odd),  # type: ignore[arg-type]
            nn.ELU(),
        ]
    return layers[:-1]
