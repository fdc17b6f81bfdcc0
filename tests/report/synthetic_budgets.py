"""Audits of budgets made up of numbers, in the layout of docs/run-directory.md."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.report.synthetic import make_audit, make_run, read_json, write_json

EPS = ("16/255", "2/255", "8/255")  # not by size
U = ("0.05", "0.1", "0.2", "0.3", "0.5", "0.7", "1")


def figure(mean: float | None) -> dict[str, Any]:
    return {"mean": mean, "ci95": None if mean is None else [0.9 * mean, 1.1 * mean]}


def with_budgets(
    audit: Path, attacks: dict[str, float], *, norm: str = "Linf", eps: tuple[str, ...] = EPS, pictures: bool = True
) -> Path:
    """Make an audit one of budgets alone: by attack, the damage at eps 1."""
    sizes = dict(zip(EPS, (16 / 255, 2 / 255, 8 / 255), strict=True))
    results = read_json(audit / "results.json")
    nothing = {"auddc": {"envelope": figure(None), "reference": figure(None)}, "share_of_ceiling": None}
    results["attacks"] = {
        name: nothing
        | {"targeted": name == "output", "about": f"about {name}", "converged": None}
        | {"budgets": {norm: {one: figure(slope * sizes[one]) | {"psnr": figure(30 / slope)} for one in eps}}}
        for name, slope in attacks.items()
    }
    results["attacks"]["worst_case"] = nothing
    relative = {u: figure(1.7 * float(u)) for u in U}
    worst = {one: figure(1.01 * max(attacks.values()) * sizes[one]) for one in eps}
    results["damage"] = {"area": figure(0.789), "relative": relative, norm: worst}
    write_json(audit / "results.json", results)
    with np.load(audit / "curves.npz") as archive:
        curves = dict(archive)
    kept = {name: array for name, array in curves.items() if "/" not in name or name.startswith(("blend", "ceiling"))}
    for name in [*attacks, "worst_case"]:
        kept[f"{name}/envelope"] = np.full_like(curves["blend/envelope"], np.nan)
        kept[f"{name}/auddc"] = np.full_like(curves["ceiling/auddc"], np.nan)
    np.savez(audit / "curves.npz", **kept)
    with np.load(audit / "images.npz") as archive:
        images = dict(archive)
    shown = {name: array for name, array in images.items() if "/" not in name}
    for name in attacks if pictures else ():
        shown |= {f"{name}/{tail}": images[f"output/{tail}"] for tail in ("x_adv", "reconstruction")}
        shown |= {f"{name}/{tail}": images[f"output/{tail}"] for tail in ("distortion", "adversarial_distance")}
        moved = [np.minimum(shown["source"].astype(int) + round(255 * sizes[one]), 255) for one in eps]
        shown[f"{name}/eps/x_adv"] = np.stack(moved, axis=1).astype(np.uint8)
        shown[f"{name}/eps/reconstruction"] = shown[f"{name}/eps/x_adv"] // 2
    if pictures:
        np.savez(audit / "images.npz", **shown)
    else:
        (audit / "images.npz").unlink()
    return audit


def made(folder: Path, attacks: dict[str, float], **settings: Any) -> Path:
    """A run with an audit of budgets."""
    run = make_run(folder)
    (run / "log.csv").unlink()  # there is less to draw
    with_budgets(make_audit(run / "audit", run, pairs=8), attacks, **settings)
    return run
