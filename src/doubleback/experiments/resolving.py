"""From the given settings of a training to those that are used: one function."""

from dataclasses import replace
from typing import Any

from doubleback.data import ImageData, as_classes, settled
from doubleback.errors import InputError
from doubleback.experiments.runs import TrainedRun, open_images
from doubleback.presets import preset
from doubleback.registry import MODELS, flag
from doubleback.settings import Architecture, Training
from doubleback.tensors import check_shape
from doubleback.training import settled_precision


def resolve(said: Training, parent: TrainedRun | None) -> tuple[Training, ImageData, tuple[str | int, ...]]:
    """Settings without a gap, the images that they name, and the classes of a classifier (none of an autoencoder).

    What was left out is the parent's, or what works best for the model on such images (`doubleback.presets`). The
    weight of a penalty stays out where no preset was measured for it: the objective has a default of its own.

    Args:
        said: as given; None stands for what was left out.
        parent: the run whose weights are the start, if there is one.

    Raises:
        InputError: a setting is out of range, belongs to another model, or contradicts the parent; the images cannot be
            read or do not fit the parent. What can be refused without the images is refused before they are opened.
    """
    said.loop.check_shares()
    architecture = _of_parent(said.architecture, parent) if parent else said.architecture.filled(model="vae")
    data = said.images.filled(**vars(parent.settings.images)) if parent else said.images
    data = data.filled(data="digits", parts="own", background="white")
    said = replace(
        said,
        images=replace(data, data=settled(data.data)),
        architecture=architecture,
        loop=settled_precision(said.loop),
    )
    images = open_images(said)
    if parent:
        check_shape(parent.model, images.train.images)
    classes: tuple[str | int, ...] = ()
    if MODELS[architecture.model].classifies:
        images, classes = as_classes(images)
    settings = said.filled(**_defaults(said, parent, images.image_shape))
    settings.loop.check_shares()
    return settings, images, classes


def _of_parent(said: Architecture, parent: TrainedRun) -> Architecture:
    """The parent's architecture, which is a model's for good.

    Raises:
        InputError: another value is given.
    """
    had = parent.settings.architecture
    pairs = [(f"--{name}", getattr(said, name), getattr(had, name)) for name in ("model", "likelihood", "variance")]
    pairs += [(flag(name), size, getattr(had.sizes, name)) for name, size in said.sizes.given.items()]
    for name, now, before in pairs:
        if now is not None and now != before:
            raise InputError(f"{name} is {now}, but {parent.folder} has {before}; leave it out with --init")
    return had


def _defaults(said: Training, parent: TrainedRun | None, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """What takes the place of settings that were left out."""
    name, sizes = said.architecture.model, said.architecture.sizes
    attention = sizes.read_size is not None or sizes.write_size is not None
    serving = preset(name, image_shape, attention=attention)
    of_sizes = {size: value for size, value in serving.sizes.items() if size in MODELS[name].sizes}
    if MODELS[name].classifies:
        return {**of_sizes, **serving.settings}
    defaults: dict[str, Any] = {"penalty_start": 0.5, "kl_weight": 1.0, **serving.settings}
    measured_for = {part: defaults[part] for part in ("likelihood", "variance")}
    if parent:
        had = parent.settings
        inherited = {"batch_size": had.loop.batch_size, "learning_rate": had.loop.learning_rate}
        defaults |= {"penalty_start": 0.0, "epochs": 5, "kl_weight": had.kl_weight, **inherited}
    now = {part: getattr(said.architecture, part) or defaults[part] for part in measured_for}
    if said.penalty.penalty != "reconstruction" or now != measured_for:
        defaults.pop("penalty_weight", None)
    if not parent and said.architecture.variance is not None and now["likelihood"] == "bernoulli":
        raise InputError("--variance is of the Gaussian likelihoods; add --likelihood gaussian, or leave it out")
    return {**of_sizes, **defaults} if not parent else defaults
