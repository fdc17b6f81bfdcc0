"""What attacks within a budget have done: tables for each run, whose examples hurt whom, pictures at each eps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from doubleback.report.archives import mapping, number
from doubleback.report.cells import (
    Better,
    Cell,
    Column,
    Group,
    Matrix,
    MatrixGroup,
    MatrixRow,
    Row,
    filled,
    number_cell,
    written,
)
from doubleback.report.damage_figures import by_size, damage_panels, spread
from doubleback.report.pictures import change_of, data_uri, factor_of
from doubleback.report.runs import TRANSFERRED, AuditFolder, RunFolder, eps_stored, heading, title
from doubleback.report.svg import Panel

SHOWN = 3  # images of each run
SCORES = "scores"  # the attack that sees only answers
_MEASURES: tuple[tuple[str, str, str, Better], ...] = (
    ("psnr", "PSNR", "dB, reconstruction after against before", "higher"),
    ("ms_ssim_input", "MS-SSIM, inputs", "attacked against source", ""),
    ("ms_ssim", "MS-SSIM, reconstructions", "after against before", "higher"),
    ("kl_symmetric", "Symmetric KL", "of the codes, nats", "lower"),
    ("rate_before", "Rate, no attack", "bits per pixel of the source", "lower"),
    ("rate", "Rate", "bits per pixel of the attacked image", "lower"),
    ("tokens_changed", "Tokens changed", "share of all", "lower"),
    ("lpips", "LPIPS", "after against before", "lower"),
    ("adversarial_distance", "Adversarial distance v", "to the target", "higher"),
)


@dataclass(frozen=True)
class DamageTable:
    """One run under one norm: a column for each eps."""

    run: Column
    norm: str
    eps: list[str]
    groups: list[Group]


@dataclass(frozen=True)
class Origin:
    """Where the examples of a column come from; `place`: the colour of the run with this name, if the page has one."""

    name: str
    place: int | None


@dataclass(frozen=True)
class Shown:
    """One image (data URIs): the source and its reconstruction; at each eps the input, the change and what comes out.

    `number` counts from 1.
    """

    number: int
    source: str
    before: str
    attacked: list[str]
    changes: list[str]
    after: list[str]


@dataclass(frozen=True)
class Film:
    """Images of one run under the attack that did the most damage; `amplified`: how much the change is enlarged."""

    run: Column
    attack: str
    norm: str
    eps: list[str]
    amplified: int
    images: list[Shown]


@dataclass(frozen=True)
class Rate:
    """Bits per pixel of a run that is a codec: without an attack, and under the attack that raises it most.

    Attributes:
        run: the run.
        before: of the sources; without a number if it is not known.
        after: of the attacked images, at the largest eps.
        budget: its norm and eps.
        attack: its name.
    """

    run: Column
    before: Cell
    after: Cell
    budget: str
    attack: str


@dataclass(frozen=True)
class BudgetsView:
    """All that the page shows of damage; false if there is nothing to show."""

    columns: list[Column]
    panels: list[Panel]
    films: list[Film]
    tables: list[DamageTable]
    transfer: Matrix[Origin]
    rates: list[Rate]

    def __bool__(self) -> bool:
        return bool(self.panels or self.films or self.tables)


def budgets_view(runs: Sequence[RunFolder]) -> BudgetsView:
    """Collect what the page shows of damage, from all runs that were audited. Older folders hold none."""
    seen = [(Column(run.name, i), run.audit) for i, run in enumerate(runs) if run.audit]
    each = [(column, audit, norm) for column, audit in seen for norm in _norms(audit)]
    tables = [_table(*one) for one in each]
    films = [_film(*one) for one in each]
    return BudgetsView(
        columns=[column for column, audit in seen if mapping(audit.results, "damage")],
        panels=damage_panels(runs),
        films=[film for film in films if film],
        tables=[table for table in tables if table.groups],
        transfer=_transfer(seen),
        rates=[rate for one in each if (rate := _rate(*one))],
    )


def damage_cell(record: Mapping[str, Any], *path: str, note: str = "") -> Cell:
    """The mean and the interval at `path`, and a short note."""
    found = spread(record, path)
    if found is None:
        return Cell()
    mean, low, high = found
    ends = f"[{written(low)}, {written(high)}]" if (low, high) != (mean, mean) else ""
    return Cell(written(mean), mean, " ".join(part for part in (ends, note) if part))


def worst_attack(audit: AuditFolder, norm: str, eps: str, *, own: bool = False) -> str | None:
    """The attack that did the most damage on average.

    `own`: leave out the attack that sees only answers, and examples made on another victim.
    """
    tried = [name for name in audit.attacks if not own or not (name == SCORES or name.startswith(TRANSFERRED))]
    done = {name: number(audit.results, ("attacks", name, "budgets", norm, eps, "mean")) for name in tried}
    known = {name: damage for name, damage in done.items() if damage is not None}
    return max(known, key=lambda name: known[name]) if known else None


def _norms(audit: AuditFolder) -> list[str]:
    """The norms of all attacks, each once."""
    return list(dict.fromkeys(norm for name in audit.attacks for norm in mapping(audit.results, _at(name))))


def _eps(audit: AuditFolder, norm: str) -> list[str]:
    """The epsilons of all attacks under this norm, the smallest first."""
    return by_size({eps: None for name in audit.attacks for eps in mapping(audit.results, (*_at(name), norm))})


def _at(attack: str) -> tuple[str, str, str]:
    return ("attacks", attack, "budgets")


def _table(run: Column, audit: AuditFolder, norm: str) -> DamageTable:
    """Every attack's damage, then what the worst attack did to each measure."""
    eps = _eps(audit, norm)
    worst = [worst_attack(audit, norm, one) for one in eps]

    def row(label: str, note: str, better: Better, attacks: Sequence[str | None], *measure: str) -> Row:
        pairs = zip(attacks, eps, strict=True)
        cells = [damage_cell(audit.results, *_at(name), norm, one, *measure) if name else Cell() for name, one in pairs]
        return Row(label, note, better, cells)

    attacks = [row(heading(name), audit.about(name), "lower", [name] * len(eps)) for name in audit.attacks]
    cells = [damage_cell(audit.results, "damage", norm, one) for one in eps]
    attacks.append(Row("Worst of all", "image by image", "lower", cells))
    measures = [row(label, note, better, worst, key) for key, label, note, better in _MEASURES]
    groups = filled({"Damage: L2 change of the reconstruction": attacks, "After the worst attack": measures})
    if len(groups) > 1:
        named = [Cell(title(name)) if name else Cell() for name in worst]
        groups[1].rows.insert(0, Row("Worst attack", "most damage on average", "", named))
    return DamageTable(run, norm, eps, groups)


