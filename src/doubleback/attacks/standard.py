"""The ensemble that runs where budgets are asked for: the attacks that were ever the worst.

Chosen by measurement (`benchmarks.standard`; docs/threats.md has the table): every goal of `GOALS`, every distance of
codes and Square were put to ten models; kept is what added over 1 % to the damage of the others on any of them. Square
did so on one alone, whose code is looked up in a codebook: it belongs to the ensemble for such models.
"""

from contextlib import suppress

import torch
from torch import Tensor

from doubleback.attacks.goals import Damage, Goal, Layers
from doubleback.attacks.goals.layers import has_layers
from doubleback.models.base import Autoencoder, attacked
from doubleback.state import at_work
from doubleback.tensors import placed

STANDARD: tuple[Goal, ...] = (Damage(), Layers("equal"))
QUERIES = 1000  # of Square, where it belongs to the ensemble


def standard_for(model: Autoencoder) -> list[Goal]:
    """Those of the ensemble that a model has: a program that was compiled has no layers to hear."""
    heard = has_layers(model) and has_layers(attacked(model))
    return [goal for goal in STANDARD if heard or not isinstance(goal, Layers)]


def looks_up(model: Autoencoder, x: Tensor) -> bool:
    """Whether a code is looked up in a codebook; False of a model that fails, which its check says.

    Args:
        model: the autoencoder.
        x: an image (1, ...) or more, of which the first is asked.
    """
    with suppress(Exception), at_work(model), torch.no_grad():
        return model(placed(model, x[:1])).tokens is not None
    return False
