"""The page's one sentence and its notes, from all that is on the page: audits first, then robustness, transition."""

from collections.abc import Sequence

from markupsafe import Markup

from doubleback.report.accuracy_figures import ordered
from doubleback.report.archives import interval, mapping, number
from doubleback.report.folders import Contents
from doubleback.report.studies import Study
from doubleback.report.svg import SERIES
from doubleback.report.verdict import Verdict, verdict

NAMED = 6  # the most models that a sentence names; the others are counted


def headline(contents: Contents) -> Verdict:
    """The first sentence that the page can support; the others become notes."""
    said = [_withstands(study, len(contents.robustness) > 1) for study in contents.robustness]
    said += [_turns(study, len(contents.transitions) > 1) for study in contents.transitions]
    audited = any(run.audit for run in contents.runs)
    if audited or (contents.runs and not said):
        said.insert(0, verdict(contents.runs))
    else:
        said = said or [Verdict(Markup("There is nothing to compare here."), [])]
    first, *others = said
    notes = list(first.notes)
    for other in others:
        notes += [other.sentence, *other.notes]
    return Verdict(first.sentence, notes + _unfitted(contents))


def percent(share: float) -> str:
    """A share as a percentage, with decimals only if it would otherwise look like none or all.

    >>> [percent(x).replace("\\u00a0", " ") for x in (0.5234, 0.034, 0.0004, 0.0, 0.996, 1.0)]
    ['52 %', '3 %', '0.04 %', '0 %', '99.6 %', '100 %']
    """
    text = f"{100 * share:.0f}"
    if (text == "0" and share > 0) or (text == "100" and share < 1):
        text = f"{100 * share:.2g}" if share < 0.5 else f"{min(100 * share, 99.9):.1f}"
    return f"{text}\u00a0%"


