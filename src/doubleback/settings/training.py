"""All that a run's weights depend on: the settings of one training, checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.registry import MODELS
from doubleback.settings.architecture import Architecture
from doubleback.settings.checks import LEFT_OUT, UNPREFIXED, Settings, Unsaid, innermost, not_negative
from doubleback.settings.headings import Heading
from doubleback.settings.images import Data
from doubleback.settings.labels import Labels
from doubleback.settings.loop import Loop
from doubleback.settings.penalty import Penalty
from doubleback.settings.stored import flat

_NOT_OF_THE_WEIGHTS = ("tensorboard", "cuda_graph")
_LATER = ("at", "margin", "power_steps", "label_weight", "label_gradient", "shift", "invert")
"""Left out at their defaults, so that earlier runs keep their identity."""


@dataclass(frozen=True)
class Training(Settings):
    """One training.

    Raises:
        InputError: a setting does not fit the model.
    """

    HEADING = Heading.TRAINING

    images: Annotated[Data, UNPREFIXED] = Data()
    architecture: Annotated[Architecture, UNPREFIXED] = Architecture()
    penalty: Annotated[Penalty, UNPREFIXED] = Penalty()
    kl_weight: Annotated[Unsaid[float], arg(metavar="X", help_behavior_hint="(default: 1, or as in --init)")] = LEFT_OUT
    """Weight of the KL divergence in the loss (lambda1 in the paper)."""
    loop: Annotated[Loop, UNPREFIXED] = Loop()
    init: Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="(default: new weights)")] = None
    """Start from the weights of this run, with its data and its model."""
    labels: Annotated[Labels, UNPREFIXED] = Labels()

    def __post_init__(self) -> None:
        not_negative(kl_weight=self.kl_weight)
        model = self.architecture.model
        if self.architecture.classifies:
            self._refuse_autoencoders_settings()
        elif model is not None and not MODELS[model].variational and self.kl_weight not in (None, 1.0):
            raise InputError(f"--kl-weight is for variational models; {model} has no KL: leave it out")
        if self.labels.label_weight and self.penalty.penalty != "none":
            raise InputError("--label-weight has a penalty of its own, --label-gradient; leave --penalty out")

    def _refuse_autoencoders_settings(self) -> None:
        of_autoencoders = {
            "likelihood": self.architecture.likelihood,
            "variance": self.architecture.variance,
            "kl_weight": self.kl_weight,
            **{
                name: value
                for part in (self.penalty, self.labels)
                for name, value in vars(part).items()
                if value != getattr(type(part), name)
            },
        }
        for name, value in of_autoencoders.items():
            if value is not None:
                flag = name.replace("_", "-")
                raise InputError(
                    f"--{flag} is for autoencoders; {self.architecture.model} is a classifier: leave it out"
                )

    @property
    def described(self) -> dict[str, Any]:
        """The settings that the weights depend on, as JSON has them."""
        now, default = innermost(self), innermost(Training())
        later = [name for name in _LATER if now[name] == default[name]]
        return {name: value for name, value in flat(self).items() if name not in (*_NOT_OF_THE_WEIGHTS, *later)}
