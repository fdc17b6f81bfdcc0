"""What an attacker is after. A goal of your own is a class with `name`, `targeted` and `loss`, or a function.

`code`: the code (`Latent`, `Drift`). `output`: the reconstruction (`Output`, `Damage`, `Own`). `rate`: a codec's bits.
`layers`: all layers at once. `canvas`: what DRAW paints on its way. One more goal is one more file, and, to be chosen
by its name, one more place in `GOALS`.
"""

from typing import Any

from doubleback.attacks.goals.base import Goal, RowLoss
from doubleback.attacks.goals.canvas import Canvas
from doubleback.attacks.goals.code import CODE_DISTANCES, Drift, Latent
from doubleback.attacks.goals.layers import Layers
from doubleback.attacks.goals.output import Damage, Output, Own
from doubleback.attacks.goals.rate import Rate
from doubleback.errors import InputError
from doubleback.imports import is_named, named_object
from doubleback.models.base import Autoencoder, decodes, encodes

__all__ = [
    "CODE_DISTANCES",
    "GOALS",
    "Canvas",
    "Damage",
    "Drift",
    "Goal",
    "Latent",
    "Layers",
    "Output",
    "Own",
    "Rate",
    "RowLoss",
    "goal_of",
    "goals_for",
]

GOALS: dict[str, Goal] = {
    goal.name: goal for goal in (Latent(), Output(), Damage(), Drift(), Rate(), Layers(), Canvas())
}
"""By the name that results and the command line have."""
_OTHER_DISTANCES = [kind(distance) for kind in (Latent, Drift) for distance in CODE_DISTANCES]
_VARIANTS: dict[str, Goal] = {goal.name: goal for goal in (*_OTHER_DISTANCES, Layers("equal"))}


def goals_for(model: Autoencoder) -> list[Goal]:
    """The goals that are attacked where none are named: the code and the output, as far as the model has them."""
    return [*[Latent()] * encodes(model), *[Output()] * decodes(model)]


def goal_of(given: Any) -> Goal:
    """The goal that this value names.

    Args:
        given: a goal, its class, a function (out, x) -> (n,) (`Own`), the name of one of `GOALS` (also with
            another distance, as "latent-l2"), or `file.py:name` or `module:name` of your own goal.

    Raises:
        InputError: it is none of these, or a class that needs arguments.
    """
    if isinstance(given, str):
        known = GOALS | _VARIANTS
        if not is_named(given) and given not in known:
            raise InputError(f"attack {given} is unknown; choose from {', '.join(GOALS)}, or give file.py:name")
        given = named_object(given) if is_named(given) else known[given]
    try:
        goal = given() if isinstance(given, type) else given
    except TypeError as error:
        raise InputError(f"{given!r} cannot be made without arguments ({error}); give a goal that is made") from error
    if callable(goal) and not isinstance(goal, Goal):
        goal = Own(goal)
    if not isinstance(goal, Goal):
        raise InputError(f"{given!r} is not a goal; a goal needs `name`, `targeted` and `loss(model, source, target)`")
    return goal
