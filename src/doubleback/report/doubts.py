"""What a careful reader would ask about one audit."""

from collections.abc import Mapping

from doubleback.report.archives import lookup, mapping, number
from doubleback.report.runs import AuditFolder, RunFolder, title

UNCONVERGED = 0.9  # if a smaller share of an attack's rows converged, a longer attack may find more
IDLE = 0.98  # an attack that leaves at least this share of the ceiling does no better than blending


def doubts(run: RunFolder) -> list[str]:
    """The doubts about a run, as sentences that name it; none without an audit."""
    audit = run.audit
    if audit is None:
        return []
    notes = _of_other_images(audit)
    notes += [f"a check fired: {says}." for says in mapping(audit.results, "flags").values()]
    used, flagged = (number(audit.results, f"pairs.{key}") for key in ("used", "flagged"))
    if flagged:
        notes.append(f"{pairs_words(int(flagged))} left out, because an adversarial distance means nothing there.")
    if used == 1:
        notes.append("a single pair, so there is no interval and little to conclude.")
    if not audit.targeted:
        notes.append("no attack with a target was run, so it is not known how it withstands them.")
    for attack in audit.attacks:
        found = mapping(audit.results, ("attacks", attack))
        converged, share = number(found, "converged"), number(found, "share_of_ceiling")
        if converged is not None and converged < UNCONVERGED:
            doubt = f"{converged:.0%} of the {title(attack)} attack's rows converged"
            notes.append(f"{doubt}; more --steps may lower its AUDDC.")
        if attack in audit.targeted and share is not None and share >= IDLE:
            doubt = f"the {title(attack)} attack does no better than blending"
            notes.append(f"{doubt}, so it proves nothing.")
    return [f"{run.name}: {note}" for note in notes]


def unknown(audit: AuditFolder) -> str:
    """Why an audit without a figure has none."""
    requested, used = (number(audit.results, f"pairs.{key}") for key in ("requested", "used"))
    if used == 0:
        return (
            f"all {pairs_words(int(requested or 0))} are flagged, because an adversarial distance means nothing there"
        )
    return "its results hold no figure"


def pairs_words(count: int) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count} pair" if count == 1 else f"{count} pairs"


def _of_other_images(audit: AuditFolder) -> list[str]:
    settings = lookup(audit.config, "audit")
    if not isinstance(settings, Mapping):
        return []
    split, data = settings.get("split", "test"), settings.get("data")
    notes = []
    if split != "test":
        notes.append(f"attacked on its {split} images, which are for choosing settings, not for reporting figures.")
    known = data and mapping(audit.config, "train")  # of somebody else's model nobody knows what it was trained on
    return notes + ([f"attacked on images of {data}, not on those that it was trained on."] if known else [])
