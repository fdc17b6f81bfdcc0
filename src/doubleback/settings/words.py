"""From a command's settings back to the words of its command line."""

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from tyro.conf import Positional

_POSITIONAL = get_args(Positional[int])[1]


def words(command: Any, *, left_out: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The command line that gives these settings: those that differ from their defaults, positional ones first.

    Args:
        command: one of `doubleback.settings.commands`.
        left_out: names of settings to leave out.

    >>> from doubleback.settings.commands import Train
    >>> from pathlib import Path
    >>> from doubleback.settings import Loop, Sizes, Architecture, Training
    >>> training = Training(architecture=Architecture(sizes=Sizes(hidden=(3, 4))), loop=Loop(compile=True))
    >>> words(Train(Path("runs/a"), training))
    ('train', '--output', 'runs/a', '--model.hidden', '3', '4', '--compile')
    """
    places, flags = _split(command, "", left_out)
    return (type(command).__name__.lower(), *places, *flags)


def _split(settings: Any, prefix: str, left_out: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """What stands by its place, and what has a flag."""
    hints = get_type_hints(type(settings), include_extras=True)
    places: list[str] = []
    flags: list[str] = []
    for field in fields(settings):
        value, marks = getattr(settings, field.name), getattr(hints[field.name], "__metadata__", ())
        named = [mark.name for mark in marks if getattr(mark, "name", None) is not None]
        name = named[0] if named else field.name.replace("_", "-")
        if is_dataclass(value):
            inner, further = _split(value, f"{prefix}{name}." if name else prefix, left_out)
            places, flags = places + inner, flags + further
        elif field.name in left_out or value == field.default:
            continue
        else:
            given = [_word(item) for item in value] if isinstance(value, tuple) else [_word(value)]
            if _POSITIONAL in marks:
                places += given
            else:
                flags += [f"--{prefix}{name}", *([] if value is True and field.default is False else given)]
    return places, flags


def _word(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
