"""`train`: one run, and its folder."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from doubleback.checkpoints import load_weights, save_tensors, weights_digest
from doubleback.data import ImageData, Split, digests
from doubleback.errors import DivergedError, InputError
from doubleback.evaluation import classification_quality, evaluate, reconstruct
from doubleback.experiments.resolving import resolve
from doubleback.experiments.runs import build_model, load_run
from doubleback.files import write_arrays
from doubleback.folders import IMAGES, SEEN, WEIGHTS, Folder
from doubleback.objective import Classification, Labelled, Objective, TrainingObjective
from doubleback.processes import rank
from doubleback.settings import Training
from doubleback.settings.commands import Train
from doubleback.tensors import as_pixels, placed
from doubleback.training import History, fit

SHOWN_RECONSTRUCTIONS = 16
_COPIES = 7  # of the weights: themselves, their gradient, Adam's two moments, and what divergence goes back to
_WHOLE = ("reconstruction_l2", "reconstruction_nll", "cross_entropy")  # figures without which a run has failed


def train(command: Train, words: Sequence[str]) -> dict[str, Any]:
    """Train one run and leave its folder.

    Args:
        command: its settings; None stands for what follows from the data, the likelihood or `init`.
        words: of the command line, written down to repeat it.

    Returns:
        What `results.json` holds; nothing in the other processes of a run.

    Raises:
        InputError: a setting or the folder is unusable; nothing is written then.
        DivergedError: a loss or a figure is not finite; the last good weights are in the folder.
        KeyboardInterrupt: passed on; the checkpoint holds what was done.
    """
    parent = load_run(command.training.init) if command.training.init else None
    settings, images, classes = resolve(command.training, parent)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.loop.seed)
        model = build_model(settings, images.image_shape, classes, copies=_COPIES)
    if parent:
        load_weights(model, parent.model.state_dict(), parent.folder)
    objective = _objective(model, settings, images)
    if isinstance(objective, Objective):
        settings = settings.changed(penalty_weight=objective.full_penalty_weight)
    described = {"train": settings.described, "image_shape": list(images.image_shape), "images": images.fingerprint}
    described |= {"classes": list(classes)} if classes else {}
    described |= {"parent": parent.weights} if parent else {}
    promised = (WEIGHTS, SEEN) if classes else (WEIGHTS, SEEN, IMAGES)
    folder = Folder(command.output, "train", described, words, promised)
    state = folder.state()
    main_process = rank() == 0
    if main_process and state != "free" and not command.resume:
        with folder.claimed():  # whoever is writing there is named first
            raise InputError(
                f"{folder.path} holds this very run, {state}; add --resume to go on, or give another --output"
            )

    def trained() -> History:
        place, resume, identity = folder.path, command.resume, folder.identity
        return fit(objective, images, settings.loop, folder=place, resume=resume, identity=identity)

    if not main_process:
        if not (command.resume and state == "finished"):
            trained()
        return {}
    with folder.claimed() as finished:
        if finished:
            return finished
        try:
            history = trained()
        except DivergedError:
            save_tensors(folder.path / WEIGHTS, model.state_dict(), folder.identity)
            raise
        save_tensors(folder.path / WEIGHTS, model.state_dict(), folder.identity)
        test = _test_figures(model.eval(), images.test, settings, folder)
        for name in _WHOLE:
            if not math.isfinite(test.get(name) or 0.0):
                raise DivergedError(
                    f"on the test images the {name.replace('_', ' ')} is {test[name]} after step {history.step}, the "
                    "last; lower the learning rate (the weights are kept, without results)"
                )
        write_arrays(folder.path / SEEN, {"digests": digests(images.train)})
        return folder.finish(
            {
                "train": training_figures(history, images),
                "test": test,
                "weights": weights_digest(model),
            }
        )


def _objective(model: Any, settings: Training, images: ImageData) -> TrainingObjective:
    if settings.architecture.classifies:
        return Classification(model)
    if settings.labels.label_weight:
        return _labelled(model, settings, images.train)
    return Objective(model, settings.penalty, kl_weight=settings.kl_weight)


def _labelled(model: Any, settings: Training, train: Split) -> Labelled:
    """The objective that learns labels, too.

    Raises:
        InputError: there are none.
    """
    if train.labels is None:
        raise InputError("the images have no labels to learn; leave --label-weight out, or give images that have them")
    labels = settings.labels
    return Labelled(
        model,
        int(train.labels.max()) + 1,
        labels.label_weight,
        gradient_weight=labels.label_gradient,
        shift=labels.shift,
        invert=labels.invert,
        kl_weight=1.0 if settings.kl_weight is None else settings.kl_weight,
    )


def training_figures(history: History, images: ImageData) -> dict[str, Any]:
    """What `results.json` holds under `train`, of a training that has come to its end."""
    remarks = [str(remark) for remark in images.remarks]
    return {
        "seconds": history.seconds,
        "compile_seconds": history.compile_seconds,
        "epochs": len(history.rows),
        "steps": history.step,
        "images": len(images.train),
        **({"remarks": remarks} if remarks else {}),
    }


def _test_figures(model: Any, test: Split, settings: Training, folder: Folder) -> dict[str, Any]:
    """What a finished model does on the test images; an autoencoder's reconstructions are kept to be shown."""
    if settings.architecture.classifies:
        return {"images": len(test), **classification_quality(model, test)}
    return reconstruction_figures(model, test, folder, seed=settings.loop.seed)


def reconstruction_figures(model: Any, test: Split, folder: Folder, *, seed: int = 0) -> dict[str, Any]:
    """What an autoencoder does on the test images; some reconstructions are kept to be shown."""
    shown = test.images[:SHOWN_RECONSTRUCTIONS]
    reconstruction = as_pixels(reconstruct(model, placed(model, shown)))
    write_arrays(folder.path / IMAGES, {"test": shown.numpy(), "test_reconstruction": reconstruction})
    return evaluate(model, test.images, seed=seed, progress=True)
