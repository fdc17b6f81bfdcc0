"""What settings have in common: None stands for "left out", and bad values are refused in one line."""

import math
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Optional, TypeVar

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.settings.headings import Heading

Value = TypeVar("Value")
Own = TypeVar("Own", bound="Settings")
if TYPE_CHECKING:
    Unsaid = Annotated[Value, "None while it is left out"]
else:
    Unsaid = Optional
LEFT_OUT: Any = None
"""The value of an `Unsaid` setting that the user has left out. The preset of the model and the images fills it in."""


UNPREFIXED = arg(name="")
"""Marks settings inside settings: their flags need no prefix."""


class Settings:
    """Base of the settings: frozen dataclasses, checked as they are made. Imports no torch."""

    HEADING: ClassVar = Heading.OUTPUT
    """The heading that the help shows them under."""

    def filled(self: Own, **defaults: Any) -> Own:
        """These settings. Each setting named here takes this default if it was left out."""
        now = innermost(self)
        return self.changed(**{name: value for name, value in defaults.items() if now[name] is None})

    def changed(self: Own, **changes: Any) -> Own:
        """These settings with other values. A name may be of a setting inside them, because every name is unique.

        Raises:
            TypeError: no setting has such a name.
        """
        if unknown := sorted(set(changes) - set(innermost(self))):
            raise TypeError(f"there is no setting {unknown[0]}; {type(self).__name__} has {', '.join(innermost(self))}")
        new: dict[str, Any] = {}
        for name, value in _fields(self).items():
            if isinstance(value, Settings):
                new[name] = value.changed(**{key: changes[key] for key in innermost(value) if key in changes})
            elif name in changes:
                new[name] = changes[name]
        return replace(self, **new)  # type: ignore[type-var]  # its subclasses are dataclasses


def innermost(settings: Settings) -> dict[str, Any]:
    """The values of these settings and of the settings inside them, by name."""
    every: dict[str, Any] = {}
    for name, value in _fields(settings).items():
        every |= innermost(value) if isinstance(value, Settings) else {name: value}
    return every


def _fields(settings: Settings) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}  # type: ignore[arg-type]


LARGEST = 2**31 - 1
"""The largest count. A larger one would overflow somewhere, or never end."""


def at_least(least: int, **counts: int | None) -> None:
    """Refuse counts under the least, or over `LARGEST`.

    Raises:
        InputError: a count is out of range; the message names the first one.
    """
    for name, count in counts.items():
        if count is not None and count < least:
            raise InputError(f"{said(name)} is {count}; give a whole number of at least {least}")
        if count is not None:
            at_most(LARGEST, **{name: count})


def at_most(most: float, **values: float | None) -> None:
    """Refuse numbers over the most.

    Raises:
        InputError: a number is too large; the message names the first one.
    """
    for name, value in values.items():
        if value is not None and value > most:
            raise InputError(f"{said(name)} is {value}; give at most {most}")


def positive(**values: float | None) -> None:
    """Refuse numbers that are not positive and finite.

    Raises:
        InputError: there is such a number; the message names the first one.
    """
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{said(name)} is {value}; give a positive number")


def not_negative(**values: float | None) -> None:
    """Refuse numbers that are negative or not finite.

    Raises:
        InputError: there is such a number; the message names the first one.
    """
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{said(name)} is {value}; give a number of at least 0")


def one_of(choices: Iterable[str], **words: str | None) -> None:
    """Refuse words that are not among the choices.

    Raises:
        InputError: there is such a word; the message names the first one, and the choices.
    """
    for name, word in words.items():
        if word is not None and word not in (known := tuple(choices)):
            raise InputError(f"{said(name)} is {word!r}; choose one of {', '.join(known)}")


def seed_in_range(seed: int) -> None:
    """Refuse a seed that some library would not take.

    Raises:
        InputError: it is negative, or 2^32 or more.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; give a whole number from 0 to {2**32 - 1}")


def said(name: str) -> str:
    """A setting's name as people read it."""
    return name.replace("_", " ")


_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def as_bytes(text: str) -> int:
    """ "4GB" in bytes. Each unit is 1024 times the one before, and letters may be small.

    Raises:
        InputError: it is not a size.

    >>> as_bytes("1.5GB")
    1610612736
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 1:
        raise InputError(f"memory is {text!r}; give a size, as 4GB or 800MB")
    return size
