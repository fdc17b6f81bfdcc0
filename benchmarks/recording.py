"""What every benchmark reads and leaves: images, and benchmarks/results/<name>.json with machine, versions, commit.

What was measured on a GPU is left in <name>-gpu.json, on a processor with bf16 units in <name>-bf16.json, in a quick
run in <name>-quick.json.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from doubleback.data import ImageData, load_images
from doubleback.errors import InputError
from doubleback.processes import has_bf16, machine

RESULTS = Path(__file__).parent / "results"


def record(name: str, figures: dict[str, Any], *, quick: bool) -> None:
    """Write the figures, and print them as the last line; quick ones are written apart."""
    figures = {"quick": quick, **figures}
    made_on = machine() | {
        "threads": torch.get_num_threads(),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "../src", "./*.py")),
    }
    RESULTS.mkdir(exist_ok=True)
    path_of(name, quick=quick).write_text(
        json.dumps({"machine": made_on, **figures}, indent=2) + "\n", encoding="utf-8"
    )
    print(json.dumps(figures))


def path_of(name: str, *, quick: bool = False) -> Path:
    """Where the figures of this machine are left."""
    on = "-gpu" if torch.cuda.is_available() else "-bf16" if has_bf16() else ""
    return RESULTS / f"{name}{on}{'-quick' if quick else ''}.json"


def rows_before(name: str) -> list[dict[str, Any]]:
    """The rows of the last run on such a machine; a run of some rows alone keeps the others."""
    path = path_of(name)
    return list(json.loads(path.read_text(encoding="utf-8"))["rows"]) if path.exists() else []


def told(main: Callable[[], None]) -> None:
    """Run a benchmark; what it cannot do it says in a line, with exit status 2."""
    try:
        main()
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)


def mnist_or_digits() -> ImageData:
    """MNIST, or the bundled digits if it cannot be had."""
    try:
        return load_images("mnist")
    except InputError as error:
        print(f"NO MNIST, so this measures the bundled digits instead: {error}", file=sys.stderr)
        return load_images("digits")


def _git(*words: str) -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        home = Path(__file__).parent
        return subprocess.run(["git", *words], cwd=home, capture_output=True, text=True, check=True).stdout.strip()
    return ""
