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

AREA = "area over the distortion"
RELATIVE = "relative"  # the key of shares of ||x_0 - x_t||, where the others are norms


def summary(found: "Audited") -> str:
    """What was found, a line an attack, and every flag."""
    results = found.results()
    pairs, quality = results["pairs"], results.get("reconstruction_l2")
    first = f"{pairs['used']} pairs" + f" ({pairs['flagged']} flagged)" * bool(pairs["flagged"])
    first += "" if quality is None else f", reconstruction L2 {_digits(quality)}"
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
    if certified := results.get("certified"):
        lines.append(f"{'certified':{width}}  AUDDC {certified['mean']:.3f}: no attack can come lower")
    lines += [f"damage, {name}: {said}" for name, said in damage_said(results["damage"]).items()]
    lines += [f"bits per pixel, {name}: {said}" for name, said in rates_said(results["attacks"]).items()]
    lines += [f"! {name}: {says}" for name, says in results["flags"].items()]
    return "\n".join(lines)


def damage_said(damage: Mapping[str, Any]) -> dict[str, str]:
    """How far the reconstruction goes, lower is more robust: the area over the distortion (0: nothing moves), and, at
    each eps of the budgets, the L2 change by the worst of all attacks; each with its 95 % interval."""
    at = {f"{norm} {eps}": one for norm, of in damage.items() if norm not in ("area", RELATIVE)
          for eps, one in of.items()}  # fmt: skip
    area = damage.get("area")
    figures = at if not area or area["mean"] is None else {AREA: area} | at
    return {name: _with_interval(one) for name, one in figures.items()}


def rates_said(attacks: Mapping[str, Any]) -> dict[str, str]:
    """A codec's bits per pixel before and after, at each eps of the budgets, by the attack that raises them most."""
    most: dict[str, tuple[float, str]] = {}
    for attack, one in attacks.items():
        for norm, of in one.get("budgets", {}).items():
            for eps, figures in of.items():
                after, before = figures.get("rate"), figures.get("rate_before")
                if not after or not before or after["mean"] is None or before["mean"] is None:
                    continue
                said = f"{_digits(before['mean'])} before, {_with_interval(after)} after ({attack.replace('_', ' ')})"
                most[f"{norm} {eps}"] = max(most.get(f"{norm} {eps}", (0.0, "")), (after["mean"], said))
    return {name: said for name, (_, said) in most.items()}


def _with_interval(figure: Mapping[str, Any]) -> str:
    mean, ci95 = figure["mean"], figure["ci95"]
    if mean is None:
        return "not finite"
    return _digits(mean) + (f" [{_digits(ci95[0])}, {_digits(ci95[1])}]" if ci95 else "")


def _digits(value: float) -> str:
    """Three digits, zeros among them.

    >>> _digits(0.62), _digits(2.2), _digits(123.4)
    ('0.620', '2.20', '123')
    """
    return f"{value:#.3g}".rstrip(".")


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
