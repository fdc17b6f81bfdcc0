"""transformers: ViTMAE, with nothing masked. It takes and gives pixels that its processor has normalised.

With `norm_pix_loss` it gives every patch with mean 0 and variance 1; the patch's own mean and variance, which are the
image's, bring it back (He et al. 2021, "Masked autoencoders are scalable vision learners", section 4).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.models.victim import Parts

HOME = "transformers"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet: its processor's default


def parts_of(net: nn.Module) -> Parts | None:
    """A `ViTMAEForPreTraining`; None of other models, which have no decoder or none that is known."""
    model: Any = net
    if not (hasattr(model, "vit") and hasattr(model, "decoder") and hasattr(model, "unpatchify")):
        return None

    def whole(x: Tensor) -> Tensor:
        with _unmasked(model):
            patches = model(x, noise=_in_order(model, x)).logits
        if model.config.norm_pix_loss:
            own = model.patchify(x)
            patches = patches * (own.var(-1, keepdim=True) + 1e-6).sqrt() + own.mean(-1, keepdim=True)
        image: Tensor = model.unpatchify(patches)
        return image

    def encode(x: Tensor) -> Tensor:
        with _unmasked(model):
            code: Tensor = model.vit(x, noise=_in_order(model, x)).last_hidden_state
        return code

    three = model.config.num_channels == len(MEAN)
    scale = {"mean": MEAN, "std": STD} if three else {}
    return Parts((net,), encode=encode, forward=whole, save=model.save_pretrained, output="normalised", **scale)  # type: ignore[arg-type]


def _in_order(model: Any, x: Tensor) -> Tensor:
    """The noise that shuffles no patch."""
    return torch.arange(model.vit.embeddings.patch_embeddings.num_patches, device=x.device).float().expand(len(x), -1)


@contextmanager
def _unmasked(model: Any) -> Iterator[None]:
    config = model.vit.embeddings.config
    ratio, config.mask_ratio = config.mask_ratio, 0.0
    try:
        yield
    finally:
        config.mask_ratio = ratio
