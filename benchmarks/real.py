"""Other people's autoencoders, audited with a line of glue at most: python -m benchmarks.real --data PATH

Each model of `benchmarks.zoo` is built from its configuration, trained here, checked and audited in a process of its
own. The table says what it withstands, which flags fire, seconds a pair and peak memory. The last line is JSON, which
benchmarks/results/real.json holds too. `--only NAME` takes those whose name holds it, and keeps the other rows.
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
from benchmarks.recording import record, rows_before
from benchmarks.zoo import KINDS, SIDE, trained
from doubleback.processes import peak_memory_mb


def measured(name: str, data: str, steps: int, pairs: int, coefficients: int) -> dict[str, Any]:
    """One row of the table."""
    kind = KINDS[name]
    images = doubleback.load_images(data, image_size=SIDE)
    x = images.train.images
    rgb = (lambda y: y.expand(-1, 3, -1, -1)) if x.shape[1] == 1 else (lambda y: y)
    started = time.perf_counter()
    net = trained(kind, rgb(x), steps=steps)
    trained_for = time.perf_counter() - started
    victim, test = kind.wrap(net), kind.shown(rgb(images.test.images).float() / 255)
    started = time.perf_counter()
    findings = doubleback.check(victim, test)
    checked_for = time.perf_counter() - started
    found = doubleback.audit(victim, test, pairs=pairs, coefficients=coefficients, progress=False)
    results = found.results()
    return {
        "model": name,
        "glue": kind.glue,
        "l2": results["reconstruction_l2"],
        "auddc": {attack: one["auddc"]["envelope"] for attack, one in results["attacks"].items()},
        "ceiling": results["ceiling"]["mean"],
        "flags": sorted(results["flags"]),
        "faults": [finding.name for finding in findings if not finding.ok],
        "check_seconds": checked_for,
        "seconds_a_pair": results["seconds"] / pairs,
        "peak_memory_mb": peak_memory_mb(),
        "training_seconds": trained_for,
    }


HEAD = ("model", "glue", "L2", "worst-case AUDDC", "ceiling", "flags", "seconds a pair", "peak memory, MB")


def row(one: dict[str, Any]) -> str:
    """A line of the table in docs/your-own-model.md."""
    worst = one["auddc"]["worst_case"]
    low, high = worst["ci95"] or (worst["mean"],) * 2
    cells = [
        one["model"],
        f"`{one['glue']}`",
        "-" if one["l2"] is None else f"{one['l2']:.2f}",
        f"{worst['mean']:.3f} [{low:.3f}, {high:.3f}]",
        "-" if one["ceiling"] is None else f"{one['ceiling']:.3f}",
        ", ".join(one["flags"]) or "none",
        f"{one['seconds_a_pair']:.1f}",
        f"{one['peak_memory_mb']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="images, as in `doubleback train`")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--coefficients", type=int, default=12)
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(1)
        print(json.dumps(measured(given.one, given.data, given.steps, given.pairs, given.coefficients)))
        return
    rows = {one["model"]: one for one in rows_before("real")} if given.only else {}
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for name in (name for name in KINDS if given.only in name):
        words = [sys.executable, "-m", "benchmarks.real", "--one", name, "--data", given.data]
        words += [f"--{option}={getattr(given, option)}" for option in ("steps", "pairs", "coefficients")]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
                              env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        rows[name] = json.loads(done.stdout.strip().splitlines()[-1])
        print(row(rows[name]), flush=True)
    every = [rows[name] for name in KINDS if name in rows]
    asked = {name: getattr(given, name) for name in ("steps", "pairs", "coefficients")}
    record("real", {"data": Path(given.data).name, "settings": asked, "rows": every}, quick=False)


if __name__ == "__main__":
    main()
