"""How a statement is held against what was measured: the classifiers that it is of, verdicts, and figures in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from doubleback.paper.compared import BEST, LABELLED
from doubleback.paper.results import known_mean
from doubleback.report.archives import lookup, mapping, number

Verdict = Literal["agrees", "in part", "does not", "not settled"]


def models_of(results: Mapping[str, Any], data: str) -> list[Mapping[str, Any]]:
    """The classifiers of a data set."""
    return list(mapping(results, ("classifiers", data, "models")).values())


def mixture_of(models: Iterable[Mapping[str, Any]], side: str) -> Mapping[str, Any] | None:
    """The mixture on the code of this side; the best one is of an encoder that has learned the labels, where it is."""
    mixtures = {one["penalty"]: one for one in models if one["kind"] == "mixture"}
    return (mixtures.get(LABELLED) if side == BEST else None) or mixtures.get(side)


def taught(mixture: Mapping[str, Any]) -> str:
    return " (the encoder has learned the labels)" if mixture["penalty"] == LABELLED else ""


def mean_held(model: Mapping[str, Any], sources: Sequence[str], eps: Sequence[str]) -> float:
    """The mean share that is still right under the examples of these sources."""
    shares = [number(model, ("transfer", source, e)) for source in sources for e in eps]
    return known_mean(shares) or 0.0


def leads(found: Mapping[str, Any], own: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Whether it holds more than each of the others at each eps, and not by chance where the images can tell."""
    tested = [
        one for differences in mapping(found, ("difference", own["penalty"])).values() for one in differences.values()
    ]
    if tested:
        return [bool(one["settled"] and one["mean"] > 0) for one in tested]
    sides = [[number(one, ("worst_case", eps)) for one in (own, other)] for other in others for eps in found["eps"]]
    return [left > right for left, right in sides if left is not None and right is not None]


def compared(leads: Sequence[bool]) -> Verdict:
    """Whether it leads everywhere."""
    return "agrees" if leads and all(leads) else "in part" if any(leads) else "does not"


def higher(paired: Mapping[str, Any], seems: bool) -> Verdict:
    """Whether the first is higher, by the same images; records of an earlier version have the shares alone."""
    if not paired:
        return "agrees" if seems else "does not"
    return "not settled" if not paired["settled"] else "agrees" if paired["mean"] > 0 else "does not"


def difference_words(paired: Mapping[str, Any]) -> str:
    """The difference on the same images, where that is known."""
    if not paired:
        return ""
    ends = " [{:+.1%}, {:+.1%}]".format(*paired["ci95"]) if paired["ci95"] else ""
    return f"; on the same images {paired['mean']:+.1%}{ends}"


def per_cent(model: Mapping[str, Any], *path: str) -> str:
    value = number(model, path)
    return "-" if value is None else f"{value:.1%}"


def judged(model: Mapping[str, Any], what: str) -> str:
    ends = lookup(model, ("ci95", "judge", what))
    share = per_cent(model, "judge", what)
    return share + (" [{:.0%}, {:.0%}]".format(*ends) if ends else "")


def share_left(less: float) -> str:
    """What is left of something that became so many times less.

    >>> share_left(3.2), share_left(0.5)
    ('1/3.2', '2.0 times')
    """
    return f"1/{less:.1f}" if less >= 1 else f"{1 / less:.1f} times"
