"""Run folders made up of numbers, in the layout of docs/run-directory.md."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

GRID = np.linspace(0, 1, 101)
BUDGETS = np.array([0.05, 0.1, 0.2, 0.3, 0.5])
STOPS = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0])
ATTACKS = {"latent": 1.0, "output": 0.9}  # how far each gets, as a factor of the strength
ABOUT = {"latent": "moves the code to the target's", "output": "moves the reconstruction to the target"}


def write_json(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def change(path: Path, **changes: Any) -> None:
    """Other values in a JSON file; None takes a key away."""
    record = read_json(path) | changes
    write_json(path, {key: value for key, value in record.items() if value is not None})


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def digits(count: int, channels: int = 1, size: int = 28) -> np.ndarray:
    """Blobs that differ from one to the next, uint8 (count, channels, size, size)."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    angles = np.arange(count)[:, None, None, None] * 2.4 + np.arange(channels)[None, :, None, None] * 0.5
    ring = np.exp(-(((x - 0.5 - 0.25 * np.cos(angles)) ** 2 + (y - 0.5 - 0.25 * np.sin(angles)) ** 2) / 0.03))
    return (255 * ring).astype(np.uint8)


def blend(one: np.ndarray, other: np.ndarray, weight: Any) -> np.ndarray:
    return (one * (1.0 - weight) + other * weight).astype(np.uint8)


def make_run(folder: Path, *, penalty: str = "none", images: np.ndarray | None = None, **settings: Any) -> Path:
    """What `train` leaves, weights apart; their digest follows from the settings."""
    images = digits(12) if images is None else images
    plain = penalty == "none"
    train = {"data": "digits", "model": "vae", "penalty": penalty, "epochs": 12, "seed": 0, **settings}
    command = ["doubleback", "train", "--data", "digits", "--penalty", penalty, "--output", str(folder)]
    write_json(folder / "config.json", {"schema": 1, "version": "0.1.0", "command": command, "train": train})
    test = {
        "images": 360,
        "reconstruction_l2": 2.8854 if plain else 2.9863,
        "reconstruction_nll": 92.31 if plain else 94.02,
        "reconstruction_psnr": 19.87 if plain else 19.51,
        "kl": 24.18 if plain else 22.6,
        "input_gradient_norm": 20.127 if plain else 6.312,
        "output_jacobian": {"spectral": 7.402 if plain else 2.003, "frobenius": 14.21 if plain else 5.12},
        "latent_jacobian": {"spectral": 3.91 if plain else 1.27, "frobenius": 6.83 if plain else 2.44},
    }
    seconds = 14.2 if plain else 21.7
    trained = {"seconds": seconds, "compile_seconds": 0.0, "epochs": 12, "steps": 60, "images": 1149}
    weights = hashlib.sha256(json.dumps(train).encode()).hexdigest()
    write_json(folder / "results.json", {"schema": 1, "train": trained, "test": test, "weights": weights})
    np.savez_compressed(folder / "images.npz", test=images[:8], test_reconstruction=blend(images[:8], 60, 0.2))
    write_log(folder / "log.csv", plain)
    return folder


def write_log(path: Path, plain: bool) -> None:
    rows = []
    for epoch in range(1, 13):
        on = not plain and epoch > 6
        fit = 200 * np.exp(-epoch / 3) + 92 + 3 * on
        row = {"epoch": epoch, "step": 5 * epoch, "seconds": epoch, "learning_rate": 1e-3}
        row |= {"penalty_weight": 0.03 * on, "loss": fit + 24, "reconstruction": fit, "kl": 24 - 20 / epoch}
        row |= {"penalty": 400 / epoch if on else "", "validation_reconstruction": fit + 2}
        row |= {"validation_kl": 24 - 19 / epoch, "validation_l2": fit / 32}
        rows.append(row)
    write_table(path, rows)


def made_of(run: Path) -> dict[str, Any]:
    """What an audit or a classifier notes of its run."""
    train, weights = read_json(run / "config.json")["train"], read_json(run / "results.json").get("weights")
    return {"run": str(run), "train": train} | ({"weights": weights} if weights else {})


def make_audit(
    folder: Path,
    run: Path,
    *,
    strength: float = 0.3,
    pairs: int = 20,
    flagged: int = 0,
    images: np.ndarray | None = None,
    spread: float = 0.15,
    attacks: Mapping[str, float] = ATTACKS,
    anywhere: Mapping[str, str] | None = None,
) -> Path:
    """What `audit` leaves: envelopes that fall within `strength` (its logarithm spread by `spread`).

    `anywhere`: attacks without a target, and what they are after.
    """
    anywhere = anywhere or {}
    attacks = {**attacks, **dict.fromkeys(anywhere, 1.5)}
    rng = np.random.default_rng(1)
    scale = strength * np.exp(spread * rng.standard_normal((pairs, 1)))
    flags = np.arange(pairs) < flagged
    curves = {"grid": GRID, "coefficients": np.logspace(-6, 6, 5), "flagged": flags}
    curves |= {"source_index": np.arange(pairs), "target_index": np.arange(pairs)[::-1].copy()}
    ceiling = np.clip(1 - GRID - 0.03 * np.sin(np.pi * GRID), 0, 1)[None] * np.ones((pairs, 1))
    envelopes = {"blend": ceiling}
    for attack, factor in attacks.items():
        envelopes[attack] = np.minimum(np.exp(-((GRID / (scale * factor)) ** 1.3)), ceiling)
    targeted = [envelopes[attack] for attack in attacks if attack not in anywhere]
    envelopes["worst_case"] = np.min([*targeted, ceiling], axis=0)
    for name, envelope in envelopes.items():
        envelope[flags] = np.nan
        curves[f"{name}/envelope"] = envelope
        curves[f"{'ceiling' if name == 'blend' else name}/auddc"] = np.trapezoid(envelope, GRID, axis=1)
    curves["damage/area"] = np.where(flags, np.nan, 1.1 - scale[:, 0])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "curves.npz", **curves)
    make_gallery(folder, envelopes, digits(12) if images is None else images)
    command = ["doubleback", "audit", str(run)]
    audit = {"attack": list(attacks), "pairs": pairs, "coefficients": 4, "steps": 300, "seed": 0}
    head = {"schema": 1, "version": "0.1.0", "command": command, "audit": audit}
    write_json(folder / "config.json", head | made_of(run))
    results = audit_results(curves, list(attacks), pairs, flagged)
    results["damage"] = {"area": {"mean": float(curves["damage/area"][flagged:].mean()), "ci95": None}}
    for attack in attacks:
        about = anywhere.get(attack, ABOUT.get(attack, ""))
        results["attacks"][attack] |= {"targeted": attack not in anywhere, "about": about}
    write_json(folder / "results.json", results)
    return folder


