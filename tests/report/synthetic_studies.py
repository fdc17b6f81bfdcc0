"""Classifiers, robustness and transition folders made up of numbers, in the layout of docs/run-directory.md."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.report.synthetic import blend, digits, made_of, read_json, write_json, write_table

EPS = ("0.05", "0.1", "0.2")
STRENGTH = {"plain/classifier": 0.035, "hardened/classifier": 0.11, "lenet": 0.09}  # eps at which half is kept
SEES_LESS = {"fgsm": 1.5, "pgd": 1.05, "apgd": 1.0, "square": 2.0, "noise": 6.0}
BLACK_BOX = ("mlp",)
SHOWN = np.array([0, 10, 20, 30, 40, 50, 60, 80])


def make_classifier_run(folder: Path, model: str = "lenet", **settings: Any) -> Path:
    """What `train --model lenet` leaves, weights apart."""
    train = {"data": "digits", "model": model, "epochs": 5, "seed": 0, **settings}
    head = {"schema": 1, "version": "0.1.0", "command": ["doubleback", "train", "--model", model, str(folder)]}
    write_json(folder / "config.json", head | {"train": train, "classes": list("0123456789")})
    test = {"images": 360, "accuracy": 0.9844, "cross_entropy": 0.0521}
    write_json(folder / "results.json", {"schema": 1, "train": {"seconds": 31.5}, "test": test})
    rows = [
        {"epoch": epoch, "step": 9 * epoch, "seconds": epoch, "cross_entropy": 2 / epoch}
        | {"validation_cross_entropy": 2.1 / epoch, "validation_accuracy": 1 - 0.5 / epoch}
        for epoch in range(1, 6)
    ]
    write_table(folder / "log.csv", rows)
    return folder


def make_classify(folder: Path, run: Path, *, converged: Sequence[bool] = (True,) * 10) -> Path:
    """What `classify` leaves, weights apart."""
    head = {"schema": 1, "version": "0.1.0", "command": ["doubleback", "classify", str(run)]}
    config = head | {"classify": {"components": 10}, "classes": list("0123456789"), "image_shape": [1, 28, 28]}
    write_json(folder / "config.json", config | made_of(run))
    test = {"images": 360, "accuracy": 0.9512, "cross_entropy": 0.3127}
    mixtures = {"seconds": 3.2, "converged": list(converged), "codes": 1149}
    write_json(folder / "results.json", {"schema": 1, "test": test, "mixtures": mixtures})
    return folder


def wilson(share: float, count: int) -> list[float]:
    centre, half = share + 1.92 / count, 1.96 * math.sqrt(share * (1 - share) / count + 0.96 / count**2)
    return [(centre - half) / (1 + 3.84 / count), (centre + half) / (1 + 3.84 / count)]


def make_robustness(
    folder: Path,
    *,
    strength: dict[str, float] | None = None,
    eps: Sequence[str] = EPS,
    flagged: Sequence[str] = (),
    images: np.ndarray | None = None,
    homes: Path = Path("runs"),
    count: int = 500,
) -> Path:
    """What `robustness` leaves: accuracies that halve at `strength`, and faster for stronger attacks."""
    strength = STRENGTH if strength is None else strength
    models = {}
    for name, half in strength.items():
        keeps = {attack: _kept(half * easier, eps, count) for attack, easier in SEES_LESS.items()}
        models[name] = _model(name, half, keeps, [*strength, *BLACK_BOX], eps, count, fires=name in flagged)
    head = {"schema": 1, "version": "0.1.0", "command": ["doubleback", "robustness", *strength]}
    read = {name: {"path": str(homes / name), "identity": f"{i:08x}"} for i, name in enumerate(strength)}
    black = {name: {"path": str(homes / name), "identity": "0"} for name in BLACK_BOX}
    settings = {"attack": ["fgsm", "pgd", "apgd"], "eps": list(eps), "norm": "Linf", "seed": 0}
    write_json(folder / "config.json", head | {"robustness": settings, "models": read, "black_box": black})
    results = {"schema": 1, "norm": "Linf", "seconds": 71.0, "eps": list(eps), "images": count, "models": models}
    write_json(folder / "results.json", results)
    source = digits(6) if images is None else images
    noise = np.sign(np.random.default_rng(3).standard_normal((len(source), len(eps), *source.shape[1:])))
    size = np.array([float(Fraction(e)) for e in eps])[:, None, None, None]
    x_adv = np.clip(source[:, None] + 255 * size * noise, 0, 255).astype(np.uint8)
    np.savez_compressed(folder / "images.npz", source=source, **{f"{name}/x_adv": x_adv for name in strength})
    return folder


def keep(folder: Path, rights: Mapping[str, np.ndarray], path: Sequence[str] = ("worst_case",)) -> Path:
    """What became of each image, (E, N) or (N,) truth values a model, and the shares that follow, at `path`."""
    record = read_json(folder / "results.json")
    record["images"] = next(iter(rights.values())).shape[-1]
    every = {}
    for model, right in rights.items():
        share = right.mean(-1).tolist()
        at, ends = record["models"][model], record["models"][model].setdefault("ci95", {})
        for key in path[:-1]:
            at, ends = at.setdefault(key, {}), ends.setdefault(key, {})
        at[path[-1]] = dict(zip(record["eps"], share, strict=True)) if right.ndim == 2 else share
        ends.pop(path[-1], None)
        every["/".join([model, *path])] = right
    for model in rights:
        for source, shares in record["models"][model].get("transfer", {}).items():
            kept = [np.arange(record["images"]) < round(shares[e] * record["images"]) for e in record["eps"]]
            shares |= {e: float(each.mean()) for e, each in zip(record["eps"], kept, strict=True)}
            every[f"{model}/transfer/{source}"] = np.stack(kept)
    if "judge" in record and path != ("reached",):
        every |= {f"{model}/reached": np.ones(record["images"], dtype=bool) for model in rights}
    write_json(folder / "results.json", record)
    np.savez_compressed(folder / "outcomes.npz", **every)
    return folder


def _kept(half: float, eps: Sequence[str], count: int) -> dict[str, float]:
    return {e: round(0.97 * 0.5 ** ((float(Fraction(e)) / half) ** 2) * count) / count for e in eps}


def _model(
    name: str,
    half: float,
    keeps: dict[str, dict[str, float]],
    others: Sequence[str],
    eps: Sequence[str],
    count: int,
    *,
    fires: bool,
) -> dict[str, Any]:
    mixture = "/" in name
    transfer = {other: _kept(3 * half, eps, count) for other in others if other != name}
    worst = {e: min(kept[e] for kept in [*keeps.values(), *transfer.values()]) for e in eps}
    ends = {
        "clean_accuracy": wilson(0.97, count),
        "worst_case": {e: wilson(share, count) for e, share in worst.items()},
        "robust_accuracy": {a: {e: wilson(share, count) for e, share in kept.items()} for a, kept in keeps.items()},
        "transfer": {other: {e: wilson(share, count) for e, share in kept.items()} for other, kept in transfer.items()},
    }
    says = {
        "vanishing_gradient": "share of images whose gradient is zero",
        "black_box_wins": "share that square breaks and PGD does not",
    }
    checks = {check: {"value": 0.012, "threshold": 0.05, "says": words} for check, words in says.items()}
    flags = {"vanishing_gradient": "The gradient is zero on 31 % of the images: PGD cannot see."} if fires else {}
    if fires:
        checks["vanishing_gradient"]["value"] = 0.31
    return {
        "kind": "mixture" if mixture else "lenet",
        "clean_accuracy": 0.97,
        "robust_accuracy": keeps,
        "worst_case": worst,
        "transfer": transfer,
        "ci95": ends,
        "checks": checks,
        "flags": flags,
        "gradients": {"score": 0.4 / half} | ({"latent": 0.13 / half, "mixture": 3.1} if mixture else {}),
    }


def make_transition(
    folder: Path,
    *,
    models: Sequence[str] = ("plain/classifier", "hardened/classifier"),
    judge: str | None = "lenet",
    images: np.ndarray | None = None,
    shown: np.ndarray = SHOWN,
    count: int = 200,
) -> Path:
    """What `transition` leaves: images that fade from one to the next, the later models going further."""
    names = list("0123456789")
    head = {"schema": 1, "version": "0.1.0", "command": ["doubleback", "transition", *models]}
    read = {name: {"path": f"runs/{name}", "identity": "0"} for name in models}
    config = head | {"transition": {"steps": int(shown[-1]), "stop": 0.95}, "models": read}
    write_json(folder / "config.json", config | {"judge": judge and {"path": f"runs/{judge}", "identity": "0"}})
    source = digits(6) if images is None else images
    target = np.roll(source, 1, axis=0)
    total, kept = len(source), {"source_class": np.arange(len(source)) % 10, "shown": shown}
    kept["target_class"] = (kept["source_class"] + 4) % 10
    records = {}
    for i, name in enumerate(models):
        share, ends = 0.15 * (i + 1), int(shown[-1]) - 15 * (i % 2)
        way = np.minimum(shown, ends) / shown[-1]
        kept[f"{name}/images"] = blend(source[:, None], target[:, None], 0.6 * way[:, None, None, None])
        kept[f"{name}/reconstructions"] = blend(source[:, None], target[:, None], way[:, None, None, None])
        sure = 1 / (1 + np.exp(-(np.minimum(np.arange(shown[-1] + 1), ends) - 30 - 8 * i) / 5))
        table = np.zeros((total, len(sure), 10))
        for m, (start, end) in enumerate(zip(kept["source_class"], kept["target_class"], strict=True)):
            table[m, :, start], table[m, :, end] = 1 - sure, sure
        kept[f"{name}/probabilities"], kept[f"{name}/steps"] = table.astype(np.float32), np.full(total, ends)
        records[name] = {"reached": 1.0, "steps": 52.4, "distance": 3.21 + i}
        if judge:
            records[name]["judge"] = {"image": share, "reconstruction": 0.9, "source": 0.98}
            records[name]["ci95"] = {"judge": {"image": wilson(share, count), "reconstruction": wilson(0.9, count)}}
    write_json(
        folder / "results.json",
        {"schema": 1, "classes": names, "images": count, "seconds": 12.0, "judge": judge, "models": records},
    )
    np.savez_compressed(folder / "images.npz", **kept)
    return folder
