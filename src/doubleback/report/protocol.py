"""An audit's protocol in words: which images, which threat; and how its model was made. For cards and leaderboards."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from doubleback.report.archives import lookup, mapping, number
from doubleback.report.doubts import pairs_words
from doubleback.report.runs import AuditFolder, RunFolder, title

PLAIN, HARDENED, DEFENDED = "plain", "hardened", "defended"


def by_size(eps: object) -> list[str]:
    """Budgets as they were typed, the smallest first; none if they are not a list.

    >>> by_size(["16/255", 0.01, "2/255"])
    ['2/255', '0.01', '16/255']
    """
    return sorted(map(str, eps), key=_size) if isinstance(eps, list) else []


def _size(eps: str) -> Fraction:
    try:
        return Fraction(eps)
    except (ValueError, ZeroDivisionError):
        return Fraction(0)


def images_words(run: RunFolder) -> str:
    """The attacked images, without the folders that hold them: `mnist, test images`; `unknown` if no file tells.

    If images were brought to a size, the words say it: `faces at 32x32, test images`.
    """
    asked = mapping(run.audit.config if run.audit else {}, "audit")
    named = asked.get("data") or run.settings.get("data")
    name = PurePath(named).name if isinstance(named, str) and PurePath(named).is_absolute() else named
    size = asked.get("image_size") or run.settings.get("image_size")
    brought = f" at {size}x{size}" if isinstance(size, int) else ""
    return f"{name or 'unknown'}{brought}, {asked.get('split', 'test')} images"


def threat_words(audit: AuditFolder) -> str:
    """What the attacker may do, in words: goals, capability, what stands in the way."""
    asked = mapping(audit.config, "audit")
    goals = ", ".join(map(title, audit.attacks)) or "no attack"
    if eps := by_size(asked.get("eps")):
        norm = "L2, as a share of the pair's distance" if asked.get("relative") else asked.get("norm") or "Linf"
        may = f"moves the image by at most {', '.join(eps)} ({norm})"
    else:
        may = "pays for every change of the image, at every price"
    said = [f"The attacker {may}; goals: {goals}"]
    if asked.get("queries"):
        said.append(f"also without gradients, by {asked['queries']} questions for each image")
    for key, words in (("survive", "the image survives"), ("defend", "the model is defended by")):
        if isinstance(steps := asked.get(key), list) and steps:
            said.append(f"{words} {', '.join(map(str, steps))}")
    return "; ".join(said) + "."


def threat_label(audit: AuditFolder) -> str:
    """The same in a few words, to choose from: `at any price; latent, output`."""
    asked = mapping(audit.config, "audit")
    goals = ", ".join(map(title, audit.attacks))
    eps = by_size(asked.get("eps"))
    may = f"{asked.get('norm') or 'Linf'} {', '.join(eps)}" if eps else "any price"
    further = [asked[key] for key in ("survive", "defend") if isinstance(asked.get(key), list) and asked[key]]
    return "; ".join([may, goals, *(", ".join(map(str, steps)) for steps in further)])


def search_words(audit: AuditFolder) -> str:
    """How hard the attacker tries, and on what: `20 pairs, 300 steps, 50 prices, seed 0`."""
    asked = mapping(audit.config, "audit")
    pairs = number(audit.results, "pairs.requested")
    said = [pairs_words(int(pairs))] if pairs is not None else []
    ends = (("from", asked.get("source_label")), ("to", asked.get("target_label")))
    if classes := [f"{word} class {label}" for word, label in ends if label is not None]:
        said[-1:] = [" ".join([*said[-1:], *classes])]
    prices = asked.get("coefficients")
    counts = {"steps": asked.get("steps"), "restarts": asked.get("restarts"), "samples": asked.get("samples")}
    if not asked.get("eps"):
        counts = {"prices": len(prices) if isinstance(prices, list) else prices, **counts}
    said += [f"{value} {name}" for name, value in counts.items() if value]
    return ", ".join([*said, f"seed {asked.get('seed', 0)}"])


def defence_words(audit: Mapping[str, Any]) -> str:
    """What an audit, by its config.json, has put before the model as a defence; empty: nothing."""
    steps = lookup(audit, ("audit", "defend"))
    return ", ".join(map(str, steps)) if isinstance(steps, list) else ""


def made_words(run: RunFolder) -> tuple[str, str]:
    """How the model was made: one of `PLAIN`, `HARDENED`, `DEFENDED`, and the means in a few words."""
    audit: Mapping[str, Any] = run.audit.config if run.audit else {}
    if steps := defence_words(audit):
        return DEFENDED, steps
    for config in (audit, run.config):
        if isinstance(harden := config.get("harden"), Mapping) and harden.get("penalty") not in (None, "none"):
            within = f" within {harden['within']}" if harden.get("within") else ""
            return HARDENED, f"{harden['penalty']}{within}"
    penalty = run.settings.get("penalty")
    if weight := run.settings.get("label_weight"):
        return HARDENED, f"labels, weight {weight}"
    if penalty in (None, "none") or isinstance(penalty, Mapping):
        return (PLAIN, "") if run.is_plain else (HARDENED, json.dumps(penalty))
    return HARDENED, f"{penalty} penalty"


def flags_of(audit: AuditFolder) -> list[str]:
    """The sentence of every check that fired, of the audit or of one of its attacks, each once."""
    found = [str(says) for says in mapping(audit.results, "flags").values()]
    for attack in audit.attacks:
        found += [f"{title(attack)}: {says}" for says in mapping(audit.results, ("attacks", attack, "flags")).values()]
    bare = [says for says in found if not any(says != other and other.endswith(f": {says}") for other in found)]
    return list(dict.fromkeys(bare))
