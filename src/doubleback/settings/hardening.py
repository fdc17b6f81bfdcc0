"""How a trained model is hardened: what that may cost, which part learns, what is kept small. Imports no torch."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.settings.checks import UNPREFIXED, Settings, one_of
from doubleback.settings.headings import Heading
from doubleback.settings.loop import Loop
from doubleback.settings.penalty import Penalty


@dataclass(frozen=True)
class Hardening(Settings):
    """One hardening.

    Raises:
        InputError: the budget is not a share, or there is no penalty to train with.
    """

    HEADING = Heading.HARDENING

    within: Annotated[str, arg(metavar="SHARE")] = "2%"
    """How much worse the reconstruction may become: the L2 error on validation images grows by this share at most
    (for a codec, its rate, too). 2% or 0.02."""
    freeze: Annotated[
        Literal["encoder", "decoder"] | None, arg(metavar="{encoder,decoder}", help_behavior_hint="(default: neither)")
    ] = None
    """Leave this part of the model as it is. If the decoder is frozen, whatever makes codes for it (latent
    diffusion) goes on working."""
    loss: Annotated[str | None, arg(metavar="FILE.py:NAME", help_behavior_hint="(default: the model's own)")] = None
    """The loss of your model: a function (net, x) that returns a number, or one number for each image. x lies in
    [0, 1]."""
    alone: bool = False
    """Train only the hardened model. By default `harden` also trains a second copy (the twin) for as long, without the
    penalty. Without the twin you save nearly half the time, but you cannot tell what longer training does by itself."""
    penalty: Annotated[Penalty, UNPREFIXED] = Penalty(penalty="spectral")
    loop: Annotated[Loop, UNPREFIXED] = Loop()

    def __post_init__(self) -> None:
        one_of(("encoder", "decoder"), freeze=self.freeze)
        share_of(self.within)  # refused here
        if self.penalty.penalty == "none" or self.penalty.estimator == "perturbed":
            raise InputError("nothing is penalised; name a penalty, and take the estimator exact or finite-difference")

    @property
    def share(self) -> float:
        """The budget as a number.

        >>> Hardening("2%").share, Hardening("0.02").share
        (0.02, 0.02)
        """
        return share_of(self.within)


def share_of(within: str) -> float:
    """A budget as a number.

    Raises:
        InputError: it is not a share.
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(%?)\s*", within)
    share = float(found[1]) / (100 if found[2] else 1) if found else math.nan
    if not 0 <= share <= 1:
        raise InputError(f"--within is {within!r}; give a share from 0% to 100%, as 2% or 0.02")
    return share
