"""The architectures that doubleback brings, in one table: name, class, sizes, and whose presets it takes.

A new one is a file in `models/` and a line here. Imports no torch: `build` imports the class when a model is made.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from doubleback.errors import InputError


@dataclass(frozen=True)
class Architecture:
    """One of doubleback's own models.

    Attributes:
        home: module and class below `doubleback.models`.
        task: "autoencode" or "classify".
        sizes: the names of its sizes, and whether each is one number (int, float) or several (tuple).
        presets: the name under which its presets stand in `doubleback.presets`.
        fixed: constructor arguments that the name stands for.
    """

    home: str
    task: Literal["autoencode", "classify"]
    sizes: Mapping[str, type]
    presets: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether it is a classifier."""
        return self.task == "classify"

    @property
    def variational(self) -> bool:
        """Whether training it weighs a KL to the prior."""
        return not self.classifies and self.fixed.get("variational", True)

    def arguments(self, name: str, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor's sizes, one number where it takes one.

        Raises:
            InputError: it has no such size, or takes one number where several are given.
        """
        for size, value in sizes.items():
            if size not in self.sizes:
                own = ", ".join(map(flag, self.sizes)) or "none"
                raise InputError(f"{flag(size)} is not a size of {name}; it has {own}")
            if self.sizes[size] is not tuple and isinstance(value, tuple) and len(value) != 1:
                raise InputError(f"{flag(size)} is {value}; {name} has one: give one number")
        one = {size for size, value in sizes.items() if self.sizes[size] is not tuple and isinstance(value, tuple)}
        return {size: value[0] if size in one else value for size, value in sizes.items()}


_VAE = {"hidden": tuple, "latent": int}
_CONV = {"filters": tuple, "hidden": int, "latent": int}
_DRAW = {"steps": int, "hidden": int, "latent": int, "read_size": int, "write_size": int}
_PLAIN = {"variational": False}
_LIPSCHITZ = {"hidden": tuple, "latent": int, "slope": float}

MODELS: dict[str, Architecture] = {
    "vae": Architecture("vae:VAE", "autoencode", _VAE, "vae"),
    "conv-vae": Architecture("conv:ConvVAE", "autoencode", _CONV, "conv-vae"),
    "draw": Architecture("draw:DRAW", "autoencode", _DRAW, "draw"),
    "ae": Architecture("vae:VAE", "autoencode", _VAE, "vae", _PLAIN),
    "conv-ae": Architecture("conv:ConvVAE", "autoencode", _CONV, "conv-vae", _PLAIN),
    "lipschitz": Architecture("lipschitz:LipschitzAE", "autoencode", _LIPSCHITZ, "lipschitz", _PLAIN),
    "mlp": Architecture("classifiers:MLP", "classify", {"hidden": tuple}, "mlp"),
    "lenet": Architecture("classifiers:LeNet", "classify", {}, "lenet"),
    "cvnet": Architecture("classifiers:CvNet", "classify", {"filters": tuple, "hidden": int}, "cvnet"),
}


def flag(size: str) -> str:
    """A size as the command line has it.

    >>> flag("read_size")
    '--model.read-size'
    """
    return f"--model.{size.replace('_', '-')}"


def build(name: str, image_shape: tuple[int, int, int], sizes: Mapping[str, Any], **further: Any) -> Any:
    """A model of this name, its weights drawn from torch's global generator.

    Args:
        name: one of `MODELS`.
        image_shape: (C, H, W).
        sizes: those that are not left to the class's own defaults.
        further: an autoencoder's `likelihood` and `variance`, or a classifier's `classes`.

    Raises:
        InputError: the images do not fit the model, or a size is out of range.
    """
    architecture = MODELS[name]
    module, _, class_name = architecture.home.partition(":")
    made = getattr(importlib.import_module(f"doubleback.models.{module}"), class_name)
    return made(image_shape, **architecture.arguments(name, sizes), **architecture.fixed, **further)
