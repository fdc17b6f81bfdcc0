"""A configuration in, a run folder out: `train`, `audit` and `demo`, each as its command line does it."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from doubleback.auditing import audit as audit_model
from doubleback.auditing import check_audit, check_images
from doubleback.checkpoints import load_weights, save_tensors
from doubleback.data import ImageData, Split, as_classes, load_images, settled
from doubleback.errors import DivergedError, InputError
from doubleback.evaluation import as_pixels, classification_quality, evaluate, placed, reconstruct
from doubleback.experiments import config, folders
from doubleback.experiments.folders import (
    CURVES,
    IMAGES,
    RESULTS,
    SCHEMA,
    WEIGHTS,
    ClassifierModel,
    Model,
    Run,
    load_run,
)
from doubleback.experiments.paper import preset
from doubleback.files import read_json, write_arrays, write_json
from doubleback.machine import has_bf16
from doubleback.objective import Classification, Objective
from doubleback.training import History, check_settings, fit, launched, noticing_lost_processes, processes, rank

SHOWN_RECONSTRUCTIONS = 16
_OF_THE_LOOP = (
    "epochs",
    "batch_size",
    "learning_rate",
    "max_grad_norm",
    "seed",
    "precision",
    "cuda_graph",
    "devices",
    "tensorboard",
)
_OF_AUTOENCODERS = (
    "likelihood",
    "variance",
    "penalty",
    "penalty_weight",
    "kl_weight",
    "through_target",
    "projections",
    "estimator",
    "difference_step",
    "penalty_start",
    "every",
)


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
    if settings.precision == "fast":
        settings = replace(settings, precision="bf16-mixed" if has_bf16() else "32")
    _check_said(settings, parent)
    settings = _with_data(settings, parent)
    images = folders.open_images(settings)
    if parent:
        check_images(parent.model, images.train.images)
    settings = _resolved(settings, parent, images.image_shape)
    classes: tuple[str | int, ...] = ()
    if settings.model in config.CLASSIFIERS:
        images, classes = as_classes(images)
    loop: dict[str, Any] = {name: getattr(settings, name) for name in _OF_THE_LOOP}
    check_settings(**loop)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = folders.build_model(settings, images.image_shape, classes)
    if parent:
        load_weights(model, parent.model.state_dict(), parent.folder)
    objective = _objective(model, settings)
    if isinstance(objective, Objective):
        settings = replace(settings, penalty_weight=objective.full_penalty_weight)
    described = {"train": folders.described(settings), "image_shape": list(images.image_shape)}
    described |= {"classes": list(classes)} if classes else {}
    identity, folder = folders.digest(described), settings.output
    main_process = rank() == 0
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
            compile=settings.compile,
            folder=folder,
            resume=settings.resume,
            identity=identity,
            **loop,
        )
    except DivergedError:
        if main_process:
            save_tensors(folder / WEIGHTS, model.state_dict(), identity)
        raise
    if not main_process:
        return {}
    save_tensors(folder / WEIGHTS, model.state_dict(), identity)
    results = {
        "schema": SCHEMA,
        "train": _training_figures(history, settings, len(images.train)),
        "test": _test_figures(model.eval(), images.test, settings),
    }
    write_json(folder / RESULTS, results)
    return results


def audit(settings: config.Audit, command: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Audit every run on the same pairs and leave a folder for each; what is audited just so already is kept.

    Args:
        settings: of the attacks.
        command: the words of the command line.

    Returns:
        By the audited folder, what its `results.json` holds; nothing in the other processes of a `torchrun`.

    Raises:
        InputError: a setting, a run or a folder is unusable; found before the first attack.
    """
    if not settings.runs:
        raise InputError("no run to audit; give one or more folders that `doubleback train` has written")
    runs = {_audit_folder(run, settings): load_run(run) for run in settings.runs}
    if len(runs) < len(settings.runs):
        raise InputError("two of the runs have the same folder name and would share one output; audit them apart")
    chosen = {name: value for name, value in asdict(settings).items() if name not in ("runs", "output")}
    chosen["data"] = settings.data and settled(settings.data)
    configs = {folder: _audit_config(run, chosen) for folder, run in runs.items()}
    states = {folder: folders.state_of(folder, "audit", configs[folder]) for folder in runs}
    due = [folder for folder, state in states.items() if state != "finished"]
    data = {folder: runs[folder].images(settings.data) for folder in due}
    splits: dict[Path, Split] = {folder: getattr(images, settings.split) for folder, images in data.items()}
    ours = ("data", "split", "from_class", "to")
    named = {"attacks" if name == "attack" else name: value for name, value in chosen.items() if name not in ours}
    between = {folder: _labels_between(images, settings) for folder, images in data.items()}
    for folder, split in splits.items():
        check_images(runs[folder].autoencoder, split.images)
        check_audit(split.images, split.labels, **named, **between[folder])
    fabric = launched()
    for folder, split in splits.items():
        with noticing_lost_processes("the runs that are finished are kept, audit again for the rest"):
            found = audit_model(
                runs[folder].autoencoder.to(fabric.device), split.images, split.labels, **named, **between[folder]
            )
        if not fabric.is_global_zero:
            continue
        folders.write_config(folder, configs[folder], command)
        write_arrays(folder / CURVES, found.arrays())
        write_arrays(folder / IMAGES, found.gallery)
        write_json(folder / RESULTS, {"schema": SCHEMA, **found.results()})
    if not fabric.is_global_zero:
        return {}
    return {str(settings.runs[i]): read_json(folder / RESULTS) for i, folder in enumerate(runs)}


