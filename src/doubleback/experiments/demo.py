"""`demo`: a plain run, the same hardened within 2 %, both audited."""

import time
from pathlib import Path
from typing import Any

from doubleback.auditing import draw_pairs
from doubleback.data import load_images
from doubleback.errors import InputError
from doubleback.experiments.auditing import audit
from doubleback.experiments.hardening import harden
from doubleback.experiments.training import train
from doubleback.files import read_json, write_json
from doubleback.folders import RESULTS, SCHEMA, is_begun, names_in, strange, within
from doubleback.processes import processes
from doubleback.settings import Architecture, Auditing, Data, Hardening, Loop, Sizes, Training
from doubleback.settings.commands import Audit, Demo, Harden, Train
from doubleback.settings.words import words

HARDENED_FOR = 10  # epochs
PLAIN, HARDENED = RUNS = ("plain", "hardened")
FEW = 64  # images a step of the few digits: after too few steps a model is not worth attacking
SMALL = Architecture("conv-vae", Sizes(filters=(16, 32, 64), hidden=(256,), latent=32), "gaussian")


def demo(command: Demo) -> dict[str, Any]:
    """Train a plain VAE, harden it, audit both, write `results.json`; what is finished already is kept.

    Returns:
        What `results.json` holds: `plain` and `hardened`, each the figures of its training and of its audit.

    Raises:
        InputError: a setting or the folder is unusable, or torchrun has started several processes.
    """
    if processes() > 1:
        raise InputError("demo is for one process; start it without torchrun")
    _check(command.output)
    started = time.perf_counter()
    auditing = Auditing().changed(pairs=command.pairs, coefficients=command.coefficients, seed=command.seed)
    test = load_images(command.data).test
    draw_pairs(len(test), test.labels, command.pairs, command.seed)  # refuse what cannot be audited before training
    runs = {name: within(command.output, name) for name in RUNS}
    results: dict[str, Any] = {PLAIN: _trained(runs[PLAIN], command)}
    results[HARDENED] = _hardened(runs[PLAIN], runs[HARDENED], command)
    audits = Audit(tuple(runs.values()), auditing=auditing)
    found = audit(audits, _line(audits))
    for name, figures in zip(runs, found.values(), strict=True):
        results[name] |= figures
    results = {"schema": SCHEMA, "seconds": time.perf_counter() - started, **results}
    write_json(command.output / RESULTS, results)
    return results


def _check(folder: Path) -> None:
    """Refuse a folder that holds something else: `results.json` and `report.html` are written there.

    Raises:
        InputError: it holds a run, a study or files of somebody else, or it cannot be read.
    """
    if is_begun(folder):
        raise InputError(f"{folder} holds a run or a study; give another --output")
    there = names_in(folder)
    foreign = not any(is_begun(folder / name) for name in RUNS) and not there <= set(RUNS)
    if foreign or (RESULTS in there and not set(RUNS) <= set(read_json(folder / RESULTS))):
        raise strange(folder, "demo")


def _trained(folder: Path, command: Demo) -> dict[str, Any]:
    loop = Loop(epochs=command.epochs, seed=command.seed)
    architecture = Architecture("conv-vae", likelihood="gaussian")
    if command.data == "digits":
        loop, architecture = loop.changed(batch_size=FEW, learning_rate=4e-3), SMALL
    run = Train(folder, Training(images=Data(command.data), architecture=architecture, loop=loop), resume=True)
    return train(run, _line(run))


def _hardened(victim: Path, folder: Path, command: Demo) -> dict[str, Any]:
    run = Harden(victim, folder, Hardening(command.within, loop=Loop(epochs=HARDENED_FOR, seed=command.seed)))
    return harden(run, _line(run))


def _line(command: Train | Harden | Audit) -> tuple[str, ...]:
    return ("doubleback", *words(command, left_out=("resume",)))
