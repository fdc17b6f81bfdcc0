"""What the numbers say, in one sentence of plain words, and what keeps them from saying more."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from doubleback.metrics.differences import Difference
from doubleback.report.archives import number
from doubleback.report.cells import written
from doubleback.report.comparison import (
    baseline,
    caveats,
    difference,
    obstacles,
    quotient,
    reconstruction_ratio,
    unlike,
)
from doubleback.report.damage_figures import damaged
from doubleback.report.doubts import doubts, pairs_words, unknown
from doubleback.report.runs import WORST_CASE, Areas, AuditFolder, RunFolder, title
from doubleback.report.svg import SERIES

COSTLY = 1.1  # from so many times the baseline's reconstruction error on, it may be the price of the robustness
LIKELY = 0.05  # two models differ if a test's p is under this


@dataclass(frozen=True)
class Verdict:
    """One sentence (HTML, names escaped) and the notes that belong to it."""

    sentence: Markup
    notes: list[str]


@dataclass(frozen=True, eq=False)  # arrays inside: each is equal to itself alone
class _Audited:
    name: Markup
    run: RunFolder
    audit: AuditFolder
    auddc: float


@dataclass(frozen=True)
class _Duel:
    """Two runs compared pair by pair."""

    base: _Audited
    best: _Audited
    difference: Difference

    @property
    def areas(self) -> tuple[Areas, Areas]:
        """(P,) of the best and of the base, on the pairs that both use."""
        best, base = (one.audit.areas for one in (self.best, self.base))
        assert best is not None  # otherwise there is no `difference`
        assert base is not None
        used = np.isfinite(best) & np.isfinite(base)
        return best[used], base[used]


def verdict(runs: Sequence[RunFolder]) -> Verdict:
    """Compare the run that withstands most with the baseline; without two to compare, say what is known."""
    seen = [(_named(runs, i), run, run.audit) for i, run in enumerate(runs) if run.audit]
    notes = [note for _, run, _ in seen for note in doubts(run)] if seen else []
    notes += [f"{run.name} has no audit." for run in runs if seen and run.reconstructs and not run.audit]
    audited = [
        _Audited(name, run, audit, audit.withstands) for name, run, audit in seen if audit.withstands is not None
    ]
    moved = damaged([(name, audit) for name, _, audit in seen if audit.withstands is None])
    lost = moved.sentence + Markup("").join(
        Markup(" What {} withstands is not known: {}.").format(name, unknown(audit))
        for name, _, audit in seen
        if audit.withstands is None and name not in moved.names
    )
    notes += _not_compared([run for name, run, _ in seen if name in moved.names])
    if not seen:
        attacked = [i for i, run in enumerate(runs) if run.reconstructs] or range(len(runs))
        names = Markup(", ").join(_named(runs, i) for i in attacked)
        lacks = "audit" if any(run.reconstructs for run in runs) else "attack"
        says = Markup("How much {} can withstand is not known: there is no {} here.").format(names, lacks)
        return Verdict(says, [])
    alone = Markup("").join(_alone(one) for one in audited)
    found = _of_several(audited) if len(audited) > 1 else Verdict(alone, [])
    return Verdict(Markup((found.sentence + lost).strip()), found.notes + notes)


def _not_compared(runs: Sequence[RunFolder]) -> list[str]:
    """Why the damage of runs cannot be ranked: their attacks differ."""
    pairs = [(runs[0], other, unlike(runs[0], other)) for other in runs[1:]]
    return [
        f"{one.name} and {other.name}: {'; '.join(why)}, so they are not ranked." for one, other, why in pairs if why
    ]


def _of_several(audited: Sequence[_Audited]) -> Verdict:
    """The best of those that can be compared with the baseline; why the others cannot."""
    place = baseline([one.run for one in audited])
    base = audited[place or 0]
    others = [one for one in audited if one is not base]
    duels = [_Duel(base, one, found) for one in others if (found := difference(one.run, base.run))]
    apart = [one for one in others if one not in [duel.best for duel in duels]]
    if not duels:
        names = Markup(", ").join(one.name for one in audited)
        first, *further = apart
        says = Markup("{}: {}, so they are not ranked.").format(names, _why_not(audited, base, first))
        return Verdict(says, _not_ranked(audited, base, further))
    duels.sort(key=lambda duel: -duel.difference.mean)
    return Verdict(_compared(duels[0]), _explained(duels) + _not_ranked(audited, base, apart))


def _named(runs: Sequence[RunFolder], place: int) -> Markup:
    return Markup('<b class="run-{}">{}</b>').format(place % SERIES, runs[place].name)


def _why_not(audited: Sequence[_Audited], base: _Audited, one: _Audited) -> str:
    """The obstacles between two runs, with their values in the order of the page."""
    left, right = (each.run for each in audited if each in (base, one))
    return "; ".join(obstacles(left, right))


def _not_ranked(audited: Sequence[_Audited], base: _Audited, others: Sequence[_Audited]) -> list[str]:
    return [f"{one.run.name} is not ranked with {base.run.name}: {_why_not(audited, base, one)}." for one in others]


def _alone(one: _Audited) -> Markup:
    share = number(one.audit.results, f"attacks.{WORST_CASE}.share_of_ceiling") if one.audit.targeted else None
    tested = number(one.run.results, "test.reconstruction_l2")
    error, where = (one.run.reconstruction_l2, " on the images attacked" if tested is None else "")
    return Markup("{} withstands {:.3f} ({}){}{}.").format(
        one.name,
        one.auddc,
        _measure(one.audit),
        "" if share is None else f", {share:.0%} of what blending alone would leave",
        "" if error is None else f", at a reconstruction error of {error:.3f}{where}",
    )


def _measure(audit: AuditFolder) -> str:
    """The figure that ranks, in words."""
    if audit.targeted:
        return "worst-case AUDDC"
    named = ", ".join(map(title, audit.attacks))
    return f"AUDDC, attacks: {named}, the worst for each pair" if len(audit.attacks) > 1 else f"AUDDC, attack: {named}"


def _compared(duel: _Duel) -> Markup:
    """Which run withstands more, by what factor and at what price; or that the pairs do not settle it."""
    found, (best, base) = duel.difference, duel.areas
    ratio = quotient(best, base)
    scored = f"{best.mean():.3f} against {base.mean():.3f}"
    if not found.settled:
        says = "{best} and {base} cannot be told apart on these pairs: {scored}, {why}{price}."
    elif found.mean > 0 and ratio is None:
        says = "{best} withstands more than {base}, {scored}{price}."
    elif found.mean > 0:
        says = "{best} withstands {times} what {base} does{price}."
    else:
        says = "{best} withstands less than {base}: {times} as much{price}."
    return Markup(says).format(
        best=duel.best.name,
        base=duel.base.name,
        times=scored if ratio is None else f"{_times(ratio)} times",
        scored=scored,
        why=_unsettled(found),
        price=_price(duel),
    )


def _unsettled(found: Difference) -> str:
    if found.interval is None:
        return "a single pair"
    if found.higher == found.lower == 0:
        return "the same on every pair"
    return f"a difference of {_interval(found)}, which holds 0"


def _times(ratio: float) -> str:
    """With two decimals, or as many as it takes to differ from 1.

    >>> _times(1.0872), _times(1.0004), _times(1.0)
    ('1.09', '1.0004', '1.00')
    """
    said = f"{ratio:.2f}"
    return said if said != "1.00" or abs(ratio - 1) < 1e-6 else f"{1 + float(f'{ratio - 1:.1g}'):.6g}"


def _interval(found: Difference) -> str:
    """`0.028 [0.017, 0.039]`."""
    ends = f" [{', '.join(map(written, found.interval))}]" if found.interval else ""
    return written(found.mean) + ends


def _price(duel: _Duel) -> str:
    found = reconstruction_ratio(duel.best.run, duel.base.run)
    if found is None:
        return "; their reconstruction errors are not known on the same images"
    return f", at {found[0]:.2f} times its reconstruction error{found[1]}"


def _explained(duels: Sequence[_Duel]) -> list[str]:
    """What was compared with what, and the numbers behind it."""
    first, *others = duels
    notes = _pair_by_pair(first) + caveats(first.best.run, first.base.run)
    price = reconstruction_ratio(first.best.run, first.base.run)
    if price is not None and price[0] >= COSTLY:
        notes.append(
            f"{first.best.run.name} reconstructs clearly worse, and an autoencoder that reconstructs badly can look "
            "robust: look at the reconstructions below before you trust the gain."
        )
    if not others:
        return notes
    notes.append(
        f"{first.best.run.name} was picked by these figures from {len(duels)} runs compared with "
        f"{first.base.run.name}, so its difference looks a little too good."
    )
    next_best = others[0].best
    if found := difference(first.best.run, next_best.run):
        notes += _pair_by_pair(_Duel(next_best, first.best, found))
    return notes


def _pair_by_pair(duel: _Duel) -> list[str]:
    """The numbers behind a comparison."""
    found, audit, (best, base) = duel.difference, duel.best.audit, duel.areas
    tried = [*map(title, audit.judged_by), *(["blending"] if audit.targeted else [])]
    measure = "Worst-case AUDDC" if audit.targeted else "AUDDC"
    says = f"{measure} ({', '.join(tried)}): {duel.best.run.name} {best.mean():.3f}, "
    says += f"{duel.base.run.name} {base.mean():.3f} on the same {pairs_words(found.pairs)}; "
    if found.interval is None:
        return [f"{says}a single pair has no interval."]
    says += f"difference {_interval(found)} (95 %, bootstrap of the differences pair by pair), "
    says += f"higher on {found.higher} of {pairs_words(found.pairs)} (sign test, {found.p_words})."
    left = len(duel.base.audit.pairs[0]) - found.pairs
    notes = [says] + ([f"The comparison leaves out {pairs_words(left)} that one of the two flags."] if left else [])
    if found.settled != (found.p < LIKELY):
        notes.append("The interval and the sign test do not agree. More pairs would settle it.")
    return notes
