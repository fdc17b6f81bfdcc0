"""The dense autoencoder, variational or plain.

Source: Kingma & Welling 2013, in the sizes of Gondim-Ribeiro, Tabacof & Valle 2018 (arXiv 1806.04646), which
the paper adopts: encoder 512-512, decoder 512-512, softplus, 32 latent dimensions.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import nn

from doubleback.models.parts import CodeAutoencoder, check_sizes, dense


class VAE(CodeAutoencoder):
    """Dense encoder and decoder with softplus units.

    Args:
        image_shape: (C, H, W).
        hidden: the encoder's widths, input side first; the decoder mirrors them.
        latent: D, the size of the code.
        pixels: `likelihood`, `variance` and `variational` of `CodeAutoencoder`.

    Raises:
        InputError: a size or the variance is not positive, or the likelihood is unknown.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        *,
        hidden: Sequence[int] = (512, 512),
        latent: int = 32,
        **pixels: Any,
    ) -> None:
        check_sizes("VAE", image_shape=image_shape, hidden=hidden, latent=latent)
        outputs = latent * (2 if pixels.get("variational", True) else 1)
        encoder = dense((math.prod(image_shape), *hidden, outputs), nn.Softplus)
        decoder = dense((latent, *reversed(hidden), math.prod(image_shape)), nn.Softplus)
        # named, so that the layers with weights keep their numbers
        seen = nn.Sequential(OrderedDict([("pixels", nn.Flatten()), *encoder.named_children()]))
        shown = nn.Sequential(OrderedDict([*decoder.named_children(), ("pixels", nn.Unflatten(1, image_shape))]))
        super().__init__(seen, shown, image_shape, latent, **pixels)
