"""diffusers: AutoencoderKL, AutoencoderTiny, AutoencoderDC, VQModel, and others with `encode` and `decode`.

Their pixels are in [-1, 1]. Sides that are not a multiple of the model's own are padded inside.

- AutoencoderKL's variances are next to nothing (e^-17 is usual): KL(q || q_t) = |m - m_t|^2 / (2 var) would be beyond
  every price of a sweep. The logarithm of the variance gets a floor of log(0.01): the distance is then that of the
  means, fifty times over. The scores do not see it.
- AutoencoderTiny's own forward pass casts its code to bytes, through which no gradient passes: it is never used.
- VQModel's code is taken before it is looked up; what is scored has been looked up, and says which tokens it was.
"""

import math
from typing import Any

from torch import Tensor, nn

from doubleback.models.victim import Made, Parts
from doubleback.settings.victim import Range

HOME = "diffusers"
FLOOR = math.log(0.01)


def parts_of(net: nn.Module) -> Parts | None:
    """A diffusers model with `encode` and `decode`."""
    model: Any = net
    if not (hasattr(model, "encode") and hasattr(model, "decode")):
        return None
    names = {kind.__name__ for kind in type(net).__mro__}
    vq, tiny = "VQModel" in names, "AutoencoderTiny" in names

    def looked_up(z: Tensor) -> Made:
        return Made(model.decode(z), tokens=model.quantize(z)[2][2].view(len(z), -1))

    def commitment(x: Tensor) -> dict[str, Tensor]:
        return {"commitment": model.quantize(model.encode(x).latents)[1].expand(len(x))}

    return Parts(
        (net,),
        further=commitment if vq else None,
        save=model.save_pretrained if hasattr(model, "save_pretrained") else None,
        encode=model.encode,
        decode=looked_up if vq else model.decode,
        own=None if tiny else net,
        input=Range(-1, 1),
        multiple=_multiple(model),
        floor=FLOOR,
    )


def _multiple(model: Any) -> int:
    """The number that the sides of an image must be a multiple of."""
    if isinstance(said := getattr(model, "spatial_compression_ratio", None), int):
        return said
    config = model.config
    blocks = config.get("block_out_channels") or config.get("encoder_block_out_channels") or (1,)
    return int(2 ** (len(blocks) - 1))
