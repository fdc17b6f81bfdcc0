"""Figures that describe a model beside its main figure: if one cannot be measured, the others are kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from doubleback.errors import reason


@dataclass
class Described:
    """Figures by name, and why those that are None could not be measured.

    >>> figures = Described()
    >>> figures.measure("code.ratio", lambda: 1 / 0)
    >>> figures.results()
    {'code': {'ratio': None}, 'not_measured': {'code.ratio': 'ZeroDivisionError: division by zero'}}
    """

    figures: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def measure(self, name: str, figure: Callable[[], float]) -> None:
        """Take a figure: a finite number, or None with the reason that there is none."""
        try:
            value = figure()
        except Exception as error:  # whatever a stranger's model cannot do
            self.figures[name], self.reasons[name] = None, f"{type(error).__name__}: {reason(error)[:300]}"
            return
        finite = bool(np.isfinite(value))
        self.figures[name] = value if finite else None
        if not finite:
            self.reasons[name] = f"it is {value}"

    def results(self) -> dict[str, Any]:
        """As `results.json` has them: "a.b" is b within a; where one is None, `not_measured` says why, by name."""
        nested: dict[str, Any] = {}
        for name, value in self.figures.items():
            *outer, last = name.split(".")
            reduce(lambda place, part: place.setdefault(part, {}), outer, nested)[last] = value
        return {**nested, **({"not_measured": self.reasons} if self.reasons else {})}
