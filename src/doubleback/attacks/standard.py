"""The ensemble that runs where budgets are asked for: the attacks that were ever the worst.

Chosen by measurement (`benchmarks.standard`; docs/threats.md has the table): every goal of `GOALS`, every distance of
codes and Square were put to seven models; kept is what added over 1 % to the damage of the others on any of them.
"""

from doubleback.attacks.goals import Damage, Goal, Layers
from doubleback.attacks.goals.layers import has_layers
from doubleback.models.base import Autoencoder, attacked

STANDARD: tuple[Goal, ...] = (Damage(), Layers("equal"))


def standard_for(model: Autoencoder) -> list[Goal]:
    """Those of the ensemble that a model has: a program that was compiled has no layers to hear."""
    heard = has_layers(model) and has_layers(attacked(model))
    return [goal for goal in STANDARD if heard or not isinstance(goal, Layers)]
