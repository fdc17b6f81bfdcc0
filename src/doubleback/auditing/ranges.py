"""Does a model get its pixels, and give them, in the ranges that it was trained on?"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from doubleback.evaluation import reconstruct
from doubleback.metrics.images import l2
from doubleback.models import Wrapped
from doubleback.models.base import acquaint
from doubleback.models.victim import UNIT
from doubleback.settings import Range
from doubleback.trust import Finding

NAME = "ranges"
NOTHING = 1e-3  # of the L2 of a black image and a white one: too little to judge ranges by
POOR = 1.2  # times the L2 of the mean image: a worse one does not count as a reconstruction
BETTER = 0.6  # of the L2: what another range would have to leave to be the right one
SUSPECT = 0.4  # of the mean image's L2: a better model is fed rightly
FEW = 4  # images that are tried in other ranges


@dataclass(frozen=True)
class Taken:
    """A way to give a model its pixels, and to read its answer.

    Attributes:
        input, mean, std: as in `wrap`.
        output: its range; None: as `input`.
    """

    input: Range = UNIT
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    output: Range | None = None

    def __str__(self) -> str:
        """What to give to `wrap`, and on the command line."""
        given: dict[str, tuple[float, ...]] = {}
        if self.input != UNIT or (self.output is None and self.mean == (0.0,)):
            given["input"] = (self.input.low, self.input.high)
        if self.output is not None:
            given["output"] = (self.output.low, self.output.high)
        if self.mean != (0.0,):
            given |= {"mean": self.mean, "std": self.std}
        flags = {"input": "--range", "output": "--output-range", "mean": "--mean", "std": "--std"}
        typed = (f"{flags[name]} {' '.join(f'{value:g}' for value in values)}" for name, values in given.items())
        return f"{', '.join(f'{name}={_tuple(values)}' for name, values in given.items())} ({' '.join(typed)})"


def _tuple(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)}{',' * (len(values) == 1)})"


NORMAL = {  # (mean, std) of widely used models, by the number of channels: MNIST's, ImageNet's
    1: ((0.1307,), (0.3081,)),
    3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def ways(channels: int) -> Iterator[Taken]:
    """The usual ways to give pixels to a model."""
    for pixels in (UNIT, Range(-1, 1), Range(0, 255)):
        yield Taken(pixels)
        if pixels != UNIT:
            yield Taken(pixels, output=UNIT)
    if channels in NORMAL:
        yield Taken(UNIT, *NORMAL[channels])


def ranges(victim: Any, x: Tensor, together: Tensor, raw: Tensor) -> Finding:
    """A reconstruction that is worse than the mean image's, or far better in other ranges, has wrong ranges.

    Args:
        victim: the model.
        x: images in [0, 1].
        together: their reconstructions.
        raw: the same before they are clamped.
    """
    have = l2(together, x).mean().item()
    mean = l2(x.mean(0, keepdim=True).expand_as(x), x).mean().item()
    told = have > NOTHING * x[0].numel() ** 0.5  # enough to judge by
    scale, shift = _fit(raw, x)
    fitted = l2(scale * raw + shift, x).mean().item()
    enough = BETTER * min(have, 1.3 * mean)
    if told and have > SUSPECT * mean and isinstance(victim, Wrapped):
        least, way = min(_in_other_ranges(victim, x[:FEW]), default=(math.inf, None), key=lambda one: one[0])
        if least < min(enough, fitted):
            return Finding(NAME, False, f"reconstructions have L2 {have:.3g}, but {least:.3g} with {way}: give that")
    if told and (abs(scale - 1) > 0.2 or abs(shift) > 0.1) and fitted < enough:
        bad = f"reconstructions y have L2 {have:.3g}, but {fitted:.3g} as {scale:.2g} y {shift:+.2g}: check input= and "
        return Finding(NAME, False, bad + "output= (--range, --output-range), and mean=, std=")
    if len(x) > 1 and have > POOR * mean:
        bad = f"reconstructions have L2 {have:.3g}, the mean image's {mean:.3g} is better: check input= and output= "
        return Finding(NAME, False, bad + "(--range, --output-range), and mean=, std=; or train it longer")
    return Finding(NAME, True, f"L2 {have:.3g}, the mean image's is {mean:.3g}")


def _in_other_ranges(victim: Wrapped, x: Tensor) -> Iterator[tuple[float, Taken]]:
    """The L2 of each of the usual ways that does not fail."""
    for way in ways(x.shape[1]):
        parts = replace(victim.parts, input=way.input, mean=way.mean, std=way.std, output=way.output)
        with suppress(Exception), torch.no_grad():  # a model of somebody else may raise anything
            other = Wrapped(parts, straight=victim.straight)
            acquaint(other, x)
            yield l2(reconstruct(other, x), x).mean().item(), way


def _fit(y: Tensor, x: Tensor) -> tuple[float, float]:
    """The scale and the shift that bring y nearest to x."""
    a, b = y.double().flatten(), x.double().flatten()
    centred = a - a.mean()
    scale = ((centred * b).sum() / centred.square().sum().clamp_min(1e-30)).item()
    return scale, (b.mean() - scale * a.mean()).item()
