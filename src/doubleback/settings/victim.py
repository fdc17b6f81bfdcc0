"""What a user tells about a model that doubleback does not know: its weights, and the pixels that it takes and gives.

Imports no torch.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.settings.checks import Settings
from doubleback.settings.headings import Heading


@dataclass(frozen=True)
class Range:
    """The pixel values of a model: black is `low`, white is `high`.

    Raises:
        InputError: a bound is not finite, or `low` is not below `high`.

    >>> Range(-1, 1)
    Range(low=-1, high=1)
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"the range is ({self.low}, {self.high}); give Range(low, high) with low below high")


def as_range(given: "Range | tuple[float, float]") -> Range:
    """The range itself, or the range of the pair (low, high).

    Raises:
        InputError: it is neither a range nor a pair; or as `Range`.
    """
    if isinstance(given, Range):
        return given
    try:
        low, high = given
        return Range(float(low), float(high))
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the range is {given!r}; give Range(low, high), as Range(-1, 1)") from None


@dataclass(frozen=True)
class Wrapping(Settings):
    """How a model that is not a run folder is loaded and fed. A library's own model needs none of these settings.

    Raises:
        InputError: a range is empty, or a standard deviation is not positive.
    """

    HEADING = Heading.OWN_MODEL

    weights: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: the function's)")] = None
    """Weights for the model that your function makes: safetensors, or a state_dict that torch has saved."""
    input_range: Annotated[
        tuple[float, float] | None, arg(name="range", metavar="LOW HIGH", help_behavior_hint="(default: 0 1)")
    ] = None
    """The pixel values of black and white in the model's input."""
    output_range: Annotated[
        tuple[float, float] | None, arg(metavar="LOW HIGH", help_behavior_hint="(default: as --range)")
    ] = None
    """The pixel values of black and white in the model's output."""
    mean: Annotated[tuple[float, ...] | None, arg(metavar="M [M ...]", help_behavior_hint="(default: 0)")] = None
    """Subtracted from each channel of the input, after --range."""
    std: Annotated[tuple[float, ...] | None, arg(metavar="S [S ...]", help_behavior_hint="(default: 1)")] = None
    """Each channel of the input is divided by this, after --mean."""

    def __post_init__(self) -> None:
        for bounds in (self.input_range, self.output_range):
            if bounds is not None:
                as_range(bounds)
        check_normalisation(self.mean, self.std)

    @property
    def said(self) -> tuple[str, ...]:
        """The flags that were given."""
        flags = {
            "--weights": self.weights,
            "--range": self.input_range,
            "--output-range": self.output_range,
            "--mean": self.mean,
            "--std": self.std,
        }
        return tuple(flag for flag, value in flags.items() if value is not None)


def check_normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    """Refuse a normalisation that cannot be undone.

    Raises:
        InputError: a number is not finite, a standard deviation is not positive, or their counts differ.
    """
    numbers = [*(mean or ()), *(std or ())]
    if not all(math.isfinite(number) for number in numbers) or any(number <= 0 for number in std or ()):
        raise InputError(f"mean is {mean}, std {std}; give finite numbers, and a positive std for each channel")
    if mean and std and len(mean) != len(std) and 1 not in (len(mean), len(std)):
        raise InputError(f"mean has {len(mean)} numbers, std {len(std)}; give one for each channel")
