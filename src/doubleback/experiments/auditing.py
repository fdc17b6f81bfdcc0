"""`audit`: what runs withstand, a folder for each."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from doubleback.attacks import attacks_of
from doubleback.auditing import Plan, plan_audit
from doubleback.auditing.auditor import CHUNK
from doubleback.data import Split, fingerprint, settled
from doubleback.errors import InputError
from doubleback.experiments.runs import TrainedRun, load_run, refuse_not_finite
from doubleback.files import write_arrays
from doubleback.folders import CURVES, IMAGES, Folder, is_begun, within
from doubleback.imports import code_digest, is_named
from doubleback.processes import launched, noticing_lost_processes, refuse_too_large
from doubleback.settings.commands import Audit
from doubleback.settings.stored import flat
from doubleback.trust import Check


def audit(command: Audit, words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Audit every run on the same pairs and leave a folder for each; what is audited just so already is kept.

    Args:
        command: the runs, the attacks, their settings.
        words: of the command line.

    Returns:
        By the audited folder, what its `results.json` holds; nothing in the other processes of a `torchrun`.

    Raises:
        InputError: a setting, a run or a folder is unusable; found before the first attack.
    """
    if not command.runs:
        raise InputError("no run to audit; give one or more folders that `doubleback train` has written")
    attacks_of(command.attack, command.auditing.price, command.auditing.search)  # refused before a run is read
    runs = {_audit_folder(run, command): load_run(run) for run in command.runs}
    if len(runs) < len(command.runs):
        raise InputError("two of the runs have the same folder name and would share one output; audit them apart")
    planned = [_planned(path, run, command, words) for path, run in runs.items()]
    due = [folder.state() != "finished" for folder, _ in planned]
    fabric = launched()
    for run, (folder, plan), to_do in zip(runs.values(), planned, due, strict=True):
        model: Any = plan.model
        model.to(fabric.device)
        with noticing_lost_processes("the runs that are finished are kept, audit again for the rest"):
            if fabric.is_global_zero:
                _leave(folder, plan, run.seen(Split(plan.images)))
            elif to_do:
                plan.run()
    if not fabric.is_global_zero:
        return {}
    return {str(run): folder.results() for run, (folder, _) in zip(command.runs, planned, strict=True)}


def _leave(folder: Folder, plan: Plan, known: list[Check]) -> None:
    """Attack, and fill the folder; checks that are known already are kept with those of the audit."""
    with folder.claimed() as finished:
        if finished:
            return
        found = plan.run()
        found = replace(found, checks=[*found.checks, *known])
        write_arrays(folder.path / CURVES, found.arrays())
        write_arrays(folder.path / IMAGES, found.gallery)
        folder.finish(found.results())


def _planned(path: Path, run: TrainedRun, command: Audit, words: Sequence[str]) -> tuple[Folder, Plan]:
    """One run's folder, and what will be done to it."""
    images = run.images(command.data)
    split: Split = getattr(images, command.split)
    names = images.label_names
    _refuse_too_large(run.autoencoder, split, command)
    plan = plan_audit(run.autoencoder, split, command.auditing, attacks=command.attack, names=names)
    refuse_not_finite(run.autoencoder, split.images, run.folder)
    chosen = {name: value for name, value in flat(command).items() if name not in ("runs", "output")}
    chosen["data"] = command.data and settled(command.data)
    described: dict[str, Any] = {
        "audit": chosen,
        "train": run.settings.described,
        "identity": run.identity,
        "weights": run.weights,
        "images": fingerprint(split),
    }
    if code := {name: code_digest(name) for name in command.attack if is_named(name)}:
        described["code"] = code
    noted = {"run": str(run.folder.resolve())}
    return Folder(path, "audit", described, words, (CURVES, IMAGES), noted), plan


def _refuse_too_large(model: Any, split: Split, command: Audit) -> None:
    """Refuse more coefficients or draws than memory holds: of a few pairs at once every image, of all every point."""
    asked, values = command.auditing, split.images[0].numel()
    together, draws = min(asked.pairing.pairs, CHUNK), asked.search.samples
    images = together * (8 * asked.price.count + 2 * draws) * values
    points = 4 * asked.pairing.pairs * asked.price.count * (len(command.attack) + 1)
    needed = 4 * (images + points + draws * math.prod(model.noise_shape))
    refuse_too_large(needed, "an attack with so many --coefficients and --samples; give fewer")


def _audit_folder(run: Path, command: Audit) -> Path:
    """`audit` is of the run's own test images, which the report joins to the run; others stand apart."""
    if command.output:
        if is_begun(command.output):
            raise InputError(f"{command.output} is a run or a study itself; give --output a folder for the audits")
        return within(command.output, run.resolve().name)
    other = [Path(settled(command.data)).name] if command.data else []
    other += [command.split] if command.split != "test" else []
    return within(run, "-".join(["audit", *other]))
