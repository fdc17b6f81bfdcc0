"""In which precision a training computes on this machine, and how its weights lie in memory."""

from dataclasses import replace

import torch
from torch import nn

from doubleback.processes import has_bf16
from doubleback.settings.loop import Loop


def settled_precision(loop: Loop) -> Loop:
    """The settings with "fast" settled: bf16 where this machine computes it several times faster, else float32."""
    return replace(loop, precision="bf16-mixed" if has_bf16() else "32") if loop.precision == "fast" else loop


def lay_channels_last(module: nn.Module) -> None:
    """Lay the weights of its convolutions out as oneDNN and cuDNN compute, else they convert them at every step."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's hint has no layout
