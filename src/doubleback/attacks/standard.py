"""The ensemble that runs where budgets are asked for: the attacks that were ever the worst on ten models.

Chosen by measurement (`benchmarks.standard`; docs/threats.md has the table): every goal of `GOALS`, every distance of
codes and Square were put to ten models; kept is what did the most damage to some image that no other attack did.
"""

from doubleback.attacks.goals import Damage, Drift, Goal, Output
from doubleback.models.base import Autoencoder, decodes, encodes

STANDARD: tuple[Goal, ...] = (Damage(), Drift("l2"), Output())


def standard_for(model: Autoencoder) -> list[Goal]:
    """Those of the ensemble that a model has: without a code none on the code, without an output none on that."""
    lacking = (Drift,) * (not encodes(model)) + (Output,) * (not decodes(model))
    return [goal for goal in STANDARD if not isinstance(goal, lacking)]
