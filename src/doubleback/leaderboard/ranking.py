"""Who withstands most: audits of one protocol in one table, the worst case first. Knows no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from doubleback.metrics.differences import paired_figures
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


@dataclass(frozen=True)
class Entry:
    """One model in one table.

    Attributes:
        place: its rank, from 1; None: a check has flagged it, so it has none.
        name: of the model.
        made: plain, hardened or defended; `how`: by what, in a few words.
        learned: the data set that it has learned from, where that is known.
        worst: worst-case AUDDC; `damage`: how far the reconstruction is moved; `reconstruction`: L2 on the attacked
            images; each with its interval, where it has one.
        pairs: how many pairs its figures are of.
        note: whether it can be told apart from the one above.
        flags: a sentence for each check that fired.
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
    ordered = sorted(runs, key=lambda run: _key(run, at, steered))
    entries: list[Entry] = []
    for place, run in enumerate(ordered, 1):
        flags = flags_of(_audit(run))
        above = ordered[place - 2] if place > 1 and steered and not flags else None
        entries.append(_entry(run, None if flags else place, at, _told_apart(run, above)))
    named = "area over the distortion" if at == (AREA,) else " ".join(at)
    ranked_by = "worst-case AUDDC, higher is harder to steer" if steered else f"damage ({named}), lower is better"
    return Table(
        images_words(runs[0]), threat_words(first), threat_label(first), search_words(first), ranked_by, named, entries
    )


def _entry(run: RunFolder, place: int | None, at: tuple[str, ...], note: str) -> Entry:
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
        flags_of(audit),
    )


def _key(run: RunFolder, at: tuple[str, ...], steered: bool) -> tuple[bool, float, float, str]:
    audit = _audit(run)
    worst, damage = audit.withstands, number(audit.results, ("damage", *at, "mean"))
    lost = float("inf")
    by_worst = (lost if worst is None else -worst) if steered else 0.0
    return bool(flags_of(audit)), by_worst, lost if damage is None else damage, run.name


def _told_apart(run: RunFolder, above: RunFolder | None) -> str:
    """Whether it withstands less than the one above on the same pairs."""
    if above is None:
        return ""
    left, right = _audit(above).areas, _audit(run).areas
    found = None if left is None or right is None else paired_figures(left, right)
    if found is None:
        return "not compared pair by pair with the one above"
    return "" if found.settled else "cannot be told apart from the one above on these pairs"


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
