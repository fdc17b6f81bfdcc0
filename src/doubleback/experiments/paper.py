"""The settings that serve each model on each data set of the paper: what `train` takes where nothing else is said.

A preset was chosen on validation images; what its plain and its hardened run reached stands beside it: on test images,
seed 0, 20 pairs x 51 coefficients unless it says otherwise, on two CPU cores. `celeba` was measured on other faces of
64x64 (9,000 of them), and `svhn` on 6,800 of its images. A preset without such figures is a guess from its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What one run by a preset reached on test images.

    Attributes:
        command: of its training, without `--output`.
        minutes: of its training, wall time, on a machine that did other work beside it.
        reconstruction_l2: mean 2-norm of x_hat - x.
        latent, output: mean AUDDC of each attack in the reference convention.
        worst_case: mean AUDDC, envelope convention, over both and blending.
        coefficients, pairs: of its audit, where the time for all was lacking.
    """

    command: str
    minutes: float
    reconstruction_l2: float
    latent: float
    output: float
    worst_case: float
    coefficients: int = 50
    pairs: int = 20


@dataclass(frozen=True)
class Preset:
    """What serves one model on images like those of one data set.

    Attributes:
        settings: of `Train`; `penalty_weight` is that of the penalty `reconstruction`.
        sizes: of `Sizes`.
        measured: plain, hardened; empty where nobody has measured it yet.
    """

    settings: Mapping[str, Any]
    sizes: Mapping[str, Any]
    measured: tuple[Measured, ...] = field(default=())


_GREY = {"likelihood": "bernoulli", "variance": 0.02, "batch_size": 128, "learning_rate": 3e-3}
_COLOUR = {
    "likelihood": "gaussian",
    "variance": 0.02,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "penalty_weight": 0.003,
}
_DENSE = {"hidden": (512, 512)}
_CONV = {"hidden": (512,)}
_DRAW = {"steps": 8, "hidden": (256,), "latent": 32}

# Accuracy on test images, seed 0: MNIST mlp 0.984, lenet 0.992; SVHN (6,120 training images) cvnet 0.930.
_CLASSIFIER = {"batch_size": 128, "learning_rate": 2e-3, "epochs": 12}