def demo(settings: config.Demo) -> dict[str, Any]:
    """Train a plain and a hardened VAE, audit both, write `results.json`; what is finished already is kept.

    Returns:
        What `results.json` holds: `plain` and `hardened`, each the figures of its training and of its audit.
    """
    if processes(1) > 1:
        raise InputError("demo is for one process; start it without torchrun")
    started = time.perf_counter()
    data = load_images(settings.data)
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


def _with_data(settings: config.Train, parent: Run | None) -> config.Train:
    """Settings whose images are known: what was not said is the parent's, or the bundled digits."""
    had = parent.settings if parent else config.Train(output=settings.output, data="digits")
    said = {name: getattr(settings, name) for name in ("data", "image_size", "limit")}
    chosen = {name: getattr(had, name) if value is None else value for name, value in said.items()}
    return replace(settings, **chosen | {"data": settled(chosen["data"])})


def _resolved(settings: config.Train, parent: Run | None, image_shape: tuple[int, int, int]) -> config.Train:
    """Settings without None: what was not said is the parent's, or what serves the model on such images."""
    model = (parent.settings.model if parent else settings.model) or "vae"
    said = parent.settings.sizes if parent else settings.sizes
    serving = preset(model, image_shape, attention=said.read_size is not None or said.write_size is not None)
    said_sizes = {name: size for name, size in vars(said).items() if size is not None}
    sizes = said if parent else config.Sizes(**{**serving.sizes, **said_sizes})
    if model in config.CLASSIFIERS:
        filled = {name: value for name, value in serving.settings.items() if getattr(settings, name) is None}
        return replace(settings, model=model, sizes=sizes, **filled)
    defaults = {"penalty_start": 0.5, "kl_weight": 1.0, **serving.settings}
    measured_for = {name: defaults[name] for name in ("likelihood", "variance")}
    if parent:
        inherited = ("likelihood", "variance", "batch_size", "learning_rate", "kl_weight")
        defaults |= {"penalty_start": 0.0, "epochs": 5} | {name: getattr(parent.settings, name) for name in inherited}
    now = {name: getattr(settings, name) or defaults[name] for name in measured_for}
    if settings.penalty != "reconstruction" or now != measured_for:
        defaults.pop("penalty_weight", None)
    filled = {name: value for name, value in defaults.items() if getattr(settings, name) is None}
    if settings.variance is not None and now["likelihood"] == "bernoulli":
        raise InputError("--variance is of the Gaussian likelihoods; add --likelihood gaussian, or leave it out")
    return replace(settings, model=model, sizes=sizes, **filled)


