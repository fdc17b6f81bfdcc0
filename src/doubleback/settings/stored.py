"""Settings to JSON and back: one flat dictionary, because all innermost fields have different names.

`checked` compares whatever is read back from a folder with the type that it should have.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec

from doubleback.errors import InputError, reason

Stored = TypeVar("Stored")
Whole = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""A count or a size."""


def flat(settings: Any) -> dict[str, Any]:
    """The fields of settings and of the settings inside them; a field that is `kept` stays a dictionary."""
    every: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            every |= {field.name: flat(value)} if field.metadata.get("kept") else flat(value)
        else:
            every[field.name] = value
    plain: dict[str, Any] = json.loads(json.dumps(every, default=str))
    return plain


def checked(kind: type[Stored], stored: Any, where: object) -> Stored:
    """What was read from JSON, as the type that it should have: a dataclass, a TypedDict, a plain type.

    Args:
        kind: the type; keys that it does not name are left out.
        stored: what JSON made of it.
        where: the file that it is from, for errors.

    Raises:
        InputError: something is missing, of another type, or out of range; the message says where.
    """
    try:
        return msgspec.convert(stored, kind, dec_hook=_path)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where} is not as doubleback writes it ({reason(error)[:300]}); restore it, or make it again"
        ) from error


def unflat(kind: type[Stored], stored: Mapping[str, Any], where: object) -> Stored:
    """Settings from what `flat` made of them.

    Args:
        kind: their class; every settings field inside it has a default.
        stored: the dictionary; what is missing takes its default.
        where: the file that it is from, for errors.

    Raises:
        InputError: a name is not known, or a value is unusable.
    """
    left = dict(stored)
    try:
        settings = _taken(kind, left)
    except (TypeError, ValueError, RecursionError) as error:
        said = reason(error)[:300]
        raise InputError(f"{where} holds settings that cannot be used ({said}); restore it, or train again") from error
    if left:
        raise InputError(
            f"{where} holds the unknown setting {min(left)[:60]!r} (edited, or from another version); "
            "restore it, or train again"
        )
    return settings


def _taken(kind: type[Stored], left: dict[str, Any]) -> Stored:
    """An instance of this class, its fields taken out of the dictionary."""
    hints, values = get_type_hints(kind), {}
    for field in fields(kind):  # type: ignore[arg-type]
        inner = type(field.default)
        if is_dataclass(inner):
            own = _read(dict[str, Any], left.pop(field.name, {}), field.name) if field.metadata.get("kept") else left
            values[field.name] = _taken(inner, own)
            if own is not left and own:
                left[f"{field.name}.{min(own)}"] = own  # reported as unknown
        elif field.name in left:
            values[field.name] = _read(hints[field.name], left.pop(field.name), field.name)
    return kind(**values)


def _read(kind: Any, stored: Any, name: str) -> Any:
    """One setting, as the type of its field."""
    try:
        return msgspec.convert(stored, kind, dec_hook=_path)
    except ValueError as error:
        raise ValueError(f"{name}: {reason(error)}") from error


def _path(kind: type, stored: Any) -> Any:
    """A path, which JSON has as text."""
    if kind is Path and isinstance(stored, str):
        return Path(stored)
    raise TypeError(f"{stored!r:.60} is not a {kind.__name__}")
