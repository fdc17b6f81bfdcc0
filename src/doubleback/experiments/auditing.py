"""`audit`: what runs withstand, a folder for each."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from doubleback.attacks import Attack, Damage, Goal, Surrogate, attacks_of
from doubleback.attacks.goals import GOALS
from doubleback.auditing import Plan, check, plan_audit
from doubleback.auditing.asked import usual_attacks
from doubleback.auditing.plan import CHUNK
from doubleback.data import Split, fingerprint, settled
from doubleback.errors import InputError
from doubleback.experiments.runs import TrainedRun, refuse_not_finite
from doubleback.experiments.victims import Stranger, images_of, is_there, load_victim, named_as
from doubleback.files import write_arrays, write_json
from doubleback.folders import CURVES, IMAGES, SCHEMA, Folder, is_begun, within
from doubleback.imports import code_digest, is_named
from doubleback.processes import launched, noticing_lost_processes, refuse_too_large
from doubleback.settings.commands import Audit
from doubleback.settings.commands import Check as Look
from doubleback.settings.stored import flat
from doubleback.settings.threat import Threat
from doubleback.trust import Check, Finding

_UNSAID = (
    "norm",
    "eps",
    "relative",
    "queries",
    "transfer",
    "survive",
    "defend",
)  # of an audit without budgets, which is the one that it was before there were any


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
        raise InputError("no run to audit; give one or more, or models of your own")
    named = [goal.name for goal in GOALS.values()] if command.attack is None else command.attack
    attacks_of(named, command.auditing.capability, command.auditing.search)  # refused before a model is read
    runs = {_audit_folder(run, command): load_victim(run, command.wrapping) for run in command.runs}
    if len(runs) < len(command.runs):
        raise InputError("two of the runs have the same folder name and would share one output; audit them separately")
    if command.transfer and len(runs) < 2:
        raise InputError("--transfer needs two victims or more; give more, or leave it out")
    planned = [_planned(path, runs, command, words) for path in runs]
    due = [folder.state() != "finished" for folder, _ in planned]
    fabric = launched()
    for victim in runs.values():  # all of them: what transfers is made on the others
        moved: Any = victim.autoencoder
        moved.to(fabric.device)
    for run, (folder, plan), to_do in zip(runs.values(), planned, due, strict=True):
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
        found = replace(found, judged=replace(found.judged, together=[*found.judged.together, *known]))
        write_arrays(folder.path / CURVES, found.arrays())
        write_arrays(folder.path / IMAGES, found.gallery)
        folder.finish(found.results())


def look(command: Look) -> list[Finding]:
    """`check`: the findings of one model, written as JSON where that is asked for."""
    victim = load_victim(command.victim, command.wrapping)
    images = images_of(victim, command.data, command.image_size)
    findings = check(victim.autoencoder, images, attacks=command.attack, settings=command.auditing)
    if command.json is not None:
        write_json(command.json, {"schema": SCHEMA, "findings": [asdict(finding) for finding in findings]})
    return findings


def _planned(
    path: Path, runs: dict[Path, TrainedRun | Stranger], command: Audit, words: Sequence[str]
) -> tuple[Folder, Plan]:
    """One victim's folder, and what will be done to it; the others are there for what transfers."""
    run = runs[path]
    images = images_of(run, command.data, command.image_size)
    split: Split = getattr(images, command.split)
    names = images.label_names
    attacks: Sequence[str | Goal | Attack] | None = command.attack
    if attacks is None:
        attacks = usual_attacks(run.autoencoder, command.auditing.resolved, split.images)
    _refuse_too_large(run.autoencoder, split, command, len(attacks))
    others = [other for other in runs.values() if other is not run] if command.transfer else []
    every: list[str | Goal | Attack] = [*attacks, *(_transferred(other, command) for other in others)]
    plan = plan_audit(run.autoencoder, split, command.auditing, attacks=every, names=names)
    refuse_not_finite(run.autoencoder, split.images, run.folder)
    command = replace(command, auditing=command.auditing.resolved)
    unsaid = (
        "runs",
        "output",
        *_unsaid(command.auditing.threat),
        "memory",
        *flat(command.wrapping),
        *["image_size"] * (command.image_size is None),
    )
    chosen = {name: value for name, value in flat(command).items() if name not in unsaid}
    chosen["data"] = command.data and settled(command.data)
    chosen["attack"] = [one if isinstance(one, str) else one.name for one in attacks]
    if command.wrapping.said:
        chosen["wrapping"] = {name: value for name, value in flat(command.wrapping).items() if value is not None}
    described: dict[str, Any] = {
        "audit": chosen,
        "train": run.described,
        "identity": run.identity,
        "weights": run.weights,
        "images": fingerprint(split),
    }
    if isinstance(run, TrainedRun) and run.hardened is not None:
        described["harden"] = run.hardened
    if others:
        described["transfer"] = [other.weights for other in others]
    if code := {name: code_digest(name) for name in attacks if isinstance(name, str) and is_named(name)}:
        described["code"] = code
    noted: dict[str, Any] = {"run": str(run.folder.resolve())}
    if isinstance(run, Stranger) and run.hardened is not None:
        noted["harden"] = run.hardened
    return Folder(path, "audit", described, words, (CURVES, IMAGES), noted), plan


def _unsaid(threat: Threat) -> Sequence[str]:
    """What an audit that says nothing of it does not write down: it is the one that it was before there was any."""
    if not (threat.eps or threat.survive or threat.defend):
        return _UNSAID
    return () if threat.defend else ("defend",)


def _transferred(other: TrainedRun | Stranger, command: Audit) -> Attack:
    """The attack by examples that are made on another victim."""
    name, auditing = named_as(other.folder), command.auditing.resolved
    knowledge = Surrogate(other.autoencoder, name)
    return Attack(Damage(), auditing.capability, auditing.search, f"from-{name}", knowledge)


def _refuse_too_large(model: Any, split: Split, command: Audit, attacks: int) -> None:
    """Refuse more coefficients or draws than memory holds: of a few pairs at once every image, of all every point."""
    asked, values = command.auditing, split.images[0].numel()
    together, draws = min(asked.pairing.pairs, CHUNK), asked.search.samples
    count = asked.capability.count
    images = together * (8 * count + 2 * draws) * values
    points = 4 * asked.pairing.pairs * count * (attacks + 1)
    needed = 4 * (images + points + draws * math.prod(getattr(model, "noise_shape", ())))
    refuse_too_large(needed, "an attack with so many --coefficients and --samples; give fewer")


def _audit_folder(run: Path, command: Audit) -> Path:
    """`audit` is of the run's own test images, which the report joins to the run; others stand apart."""
    if not command.output and (is_named(str(run)) or (is_there(run) and not is_begun(run))):
        raise InputError(f"{run} is not a run, so its audit has no folder of its own; give one: --output DIR")
    if command.output:
        if is_begun(command.output):
            raise InputError(f"{command.output} is a run or a study itself; give --output a folder for the audits")
        return within(command.output, named_as(run))
    other = [Path(settled(command.data)).name] if command.data else []
    other += [command.split] if command.split != "test" else []
    return within(run, "-".join(["audit", *other]))
