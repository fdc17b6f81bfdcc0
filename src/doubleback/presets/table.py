"""The presets: what each model takes on images like those of one data set, found on validation images.

A preset is the best settings for every model on such images, with this model's changes (`_CHANGES`, `_SIZES`). So a new
model needs no line here. A preset without figures in `measured.json` is a guess from its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from doubleback.registry import MODELS

Alike = Literal["mnist", "svhn", "celeba"]
Values = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """The best settings for one model on images like those of one data set.

    Attributes:
        settings: of a training: `batch_size`, `learning_rate` and `epochs`; an autoencoder's `likelihood` and
            `variance` too, and `penalty_weight`, of the penalty `reconstruction`, where one was found.
        sizes: of the model.
    """

    settings: Mapping[str, Any]
    sizes: Mapping[str, Any]


_GREY: Values = {"likelihood": "bernoulli", "variance": 0.02, "batch_size": 128, "learning_rate": 3e-3}
_COLOUR: Values = {
    "likelihood": "gaussian",
    "variance": 0.02,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "penalty_weight": 0.003,
}
# For an autoencoder without changes of its own, and for a classifier.
_AUTOENCODER: dict[Alike, Values] = {
    "mnist": _GREY | {"epochs": 10},
    "svhn": _COLOUR | {"epochs": 20},
    "celeba": _COLOUR | {"epochs": 8},
}
_LATENT: dict[Alike, int] = {"mnist": 32, "svhn": 64, "celeba": 64}
_ORTHOGONAL: Values = {"likelihood": "gaussian", "learning_rate": 2e-3, "epochs": 10, "batch_size": 256}
# Accuracy on test images, seed 0: MNIST mlp 0.984, lenet 0.992; SVHN (6,120 training images) cvnet 0.930.
_CLASSIFIER: Values = {"batch_size": 128, "learning_rate": 2e-3, "epochs": 12}

_CHANGES: dict[str, dict[Alike, Values]] = {
    "vae": {"mnist": {"batch_size": 256, "epochs": 20}, "svhn": {"epochs": 60}, "celeba": {"epochs": 40}},
    "conv-vae": {"svhn": {"learning_rate": 3e-3, "epochs": 80}, "celeba": {"epochs": 30}},
    "lipschitz": dict.fromkeys(_LATENT, _ORTHOGONAL),
    "draw": {"mnist": {"epochs": 8}, "celeba": {"epochs": 4}},
    "draw-attention": {"mnist": {"epochs": 8, "penalty_weight": 0.015}, "svhn": {"penalty_weight": 0.03}},
}
_SIZES: dict[str, Values] = {
    "vae": {"hidden": (512, 512)},
    "lipschitz": {"hidden": (256, 256), "latent": 64, "slope": 1.0},
    "conv-vae": {"hidden": (512,)},
    "draw": {"steps": 8, "hidden": (256,), "latent": 32},
    "mlp": {"hidden": (512, 512)},
    "cvnet": {"filters": (32, 64, 128), "hidden": (256,)},
}


def preset(model: str, image_shape: tuple[int, int, int], *, attention: bool = False) -> Preset:
    """The preset of a model for images of this shape: grey as mnist, colour as svhn or, above 48 pixels, as celeba.

    Args:
        model: one of `doubleback.registry.MODELS`; a plain autoencoder takes those of its variational twin.
        image_shape: (C, H, W).
        attention: whether the model reads and writes windows: `draw` has other settings then.

    >>> preset("ae", (1, 28, 28)).sizes
    {'latent': 32, 'hidden': (512, 512)}
    """
    own, alike = MODELS[model].presets, _alike(image_shape)
    sizes = {"latent": _LATENT[alike]} if "latent" in MODELS[model].sizes else {}
    changes = _CHANGES.get(f"{own}-attention" if attention else own, {})
    settings = _CLASSIFIER if MODELS[model].classifies else _AUTOENCODER[alike]
    return Preset(settings | changes.get(alike, {}), sizes | _SIZES.get(own, {}))


def _alike(image_shape: tuple[int, int, int]) -> Alike:
    """The data set of the paper that images of this shape (C, H, W) are most like."""
    channels, height, width = image_shape
    if channels == 1:
        return "mnist"
    return "svhn" if max(height, width) <= 48 else "celeba"
