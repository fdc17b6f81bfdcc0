"""What a model's weights take in memory, found without making them."""

import math
from collections.abc import Callable
from typing import Any

import torch

from doubleback.errors import InputError

CODES = 64  # of how many images the codes count, too


def weight_of(build_this: Callable[[], Any]) -> float:
    """Bytes of a model's weights and of a few codes: infinite where nobody can count so far.

    Args:
        build_this: makes the model; it is called on torch's `meta` device, where tensors take no memory.

    Raises:
        InputError: the model's own, where a size is out of range.
    """
    try:
        with torch.device("meta"):
            model = build_this()
    except InputError:
        raise
    except (RuntimeError, TypeError, OverflowError):  # torch's ways to say that a size is beyond 64 bits
        return math.inf
    weights = sum(part.numel() * part.element_size() for part in model.state_dict().values())
    return float(weights + CODES * 4 * math.prod(getattr(model, "noise_shape", ())))
