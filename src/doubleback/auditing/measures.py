"""What an adversarial input has done to an image, in the words of whoever asks: a number for each input.

`damage` is measured in every attack; the others at each eps of a budget. One more measure is one more line in
`MEASURES`. LPIPS is measured if torchvision and its weights are installed; nothing is downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from doubleback.attacks.goals.code import kl_symmetric
from doubleback.evaluation import Answer
from doubleback.metrics.images import l2, ms_ssim, psnr

DAMAGE = "damage"
ALIKE = 100.0  # dB, a mean squared change of 1e-10: PSNR counts as this at most, or one image alike would be no number
PATCH = 64  # pixels a side: what LPIPS was fitted on, and enough for its network


@dataclass(frozen=True)
class Seen:
    """N inputs before and after an attack, and what the model made of them.

    Attributes:
        x, x_adv: (N, ...) in [0, 1].
        before, after: what the model made of each.
    """

    x: Float[Tensor, "N ..."]
    x_adv: Float[Tensor, "N ..."]
    before: Answer
    after: Answer

    @property
    def pictures(self) -> bool:
        """Whether both ends are pictures, which measures of pictures can be asked of."""
        return self.x.dim() == 4 and self.after.mean.shape == self.x.shape


Measure = Callable[[Seen], Tensor | None]
"""(N,) of N inputs; None where it has no meaning."""


def damage(seen: Seen) -> Tensor:
    """||x_hat(x_adv) - x_hat(x)||_2."""
    return l2(seen.after.mean, seen.before.mean)


def _rate(seen: Seen) -> Tensor | None:
    """Bits per pixel of the attacked image."""
    return seen.after.rate


def _rate_before(seen: Seen) -> Tensor | None:
    """Bits per pixel of the image as it was."""
    return seen.before.rate


def _tokens_changed(seen: Seen) -> Tensor | None:
    """The share of tokens that are not the source's."""
    if seen.after.tokens is None or seen.before.tokens is None:
        return None
    return (seen.after.tokens != seen.before.tokens).to(seen.x).flatten(1).mean(1)


def _kl_symmetric(seen: Seen) -> Tensor | None:
    """Of q(z|x_adv) and q(z|x), nats."""
    q, p = seen.after.code, seen.before.code
    return None if q is None or p is None or not p.mean.numel() else kl_symmetric(q, p)


def _lpips(seen: Seen) -> Tensor | None:
    """Of reconstructions, enlarged to `PATCH` where they are smaller; None where they are not grey or in colour."""
    network = _lpips_network() if seen.pictures and seen.x.shape[1] in (1, 3) else None
    if network is None:
        return None
    a, b = (_as_patches(image) for image in (seen.after.mean, seen.before.mean))
    return torch.stack([network(one[None], other[None]) for one, other in zip(a, b, strict=True)]).to(seen.x)


def _as_patches(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 3 h w"]:
    """In colour, in [0, 1], on the processor, both sides of at least `PATCH` pixels."""
    x = images.clamp(0, 1).float().cpu().expand(-1, 3, -1, -1)
    if min(x.shape[-2:]) >= PATCH:
        return x
    factor = PATCH / min(x.shape[-2:])
    return F.interpolate(x, size=[round(factor * side) for side in x.shape[-2:]], mode="bilinear").clamp(0, 1)


@cache
def _lpips_network() -> Callable[[Tensor, Tensor], Tensor] | None:
    """LPIPS with AlexNet (Zhang et al. 2018), if its weights lie in torch's own cache; otherwise None."""
    weights = Path(torch.hub.get_dir()) / "checkpoints"
    if find_spec("torchvision") is None or not any(weights.glob("alexnet-*.pth")):
        return None
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).eval()


ALWAYS: dict[str, Measure] = {DAMAGE: damage, "rate": _rate, "tokens_changed": _tokens_changed}
"""Of every adversarial input, by the name that results have."""

MEASURES: dict[str, Measure] = {
    **ALWAYS,
    "rate_before": _rate_before,
    "psnr": lambda seen: psnr(seen.after.mean, seen.before.mean).clamp_max(ALIKE) if seen.pictures else None,
    "ms_ssim_input": lambda seen: ms_ssim(seen.x_adv, seen.x) if seen.pictures else None,
    "ms_ssim": lambda seen: ms_ssim(seen.after.mean, seen.before.mean) if seen.pictures else None,
    "kl_symmetric": _kl_symmetric,
    "lpips": _lpips,
}
"""At each eps of a budget."""
