"""Kill every command at every step at which it writes, run it again, and see that nothing is lost.

    python -m tests.kills [COMMAND ...]

A step is a file opened to be written, made, renamed or removed, or a folder made or removed, below the work folder. For
each step a fresh process runs the command and is killed (SIGKILL) just before it. Then the same command runs to its
end. It must succeed, leave the very bits of a run that was never killed (times aside), and no other file.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OF_THE_CLOCK = {"seconds", "compile_seconds", "peak_memory_mb", "minutes", "machine"}
_TRAINED = "--data digits --limit 120 --epochs 2 --batch-size 30"
_HARDENED = "--epochs 1 --batch-size 30"
_ATTACKED = "--pairs 2 --coefficients 3 --steps 5"


@dataclass(frozen=True)
class Case:
    """A command, what must be there before (commands, too), and what it is called."""

    name: str
    line: str
    before: tuple[str, ...] = ()


_PLAIN = f"train {_TRAINED} --kl-weight 0.1 --output plain"
_MLP = f"train {_TRAINED} --model mlp --output mlp"
_MIXTURE = "classify plain --components 1 --output mixture"
CASES = (
    Case("train", f"{_PLAIN} --penalty reconstruction --resume"),
    Case("train-classifier", f"{_MLP} --resume"),
    Case("train-folder", "train --data images --epochs 1 --batch-size 20 --output plain --resume"),
    Case("train-init", "train --init plain --epochs 1 --output hardened --resume", (_PLAIN,)),
    Case("audit", f"audit plain --attack latent output untargeted {_ATTACKED}", (_PLAIN,)),
    Case("classify", _MIXTURE, (_PLAIN,)),
    Case(
        "robustness", "robustness mixture mlp --samples 4 --steps 2 --queries 4 --output out", (_PLAIN, _MLP, _MIXTURE)
    ),
    Case("transition", "transition mixture --count 2 --steps 3 --judge mlp --output out", (_PLAIN, _MLP, _MIXTURE)),
    Case("harden", f"harden plain --within 20% {_HARDENED} --output out", (_PLAIN,)),
    Case(
        "frontier",
        f"frontier plain --within 50% --defences noise quantize {_HARDENED} {_ATTACKED} --output out",
        ("train --data digits --limit 300 --epochs 12 --batch-size 10 --kl-weight 0.1 --output plain",),
    ),
    Case("report", "report plain --output page.html", (_PLAIN, f"audit plain {_ATTACKED}")),
    Case(
        "leaderboard", "leaderboard plain --output page.html --markdown page.md", (_PLAIN, f"audit plain {_ATTACKED}")
    ),
    Case("push", "push plain owner/name --output out", (_PLAIN, f"audit plain {_ATTACKED}")),
    Case(
        "demo", "demo --data images --epochs 1 --pairs 2 --coefficients 3 --output out"
    ),  # digits take five times as long
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the cases, print a line for each and one for each step that ends badly; 1 if any does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", choices=[[], *(case.name for case in CASES)], default=[])
    parser.add_argument("--every", type=int, default=1, help="try every n-th step only")
    said = parser.parse_args(arguments)
    _import_everything()
    bad = 0
    for case in CASES:
        if said.commands and case.name not in said.commands:
            continue
        with tempfile.TemporaryDirectory() as home:
            steps, complaints = tried(case, Path(home).resolve(), said.every)
        bad += len(complaints)
        print(f"{case.name}: {steps} steps, {len(complaints)} end badly", flush=True)
        print("".join(f"    {complaint}\n" for complaint in complaints), end="", flush=True)
    return 1 if bad else 0


def tried(case: Case, home: Path, every: int = 1) -> tuple[int, list[str]]:
    """How many steps the command has, and what went wrong at which."""
    ready, whole, work = home / "ready", home / "whole", home / "work"
    ready.mkdir()
    _draw_images(home / "images")
    (ready / "images").symlink_to(home / "images")  # a copy would be another source to the cache
    for line in case.before:
        _ended_well(_run(ready, line), line)
    shutil.copytree(ready, work, symlinks=True)
    steps = _counted(work, case.line)
    work.rename(whole)
    complaints = []
    for step in range(0, steps, every):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(ready, work, symlinks=True)
        if not os.WIFSIGNALED(_run(work, case.line, kill_at=step)):
            complaints.append(f"step {step}: was not killed")
        elif os.waitstatus_to_exitcode(_run(work, case.line)):
            complaints.append(f"step {step}: the command fails afterwards")
        else:
            complaints += [f"step {step}: {difference}" for difference in differences(whole, work)]
    return steps, complaints


def differences(one: Path, other: Path) -> list[str]:
    """The files of which one folder has none, or other content."""
    files = [{path.relative_to(home) for path in home.rglob("*") if path.is_file()} for home in (one, other)]
    left = [f"{path} is {'left over' if path in files[1] else 'missing'}" for path in sorted(files[0] ^ files[1])]
    return left + [
        f"{path} differs" for path in sorted(files[0] & files[1]) if _bits(one / path) != _bits(other / path)
    ]


def _bits(path: Path) -> Any:
    """What of a file must be the same: everything but times."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: (arrays[name].shape, arrays[name].tobytes()) for name in arrays.files}
    if path.suffix == ".json":
        return _without_clock(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".csv":
        with path.open(encoding="utf-8") as stream:
            return [_without_clock(row) for row in csv.DictReader(stream)]
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name).numpy().tobytes() for name in file.keys()}  # noqa: SIM118
        return header["identity"], _without_clock(json.loads(header["state"])), tensors
    return None if path.suffix == ".html" else path.read_bytes()


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_clock(part) for name, part in value.items() if name not in OF_THE_CLOCK}
    return [_without_clock(part) for part in value] if isinstance(value, list) else value


