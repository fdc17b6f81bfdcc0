"""Other people's autoencoders, hardened within 2 %: python -m benchmarks.hardening --data PATH

Each model of `MODELS` is built from its configuration and trained here (`benchmarks.zoo`), attacked, hardened by
`doubleback.harden` and attacked again, in a process of its own. Attacked is: the largest damage at L-infinity 8/255 of
the same test images, before and after; the difference is paired. The last line is JSON, which
benchmarks/results/hardening.json holds too. `--only NAME` takes those whose name holds it, and keeps the other rows.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import doubleback
from benchmarks.recording import RESULTS, record
from benchmarks.zoo import KINDS, SIDE, trained
from doubleback.metrics.differences import paired_figures

MODELS = (
    "diffusers AutoencoderKL",
    "diffusers VQModel",
    "encoder and decoder with BatchNorm",
    "transformers ViTMAE",
    "CompressAI FactorizedPrior",
)
NORM, EPS = "Linf", 8 / 255


def measured(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    kind = KINDS[name]
    images = doubleback.load_images(given.data, image_size=SIDE)
    net = trained(kind, images.train.images, steps=given.steps, batch=32)
    victim, x = kind.wrap(net), images.test.images[: given.images].float() / 255

    def damages() -> Any:
        found = doubleback.damage(victim, x, eps=EPS, norm=NORM, steps=100, restarts=2)
        return found.distance.cpu().numpy()

    before = damages()
    started = time.perf_counter()
    found = doubleback.harden(
        victim, images, within=given.within, progress=False, alone=not given.twin, epochs=given.epochs,
        freeze=given.freeze, penalty=given.penalty,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    after = damages()
    difference = paired_figures(after, before)
    assert difference is not None
    return {
        "model": name,
        "freeze": given.freeze,
        "penalty": given.penalty,
        "before": float(before.mean()),
        "after": float(after.mean()),
        "difference": {"mean": difference.mean, "ci95": difference.interval},
        "harden": found.results(),
        "harden_seconds": seconds,
    }


HEAD = ("model", "damage before", "after", "difference", "share", "L2", "rate", "latents moved", "hardening, s")


def row(one: dict[str, Any]) -> str:
    """A line of the table in docs/hardening.md."""
    (low, high), cost = one["difference"]["ci95"], one["harden"]
    start, end = cost["start"], cost["end"]
    rate = f"{start['rate']:.3f} to {end['rate']:.3f}" if "rate" in start else "-"
    cells = [
        one["model"] + (f", {one['freeze']} frozen" if one["freeze"] else ""),
        f"{one['before']:.2f}",
        f"{one['after']:.2f}",
        f"{one['difference']['mean']:.2f} [{low:.2f}, {high:.2f}]",
        f"{one['after'] / one['before'] - 1:+.0%}",
        f"{start['reconstruction_l2']:.3f} to {end['reconstruction_l2']:.3f}",
        rate,
        "-" if cost["latents_moved"] is None else f"{cost['latents_moved']:.0%}",
        f"{one['harden_seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="images, as in `doubleback train`")
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    parser.add_argument("--epochs", type=int, default=15, help="of hardening")
    parser.add_argument("--images", type=int, default=100, help="that are attacked")
    parser.add_argument("--within", type=float, default=0.02)
    parser.add_argument("--penalty", default="spectral", help="as in `doubleback harden`")
    parser.add_argument("--freeze", choices=("encoder", "decoder"))
    parser.add_argument("--twin", action="store_true", help="train the twin, too")
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(1)
        print(json.dumps(measured(given.one, given)))
        return
    known = RESULTS / "hardening.json"
    rows = {_key(one): one for one in json.loads(known.read_text())["rows"]} if known.exists() else {}
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    options = ("data", "steps", "epochs", "images", "within", "penalty")
    shared = [f"--{option}={getattr(given, option)}" for option in options] + (["--twin"] if given.twin else [])
    shared += [f"--freeze={given.freeze}"] if given.freeze else []
    for name in (name for name in MODELS if given.only in name):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.hardening", "--one", name, *shared], capture_output=True, text=True,
            check=False, cwd=Path(__file__).parents[1], env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        one = json.loads(done.stdout.strip().splitlines()[-1])
        rows[_key(one)] = one | {"settings": {option: getattr(given, option) for option in options[1:]}}
        print(row(one), flush=True)
    record("hardening", {"data": Path(given.data).name, "rows": [rows[key] for key in sorted(rows)]}, quick=False)


def _key(one: dict[str, Any]) -> tuple[str, str, str]:
    return one["model"], one["freeze"] or "", one["penalty"]


if __name__ == "__main__":
    main()
