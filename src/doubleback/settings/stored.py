"""Settings as JSON has them, and back: one flat dictionary, since the innermost fields have names of their own."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from doubleback.errors import InputError

Stored = TypeVar("Stored")


def flat(settings: Any) -> dict[str, Any]:
    """The fields of settings and of the settings inside them; a field that is `kept` stays a dictionary of its own."""
    every: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            every |= {field.name: flat(value)} if field.metadata.get("kept") else flat(value)
        else:
            every[field.name] = value
    plain: dict[str, Any] = json.loads(json.dumps(every, default=str))
    return plain


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
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} holds settings that cannot be used ({error}); restore it, or train again") from error
    if left:
        raise InputError(
            f"{where} holds the unknown setting {min(left)!r} (edited, or from another version); "
            "restore it, or train again"
        )
    return settings


def _taken(kind: type[Stored], left: dict[str, Any]) -> Stored:
    """An instance of this class, its fields taken out of the dictionary."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        inner = type(field.default)
        if is_dataclass(inner):
            own = dict(left.pop(field.name, {})) if field.metadata.get("kept") else left
            values[field.name] = _taken(inner, own)
            if own is not left and own:
                left[f"{field.name}.{min(own)}"] = own  # known to nobody
        elif field.name in left:
            values[field.name] = _restored(field.name, left.pop(field.name))
    return kind(**values)


def _restored(name: str, value: Any) -> Any:
    """A value as it was before JSON: its lists were tuples, its path a path."""
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if name == "init" and value is not None else value