def with_areas(audit: Path, areas: Mapping[str, Any]) -> Path:
    """Other AUDDC of the pairs, by attack or `worst_case`, (P,) with NaN where a pair is flagged; and what follows."""
    with np.load(audit / "curves.npz") as archive:
        curves = dict(archive)
    results = read_json(audit / "results.json")
    for name, values in areas.items():
        own = np.asarray(values, dtype=float)
        curves[f"{name}/auddc"], used = own, own[np.isfinite(own)]
        curves["flagged"] = ~np.isfinite(own)
        mean = {"mean": used.mean() if len(used) else None, "ci95": None}
        results["attacks"][name] |= {"auddc": {"envelope": mean}, "share_of_ceiling": None}
        results["pairs"] = {"requested": len(own), "used": len(used), "flagged": len(own) - len(used)}
    np.savez_compressed(audit / "curves.npz", **curves)
    write_json(audit / "results.json", results)
    return audit


def audit_results(curves: dict[str, np.ndarray], names: list[str], pairs: int, flagged: int) -> dict[str, Any]:
    def summary(name: str) -> dict[str, Any]:
        values = curves[f"{name}/auddc"][flagged:]
        half = 1.96 * values.std() / np.sqrt(len(values))
        return {
            "mean": values.mean(),
            "ci95": [values.mean() - half, values.mean() + half] if len(values) > 1 else None,
        }

    attacks: dict[str, Any] = {}
    for name in [*names, "worst_case"]:
        envelope = summary(name)
        share = envelope["mean"] / summary("ceiling")["mean"]
        attacks[name] = {"auddc": {"envelope": envelope}, "share_of_ceiling": share}
        if name != "worst_case":
            raised = envelope["mean"] + 0.011
            attacks[name]["auddc"]["reference"] = {"mean": raised, "ci95": [raised - 0.02, raised + 0.02]}
            attacks[name] |= {"seconds": 2.1, "converged": 0.97}
    counts = {"requested": pairs, "used": pairs - flagged, "flagged": flagged}
    results = {"schema": 1, "attacks": attacks, "ceiling": summary("ceiling"), "pairs": counts}
    return results | {"reconstruction_l2": 2.9, "seconds": 5.4, "peak_memory_mb": 812.0}


def make_gallery(folder: Path, envelopes: dict[str, np.ndarray], images: np.ndarray, shown: int = 6) -> None:
    """The first pairs; flagged ones hold NaN distances."""
    shown = min(shown, len(envelopes["blend"]))
    places = np.arange(shown)
    source, target = images[places % len(images)], images[(places + 5) % len(images)]
    arrays = {"source": source, "target": target, "budgets": BUDGETS}
    arrays |= {"source_reconstruction": source, "target_reconstruction": target}
    for attack in (name for name in envelopes if name not in ("blend", "worst_case")):
        at_budgets = reached(envelopes[attack], (source, target), BUDGETS)
        at_stops = reached(envelopes[attack], (source[:4], target[:4]), STOPS)
        arrays |= {f"{attack}/{name}": array for name, array in at_budgets.items()}
        arrays |= {f"{attack}/stops/{name}": array for name, array in at_stops.items()}
    np.savez_compressed(folder / "images.npz", **arrays, stops=STOPS)


Ends = tuple[np.ndarray, np.ndarray]


def reached(envelopes: np.ndarray, ends: Ends, budgets: np.ndarray) -> dict[str, np.ndarray]:
    """What an attack leaves at each distortion, in pictures and in numbers."""
    source, target = ends
    v = np.stack([envelopes[: len(source), np.searchsorted(GRID, u - 1e-9)] for u in budgets], axis=1)
    weight = np.nan_to_num(1 - v, nan=0.5)[..., None, None, None]
    noise = np.random.default_rng(2).uniform(0, 255, (len(source), len(budgets), *source.shape[1:]))
    share = 0.6 * budgets[:, None, None, None]
    return {
        "x_adv": blend(source[:, None], 0.5 * noise + 0.5 * target[:, None], share),
        "reconstruction": blend(source[:, None], target[:, None], weight),
        "distortion": np.where(np.isnan(v), np.nan, budgets),
        "adversarial_distance": v,
    }


def make_demo(folder: Path, images: np.ndarray | None = None) -> Path:
    """What `demo` leaves: plain and hardened, each audited."""
    for name, penalty, strength in (("plain", "none", 0.27), ("hardened", "reconstruction", 0.4)):
        run = make_run(folder / name, penalty=penalty, images=images)
        make_audit(run / "audit", run, strength=strength, images=images)
    write_json(folder / "results.json", {"schema": 1, "seconds": 48.0})
    return folder