def _check_said(settings: config.Train, parent: Run | None) -> None:
    """Refuse what can be refused before the images are there, which may take long.

    Raises:
        InputError: a setting is out of range, belongs to another model, or contradicts the run to start from.
    """
    said = {name: getattr(settings, name) for name in _OF_THE_LOOP}
    unsaid: dict[str, Any] = {"epochs": 1, "batch_size": max(processes(settings.devices), 1), "learning_rate": 1.0}
    check_settings(**{name: unsaid[name] if value is None else value for name, value in said.items()})
    for name, value, had in _architecture(settings, parent):
        if parent and value is not None and value != had:
            raise InputError(f"--{name} is {value}, but {settings.init} has {had}; leave it out with --init")
    model = (parent.settings.model if parent else settings.model) or "vae"
    for name, value in vars(settings.sizes).items():
        if value is not None and name not in config.SIZES_OF[model]:
            own = ", ".join(f"--{_size_flag(size)}" for size in config.SIZES_OF[model]) or "none"
            raise InputError(f"--{_size_flag(name)} is no size of {model}; it has {own}")
    if model in config.CLASSIFIERS:
        unsaid_of_autoencoders = config.Train(output=settings.output)
        for name in _OF_AUTOENCODERS:
            if getattr(settings, name) != getattr(unsaid_of_autoencoders, name):
                raise InputError(f"--{name.replace('_', '-')} is of the autoencoders; {model} has none: leave it out")
    if model in ("ae", "conv-ae") and settings.kl_weight is not None:
        raise InputError(f"--kl-weight is of the variational models; {model} has no KL: leave it out")


def _architecture(settings: config.Train, parent: Run | None) -> Iterator[tuple[str, Any, Any]]:
    """The settings that are a model's for good: (flag, as said now, as the parent has it)."""
    before = parent.settings if parent else settings
    for name in ("model", "likelihood", "variance"):
        yield name, getattr(settings, name), getattr(before, name)
    for name, said in vars(settings.sizes).items():
        yield _size_flag(name), said, getattr(before.sizes, name)


def _size_flag(size: str) -> str:
    return f"model.{size.replace('_', '-')}"


def _objective(model: Model, settings: config.Train) -> Objective | Classification:
    if isinstance(model, ClassifierModel):
        return Classification(model)
    assert settings.penalty_start is not None
    assert settings.kl_weight is not None
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


def _test_figures(model: Model, test: Split, settings: config.Train) -> dict[str, Any]:
    """What a finished model does on the test images; an autoencoder's reconstructions are kept to be shown."""
    if isinstance(model, ClassifierModel):
        return {"images": len(test), **classification_quality(model, test)}
    shown = test.images[:SHOWN_RECONSTRUCTIONS]
    reconstruction = as_pixels(reconstruct(model, placed(model, shown)))
    write_arrays(settings.output / IMAGES, {"test": shown.numpy(), "test_reconstruction": reconstruction})
    return evaluate(model, test.images, seed=settings.seed, progress=True)


def _audit_folder(run: Path, settings: config.Audit) -> Path:
    """`audit` is of the run's own test images, which the report joins to the run; others stand apart."""
    if settings.output:
        return settings.output / run.resolve().name
    other = [Path(settings.data).name] if settings.data else []
    other += [settings.split] if settings.split != "test" else []
    return run / "-".join(["audit", *other])


def _labels_between(images: ImageData, settings: config.Audit) -> dict[str, Any]:
    """The labels of the classes that --from and --to name.

    Raises:
        InputError: a class is none of the data's.
    """
    names = [str(name) for name in images.label_names or ()]
    found: dict[str, Any] = {}
    for flag, name in (("from", settings.from_class), ("to", settings.to)):
        if name is not None and name not in names and (names or not name.isdecimal()):
            raise InputError(f"--{flag} is {name!r}; choose one of {', '.join(names) or 'the labels, whole numbers'}")
        label = None if name is None else names.index(name) if names else int(name)
        found["source_label" if flag == "from" else "target_label"] = label
    return found


def _audit_config(run: Run, chosen: dict[str, Any]) -> dict[str, Any]:
    settings = {"audit": json.loads(json.dumps(chosen)), "train": folders.described(run.settings)}
    return {**settings, "run": str(run.folder.resolve()), "identity": run.identity}


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
