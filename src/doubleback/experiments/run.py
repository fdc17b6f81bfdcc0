"""A configuration in, a run folder out: `train`, `audit` and `demo`, each as its command line does it."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only

from doubleback.auditing import audit as audit_model
from doubleback.auditing import check_audit
from doubleback.checkpoints import load_weights, save_tensors
from doubleback.data import load_images, settled
from doubleback.errors import DivergedError, InputError
from doubleback.evaluation import as_pixels, evaluate, placed, reconstruct
from doubleback.experiments import config, folders
from doubleback.experiments.folders import CURVES, IMAGES, RESULTS, SCHEMA, WEIGHTS, Run, load_run
from doubleback.files import read_json, write_arrays, write_json
from doubleback.models import VAE
from doubleback.objective import Objective
from doubleback.training import History, check_settings, fit

SHOWN_RECONSTRUCTIONS = 16


def train(settings: config.Train, command: Sequence[str]) -> dict[str, Any]:
    """Train one run and leave its folder.

    Args:
        settings: None stands for what follows from the data, the likelihood or `init`.
        command: the words of the command line, written down to repeat it.

    Returns:
        What `results.json` holds.

    Raises:
        InputError: a setting or the folder is unusable; nothing is written then.
        DivergedError: the loss stopped being finite; the last good weights are in the folder.
        KeyboardInterrupt: passed on; the checkpoint holds what was done.
    """
    parent = load_run(settings.init) if settings.init else None
    settings = _resolved(settings, parent)
    epochs = settings.epochs or 0
    check_settings(
        epochs=epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        max_grad_norm=settings.max_grad_norm,
        precision=settings.precision,
        devices=settings.devices,
        tensorboard=settings.tensorboard,
        seed=settings.seed,
    )
    images = folders.open_images(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = folders.build_model(settings, images.image_shape)
    if parent:
        load_weights(model, parent.model.state_dict(), parent.folder)
    objective = _objective(model, settings)
    settings = replace(settings, penalty_weight=objective.full_penalty_weight)
    described = {"train": folders.described(settings), "image_shape": list(images.image_shape)}
    identity, folder = folders.digest(described), settings.output
    main_process = getattr(rank_zero_only, "rank", 0) == 0
    if main_process:
        state = folders.state_of(folder, "train", described)
        if state == "finished" and settings.resume:
            return read_json(folder / RESULTS)
        if state != "free" and not settings.resume:
            raise InputError(f"{folder} holds this very run, {state}; add --resume to go on, or give another --output")
        if state == "free":
            folders.write_config(folder, described, command)
    elif settings.resume and (folder / RESULTS).exists():
        return {}
    try:
        history = fit(
            objective,
            images,
            epochs=epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            max_grad_norm=settings.max_grad_norm,
            seed=settings.seed,
            precision=settings.precision,
            compile=settings.compile,
            devices=settings.devices,
            folder=folder,
            resume=settings.resume,
            identity=identity,
            tensorboard=settings.tensorboard,
        )
    except DivergedError:
        save_tensors(folder / WEIGHTS, model.state_dict(), identity)
        raise
    if not main_process:
        return {}
    save_tensors(folder / WEIGHTS, model.state_dict(), identity)
    test = images.test.images
    shown = test[:SHOWN_RECONSTRUCTIONS]
    model.eval()
    reconstruction = as_pixels(reconstruct(model, placed(model, shown)))
    write_arrays(folder / IMAGES, {"test": shown.numpy(), "test_reconstruction": reconstruction})
    results = {
        "schema": SCHEMA,
        "train": _training_figures(history, settings, len(images.train)),
        "test": evaluate(model, test, seed=settings.seed, progress=True),
    }
    write_json(folder / RESULTS, results)
    return results


def audit(settings: config.Audit, command: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Audit every run on the same pairs and leave a folder for each; what is audited just so already is kept.

    Args:
        settings: of the attacks.
        command: the words of the command line.

    Returns:
        By the audited folder, what its `results.json` holds.

    Raises:
        InputError: a setting, a run or a folder is unusable; found before the first attack.
    """
    if not settings.runs:
        raise InputError("no run to audit; give one or more folders that `doubleback train` has written")
    runs = {_audit_folder(run, settings.output): load_run(run) for run in settings.runs}
    if len(runs) < len(settings.runs):
        raise InputError("two of the runs have the same folder name and would share one output; audit them apart")
    chosen = {name: value for name, value in asdict(settings).items() if name not in ("runs", "output")}
    configs = {folder: _audit_config(run, chosen) for folder, run in runs.items()}
    states = {folder: folders.state_of(folder, "audit", configs[folder]) for folder in runs}
    images = {folder: runs[folder].images() for folder, state in states.items() if state != "finished"}
    named = {"attacks" if name == "attack" else name: value for name, value in chosen.items()}
    for data in images.values():
        check_audit(data, **named)
    for folder, data in images.items():
        found = audit_model(runs[folder].model.to(_device()), data, **named)
        folders.write_config(folder, configs[folder], command)
        write_arrays(folder / CURVES, found.arrays())
        write_arrays(folder / IMAGES, found.gallery)
        write_json(folder / RESULTS, {"schema": SCHEMA, **found.results()})
    return {str(settings.runs[i]): read_json(folder / RESULTS) for i, folder in enumerate(runs)}


