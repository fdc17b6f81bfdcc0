"""What an audit found: the points of every attack, and the figures that follow from them.

An attack's sweep of coefficients gives points (u, v) for each pair, their envelope a curve, its area an AUDDC. (A few
eps of a budget make no curve: the results show them eps by eps.) The
worst case takes, pair by pair, the lowest of the curves of all targeted attacks and of blending; the ceiling is what
blending alone would leave. Flagged pairs have no meaningful curve and are left out everywhere.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from doubleback.attacks import Attack
from doubleback.attacks.sweep import coefficients_of
from doubleback.auditing import breaking, saved
from doubleback.auditing.breaking import damage_areas, summary
from doubleback.auditing.measures import DAMAGE
from doubleback.metrics.curve import DistortionCurve, auddc, resolution
from doubleback.processes import peak_memory_mb
from doubleback.settings import Budget, Price
from doubleback.trust import Finding, Judged, recorded

Array = NDArray[Any]
BLEND, WORST_CASE, CEILING = "blend", "worst_case", "ceiling"
BUDGETS = (0.1, 0.2, 0.3, 0.5)  # distortions of the gallery
SHOWN = ("rate", "tokens_changed")  # of what else is known of points: at those distortions, in the results
GRID = np.linspace(0, 1, 201)  # the distortions at which envelopes are written


@dataclass(eq=False)
class Points:
    """What one attack, or blending, reached: K points for each of P pairs. Flagged pairs hold NaN.

    Attributes:
        distortion: u, (P, K).
        adversarial_distance: v, (P, K).
        converged: (P,), share of each pair's rows that converged before the last step; NaN where that has no meaning.
        seconds: wall time.
        swept: how many of the columns a sweep, or a budget, has given; the others fill holes. None: all.
        further: by name, (P, K), what else is known of the points: `rate`, `tokens_changed`.
    """

    distortion: Float[np.ndarray, "P K"]
    adversarial_distance: Float[np.ndarray, "P K"]
    converged: Float[np.ndarray, "P"]
    seconds: float = 0.0
    swept: int | None = None
    further: dict[str, Float[np.ndarray, "P K"]] = field(default_factory=dict)

    @classmethod
    def none_yet(cls, pairs: int, count: int, swept: int | None = None) -> "Points":
        """NaN throughout."""
        u, v = np.full((pairs, count), np.nan), np.full((pairs, count), np.nan)
        return cls(u, v, np.full(pairs, np.nan), swept=swept)

    def at(self, rows: Int[np.ndarray, "p"]) -> "Points":
        """Those of these pairs."""
        further = {name: values[rows] for name, values in self.further.items()}
        own = self.distortion[rows], self.adversarial_distance[rows], self.converged[rows]
        return Points(*own, self.seconds, self.swept, further)

    def note(self, name: str, rows: Int[np.ndarray, "p"], values: Float[np.ndarray, "p K"]) -> None:
        """Keep what else is known of these pairs' points."""
        self.further.setdefault(name, np.full(self.distortion.shape, np.nan))[rows] = values

    def within(self, budget: float, name: str) -> Float[np.ndarray, "P"]:
        """What is known of each pair's best point of a distortion of at most `budget`, NaN where none is."""
        v = np.where(self.distortion <= budget, self.adversarial_distance, np.inf)
        best = self.further[name][np.arange(len(v)), v.argmin(1)]
        return np.where(np.isfinite(v.min(1)), best, np.nan)

    def curves(self) -> "list[DistortionCurve]":
        """The envelope of each pair; none of them may be flagged."""
        return [
            DistortionCurve.envelope(*pair) for pair in zip(self.distortion, self.adversarial_distance, strict=True)
        ]


