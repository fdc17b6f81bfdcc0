"""From a command's settings back to the words of its command line."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from tyro.conf import Positional

from doubleback.errors import InputError

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


def check_said(line: Sequence[str], command: type[Any]) -> None:
    """Refuse what a command line says and nothing would read: an option that is there twice, or has no value.

    Args:
        line: words of the command line.
        command: one of `doubleback.settings.commands`.

    Raises:
        InputError: naming the option.

    >>> from doubleback.settings.commands import Train
    >>> check_said(["train", "--model.hidden", "--compile"], Train)
    Traceback (most recent call last):
    doubleback.errors.InputError: --model.hidden has no value; give one after it, or leave it out
    """
    switches = set(_switches(command, ""))
    options = [word.partition("=")[0].replace("_", "-") if word.startswith("--") else "" for word in line]
    for place, option in enumerate(options):
        if not option:
            continue
        if option in options[:place]:
            raise InputError(f"{option} is there twice; give it once")
        last = place + 1 == len(line) or options[place + 1]
        if option not in switches and last and "=" not in line[place]:
            raise InputError(f"{option} has no value; give one after it, or leave it out")


def at_home(settings: Any) -> Any:
    """The same settings, `~` and `~name` in their paths taken for home folders: a shell leaves some of them alone.

    Raises:
        InputError: nobody of that name has a home folder.
    """
    changed: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            changed[field.name] = at_home(value)
        elif isinstance(value, Path):
            changed[field.name] = home_of(value)
        elif isinstance(value, tuple):
            changed[field.name] = tuple(home_of(one) if isinstance(one, Path) else one for one in value)
    return replace(settings, **changed)


def home_of(path: Path) -> Path:
    """The path, `~` or `~name` at its start taken for a home folder.

    Raises:
        InputError: nobody of that name has one.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise InputError(f"{path} names no one's home folder; give the folder's path") from None


def _switches(kind: type[Any], prefix: str) -> Iterator[str]:
    """The options that take no value."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        name = _option(field.name, hints[field.name])
        if is_dataclass(field.default):
            yield from _switches(type(field.default), f"{prefix}{name}." if name else prefix)
        elif hints[field.name] is bool:
            yield f"--{prefix}{name}"


def _option(name: str, hint: Any) -> str:
    """How the command line calls a field."""
    named = [mark.name for mark in getattr(hint, "__metadata__", ()) if getattr(mark, "name", None) is not None]
    return str(named[0]) if named else name.replace("_", "-")


def _split(settings: Any, prefix: str, left_out: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """What stands by its place, and what has a flag."""
    hints = get_type_hints(type(settings), include_extras=True)
    places: list[str] = []
    flags: list[str] = []
    for field in fields(settings):
        value, marks = getattr(settings, field.name), getattr(hints[field.name], "__metadata__", ())
        name = _option(field.name, hints[field.name])
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
