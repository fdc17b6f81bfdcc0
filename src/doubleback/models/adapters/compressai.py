"""CompressAI: learned codecs for images, attacked through their rounding, scored as they are deployed.

In evaluation mode they round, and have no gradient at all; the attack follows round(y - median) + median with the
gradient of the identity (`models.straight`). Pixels are in [0, 1], sides are padded inside to 16 or 64, and the rate
counts the bits of all latents over the pixels of the image, not of its padding.
"""

from typing import Any

import torch
from torch import Tensor, nn

from doubleback.models.victim import Made, Parts

HOME = "compressai"


def parts_of(net: nn.Module, *, bitstreams: bool = False) -> Parts | None:
    """A codec.

    Args:
        net: of `compressai.models`, with a forward pass that gives `x_hat` and `likelihoods`.
        bitstreams: score what real bitstreams decode to, and their length, instead of the estimate.
    """
    codec: Any = net
    if not hasattr(codec, "compress"):
        return None
    if bitstreams:
        codec.update()
    encode = codec.g_a if hasattr(codec, "g_a") else None

    def estimated(x: Tensor) -> Made:
        out = codec(x)
        bits = [-likelihood.log2().flatten(1).sum(1) for likelihood in out["likelihoods"].values()]
        return Made(out["x_hat"], bits=torch.stack(bits).sum(0))

    def streamed(x: Tensor) -> Made:
        return _joined([_streamed(codec, one[None]) for one in x])

    return Parts(
        (net,),
        encode=encode,
        forward=estimated,
        deployed=streamed if bitstreams else None,
        own=lambda x: codec(x)["x_hat"],
        multiple=int(getattr(codec, "downsampling_factor", 64)),
    )


@torch.no_grad()
def _streamed(codec: Any, x: Tensor) -> Made:
    """One image, through its bitstream."""
    packed = codec.compress(x)
    image = codec.decompress(packed["strings"], packed["shape"])["x_hat"]
    return Made(image, bits=x.new_tensor([8.0 * sum(len(part[0]) for part in packed["strings"])]))


def _joined(made: list[Made]) -> Made:
    return Made(
        torch.cat([one.image for one in made]), bits=torch.cat([one.bits for one in made if one.bits is not None])
    )
