"""Which runs may be compared, and how: pair by pair, on the same images, under the same attacks, or not at all.

Two audits can be compared only if nothing but the model differs. If more differs, the page says how, and neither ranks
nor divides their figures.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from doubleback.metrics.differences import Difference, paired_figures
from doubleback.report.archives import mapping, number
from doubleback.report.runs import TRANSFERRED, AuditFolder, RunFolder
from doubleback.report.svg import shorten
from doubleback.settings.commands import Audit
from doubleback.settings.stored import flat

# their effects are compared instead, or they only describe how this model is fed
_NOT_OF_THE_SEARCH = ("runs", "output", "attack", "data", "split", "pairs", "image_size", "wrapping")


def obstacles(one: RunFolder, other: RunFolder) -> list[str]:
    """Why the audits of two runs cannot be compared, each reason in a few words; empty if they can."""
    return unlike(one, other) or _figures(one.audit, other.audit)


def unlike(one: RunFolder, other: RunFolder) -> list[str]:
    """How the audits of two runs differ apart from the model, each difference in a few words; empty if they do not."""
    return _training(one, other) + protocols(one, other) if one.audit and other.audit else protocols(one, other)


def protocols(one: RunFolder, other: RunFolder) -> list[str]:
    """How two audits differ, apart from the models and their training images, each difference in a few words."""
    if one.audit is None or other.audit is None:
        return ["not both audited"]
    return _images(one, other) + _attacks(one.audit, other.audit)


def difference(one: RunFolder, other: RunFolder) -> Difference | None:
    """How much more the first withstands, pair by pair; None if the audits cannot be compared."""
    if one.audit is None or other.audit is None or obstacles(one, other):
        return None
    left, right = one.audit.areas, other.audit.areas
    return None if left is None or right is None else paired_figures(left, right)


def caveats(one: RunFolder, other: RunFolder) -> list[str]:
    """The reservations that go with a comparison of these two, as sentences."""
    said = []
    silent = [run.name for run in (one, other) if run.audit and run.audit.config.get("images") is None]
    if silent:
        said.append(
            f"{' and '.join(silent)} do not say which images were attacked: an older version made the audit, or a "
            "program saved it. The images shown are the same, and so are the places of the pairs."
        )
    if _same([run.config.get("images") for run in (one, other)]) is False:
        said.append(
            f"{one.name} and {other.name} were not trained on the same images. This may explain the difference."
        )
    return said


def area_ratio(one: RunFolder, other: RunFolder, attack: str) -> float | None:
    """The ratio of two mean AUDDCs, over the pairs that both use; None if it has no meaning.

    Args:
        one, other: runs, each with its audit or without.
        attack: its name, or `worst_case`.
    """
    found = [run.audit.curves.get(f"{attack}/auddc") if run.audit else None for run in (one, other)]
    return None if found[0] is None or found[1] is None or obstacles(one, other) else quotient(*found)


def quotient(one: Any, other: Any) -> float | None:
    """The mean of the first row over that of the second, both over the places where both rows are finite.

    None if there are no such places, or if the second mean is not positive.
    """
    both = np.asarray([one, other], dtype=np.float64)
    both = both[:, np.isfinite(both).all(0)]
    if not both.size or not (below := both[1].mean()) > 0:
        return None
    return float(both[0].mean() / below)


def reconstruction_ratio(one: RunFolder, other: RunFolder) -> tuple[float, str] | None:
    """The first run's reconstruction error over the other's, and on which images; None if that is not known.

    The images are the same test images or, without them, the sources of the pairs that both audits use.
    """
    sides = (one, other)
    if same_test_images(one, other):
        errors, where = [number(run.results, "test.reconstruction_l2") for run in sides], ""
    elif same_pairs(one, other):
        errors = [number(run.audit.results if run.audit else {}, "reconstruction_l2") for run in sides]
        where = " on the images attacked"
    else:
        return None
    return (errors[0] / errors[1], where) if errors[0] is not None and errors[1] else None


def same_pairs(one: RunFolder, other: RunFolder) -> bool:
    """Whether the means of two audits are over exactly the same pairs, under the same attacks."""
    return same_attacks(one, other) and not obstacles(one, other)


def same_attacks(one: RunFolder, other: RunFolder) -> bool:
    """Whether two audits attacked exactly the same images in the same ways. They need not have an AUDDC."""
    flags = [run.audit.curves.get("flagged") if run.audit else None for run in (one, other)]
    same = flags[0] is not None and flags[1] is not None and np.array_equal(flags[0], flags[1])
    return same and not unlike(one, other)


def same_test_images(one: RunFolder, other: RunFolder) -> bool:
    """Whether the figures of two runs are of the same test images.

    The digests of their images tell. If one is missing, as in folders of an older version, settings and pictures tell.
    """
    counts = [number(run.results or run.classification, "test.images") for run in (one, other)]
    if counts[0] is None or counts[0] != counts[1]:
        return False
    same = _same([run.config.get("images") for run in (one, other)])
    if same is not None:
        return same
    chosen = [[run.settings.get(name) for name in ("data", "image_size", "limit")] for run in (one, other)]
    shown = [run.images.get("test") for run in (one, other)]
    alike = shown[0] is None or shown[1] is None or np.array_equal(shown[0], shown[1])
    return alike and chosen[0] == chosen[1]


def baseline(runs: Sequence[RunFolder]) -> int | None:
    """The place of the run that others are compared with; None if there is nothing to compare.

    It is a run that another one can be compared with, by their audits or else by their test images. Among such runs
    autoencoders come first, and of these the ones trained without a penalty.
    """
    order = sorted(range(len(runs)), key=lambda i: (not runs[i].reconstructs, not runs[i].is_plain))
    for comparable in (lambda one, other: not obstacles(one, other), same_test_images):
        for i in order:
            if any(comparable(runs[i], other) for other in runs if other is not runs[i]):
                return i
    return None


def _training(one: RunFolder, other: RunFolder) -> list[str]:
    names, digests = (
        [run.settings.get("data") for run in (one, other)],
        [run.config.get("images") for run in (one, other)],
    )
    return [] if names[0] == names[1] or _same(digests) else [f"trained on different data{_values(names)}"]


def _images(one: RunFolder, other: RunFolder) -> list[str]:
    """How the attacked images differ, or their pairs."""
    audits = [run.audit for run in (one, other) if run.audit]
    splits = [_settings(audit).get("split") for audit in audits]
    if splits[0] != splits[1]:
        return [f"attacked on different splits{_values(splits)}"]
    shapes = [_shape(run) for run in (one, other)]
    if _same(shapes) is False:
        return [f"attacked at different image sizes{_values(shapes)}"]
    same = _same([audit.config.get("images") for audit in audits])
    if same is False:
        return ["attacked on different images"]
    if all(audit.pairs[0] for audit in audits) and audits[0].pairs != audits[1].pairs:
        return ["attacked on different pairs"]
    return [] if same else _pictures(*audits)


def _pictures(one: AuditFolder, other: AuditFolder) -> list[str]:
    """How the images differ by the galleries, for folders without digests."""
    for end in ("source", "target"):
        left, right = (audit.images.get(end) for audit in (one, other))
        if left is None or right is None:
            return ["not known to be attacked on the same images"]
        if not np.array_equal(left, right):
            return ["attacked on different images"]
    return []


def _shape(run: RunFolder) -> str | None:
    """The size of the attacked images in words, `1x28x28`; None if no file tells it."""
    shown = run.audit.images.get("source") if run.audit else None
    shape = list(shown.shape[1:]) if shown is not None else run.config.get("image_shape")
    return "x".join(map(str, shape)) if isinstance(shape, list) else None


def _attacks(one: AuditFolder, other: AuditFolder) -> list[str]:
    """How the attacks and their search differ."""
    differs = []
    tried = [sorted(map(_kind, audit.attacks)) for audit in (one, other)]
    if tried[0] != tried[1]:
        differs.append(f"attacked in different ways{_values([', '.join(names) for names in tried])}")
    made_on = [_attacked_together(audit) for audit in (one, other)]
    if made_on[0] != made_on[1]:
        differs.append("attacked by examples that were made on other models")
    codes = [sorted(map(str, mapping(audit.config, "code").values())) for audit in (one, other)]
    if codes[0] != codes[1]:
        differs.append("attacked by goals of different code")
    left, right = (_settings(audit) for audit in (one, other))
    unlike = [name for name in left | right if name not in _NOT_OF_THE_SEARCH and left.get(name) != right.get(name)]
    if unlike:
        words = ", ".join(f"{name.replace('_', ' ')}{_values([left.get(name), right.get(name)])}" for name in unlike)
        differs.append(f"attacked with different settings: {words}")
    return differs


def _attacked_together(audit: AuditFolder) -> list[str]:
    """The weights of this model and of those whose examples it got; empty where it got none."""
    others = audit.config.get("transfer")
    return sorted(map(str, [audit.config.get("weights"), *others])) if isinstance(others, list) else []


def _kind(attack: str) -> str:
    """The attack's name. Examples made on other victims share one name, because each run has those of the others."""
    return f"{TRANSFERRED}another" if attack.startswith(TRANSFERRED) else attack


def _settings(audit: AuditFolder) -> dict[str, Any]:
    """Every setting of the audit. A setting that its version did not have yet takes its default."""
    return flat(Audit(())) | dict(mapping(audit.config, "audit"))


def _figures(one: AuditFolder | None, other: AuditFolder | None) -> list[str]:
    """What is missing from the figures of two audits that are alike."""
    assert one is not None
    assert other is not None
    areas = one.areas, other.areas
    if areas[0] is None or areas[1] is None:
        return ["without figures pair by pair (curves.npz)"]
    if not all(audit.pairs[0] for audit in (one, other)):
        return ["attacked on pairs that are not known"]
    return [] if (np.isfinite(areas[0]) & np.isfinite(areas[1])).any() else ["no pair that both can use"]


def _same(values: Sequence[Any]) -> bool | None:
    """Whether two values are the same; None if one of them is not known."""
    return None if None in values else bool(values[0] == values[1])


def _values(both: Sequence[Any]) -> str:
    """` (1 and 60)`."""
    said = [shorten(one if isinstance(one, str) else json.dumps(one), 30) for one in both]
    return f" ({' and '.join(said)})"
