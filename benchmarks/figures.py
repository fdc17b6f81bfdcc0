"""Figures to the last digit: a fixed list of commands, and whether two versions of doubleback agree on them.

    python -m benchmarks.figures run FOLDER [--data-dir DIR]      run the list, one thread, one command after the other
    python -m benchmarks.figures compare FOLDER OTHER             which figures differ

Run the list before a change that should not touch any figure, run it again after, and compare. Everything but times and
memory is compared: each `results.json`, and each array of `curves.npz` and `images.npz`. With `--data-dir` (it holds
mnist/, svhn/ and faces/) the list ends with the smoke reproduction. The exit status of `compare` is 1 where a figure
differs.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = "--data digits --epochs 12 --batch-size 50"
QUICK = f"{PLAIN} --kl-weight 0.1"  # else every reconstruction is alike, and no pair has a curve
HARDENED = "--penalty reconstruction"
MODELS = ("vae", "conv-vae", "draw")
COMMANDS = [
    *(f"train {QUICK} --model {model} --output runs/{model}-plain" for model in MODELS),
    *(f"train {QUICK} --model {model} {HARDENED} --output runs/{model}-hardened" for model in MODELS),
    f"train {QUICK} --model vae --penalty output --likelihood gaussian --output runs/vae-output",
    f"train {PLAIN} --model ae --penalty latent --projections 2 --every 2 --output runs/ae-latent",
    f"train {QUICK} --model vae {HARDENED} --estimator perturbed --output runs/vae-perturbed",
    f"train {QUICK} --model vae {HARDENED} --estimator finite-difference --output runs/vae-differences",
    f"train {QUICK} --model draw --model.read-size 4 --model.write-size 4 --output runs/draw-attention",
    f"train --init runs/vae-plain --epochs 2 {HARDENED} --output runs/vae-from-plain",
    f"train {PLAIN} --model mlp --output runs/mlp",
    "audit runs/vae-plain runs/vae-hardened runs/conv-vae-plain runs/conv-vae-hardened runs/draw-plain"
    " runs/draw-hardened --attack latent output untargeted --pairs 6 --coefficients 10 --output audits",
    "audit runs/ae-latent --pairs 6 --coefficients 10 --steps 60 --restarts 1 --split validation",
    "audit runs/vae-plain --attack output untargeted --pairs 2 --coefficients 5 --steps 40 --samples 2 --output noise",
    "audit runs/vae-from-plain --attack untargeted --from 3 --to 8 --pairs 3 --coefficients 5 --output classes",
    "classify runs/vae-plain --components 2 --output classifiers/plain",
    "classify runs/vae-hardened --components 2 --output classifiers/hardened",
    "robustness classifiers/plain classifiers/hardened runs/mlp --samples 40 --steps 10 --queries 40 --output robust",
    "transition classifiers/plain classifiers/hardened --count 6 --steps 40 --beyond 5 --judge runs/mlp --output moved",
]
REPRODUCTION = "reproduce all --scale smoke --jobs 1 --output paper"
OF_THE_MACHINE = {"seconds", "minutes", "compile_seconds", "peak_memory_mb", "machine", "version"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(folder: Path, data_dir: Path | None) -> None:
    """Run the list in a folder; a command that fails ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    commands = [*COMMANDS, *([f"{REPRODUCTION} --data-dir {shlex.quote(str(data_dir.resolve()))}"] if data_dir else [])]
    for number, command in enumerate(commands, 1):
        print(f"{number}/{len(commands)} doubleback {command}", flush=True)
        words = [sys.executable, "-m", "doubleback", *shlex.split(command)]
        subprocess.run(words, cwd=folder, env={**os.environ, **ONE_THREAD}, check=True, stdout=subprocess.DEVNULL)


def compare(folder: Path, other: Path) -> list[str]:
    """The figures that differ between two runs of the list, a line each."""
    said = []
    for path in sorted(_files(folder) | _files(other)):
        if not (folder / path).exists() or not (other / path).exists():
            said.append(f"{path}: only in {folder if (folder / path).exists() else other}")
            continue
        one, two = dict(_figures(folder / path)), dict(_figures(other / path))
        said += [
            f"{path} {name}: {one.get(name)} and {two.get(name)}"
            for name in one | two
            if one.get(name) != two.get(name)
        ]
    return said


def _files(folder: Path) -> set[Path]:
    names = ("results.json", "curves.npz", "images.npz")
    return {path.relative_to(folder) for name in names for path in folder.rglob(name)}


def _figures(path: Path) -> Iterator[tuple[str, Any]]:
    """Every number and word of a file by its place, what depends on the machine left out."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            yield from ((name, (arrays[name].shape, arrays[name].tobytes())) for name in arrays.files)
    else:
        yield from _leaves(json.loads(path.read_text(encoding="utf-8")), "")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in OF_THE_MACHINE:
                yield from _leaves(part, f"{place}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{place}.{number}")
    else:
        yield place, value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="way", required=True)
    running = ways.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--data-dir", type=Path)
    comparing = ways.add_parser("compare")
    comparing.add_argument("folder", type=Path)
    comparing.add_argument("other", type=Path)
    said = parser.parse_args(arguments)
    if said.way == "run":
        run(said.folder, said.data_dir)
        return 0
    differences = compare(said.folder, said.other)
    print("\n".join(differences) or f"{len(_files(said.folder))} files agree to the last digit")
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
