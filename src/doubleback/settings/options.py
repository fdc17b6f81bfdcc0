"""The settings of a command as its command line has them: names, values, explanations. Imports no torch."""

import shlex
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
from tyro.conf import Positional

from doubleback.settings.headings import Heading

_POSITIONAL = get_args(Positional[int])[1]
_TAKES = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


@dataclass(frozen=True)
class Option:
    """A setting of a command.

    Attributes:
        kind: the class that declares it.
        field: its name there.
        hint: its type, with the marks that the declaration gives it.
        value: its default; `MISSING` if it has no default.
        prefix: what comes before its name on the command line.
    """

    kind: type[Any]
    field: str
    hint: Any
    value: Any
    prefix: str = ""

    @property
    def _marks(self) -> tuple[Any, ...]:
        return getattr(self.hint, "__metadata__", ())

    def _marked(self, name: str) -> str | None:
        """What its `tyro.conf.arg` holds under this name; None if nothing."""
        marks = [mark for mark in self._marks if not isinstance(mark, Heading)]
        return next((said for mark in marks if (said := getattr(mark, name, None)) is not None), None)

    @property
    def name(self) -> str:
        """Its name on the command line, without the prefix."""
        named = self._marked("name")
        return self.field.replace("_", "-") if named is None else named

    @property
    def flag(self) -> str:
        """What is typed before its value."""
        return f"--{self.prefix}{self.name}"

    @property
    def positional(self) -> bool:
        """Whether it is given by its place, without a flag."""
        return _POSITIONAL in self._marks

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.value is MISSING

    @property
    def switch(self) -> bool:
        """Whether it takes no value."""
        return self.hint is bool or get_args(self.hint)[:1] == (bool,)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values to choose from; empty if it takes any value."""
        metavar = self._marked("metavar") or ""
        named = metavar.strip("{}").split(",") if metavar.startswith("{") else []
        return tuple(
            str(value) for one in _parts(self.hint) if get_origin(one) is Literal for value in get_args(one)
        ) or tuple(named)

    @property
    def takes(self) -> str:
        """What stands for its value in the help."""
        if self.switch:
            return ""
        if self.choices:
            return "{" + ",".join(self.choices) + "}"
        return self._marked("metavar") or next(word for kind, word in _TAKES.items() if kind in _parts(self.hint))

    @property
    def several(self) -> bool:
        """Whether it takes more than one value."""
        return any(get_origin(part) is tuple for part in _parts(self.hint))

    @property
    def heading(self) -> Heading:
        """The heading that the help shows it under."""
        marked = [mark for mark in self._marks if isinstance(mark, Heading)]
        found: Heading = marked[0] if marked else self.kind.HEADING
        return found

    @property
    def help(self) -> str:
        """What it does."""
        return self._marked("help") or _explained(self.kind)[self.field]

    @property
    def default(self) -> str:
        """Its default, in brackets; empty for a switch."""
        if self.required:
            return "(required)"
        if (said := self._marked("help_behavior_hint")) is not None:
            return said
        words = self.value if isinstance(self.value, tuple) else (self.value,)
        return "" if self.switch else f"(default: {shlex.join(map(str, words)) or 'none'})"


def options(command: type[Any]) -> tuple[Option, ...]:
    """The settings of a command, or of a class of settings, with those inside it.

    >>> from doubleback.settings import Price
    >>> [(one.flag, one.takes, one.default) for one in options(Price)]
    [('--coefficients', 'N', '(default: 50)')]
    """
    return tuple(_options(command, {field.name: field.default for field in fields(command)}, ""))


def _options(kind: type[Any], values: dict[str, Any], prefix: str) -> Iterator[Option]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        one = Option(kind, field.name, hints[field.name], values[field.name], prefix)
        if is_dataclass(one.value):
            yield from _options(type(one.value), vars(one.value), f"{prefix}{one.name}." if one.name else prefix)
        else:
            yield one


def _explained(kind: type[Any]) -> dict[str, str]:
    """The explanation below each field of a class."""
    said = docstring_parser.parse_from_object(kind).params
    return {one.arg_name: " ".join((one.description or "").split()) for one in said}


def _parts(hint: Any) -> tuple[Any, ...]:
    """A type, and the types of which it is made."""
    inner = () if get_origin(hint) is Literal else get_args(hint)[: 1 if get_origin(hint) is Annotated else None]
    return (hint, *(part for one in inner for part in _parts(one)))