def _counted(home: Path, line: str) -> int:
    """Run the command, and count its steps."""
    reading, writing = os.pipe()

    def told(count: Counter[str]) -> None:
        os.write(writing, str(count["steps"]).encode())

    _ended_well(_run(home, line, told=told), line)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return int(pipe.read())


def _run(
    home: Path, line: str, *, kill_at: int | None = None, told: Callable[[Counter[str]], None] | None = None
) -> int:
    """The status of a process that has run the command in `home`, killed before its step `kill_at`."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        status = _command(home, line, kill_at, told)
    finally:
        os._exit(status)


def _command(home: Path, line: str, kill_at: int | None, told: Callable[[Counter[str]], None] | None) -> int:
    os.chdir(home)
    os.environ["DOUBLEBACK_CACHE"] = str(home / "cache")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    import torch

    from doubleback.cli import main as doubleback

    torch.set_num_threads(1)
    count: Counter[str] = Counter()

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if _writes(event, given, home):
            if count["steps"] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            count["steps"] += 1

    sys.addaudithook(watch)
    status = doubleback(line.split())
    if told:
        told(count)
    return status


def _writes(event: str, given: tuple[Any, ...], home: Path) -> bool:
    """Whether an audit event is a step at which something below `home` is written."""
    if event == "open":
        path, mode, flags = given
        writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else "r" not in (mode or "r")
        return bool(writing) and _below(path, home)
    moving = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
    return event in moving and _below(given[0], home)


def _below(path: Any, home: Path) -> bool:
    return isinstance(path, (str, bytes, os.PathLike)) and Path(os.path.abspath(os.fsdecode(path))).is_relative_to(home)  # noqa: PTH100


def _draw_images(folder: Path) -> None:
    """Two classes of small pictures."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for kind in ("a", "b"):
        (folder / kind).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(rng.integers(256, size=(8, 8), dtype=np.uint8)).save(folder / kind / f"{number}.png")


def _ended_well(status: int, line: str) -> None:
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"without a kill `doubleback {line}` fails")


def _import_everything() -> None:
    """Once, before the processes split: else each of them would wait for torch."""
    import datasets  # noqa: F401
    import sklearn.mixture  # noqa: F401

    import doubleback.cli
    import doubleback.experiments.demo
    import doubleback.experiments.robustness
    import doubleback.experiments.transition
    import doubleback.paper.planning
    import doubleback.report  # noqa: F401


if __name__ == "__main__":
    raise SystemExit(main())