def demo(settings: config.Demo) -> dict[str, Any]:
    """Train a plain and a hardened VAE, audit both, write `results.json`; what is finished already is kept.

    Returns:
        What `results.json` holds: `plain` and `hardened`, each the figures of its training and of its audit.
    """
    started = time.perf_counter()
    data = load_images(settings.data, seed=settings.seed)
    check_audit(data, pairs=settings.pairs, coefficients=settings.coefficients, seed=settings.seed)
    runs = {"plain": "none", "hardened": "reconstruction"}
    results: dict[str, Any] = {}
    for name, penalty in runs.items():
        run = config.Train(
            output=settings.output / name,
            data=settings.data,
            penalty=penalty,  # type: ignore[arg-type]
            epochs=settings.epochs,
            seed=settings.seed,
            resume=True,
        )
        results[name] = train(run, _command_of(run))
    audits = config.Audit(
        runs=tuple(settings.output / name for name in runs),
        pairs=settings.pairs,
        coefficients=settings.coefficients,
        seed=settings.seed,
    )
    found = audit(audits, _command_of(audits))
    for name, figures in zip(runs, found.values(), strict=True):
        results[name] |= figures
    results = {"schema": SCHEMA, "seconds": time.perf_counter() - started, **results}
    write_json(settings.output / RESULTS, results)
    return results


def _resolved(settings: config.Train, parent: Run | None) -> config.Train:
    """Settings without None: what was not said is the parent's, or the default."""
    before = parent.settings if parent else None
    for name in ("model", "hidden", "latent", "likelihood", "variance"):
        said, had = getattr(settings, name), getattr(before, name, None)
        if before and said is not None and said != had:
            raise InputError(f"--{name} is {said}, but {settings.init} has {had}; leave it out with --init")
    defaults: dict[str, Any] = {"data": "digits", "image_size": None, "limit": None}
    defaults |= {"hidden": (512, 512), "latent": 32, "likelihood": "bernoulli", "variance": 0.02}
    if before:
        defaults = {name: getattr(before, name) for name in defaults}
    defaults |= {"penalty_start": 0.0, "epochs": 5} if before else {"penalty_start": 0.5, "epochs": 20}
    filled = {name: value for name, value in defaults.items() if getattr(settings, name) is None}
    return replace(settings, **filled | {"data": settled(filled.get("data") or settings.data or "")})


def _objective(model: VAE, settings: config.Train) -> Objective:
    assert settings.penalty_start is not None
    return Objective(
        model,
        penalty=settings.penalty,
        penalty_weight=settings.penalty_weight,
        kl_weight=settings.kl_weight,
        through_target={None: None, "yes": True, "no": False}[settings.through_target],
        projections=settings.projections,
        estimator=settings.estimator,
        difference_step=settings.difference_step,
        penalty_start=settings.penalty_start,
        penalty_every=settings.every,
    )


def _training_figures(history: History, settings: config.Train, images: int) -> dict[str, Any]:
    return {
        "seconds": history.seconds,
        "compile_seconds": history.compile_seconds,
        "epochs": settings.epochs,
        "steps": history.step,
        "images": images,
    }


def _audit_folder(run: Path, output: Path | None) -> Path:
    return output / run.resolve().name if output else run / "audit"


def _audit_config(run: Run, chosen: dict[str, Any]) -> dict[str, Any]:
    settings = {"audit": json.loads(json.dumps(chosen)), "train": folders.described(run.settings)}
    return {**settings, "run": str(run.folder.resolve()), "identity": run.identity}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _command_of(settings: config.Train | config.Audit) -> list[str]:
    """The command line that gives these settings."""
    words = ["doubleback", type(settings).__name__.lower()]
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value == field.default or field.name == "resume":
            continue
        given = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
        words += given if field.name == "runs" else [f"--{field.name.replace('_', '-')}", *given]
    return words