def _film(run: Column, audit: AuditFolder, norm: str) -> Film | None:
    """Pictures of the attack that did the most damage at the largest eps; None without any."""
    eps, images = _eps(audit, norm), audit.images
    attack = worst_attack(audit, norm, eps[-1]) if eps else None
    if attack is None or f"{attack}/eps/x_adv" not in images or "source_reconstruction" not in images:
        return None
    stored = eps_stored(audit.results, attack)
    eps = [one for one in eps if (norm, one) in stored]
    places = [stored.index((norm, one)) for one in eps]
    factor = factor_of(images["source"][:SHOWN], images[f"{attack}/eps/x_adv"][:SHOWN])
    count = min(SHOWN, len(images["source"]))
    return Film(run, attack, norm, eps, factor, [_shown(audit, attack, m, places, factor) for m in range(count)])


def _shown(audit: AuditFolder, attack: str, m: int, places: Sequence[int], factor: int) -> Shown:
    images = audit.images
    source = images["source"][m]
    attacked, after = (images[f"{attack}/eps/{end}"][m] for end in ("x_adv", "reconstruction"))
    return Shown(
        number=m + 1,
        source=data_uri(source),
        before=data_uri(images["source_reconstruction"][m]),
        attacked=[data_uri(attacked[e]) for e in places],
        changes=[data_uri(change_of(source, attacked[e], factor)) for e in places],
        after=[data_uri(after[e]) for e in places],
    )


def _rate(run: Column, audit: AuditFolder, norm: str) -> Rate | None:
    """The rate before and after; None if no attack has one at the largest eps."""
    eps = _eps(audit, norm)
    paths = {name: (*_at(name), norm, eps[-1], "rate") for name in audit.attacks} if eps else {}
    known = {name: rate for name, at in paths.items() if (rate := number(audit.results, (*at, "mean"))) is not None}
    if not known:
        return None
    most = max(known, key=lambda name: known[name])
    of_sources, after = (damage_cell(audit.results, *paths[most][:-1], name) for name in ("rate_before", "rate"))
    before = number_cell(audit.results, "rate") if of_sources.value is None else of_sources  # an older folder
    return Rate(run, before, after, f"{norm} {eps[-1]}", most)


def _transfer(seen: Sequence[tuple[Column, AuditFolder]]) -> Matrix[Origin]:
    """The matrix of the audits that have examples made on another victim."""
    rows = [(run, audit) for run, audit in seen if any(name.startswith(TRANSFERRED) for name in audit.attacks)]
    made_on = dict.fromkeys(_victim(run) for run, _ in rows)
    for _, audit in rows:
        made_on |= dict.fromkeys(
            name.removeprefix(TRANSFERRED) for name in audit.attacks if name.startswith(TRANSFERRED)
        )
    budgets = dict.fromkeys((norm, eps) for _, audit in rows for norm in _norms(audit) for eps in _eps(audit, norm))
    groups = []
    for norm, eps in budgets:
        at = [MatrixRow(run, [_made_on(run, audit, other, norm, eps) for other in made_on]) for run, audit in rows]
        if any(cell.value is not None for row in at for cell in row.cells):
            groups.append(MatrixGroup(f"{norm} {eps}", at))
    return Matrix([_origin(name, seen) for name in made_on], groups)


def _made_on(run: Column, audit: AuditFolder, other: str, norm: str, eps: str) -> Cell:
    own = _victim(run) == other
    attack = worst_attack(audit, norm, eps, own=True) if own else f"{TRANSFERRED}{other}"
    if attack is None:
        return Cell(own=own)
    return replace(damage_cell(audit.results, *_at(attack), norm, eps, note=title(attack) if own else ""), own=own)


def _victim(run: Column) -> str:
    """The name that `--transfer` uses for a run: that of its folder, without the folder above."""
    return run.name.rpartition("/")[2]


def _origin(name: str, seen: Sequence[tuple[Column, AuditFolder]]) -> Origin:
    alike = [run.place for run, _ in seen if _victim(run) == name]
    return Origin(name, alike[0] if len(alike) == 1 else None)
