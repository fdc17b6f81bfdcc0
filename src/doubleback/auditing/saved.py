"""An audit for people: in a few lines, as a folder, as a page."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doubleback.files import write_arrays
from doubleback.folders import CURVES, IMAGES, Folder

if TYPE_CHECKING:
    from doubleback.auditing.record import Audited


def summary(found: "Audited") -> str:
    """What was found, a line an attack, and every flag."""
    results = found.results()
    pairs, quality = results["pairs"], results.get("reconstruction_l2")
    first = f"{pairs['used']} pairs" + f" ({pairs['flagged']} flagged)" * bool(pairs["flagged"])
    first += "" if quality is None else f", reconstruction L2 {quality:.3g}"
    ceiling = results["ceiling"]["mean"]
    lines = [first + ("" if ceiling is None else f", AUDDC of blending alone (the ceiling) {ceiling:.3f}")]
    width = max(map(len, results["attacks"]))
    for name, attack in results["attacks"].items():
        area = attack["auddc"]["envelope"]
        if area["mean"] is None:
            continue
        low, high = area["ci95"] or (area["mean"], area["mean"])
        marks = "".join(f"  ! {flag}" for flag in attack.get("flags", {}))
        lines.append(f"{name.replace('_', ' '):{width}}  AUDDC {area['mean']:.3f}  [{low:.3f}, {high:.3f}]{marks}")
    lines += damage_lines(results["damage"])
    lines += [f"! {name}: {says}" for name, says in results["flags"].items()]
    return "\n".join(lines)


def damage_lines(damage: Mapping[str, Any]) -> list[str]:
    """How far the reconstruction goes: the area over the distortion, and at each eps of the budgets."""
    lines = []
    if (area := damage["area"])["mean"] is not None:
        lines.append(f"damage, area over the distortion: {_with_interval(area)} (0: nothing moves)")
    for norm, at in damage.items():
        if norm not in ("area", "relative"):
            lines += [f"damage, {norm} {eps}: L2 {_with_interval(one)}" for eps, one in at.items()]
    return lines


def _with_interval(figure: Mapping[str, Any]) -> str:
    mean, ci95 = figure["mean"], figure["ci95"]
    if mean is None:
        return "not finite"
    return f"{mean:.3g}" + (f" [{ci95[0]:.3g}, {ci95[1]:.3g}]" if ci95 else "")


def save(found: "Audited", folder: str | Path) -> Path:
    """Write the audit as `doubleback audit --output` does, for `doubleback report`.

    Args:
        found: the audit.
        folder: to write to; free, or holding this very audit.

    Raises:
        InputError: it holds something else, or cannot be written.
    """
    results = found.results()
    described = {"audit": {}, "train": {}, "found": _digestible(results)}
    home = Folder(Path(folder), "audit", described, ("doubleback.audit",), (CURVES, IMAGES))
    with home.claimed() as finished:
        if not finished:
            write_arrays(home.path / CURVES, found.arrays())
            write_arrays(home.path / IMAGES, found.gallery)
            home.finish(results)
    return home.path


def report(found: "Audited", path: str | Path, name: str = "audit") -> Path:
    """Write the audit as one HTML page.

    Args:
        found: the audit.
        path: the file; it must not be a page of somebody else.
        name: what the page calls the model.

    Raises:
        InputError: it cannot be written.
    """
    from doubleback.report import write_report  # matplotlib takes over a second to import

    with tempfile.TemporaryDirectory() as temporary:
        return write_report([save(found, Path(temporary) / name)], Path(path), command="found.report(...)")


def _digestible(results: dict[str, Any]) -> str:
    """The figures that tell this audit from another: without times."""
    areas = {name: attack["auddc"] for name, attack in results["attacks"].items()}
    return json.dumps([areas, results["ceiling"], results["damage"], results["pairs"]], sort_keys=True)