class Computed(Mapping[str, Array]):
    """Arrays by name, each computed when it is asked for: one at a time is held where there are many pairs."""

    def __init__(self, arrays: Mapping[str, Callable[[], Array]]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


@dataclass(frozen=True, eq=False)
class Audited:
    """What attacks did to an autoencoder on P pairs.

    Attributes:
        attacks: those that were run.
        source_index, target_index: places in the test split, (P,).
        flagged: (P,), the pairs without a meaningful curve: left out everywhere.
        unmeasured: (P,), those of them that an attack has brought to a reconstruction that is not finite.
        source_quality: by name, (P,): how well each source is reconstructed.
        points: by attack, of "blend", and of "damage", the attack behind the damage curve.
        way: ||x_hat_0 - x_hat_t||, (P,), the divisor of damage over the distortion.
        gallery: uint8 images of the first pairs, by their name in docs/run-directory.md.
        judged: checks of whether the figures are to be trusted; none without a pair to check by.
        seconds: wall time of it all.
        findings: of `check`, before the first attack.
        certified: (P,), the AUDDC below which no attack can come, of a model whose Lipschitz constant is proven
            (`metrics.certificate`); NaN of any other.
    """

    attacks: list[Attack]
    source_index: Int[np.ndarray, "P"]
    target_index: Int[np.ndarray, "P"]
    flagged: Bool[np.ndarray, "P"]
    unmeasured: Bool[np.ndarray, "P"]
    source_quality: dict[str, Float[np.ndarray, "P"]]
    points: dict[str, Points]
    way: Float[np.ndarray, "P"]
    gallery: dict[str, Array]
    judged: Judged
    seconds: float
    findings: list[Finding] = field(default_factory=list)
    certified: Float[np.ndarray, "P"] = field(default_factory=lambda: np.full(1, np.nan))

    def curves(self, name: str) -> list[DistortionCurve | None]:
        """The envelope of each pair: of an attack, of "blend", or the "worst_case"; None for flagged pairs."""
        return list(self._curves(name))

    def _curves(self, name: str) -> Iterator[DistortionCurve | None]:
        """`curves`, one at a time: of many pairs they take ten times the memory of their points."""
        if name == WORST_CASE:
            for pair in zip(*(self._curves(name) for name in self._of_worst_case), strict=True):
                yield None if None in pair else reduce(DistortionCurve.minimum, pair)
            return
        points, curved = self.points[name], name not in self._without_curve
        for flagged, u, v in zip(self.flagged, points.distortion, points.adversarial_distance, strict=True):
            yield DistortionCurve.envelope(u, v) if curved and not flagged else None

    @property
    def _of_worst_case(self) -> list[str]:
        """What the worst case is over: attacks with a target and a curve, and blending.

        Where no attack has a curve: all of them, so that there is no worst case either.
        """
        if len(self._without_curve) == len(self.attacks):
            return [attack.name for attack in self.attacks]
        curved = [a.name for a in self.attacks if a.goal.targeted and a.name not in self._without_curve]
        return [*curved, BLEND]

    @property
    def _without_curve(self) -> set[str]:
        """Attacks whose points make no curve over the distortion: those of a few eps in other units."""
        return {attack.name for attack in self.attacks if not has_curve(attack)}

    def auddc(self, name: str, convention: str = "envelope") -> Float[np.ndarray, "P"]:
        """The AUDDC of each pair, NaN for flagged ones. "worst_case" and "ceiling" have the envelope convention."""
        if convention == "reference":
            points = self.points[name]  # of which the published code knows only the sweep's
            own = points.distortion[:, : points.swept], points.adversarial_distance[:, : points.swept]
            areas = [
                auddc(u, v, "reference") if name not in self._without_curve and not flagged else math.nan
                for flagged, u, v in zip(self.flagged, *own, strict=True)
            ]
        else:
            curves = self._curves(BLEND if name == CEILING else name)
            areas = [math.nan if curve is None else curve.area() for curve in curves]
        return np.array(areas)

    def resolution(self, name: str) -> Float[np.ndarray, "P"]:
        """How much lower the AUDDC of each pair could be, at most, with more points; NaN where it has no curve."""
        names = self._of_worst_case if name == WORST_CASE else [name]
        found = np.full(len(self.flagged), np.nan)
        for place in np.flatnonzero(~self.flagged) if not self._without_curve.intersection(names) else ():
            every = (self.points[one] for one in names)
            found[place] = resolution(*((one.distortion[place], one.adversarial_distance[place]) for one in every))
        return found

    def summary(self) -> str:
        """The figures for people: a line an attack, and every flag."""
        return saved.summary(self)

    def __str__(self) -> str:
        return self.summary()

    def save(self, folder: str | Path) -> Path:
        """Write a folder as `doubleback audit --output` does. Raises: InputError, it holds something else."""
        return saved.save(self, folder)

    def report(self, path: str | Path, name: str = "audit") -> Path:
        """Write an HTML page about it, which calls the model `name`. Raises: InputError, it cannot be written."""
        return saved.report(self, path, name)

    def results(self) -> dict[str, Any]:
        """The figures of `audit/results.json` (docs/run-directory.md)."""
        ceiling = summary(self.auddc(CEILING))
        budgets, used = self._budgets, ~self.flagged
        within = {name: {"budgets": breaking.at_budgets(one, self.points[name], used)} for name, one in budgets.items()}
        attacks: dict[str, Any] = {}
        for attack in self.attacks:
            points = self.points[attack.name]
            attacks[attack.name] = {
                **self._areas(attack.name, ceiling["mean"], "envelope", "reference"),
                "resolution": summary(self.resolution(attack.name))["mean"],
                "seconds": points.seconds,
                "converged": _mean(points.converged[np.isfinite(points.converged)]),
                "targeted": attack.goal.targeted,
                "about": attack.about,
                **within.get(attack.name, {}),
                **self._further(points),
                **recorded(self.judged.each.get(attack.name, [])),
            }
        attacks[WORST_CASE] = self._areas(WORST_CASE, ceiling["mean"], "envelope")
        attacks[WORST_CASE]["resolution"] = summary(self.resolution(WORST_CASE))["mean"]
        flagged, unmeasured = int(self.flagged.sum()), int(self.unmeasured.sum())
        reason = f"after an attack, the reconstruction of {unmeasured} pairs is not finite: they are flagged"
        not_measured = {"pairs": reason} if unmeasured else {}
        if count := breaking.broken(budgets, self.points):
            not_measured["damage"] = f"within a budget, the reconstruction of {count} images is not finite: left out"
        quality = {name: values[~self.flagged] for name, values in self.source_quality.items()}
        return {
            "attacks": attacks,
            "ceiling": ceiling,
            **({} if np.isnan(self.certified).all() else {"certified": summary(self.certified[~self.flagged])}),
            "damage": breaking.damage_curve(self.points[DAMAGE], self.way, used)
            | breaking.summaries(breaking.worst_damage(budgets, self.points)),
            **self._flagged(not_measured.get("damage")),
            "pairs": {"requested": len(self.flagged), "used": len(self.flagged) - flagged, "flagged": flagged},
            **({"not_measured": not_measured} if not_measured else {}),
            **{name: _mean(values[np.isfinite(values)]) for name, values in quality.items()},
            "seconds": self.seconds,
            "peak_memory_mb": peak_memory_mb(),
        }

    def _flagged(self, broken: str | None) -> dict[str, Any]:
        """`checks` and `flags`: of all attacks together, findings that make figures wrong, images that are left out."""
        found = recorded(self.judged.together)
        wrong = {finding.name: finding.message for finding in self.findings if finding.spoils and not finding.ok}
        left_out = {} if broken is None else {"not_finite": broken}
        return found | {"flags": wrong | left_out | found["flags"]}

    def _further(self, points: Points) -> dict[str, Any]:
        """By name, what else is known of an attack's best points within the distortions of the gallery; means."""
        kept = points.at(np.flatnonzero(~self.flagged))
        found = {name: [kept.within(budget, name) for budget in BUDGETS] for name in points.further if name in SHOWN}
        return {name: [_mean(one[np.isfinite(one)]) for one in each] for name, each in found.items()}

    def arrays(self) -> Mapping[str, Array]:
        """The arrays of `audit/curves.npz` (docs/run-directory.md); those of curves are computed when asked for."""
        arrays: dict[str, Callable[[], Array]] = {
            name: partial(np.asarray, array)
            for name, array in {
                "flagged": self.flagged,
                "grid": GRID,
                **self._coefficients(),
                "source_index": self.source_index,
                "target_index": self.target_index,
            }.items()
        }
        for name, points in self.points.items():
            arrays[f"{name}/distortion"] = partial(np.asarray, points.distortion)
            arrays[f"{name}/adversarial_distance"] = partial(np.asarray, points.adversarial_distance)
        for name in [*self.points, WORST_CASE]:
            arrays[f"{CEILING if name == BLEND else name}/auddc"] = partial(self.auddc, name)
            arrays[f"{name}/envelope"] = partial(self._envelopes, name)
        arrays[f"{DAMAGE}/area"] = self.damage_areas
        for key, each in breaking.worst_damage(self._budgets, self.points).items():
            arrays |= {f"{DAMAGE}/{key}/{eps}": partial(np.asarray, one) for eps, one in each.items()}
        return Computed(arrays)

    @property
    def _budgets(self) -> dict[str, Budget]:
        return {attack.name: attack.capability for attack in self.attacks if isinstance(attack.capability, Budget)}

    def damage_areas(self) -> Float[np.ndarray, "P"]:
        """The area under each pair's relative damage, lower withstands more; NaN for flagged pairs."""
        return np.where(self.flagged, np.nan, damage_areas(self.points[DAMAGE], self.way))

    def _envelopes(self, name: str) -> Float[np.ndarray, "P G"]:
        """Every curve at the distortions of `GRID`; NaN for flagged pairs."""
        found = np.full((len(self.flagged), *GRID.shape), np.nan)
        for row, curve in zip(found, self._curves(name), strict=True):
            if curve is not None:
                row[:] = curve.at(GRID)
        return found

    def _coefficients(self) -> dict[str, Array]:
        """The C of every column: once where all attacks have the same, else attack by attack."""
        prices = {attack.name: attack.capability for attack in self.attacks if isinstance(attack.capability, Price)}
        each = {name: coefficients_of(price).numpy() for name, price in prices.items()}
        first = next(iter(each.values()), np.zeros(0))
        if len(each) == len(self.attacks) and all(np.array_equal(first, other) for other in each.values()):
            return {"coefficients": first}
        return {f"{name}/coefficients": values for name, values in each.items()}

    def _areas(self, name: str, ceiling: float | None, *conventions: str) -> dict[str, Any]:
        """The mean AUDDC in each convention, and its share of the ceiling."""
        area = {convention: summary(self.auddc(name, convention)) for convention in conventions}
        mean = area["envelope"]["mean"]
        return {"auddc": area, "share_of_ceiling": mean / ceiling if mean is not None and ceiling else None}


def has_curve(attack: Attack | None) -> bool:
    """Whether its points make a curve over the distortion: those of a few eps in other units do not. None: blending."""
    return attack is None or not isinstance(attack.capability, Budget) or attack.capability.relative


def _mean(values: Float[np.ndarray, "P"]) -> float | None:
    """None where there is nothing to average."""
    return float(values.mean()) if len(values) else None
