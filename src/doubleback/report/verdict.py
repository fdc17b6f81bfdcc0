"""What the numbers say, in one sentence of plain words, and what keeps them from saying more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from doubleback.report.archives import lookup, mapping, number
from doubleback.report.runs import WORST_CASE, AuditFolder, RunFolder, title
from doubleback.report.svg import SERIES

COSTLY = 1.1  # times the baseline's reconstruction error, from which on it may be the price of the robustness
UNCONVERGED = 0.9  # share of attack rows that converged, below which a longer attack may find more
IDLE = 0.98  # share of the ceiling from which on an attack shows nothing that blending does not


@dataclass(frozen=True)
class Verdict:
    """One sentence (HTML, names escaped) and the notes that belong to it."""

    sentence: Markup
    notes: list[str]


@dataclass(frozen=True)
class _Audited:
    name: Markup
    run: RunFolder
    audit: AuditFolder
    auddc: float


def verdict(runs: Sequence[RunFolder]) -> Verdict:
    """Compare the run that withstands most with the baseline; with no two to compare, say what is known."""
    audited = [
        _Audited(_named(runs, i), run, run.audit, run.audit.worst_case)
        for i, run in enumerate(runs)
        if run.audit and run.audit.worst_case is not None
    ]
    notes = [note for one in audited for note in _doubts(one)]
    attacked = [i for i, run in enumerate(runs) if run.reconstructs] or range(len(runs))
    names = Markup(", ").join(_named(runs, i) for i in attacked)
    if not audited:
        lacks = "audit" if any(run.reconstructs for run in runs) else "attack"
        unknown = Markup("How much {} can withstand is not known: there is no {} here.").format(names, lacks)
        return Verdict(unknown, [])
    if len(audited) == 1:
        return Verdict(_alone(audited[0]), notes)
    place = baseline([one.run for one in audited])
    if place is None:
        return Verdict(Markup("{}: trained on different data, so not to be ranked.").format(names), notes)
    base = audited[place]
    best = max((one for one in audited if one is not base), key=lambda one: one.auddc)
    if base.audit.pairs != best.audit.pairs:
        return Verdict(Markup("{}: attacked on different pairs, so not to be ranked.").format(names), notes)
    return Verdict(_compared(base, best), _pair_by_pair(base, best) + _price(base, best) + notes)


def baseline(runs: Sequence[RunFolder]) -> int | None:
    """Place of the run that others are compared with: the first trained without a penalty, else the first.

    An autoencoder, if there is one. None if there is nothing to compare: a single run, or runs on different data.
    """
    if len(runs) < 2 or len({str(run.settings.get("data")) for run in runs}) > 1:
        return None
    autoencoders = [i for i, run in enumerate(runs) if run.reconstructs] or list(range(len(runs)))
    return next((i for i in autoencoders if runs[i].is_plain), autoencoders[0])


def _named(runs: Sequence[RunFolder], place: int) -> Markup:
    return Markup('<b class="run-{}">{}</b>').format(place % SERIES, runs[place].name)


def _alone(one: _Audited) -> Markup:
    share = number(one.audit.results, f"attacks.{WORST_CASE}.share_of_ceiling")
    error = one.run.reconstruction_l2
    return Markup("{} withstands {:.3f} (worst-case AUDDC){}{}.").format(
        one.name,
        one.auddc,
        "" if share is None else f", {share:.0%} of what blending alone would leave",
        "" if error is None else f", at a reconstruction error of {error:.3f}",
    )


def _compared(base: _Audited, best: _Audited) -> Markup:
    """Who withstands how many times as much, at what price, or that the pairs do not settle it."""
    errors = best.run.reconstruction_l2, base.run.reconstruction_l2
    price = f"{errors[0] / errors[1]:.2f} times" if errors[0] is not None and errors[1] else "an unknown multiple of"
    ratio = f"{best.auddc / base.auddc:.2f} times" if base.auddc > 0 else f"{best.auddc:.3f} against"
    if not _settled(base, best):
        says = "{best} and {base} cannot be told apart on these pairs: {best} scores {ratio} what {base} does"
        says += " in the worst case, with overlapping 95 % intervals, at {price} its reconstruction error."
    elif best.auddc > base.auddc:
        says = "{best} withstands {ratio} what {base} does, at {price} its reconstruction error."
    else:
        says = "{best} withstands less than {base}: {ratio} as much, at {price} its reconstruction error."
    return Markup(says).format(best=best.name, base=base.name, ratio=ratio, price=price)


def _settled(base: _Audited, best: _Audited) -> bool:
    """Whether both intervals are known and do not overlap."""
    one, other = base.audit.worst_case_interval, best.audit.worst_case_interval
    return one is not None and other is not None and (one[1] < other[0] or other[1] < one[0])


def _pair_by_pair(base: _Audited, best: _Audited) -> list[str]:
    tried = ", ".join([*map(title, best.audit.targeted), "blending"])
    says = f"Worst-case AUDDC ({tried}): {best.auddc:.3f} against {base.auddc:.3f}"
    one, other = (side.audit.curves.get(f"{WORST_CASE}/auddc") for side in (best, base))
    if one is None or other is None or len(one) != len(other):
        return [f"{says}."]
    kept = np.isfinite(one) & np.isfinite(other)
    return [f"{says}, higher on {int((one > other)[kept].sum())} of {_pairs(int(kept.sum()))}."]


def _price(base: _Audited, best: _Audited) -> list[str]:
    errors = best.run.reconstruction_l2, base.run.reconstruction_l2
    if errors[0] is None or not errors[1] or errors[0] < COSTLY * errors[1]:
        return []
    return [
        f"{best.run.name} reconstructs markedly worse, and an autoencoder that reconstructs badly can look "
        "robust: judge the gain with the reconstructions below."
    ]


def _doubts(one: _Audited) -> list[str]:
    """What a careful reader would ask about one audit."""
    notes = [f"{one.run.name}: {doubt}" for doubt in _of_other_images(one.audit)]
    notes += [f"{one.run.name}: a check fired: {says}." for says in mapping(one.audit.results, "flags").values()]
    used, flagged = (number(one.audit.results, f"pairs.{key}") for key in ("used", "flagged"))
    if flagged:
        notes.append(f"{one.run.name}: {_pairs(int(flagged))} left out, where an adversarial distance means nothing.")
    if used == 1:
        notes.append(f"{one.run.name}: a single pair, so there is no interval and little to conclude.")
    for attack in one.audit.attacks:
        found = mapping(one.audit.results, ("attacks", attack))
        converged, share = number(found, "converged"), number(found, "share_of_ceiling")
        if converged is not None and converged < UNCONVERGED:
            doubt = f"{converged:.0%} of the {title(attack)} attack's rows converged"
            notes.append(f"{one.run.name}: {doubt}; more --steps may lower its AUDDC.")
        if attack in one.audit.targeted and share is not None and share >= IDLE:
            doubt = f"the {title(attack)} attack does no better than blending"
            notes.append(f"{one.run.name}: {doubt}, so it proves nothing.")
    return notes


def _of_other_images(audit: AuditFolder) -> list[str]:
    settings = lookup(audit.config, "audit")
    if not isinstance(settings, Mapping):
        return []
    split, data = settings.get("split", "test"), settings.get("data")
    notes = [f"attacked on its {split} images, by which settings are chosen, not reported."] if split != "test" else []
    return notes + ([f"attacked on images of {data}, not on those that it was trained for."] if data else [])


def _pairs(count: int) -> str:
    return f"{count} pair" if count == 1 else f"{count} pairs"
