"""Which weights are the encoder's and which the decoder's, as gradients tell; and how one of them is held still."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models.base import attacked, encodes
from doubleback.state import at_work
from doubleback.tensors import placed

Part = Literal["encoder", "decoder"]


@contextmanager
def frozen(victim: Any, part: Part | None, images: Tensor) -> Iterator[None]:
    """Weights of one part need no gradient meanwhile.

    Args:
        victim: an autoencoder.
        part: which; None: neither.
        images: a few, to see which weights its code follows.

    Raises:
        InputError: it has no code, both parts share weights, or nothing else can be trained.
    """
    held = [] if part is None else [one for one in weights_of_part(victim, part, images) if one.requires_grad]
    left = [one for one in victim.parameters() if one.requires_grad and not any(one is other for other in held)]
    if not left:
        raise InputError("nothing is left to train; freeze less")
    try:
        for one in held:
            one.requires_grad_(False)
        yield
    finally:
        for one in held:
            one.requires_grad_(True)


def weights_of_part(victim: Any, part: Part, images: Tensor) -> list[nn.Parameter]:
    """The weights that the code follows are the encoder's; those that the output follows besides are the decoder's.

    Raises:
        InputError: it has no code, the code follows every weight, as in DRAW, or the decoder is to be held still and
            shares a weight with the encoder.
    """
    if not encodes(victim):
        raise InputError("this model has no code, so its encoder cannot be told from its decoder; leave freeze out")
    followed, parameters = attacked(victim), [one for one in victim.parameters() if one.requires_grad]
    with at_work(victim):
        x = placed(victim, images)
        q = followed.encode(x)
        code = q.mean.sum() + q.log_var.sum()
        of_code = _followed(code, parameters)
        of_output = _followed(followed(x).likelihood.mean.sum(), parameters)
        tied = part == "decoder" and any(
            map(all, zip(of_code, _decoding(followed, q.mean, x, parameters), strict=True))
        )
    if tied:
        raise InputError("the decoder shares a weight with the encoder, so it cannot be held still; leave freeze out")
    encoder = [one for one, used in zip(parameters, of_code, strict=True) if used]
    decoder = [one for one, used, out in zip(parameters, of_code, of_output, strict=True) if out and not used]
    if not decoder or not encoder:
        raise InputError("the encoder and the decoder of this model share all weights; leave freeze out")
    return encoder if part == "encoder" else decoder


def _decoding(model: Any, z: Tensor, x: Tensor, parameters: list[nn.Parameter]) -> list[bool]:
    """The weights that the output follows while the code is held still; none, where a given code cannot be decoded."""
    try:
        out = model.decode_as(z.detach(), x).mean.sum()
    except (AttributeError, InputError):
        return [False] * len(parameters)
    return _followed(out, parameters)


def _followed(value: Tensor, parameters: list[nn.Parameter]) -> list[bool]:
    if not value.requires_grad:
        return [False] * len(parameters)
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return [one is not None for one in found]
