"""CompressAI: learned codecs for images, attacked through their rounding, scored as they are deployed.

In evaluation mode they round, and have no gradient at all; the attack follows round(y - median) + median with the
gradient of the identity (`models.straight`). Pixels are in [0, 1], sides are padded inside to 16 or 64, and the rate
counts the bits of all latents over the pixels of the image, not of its padding. With `bitstreams` what is scored is the
real bitstream, of tables that are rebuilt if the weights have changed; the attack follows the estimate.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from doubleback.models.victim import Made, Parts
from doubleback.state import in_mode

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
    tables = _Tables(codec)
    encode = codec.g_a if hasattr(codec, "g_a") else None

    def estimated(x: Tensor) -> Made:
        out = codec(x)
        return Made(out["x_hat"], bits=bits_of(out))

    def streamed(x: Tensor) -> Made:
        tables.refresh()
        return _joined([_streamed(codec, one[None]) for one in x])

    def further(x: Tensor) -> dict[str, Tensor]:
        """The rate as its training has it, with noise instead of rounding."""
        with in_mode(True, codec):
            return {"rate": bits_of(codec(x))}

    def save(folder: Path) -> None:
        tables.refresh()
        save_file({name: one.contiguous() for name, one in codec.state_dict().items()}, folder / "model.safetensors")

    return Parts(
        (net,),
        further=further,
        save=save,
        encode=encode,
        forward=estimated,
        deployed=streamed if bitstreams else None,
        own=lambda x: codec(x)["x_hat"],
        multiple=int(getattr(codec, "downsampling_factor", 64)),
    )


def bits_of(out: dict[str, Any]) -> Tensor:
    """Of each image, (B,), by the likelihoods of its latents."""
    return torch.stack([-one.log2().flatten(1).sum(1) for one in out["likelihoods"].values()]).sum(0)


@dataclass
class _Tables:
    """What the entropy coder reads its probabilities from: it follows from the weights, but not by itself."""

    codec: Any
    made_for: tuple[tuple[int, int], ...] = ()

    def refresh(self) -> None:
        """Rebuild them if the weights are not those that they were made for; a scale table of its own stays."""
        weights = tuple((id(weight), weight._version) for weight in self.codec.parameters())
        if weights == self.made_for:
            return
        self.codec.update()  # what is still empty
        for part in self.codec.modules():
            if hasattr(part, "quantiles"):  # an entropy bottleneck, whose probabilities are learned
                part.update(force=True)
        self.made_for = weights


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
