"""The settings that serve each model on each kind of images: what `train` takes where nothing else is said.

Found on validation images; what they reach, on test images, is written beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """What serves one model on images like those of one data set.

    Attributes:
        settings: of `Train`.
        sizes: of `Sizes`.
    """

    settings: Mapping[str, Any]
    sizes: Mapping[str, Any]


_GAUSSIAN = {"likelihood": "gaussian", "variance": 0.02}
_MNIST = {"likelihood": "bernoulli", "variance": 0.02, "batch_size": 256, "learning_rate": 3e-3, "epochs": 20}

PRESETS: dict[tuple[str, str], Preset] = {
    ("vae", "mnist"): Preset(_MNIST, {"hidden": (512, 512), "latent": 32}),
    ("conv-vae", "mnist"): Preset(_MNIST, {"hidden": (512,), "latent": 32}),
    ("draw", "mnist"): Preset(_MNIST | {"batch_size": 128, "epochs": 8}, {"steps": 8, "hidden": (256,), "latent": 32}),
    ("vae", "svhn"): Preset(_MNIST | _GAUSSIAN, {"hidden": (512, 512), "latent": 64}),
    ("conv-vae", "svhn"): Preset(
        _MNIST | _GAUSSIAN | {"batch_size": 128, "epochs": 80, "penalty_weight": 0.003},
        {"hidden": (512,), "latent": 64},
    ),
    ("draw", "svhn"): Preset(
        _MNIST | _GAUSSIAN | {"batch_size": 128, "epochs": 30, "penalty_weight": 0.003},
        {"steps": 8, "hidden": (256,), "latent": 32},
    ),
    ("vae", "celeba"): Preset(_MNIST | _GAUSSIAN, {"hidden": (512, 512), "latent": 64}),
    ("conv-vae", "celeba"): Preset(
        _MNIST | _GAUSSIAN | {"batch_size": 128, "epochs": 30, "penalty_weight": 0.003},
        {"hidden": (512,), "latent": 64},
    ),
    ("draw", "celeba"): Preset(
        _MNIST | _GAUSSIAN | {"batch_size": 128, "epochs": 20, "penalty_weight": 0.003},
        {"steps": 8, "hidden": (256,), "latent": 32},
    ),
}


def preset(model: str, image_shape: tuple[int, int, int]) -> Preset:
    """The preset of a model for images of this shape (C, H, W): grey as mnist, colour as svhn or, if large, celeba.

    A plain autoencoder takes the settings of its variational twin.
    """
    channels, height, width = image_shape
    colour = "svhn" if max(height, width) <= 48 else "celeba"
    variational = {"ae": "vae", "conv-ae": "conv-vae"}.get(model, model)
    return PRESETS[variational, "mnist" if channels == 1 else colour]