def _withstands(study: Study, several: bool) -> Verdict:
    """What each model keeps in the worst case at the middle epsilon, the best first, and which checks fired."""
    typed = ordered(study)
    eps = typed[(len(typed) - 1) // 2] if typed else ""
    kept = _ranked(study, "worst_case", eps)
    flagged = [model for model in study.models if mapping(study.model(model), "flags")]
    if not kept:
        says = Markup("What {} withstand is not known: no worst case was measured.").format(_names(study, study.models))
        return Verdict(_prefixed(study, several) + says, _flags(study, flagged))
    best = kept[0]
    says = _prefixed(study, several) + Markup("At eps {} ({}) {} keeps {} of {} images under {}").format(
        eps,
        study.results.get("norm", "norm unknown"),
        _name(study, best),
        _kept(study, best, "worst_case", eps),
        _count(study),
        _attacks(study, best),
    )
    says += _rest(study, kept, ", ", "worst_case", eps)
    fired = Markup("; checks fired for {}: see the flags").format(_names(study, flagged)) if flagged else ""
    return Verdict(says + fired + ".", _flags(study, flagged) + _told_apart(study, kept, "worst_case", eps))


def _turns(study: Study, several: bool) -> Verdict:
    """Whether the judge sees the target class in the final images; without a judge, whether the model itself does."""
    path = ("judge", "image") if _ranked(study, "judge", "image") else ("reached",)
    kept = _ranked(study, *path)
    if not kept:
        says = Markup("What becomes of {}'s transitions is not known.").format(_names(study, study.models))
        return Verdict(_prefixed(study, several) + says, [])
    best = kept[0]
    if path == ("reached",):
        says = Markup("{} reaches the required probability of another class on {} of {} images{}").format(
            _name(study, best), _kept(study, best, *path), _count(study), _rest(study, kept, ", ", *path)
        )
        ending = "; no judge has looked at them."
    else:
        says = Markup("The judge ({}) sees the new class in {} of {} images moved by {}{}").format(
            study.results.get("judge") or "unnamed",
            _kept(study, best, *path),
            _count(study),
            _name(study, best),
            _rest(study, kept, ", by ", *path),
        )
        ending = "."
    return Verdict(_prefixed(study, several) + says + ending, _told_apart(study, kept, *path))


def _prefixed(study: Study, several: bool) -> Markup:
    """The folder that it is about, if there are several."""
    return Markup("{}: ").format(study.name) if several else Markup("")


def _name(study: Study, model: str) -> Markup:
    return Markup('<b class="run-{}">{}</b>').format(study.place(model) % SERIES, model)


def _names(study: Study, models: Sequence[str]) -> Markup:
    return Markup(", ").join(_name(study, model) for model in models)


def _ranked(study: Study, *path: str) -> list[str]:
    """The models with a share at `path`, the largest first."""
    shares = {model: number(study.model(model), path) for model in study.models}
    known = {model: share for model, share in shares.items() if share is not None}
    return sorted(known, key=lambda model: -known[model])


def _share(study: Study, model: str, *path: str) -> str:
    """`52 %`: the share at `path`, which is there."""
    share = number(study.model(model), path)
    assert share is not None
    return percent(share)


def _kept(study: Study, model: str, *path: str) -> str:
    """`52 % [49, 55]`: the share with its interval, if it has one."""
    said, ends = _share(study, model, *path), interval(study.model(model), ("ci95", *path))
    if not ends:
        return said
    low, high = (format(100 * end, ".1f" if "." in said else ".0f") for end in ends)
    return f"{said}\u00a0[{low.removeprefix('-')},\u00a0{high}]"


def _rest(study: Study, kept: Sequence[str], lead: str, *path: str) -> Markup:
    """The models after the best. The first of them says whether the best keeps more of the same images."""
    named = kept[1:NAMED]
    shares = [_share(study, model, *path) for model in named]
    if named and (found := study.difference(kept[0], named[0], path)):
        word = "fewer" if found.settled else "cannot be told apart"
        shares[0] += f" ({word}, {found.p_words})"
    said = [
        Markup("{}{} {}").format(lead, _name(study, model), share) for model, share in zip(named, shares, strict=True)
    ]
    others = len(kept) - 1 - len(named)
    return Markup("").join(said) + (f", and {others} more, none of them higher" if others else "")


def _count(study: Study) -> str:
    images = number(study.results, "images")
    return "all" if images is None else f"{images:,.0f}"


def _attacks(study: Study, model: str) -> str:
    """The attacks that the worst case is over."""
    record = study.model(model)
    attacks = len(mapping(record, "robust_accuracy"))
    worst = f"the worst of {attacks} attacks" if attacks > 1 else "attack"
    return worst + (" and of transferred examples" if mapping(record, "transfer") else "")


def _told_apart(study: Study, kept: Sequence[str], *path: str) -> list[str]:
    """How the two best differ on the same images, or that this is not tested because the folder lacks the outcomes."""
    if len(kept) < 2:
        return []
    best, second = kept[:2]
    found = study.difference(best, second, path)
    if found is None:
        return [
            f"Whether {best} and {second} differ is not tested: {study.name} does not hold what became of each image "
            f"(older versions wrote no outcomes.npz); run `doubleback {study.kind}` again into another folder."
        ]
    says = f"Of the same {found.pairs:,} images, {found.higher} count for {best} alone, {found.lower} for {second}"
    if found.interval is not None:
        points = [_points(share) for share in (found.mean, *found.interval)]
        says += f" alone; difference {points[0]} [{points[1]}, {points[2]}] points"
    says += f" (McNemar's exact test, {found.p_words})."
    return [says] + ([f"Compared: the two best of {len(kept)} models, and no others."] if len(kept) > 2 else [])


def _points(share: float) -> str:
    """A difference of shares in percentage points, written as 0 only if it is 0.

    >>> _points(0.1214), _points(-0.0002), _points(0.0)
    ('12.1', '-0.02', '0.0')
    """
    points = 100 * share
    return f"{points:.1g}" if 0 < abs(points) < 0.05 else f"{points:.1f}"


def _flags(study: Study, flagged: Sequence[str]) -> list[str]:
    """The sentence of every check that fired, and the models for which no check did."""
    notes = [f"{model}: {sentence}" for model in flagged for sentence in mapping(study.model(model), "flags").values()]
    quiet = [m for m in study.models if m not in flagged and mapping(study.model(m), "checks")]
    return notes + ([f"Of the checks made, none fired for {', '.join(quiet)}."] if quiet else [])


def _unfitted(contents: Contents) -> list[str]:
    """A note for each classifier whose mixtures did not all converge."""
    notes = []
    for run in contents.runs:
        converged = run.classifier and mapping(run.classifier.results, "mixtures").get("converged")
        if isinstance(converged, list) and not all(converged):
            missed = sum(not one for one in converged)
            notes.append(f"{run.name}: {missed} of {len(converged)} mixtures stopped before EM had converged.")
    return notes