PRESETS: dict[tuple[str, str], Preset] = {
    ("vae", "mnist"): Preset(
        _GREY | {"batch_size": 256, "epochs": 20},
        _DENSE | {"latent": 32},
        (
            Measured("train --data mnist --model vae", 3, 2.914, 0.331, 0.273, 0.273),
            Measured("train --data mnist --model vae --penalty reconstruction", 5, 3.015, 0.408, 0.366, 0.366),
        ),
    ),
    ("vae", "svhn"): Preset(
        _COLOUR | {"epochs": 60},
        _DENSE | {"latent": 64},
        (
            Measured("train --data svhn --model vae --precision bf16-mixed", 2, 5.511, 0.326, 0.315, 0.315),
            Measured(
                "train --data svhn --model vae --precision bf16-mixed --penalty reconstruction",
                2,
                5.234,
                0.345,
                0.333,
                0.333,
            ),
        ),
    ),
    ("vae", "celeba"): Preset(
        _COLOUR | {"epochs": 40},
        _DENSE | {"latent": 64},
        (
            Measured("train --data faces --model vae --precision bf16-mixed", 6, 12.273, 0.319, 0.295, 0.295),
            Measured(
                "train --data faces --model vae --precision bf16-mixed --penalty reconstruction",
                8,
                12.074,
                0.333,
                0.307,
                0.307,
            ),
        ),
    ),
    ("conv-vae", "mnist"): Preset(
        _GREY | {"epochs": 10},
        _CONV | {"latent": 32},
        (
            Measured("train --data mnist --model conv-vae --precision bf16-mixed", 5, 2.151, 0.360, 0.267, 0.267),
            Measured(
                "train --data mnist --model conv-vae --precision bf16-mixed --penalty reconstruction",
                9,
                2.239,
                0.440,
                0.370,
                0.370,
            ),
        ),
    ),
    ("conv-vae", "svhn"): Preset(
        _COLOUR | {"learning_rate": 3e-3, "epochs": 80},
        _CONV | {"latent": 64},
        (
            Measured("train --data svhn --model conv-vae --precision bf16-mixed", 11, 2.168, 0.133, 0.113, 0.113),
            Measured(
                "train --data svhn --model conv-vae --precision bf16-mixed --penalty reconstruction",
                9,
                2.064,
                0.444,
                0.424,
                0.424,
            ),
        ),
    ),
    ("conv-vae", "celeba"): Preset(
        _COLOUR | {"epochs": 30},
        _CONV | {"latent": 64},
        (
            Measured("train --data faces --model conv-vae --precision bf16-mixed", 25, 8.270, 0.187, 0.157, 0.157),
            Measured(
                "train --data faces --model conv-vae --precision bf16-mixed --penalty reconstruction",
                25,
                8.167,
                0.393,
                0.355,
                0.355,
            ),
        ),
    ),
    ("draw", "mnist"): Preset(
        _GREY | {"epochs": 8},
        _DRAW,
        (
            Measured("train --data mnist --model draw --precision bf16-mixed", 13, 2.321, 0.490, 0.292, 0.292),
            Measured(
                "train --data mnist --model draw --precision bf16-mixed --penalty reconstruction",
                14,
                2.382,
                0.527,
                0.364,
                0.364,
            ),
        ),
    ),
    ("draw", "svhn"): Preset(
        _COLOUR | {"epochs": 20},
        _DRAW,
        (
            Measured("train --data svhn --model draw --precision bf16-mixed", 6, 3.012, 0.418, 0.271, 0.271, 25),
            Measured(
                "train --data svhn --model draw --precision bf16-mixed --penalty reconstruction",
                11,
                2.960,
                0.472,
                0.361,
                0.361,
                25,
            ),
        ),
    ),
    ("draw", "celeba"): Preset(
        _COLOUR | {"epochs": 4},
        _DRAW,
        (
            Measured("train --data faces --model draw --precision bf16-mixed", 9, 13.028, 0.295, 0.243, 0.243, 10, 10),
            Measured(
                "train --data faces --model draw --precision bf16-mixed --penalty reconstruction",
                15,
                13.043,
                0.317,
                0.273,
                0.273,
                10,
                10,
            ),
        ),
    ),
    ("draw-attention", "mnist"): Preset(
        _GREY | {"epochs": 8, "penalty_weight": 0.015},
        _DRAW,
        (
            Measured(
                "train --data mnist --model draw --model.read-size 12 --model.write-size 12 --precision bf16-mixed",
                9,
                2.313,
                0.561,
                0.298,
                0.298,
            ),
            Measured(
                "train --data mnist --model draw --model.read-size 12 --model.write-size 12 --precision bf16-mixed "
                "--penalty reconstruction",
                18,
                2.397,
                0.564,
                0.367,
                0.367,
            ),
        ),
    ),
    ("draw-attention", "svhn"): Preset(
        _COLOUR | {"epochs": 20, "penalty_weight": 0.03},
        _DRAW,
        (
            Measured(
                "train --data svhn --model draw --model.read-size 12 --model.write-size 12 --precision bf16-mixed",
                4,
                2.536,
                0.525,
                0.404,
                0.404,
                25,
            ),
            Measured(
                "train --data svhn --model draw --model.read-size 12 --model.write-size 12 --precision bf16-mixed "
                "--penalty reconstruction",
                15,
                2.260,
                0.540,
                0.426,
                0.426,
                25,
            ),
        ),
    ),
    ("draw-attention", "celeba"): Preset(
        _COLOUR | {"epochs": 8},
        _DRAW,
        (
            Measured(
                "train --data faces --model draw --model.read-size 12 --model.write-size 12 --precision bf16-mixed",
                4,
                11.928,
                0.388,
                0.287,
                0.287,
                15,
            ),
            Measured(
                "train --data faces --model draw --model.read-size 12 --model.write-size 12 --precision bf16-mixed "
                "--penalty reconstruction",
                16,
                11.640,
                0.398,
                0.304,
                0.304,
                15,
            ),
        ),
    ),
    **{("mlp", data): Preset(_CLASSIFIER, {"hidden": (512, 512)}) for data in ("mnist", "svhn", "celeba")},
    **{("lenet", data): Preset(_CLASSIFIER, {}) for data in ("mnist", "svhn", "celeba")},
    **{
        ("cvnet", data): Preset(_CLASSIFIER, {"filters": (32, 64, 128), "hidden": (256,)})
        for data in ("mnist", "svhn", "celeba")
    },
}


TWINS = {"ae": "vae", "conv-ae": "conv-vae"}

# A plain autoencoder takes the settings of its variational twin; what they reached, where it was measured:
_PLAIN: dict[tuple[str, str], tuple[Measured, ...]] = {
    ("ae", "mnist"): (
        Measured("train --data mnist --model ae --precision bf16-mixed", 2, 1.845, 0.364, 0.280, 0.280),
        Measured(
            "train --data mnist --model ae --precision bf16-mixed --penalty reconstruction",
            2,
            1.895,
            0.444,
            0.379,
            0.379,
        ),
    ),
    ("ae", "svhn"): (
        Measured("train --data svhn --model ae --precision bf16-mixed", 1, 4.434, 0.381, 0.353, 0.353),
        Measured(
            "train --data svhn --model ae --precision bf16-mixed --penalty reconstruction",
            2,
            4.323,
            0.395,
            0.365,
            0.365,
        ),
    ),
    ("conv-ae", "svhn"): (
        Measured("train --data svhn --model conv-ae --precision bf16-mixed", 6, 2.093, 0.239, 0.190, 0.190, 25),
        Measured(
            "train --data svhn --model conv-ae --precision bf16-mixed --penalty reconstruction",
            9,
            2.064,
            0.467,
            0.408,
            0.408,
            25,
        ),
    ),
}
PRESETS |= {
    (model, data): replace(PRESETS[twin, data], measured=_PLAIN.get((model, data), ()))
    for model, twin in TWINS.items()
    for data in ("mnist", "svhn", "celeba")
}


def preset(model: str, image_shape: tuple[int, int, int], *, attention: bool = False) -> Preset:
    """The preset of a model for images of this shape (C, H, W): grey as mnist, colour as svhn or, if large, celeba.

    `draw` has others with attention.
    """
    channels, height, width = image_shape
    colour = "svhn" if max(height, width) <= 48 else "celeba"
    name = f"{model}-attention" if attention else model
    return PRESETS[name, "mnist" if channels == 1 else colour]
