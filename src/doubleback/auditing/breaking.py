"""How far a reconstruction goes, whatever it becomes: at each eps of a budget, and as a curve over the distortion.

Beside AUDDC, which asks how hard a model is to steer: one that shows rubbish between images is hard to steer and easy
to break. `damage` is ||x_hat(x_adv) - x_hat(x)||_2; over the distortion u it is divided by ||x_hat_0 - x_hat_t||, and
its area over u in [0, 1] is a figure of the model, the lower the better.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from doubleback.attacks import Attack, Damage
from doubleback.auditing.measures import DAMAGE, MEASURES
from doubleback.auditing.saved import RELATIVE
from doubleback.metrics.intervals import bootstrap_interval
from doubleback.settings import Budget, Search

if TYPE_CHECKING:
    from doubleback.auditing.record import Points

LEVELS = ("0.05", "0.1", "0.2", "0.3", "0.5", "0.7", "1")  # of the curve, u
STEPS = 50
Array = NDArray[Any]


def damage_attack(search: Search) -> Attack:
    """The attack behind the damage curve of every audit."""
    steps = min(STEPS, search.steps or STEPS)
    return Attack(Damage(), Budget("L2", LEVELS, relative=True), search.changed(steps=steps, restarts=0), DAMAGE)


def damage_curve(points: "Points", way: Float[np.ndarray, "P"], used: NDArray[np.bool_]) -> dict[str, Any]:
    """The area under the relative damage, and its values at `LEVELS`; what is not finite is left out.

    Args:
        points: of `damage_attack`.
        way: ||x_hat_0 - x_hat_t|| of each pair.
        used: (P,), the pairs that have a curve.
    """
    areas, share = damage_areas(points, way)[used], _shares(points, way)[used]
    share = share[np.isfinite(share).all(1)]
    at = {level: summary(values) for level, values in zip(LEVELS, share.T, strict=True)}
    return {"area": summary(areas), RELATIVE: at}


def damage_areas(points: "Points", way: Float[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """The area under each pair's relative damage; NaN where it is not finite. Arguments as in `damage_curve`."""
    share, u = _shares(points, way), np.array([0.0, *map(float, LEVELS)])
    return np.asarray(np.trapezoid(np.concatenate([np.zeros((len(share), 1)), share], axis=1), u, axis=1))


def _shares(points: "Points", way: Float[np.ndarray, "P"]) -> Float[np.ndarray, "P K"]:
    """The relative damage at `LEVELS`: no more distortion ever does less."""
    return np.asarray(np.maximum.accumulate(moved_by(points) / way[:, None], axis=1))


def at_budgets(budget: Budget, points: "Points", curved: NDArray[np.bool_]) -> dict[str, Any]:
    """`budgets` of an attack: by norm and eps as typed, the damage of every image, and every measure under its name.

    The adversarial distance is a mean over the pairs that have a curve.
    """
    found: dict[str, Any] = {}
    for column, typed in enumerate(budget.typed):
        values = {name: points.further[name][:, column] for name in MEASURES if name in points.further}
        values["adversarial_distance"] = points.adversarial_distance[curved, column]
        found[typed] = summary(values.pop(DAMAGE, [])) | {name: summary(each) for name, each in values.items()}
    return {key_of(budget): found}


def worst_damage(budgets: Mapping[str, Budget], points: Mapping[str, "Points"]) -> dict[str, dict[str, Array]]:
    """By norm and eps as typed, the damage of each image: the worst over all attacks that have this budget, (P,)."""
    worst: dict[str, dict[str, Array]] = {}
    for name, budget in budgets.items():
        of_norm = worst.setdefault(key_of(budget), {})
        for column, typed in enumerate(budget.typed):
            own = moved_by(points[name])[:, column]
            of_norm[typed] = np.fmax(of_norm[typed], own) if typed in of_norm else own
    return worst


def summaries(each: Mapping[str, Mapping[str, Array]]) -> dict[str, Any]:
    """Of figures of each image, by norm and eps as typed."""
    return {key: {typed: summary(values) for typed, values in of.items()} for key, of in each.items()}


def moved_by(points: "Points") -> Array:
    """The damage of every point, (P, K); NaN throughout where no pair was attacked."""
    found: Array = points.further.get(DAMAGE, np.full(points.distortion.shape, np.nan))
    return found


def broken(budgets: Mapping[str, Budget], points: Mapping[str, "Points"]) -> int:
    """How many images an attack within an absolute budget has brought to a reconstruction that is not finite."""
    every = [moved_by(points[name]) for name, budget in budgets.items() if not budget.relative]
    return int(np.any([~np.isfinite(one).all(1) for one in every], axis=0).sum()) if every else 0


def key_of(budget: Budget) -> str:
    """Under which key results have a budget's figures."""
    return f"{budget.norm} {RELATIVE}" if budget.relative else budget.norm


def summary(values: Array | Sequence[float]) -> dict[str, Any]:
    """The mean over the pairs, and its 95 % interval; None where nothing is finite."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return {"mean": float(known.mean()) if len(known) else None, "ci95": bootstrap_interval(known)}
