"""Somebody's own models for the command line, each made by a function: no line of doubleback in most of them.

doubleback check examples/victims.py:unet --data digits
doubleback audit examples/victims.py:codec --data digits --output audits --pairs 4
doubleback audit examples/victims.py:bytes_out --data digits --output audits --pairs 4

Folders of diffusers, transformers and pythae, and codecs of CompressAI, need no file at all: docs/your-own-model.md.
"""

import torch
from torch import Tensor, nn

import doubleback


class UNet(nn.Module):
    """Skips lead past its code: only its output can be attacked."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 8, 2, 2), nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 1, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        skipped = self.down(x)
        return torch.sigmoid(self.up(torch.cat([skipped, self.deep(skipped)], 1)))


def unet() -> nn.Module:
    """Any module, with `--weights FILE` for its weights."""
    return UNet()


class Codec(nn.Module):
    """Its code is rounded: attacks follow it straight through."""

    def __init__(self, levels: int = 8) -> None:
        super().__init__()
        self.levels = levels

    def encode(self, x: Tensor) -> Tensor:
        return self.levels * torch.nn.functional.avg_pool2d(x, 2)

    def decode(self, z: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(z.round() / self.levels, scale_factor=2)


def codec() -> nn.Module:
    """A module with `encode` and `decode`."""
    return Codec()


def bytes_out() -> nn.Module:
    """A model that gives bytes has no gradient: its surrogate is attacked, and it is scored."""

    def deployed(x: Tensor) -> Tensor:
        return (255 * x).byte().float()

    return doubleback.wrap(deployed, output=(0, 255), surrogate=lambda x: 255 * x)
