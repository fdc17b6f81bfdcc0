"""What the presets reached on test images: `measured.json`, a plain and a hardened run for each model and data set.

Seed 0, on two CPU cores that did other work beside it. `celeba` was measured on other faces of 64x64 (9,000 of them),
`svhn` on 6,800 of its images.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What one run by a preset reached on test images.

    Attributes:
        command: of its training, without `--output`.
        minutes: of its training, wall time.
        reconstruction_l2: mean 2-norm of x_hat - x.
        latent, output: mean AUDDC of each attack in the reference convention.
        worst_case: mean AUDDC, envelope convention, over both and blending.
        coefficients, pairs: of its audit.
    """

    command: str
    minutes: float
    reconstruction_l2: float
    latent: float
    output: float
    worst_case: float
    coefficients: int
    pairs: int


def measured(model: str, data: str) -> tuple[Measured, ...]:
    """The figures of a model's preset for one data set of the paper: plain, then hardened.

    Args:
        model: its name, or `draw-attention`.
        data: mnist, svhn or celeba.

    Returns:
        None at all where nobody has measured it.

    >>> [one.worst_case for one in measured("vae", "mnist")]
    [0.273, 0.366]
    """
    return tuple(Measured(**one) for one in _stored().get(model, {}).get(data, ()))


@cache
def _stored() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((files("doubleback.presets") / "measured.json").read_text(encoding="utf-8"))
    return stored
