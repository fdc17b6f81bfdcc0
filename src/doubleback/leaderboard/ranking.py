"""Who withstands most: audits of one protocol in one table, the worst case first. Knows no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from doubleback.metrics.differences import paired_figures
from doubleback.metrics.intervals import bootstrap_interval
from doubleback.report.archives import interval, mapping, number
from doubleback.report.cells import Cell, written
from doubleback.report.comparison import protocols
from doubleback.report.folders import distinct
from doubleback.report.protocol import (
    HARDENED,
    by_size,
    flags_of,
    images_words,
    made_words,
    search_words,
    threat_label,
    threat_words,
)
from doubleback.report.runs import WORST_CASE, AuditFolder, RunFolder

AREA = "area"
_ALIKE = "no pair has a meaningful curve: every reconstruction is alike, so no attack can move it"
Figures = NDArray[np.float64]


@dataclass(frozen=True)
class Entry:
    """One model in one table.

    Attributes:
        place: its rank, from 1; None: a check has flagged it, or nothing could be measured, so it has none.
        name: of the model.
        made: plain, hardened or defended; `how`: by what, in a few words.
        learned: the data set that it has learned from, where that is known.
        worst: worst-case AUDDC; `damage`: how far the reconstruction is moved; `reconstruction`: L2 on the attacked
            images; each with its interval, where it has one.
        pairs: how many pairs its figures are of.
        note: whether it can be told apart from the one above.
        flags: a sentence for each check that fired, and for whatever else makes its figures worthless.
    """

    place: int | None
    name: str
    made: str
    how: str
    learned: str
    worst: Cell
    damage: Cell
    reconstruction: Cell
    pairs: str
    note: str
    flags: Sequence[str]

    @property
    def hardened(self) -> bool:
        """Whether training has made it withstand more."""
        return self.made == HARDENED


@dataclass(frozen=True)
class Table:
    """The audits of one protocol.

    Attributes:
        images: which images were attacked; `threat`: what the attacker may do, and `label`, the same in short;
            `search`: how hard it was tried.
        ranked_by: what the order is by.
        damage: which damage stands beside it.
        entries: the best first, the flagged last.
    """

    images: str
    threat: str
    label: str
    search: str
    ranked_by: str
    damage: str
    entries: Sequence[Entry]


def tables(runs: Sequence[RunFolder]) -> list[Table]:
    """A table for every protocol, the fullest first.

    Args:
        runs: each with its audit.
    """
    groups: list[list[RunFolder]] = []
    for run in runs:
        home = next((group for group in groups if not any(protocols(one, run) for one in group)), None)
        groups.append([run]) if home is None else home.append(run)
    return [_table(group) for group in sorted(groups, key=lambda group: -len(group))]


def _table(runs: Sequence[RunFolder]) -> Table:
    runs = [replace(run, name=name) for run, name in zip(runs, distinct(runs), strict=True)]
    first = _audit(runs[0])
    at = _damage_at(first)
    steered = any(_audit(run).withstands is not None for run in runs)
    every = {run.name: _score(_audit(run), at, steered) for run in runs if not _doubts(_audit(run))}
    scores = {name: score for name, score in every.items() if np.isfinite(score).any()}
    shared = _shared(list(scores.values()))
    if fewer := shared is not None and any(np.isfinite(one).sum() > shared.sum() for one in scores.values()):
        scores = {name: np.where(shared, one, np.nan) for name, one in scores.items()}
    order = {name: -_mean(score) if steered else _mean(score) for name, score in scores.items()}
    ordered = sorted(runs, key=lambda run: (run.name not in order, order.get(run.name, 0.0), *_key(run, at)))
    entries: list[Entry] = []
    for place, run in enumerate(ordered, 1):
        if run.name not in order:
            entries.append(_entry(run, None, at))
            continue
        above = ordered[place - 2] if place > 1 else None
        entry = _entry(run, place, at, _told_apart(run, above, at, steered))
        if fewer:
            cell = _of_pairs(scores[run.name])
            entry = replace(entry, worst=cell) if steered else replace(entry, damage=cell)
        entries.append(entry)
    named = "area over the distortion" if at == (AREA,) else " ".join(at)
    ranked_by = "worst-case AUDDC, higher is harder to steer" if steered else f"damage ({named}), lower is better"
    if fewer and shared is not None:
        ranked_by += f"; over the {shared.sum()} of {len(shared)} pairs that every ranked model can use"
    return Table(
        images_words(runs[0]), threat_words(first), threat_label(first), search_words(first), ranked_by, named, entries
    )


def _score(audit: AuditFolder, at: tuple[str, ...], steered: bool) -> Figures:
    """What ranks an audit, pair by pair where that is stored; not finite where it is missing."""
    stored = audit.areas if steered else audit.curves.get("/".join(("damage", *at)))
    if stored is not None:
        return np.asarray(stored, dtype=np.float64)
    whole = audit.withstands if steered else number(audit.results, ("damage", *at, "mean"))
    return np.array([np.nan if whole is None else whole])


def _shared(scores: Sequence[Figures]) -> NDArray[np.bool_] | None:
    """The pairs that all of them have; None: none, or not all are stored pair by pair."""
    if not scores or any(one.shape != scores[0].shape for one in scores):
        return None
    known = np.logical_and.reduce([np.isfinite(one) for one in scores])
    return known if known.any() else None


def _mean(score: Figures) -> float:
    return float(score[np.isfinite(score)].mean())


def _of_pairs(score: Figures) -> Cell:
    """The mean over these pairs, and its interval."""
    ends = bootstrap_interval(score[np.isfinite(score)])
    return Cell(written(_mean(score)), _mean(score), f"[{written(ends[0])}, {written(ends[1])}]" if ends else "")


def _doubts(audit: AuditFolder) -> list[str]:
    """Why its figures are worthless: what a check has flagged, and a model whose reconstructions are all alike."""
    nothing = number(audit.results, "pairs.used") == 0 or number(audit.results, "reconstruction_l2") is None
    return [*flags_of(audit), *([_ALIKE] if nothing else [])]


def _entry(run: RunFolder, place: int | None, at: tuple[str, ...], note: str = "") -> Entry:
    audit, (made, how) = _audit(run), made_words(run)
    used, requested = (number(audit.results, f"pairs.{key}") for key in ("used", "requested"))
    pairs = "" if used is None or used == requested else f"{used:.0f} of {requested or used:.0f} pairs"
    learned = run.settings.get("data")
    worst = "attacks", WORST_CASE, "auddc", "envelope"
    value = audit.withstands
    of_all = audit.targeted or value is None
    cell = _cell(audit, worst) if of_all else Cell(written(value or 0.0), value)
    return Entry(
        place,
        run.name,
        made,
        how,
        learned.replace("\\", "/").rstrip("/").rpartition("/")[2] if isinstance(learned, str) else "",
        cell,
        _cell(audit, ("damage", *at)),
        _l2(audit),
        pairs,
        note,
        _doubts(audit),
    )


def _key(run: RunFolder, at: tuple[str, ...]) -> tuple[float, float, str]:
    """The order of what has no rank, and of equals."""
    worst, damage = _audit(run).withstands, number(_audit(run).results, ("damage", *at, "mean"))
    lost = float("inf")
    return lost if worst is None else -worst, lost if damage is None else damage, run.name


def _told_apart(run: RunFolder, above: RunFolder | None, at: tuple[str, ...], steered: bool) -> str:
    """Whether it withstands less than the one above on the pairs that both can use."""
    if above is None:
        return ""
    left, right = (_score(_audit(one), at, steered) for one in (above, run))
    found = paired_figures(left, right) if len(left) == len(right) > 1 else None
    if found is None:
        return "not compared pair by pair with the one above"
    if not found.settled:
        return "cannot be told apart from the one above on these pairs"
    better = found.mean > 0 if steered else found.mean < 0
    return "" if better else "withstands more than the one above on the pairs that both can use"


def _damage_at(audit: AuditFolder) -> tuple[str, ...]:
    """The largest budget's damage; without budgets the area."""
    damage = mapping(audit.results, "damage")
    for norm in damage:
        if norm not in (AREA, "relative") and (eps := list(mapping(damage, (norm,)))):
            return norm, by_size(eps)[-1]
    return (AREA,)


def _cell(audit: AuditFolder, path: tuple[str, ...]) -> Cell:
    value, ends = number(audit.results, (*path, "mean")), interval(audit.results, (*path, "ci95"))
    if value is None:
        return Cell()
    return Cell(written(value), value, f"[{written(ends[0])}, {written(ends[1])}]" if ends else "")


def _l2(audit: AuditFolder) -> Cell:
    value = number(audit.results, "reconstruction_l2")
    return Cell() if value is None else Cell(written(value), value)


def _audit(run: RunFolder) -> AuditFolder:
    assert run.audit is not None
    return run.audit
