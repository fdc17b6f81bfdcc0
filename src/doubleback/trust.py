"""Is a robustness figure to be trusted? Each check measures one way in which an attack can fail and pass for a defence.

A model that hides its gradient is not robust (Athalye, Carlini & Wagner 2018, "Obfuscated gradients give a false sense
of security"; Carlini et al. 2019, "On evaluating adversarial robustness"). Every check gives a number and fires above a
threshold: a flag in the results. docs/checks.md lists them all. Classifiers and autoencoders get the same checks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from doubleback.attacks.rows import RowObjective, value_and_gradient

NO_GRADIENT = 1e-12  # largest element of a gradient that counts as none, in units of the loss per pixel
SAME_ANSWER = 1e-4  # relative difference of two answers that may come from the order of a sum
UNBOUNDED = 1.0  # eps: the whole box for Linf
MORE = 4  # times the steps


@dataclass(frozen=True)
class Finding:
    """What `check` found of a model before it was attacked.

    Attributes:
        name: what was looked at.
        ok: whether all is well.
        message: what was found, and how to fix it.
        spoils: whether figures are wrong where it is not.
        stops: whether nothing can be attacked where it is not.
        minutes: of the audit, at most, where they were estimated.
    """

    name: str
    ok: bool
    message: str
    spoils: bool = True
    stops: bool = False
    minutes: float = 0.0

    def __str__(self) -> str:
        return f"{'ok' if self.ok else '!!'}  {self.name}: {self.message}"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: its flag in the results.
        value: what was measured.
        threshold: it fires above this.
        says: what the value is, in words.
    """

    name: str
    value: float
    threshold: float
    says: str

    @classmethod
    def named(cls, name: str, value: float) -> "Check":
        """The check of this name in `CHECKS`, with the value that was measured."""
        threshold, says = CHECKS[name]
        return cls(name, value, threshold, says.format(value))

    @property
    def fires(self) -> bool:
        """Whether the figure is not to be trusted."""
        return not self.value <= self.threshold  # what is not a number is not to be trusted either


# By name: a check fires above the number; the words say what the value means.
CHECKS: dict[str, tuple[float, str]] = {
    "vanishing_gradients": (0.01, "{0:.1%} of the inputs give no gradient to follow, by any loss that was used"),
    "black_box_beats_white_box": (0.01, "an attack without the gradient gets {0:.1%} more than all that follow it"),
    "unbounded_attack_fails": (0.005, "{0:.1%} still withstand an attack that may change everything"),
    "more_steps_help": (0.02, "four times the steps get {0:.1%} more"),
    "trained_on": (0.01, "the model was trained on {0:.1%} of the images that it is tested on"),
    "noise_beats_gradient": (0.01, "random noise gets {0:.1%} that no gradient attack gets"),
    "single_noise": (
        0.0,
        "the model answers differently each time, by {0:.2g} of its range, and was asked once a step",
    ),
}


@dataclass(frozen=True)
class Judged:
    """The checks of an audit.

    Attributes:
        each: by attack, those that judge it by itself: one without a gradient isn't hidden by another that has one.
        together: those that judge what all attacks have reached, and the worst value of each that judges one.
    """

    each: dict[str, list[Check]] = field(default_factory=dict)
    together: list[Check] = field(default_factory=list)


def recorded(checks: Sequence[Check]) -> dict[str, Any]:
    """As `results.json` has them: `checks`, every one by name, and `flags`, the sentences of those that fire."""
    return {
        "checks": {c.name: {"value": c.value, "threshold": c.threshold, "says": c.says} for c in checks},
        "flags": {c.name: c.says for c in checks if c.fires},
    }


def vanishing_gradients(losses: Sequence[RowObjective], x: Float[Tensor, "N ..."], max_rows: int = 512) -> Check:
    """The share of inputs at which the gradients of all the losses are zero, or not finite.

    Args:
        losses: what the attacks minimise, of inputs and their row numbers.
        x: inputs that are not fooled yet.
        max_rows: in a batch.
    """
    batches = torch.split(torch.arange(len(x), device=x.device), max_rows) if len(x) else ()
    none = sum(int(_without_gradient(losses, x[rows], rows).sum()) for rows in batches)
    return Check.named("vanishing_gradients", none / max(len(x), 1))


def _without_gradient(losses: Sequence[RowObjective], x: Tensor, rows: Tensor) -> Bool[Tensor, "n"]:
    none = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for loss in losses:
        _, gradient = value_and_gradient(loss, x, rows)
        largest = gradient.flatten(1).abs().amax(1)
        none &= ~(largest.isfinite() & (largest > NO_GRADIENT))
    return none


def single_noise(answers: Callable[[Tensor], Tensor], x: Float[Tensor, "N ..."], samples: int) -> Check:
    """How far two answers to the same inputs differ, over the answers' range; 0 where `samples` > 1 draws are averaged.

    Args:
        answers: the model.
        x: inputs, a few are enough.
        samples: how many answers the attack averages at each step.
    """
    with torch.no_grad():
        one, other = answers(x), answers(x)
    spread = (one.amax() - one.amin()).clamp_min(torch.finfo(one.dtype).tiny)
    difference = ((one - other).abs().amax() / spread).nan_to_num(0.0).item()
    return Check.named("single_noise", difference if difference > SAME_ANSWER and samples <= 1 else 0.0)


def beaten(name: str, by: Bool[Tensor, "... N"], attacks: Bool[Tensor, "... N"]) -> Check:
    """The largest share of inputs that `by` fools and `attacks` do not, over everything but the inputs.

    Args:
        name: of the check.
        by: whether each input was fooled by what must not win.
        attacks: whether each was fooled by the attacks that are relied on.
    """
    return Check.named(name, (by & ~attacks).double().mean(-1).max().item())
