"""From a command's settings back to the words of its command line."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from doubleback.errors import InputError
from doubleback.settings.checks import innermost
from doubleback.settings.options import options


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
    values = innermost(command)
    places: list[str] = []
    flags: list[str] = []
    for option in options(type(command)):
        value = values[option.field]
        if option.field in left_out or value == option.value:
            continue
        given = [_word(item) for item in value] if isinstance(value, tuple) else [_word(value)]
        if option.positional:
            places += given
        else:
            flags += [option.flag, *([] if option.switch else given)]
    return (type(command).__name__.lower(), *places, *flags)


def check_said(line: Sequence[str], command: type[Any]) -> None:
    """Refuse an option that a command line has twice, or without its value.

    Args:
        line: words of the command line.
        command: one of `doubleback.settings.commands`.

    Raises:
        InputError: there is such an option; the message names it.

    >>> from doubleback.settings.commands import Train
    >>> check_said(["train", "--model.hidden", "--compile"], Train)
    Traceback (most recent call last):
    doubleback.errors.InputError: --model.hidden has no value; give one after it, or leave it out
    """
    switches = {option.flag for option in options(command) if option.switch}
    said = [word.partition("=")[0].replace("_", "-") if word.startswith("--") else "" for word in line]
    for place, option in enumerate(said):
        if not option:
            continue
        if option in said[:place]:
            raise InputError(f"{option} is there twice; give it once")
        last = place + 1 == len(line) or said[place + 1]
        if option not in switches and last and "=" not in line[place]:
            raise InputError(f"{option} has no value; give one after it, or leave it out")


def at_home(settings: Any) -> Any:
    """The same settings, with home folders instead of `~` and `~name` in their paths. A shell leaves some as they are.

    Raises:
        InputError: there is no user of that name.
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
    """The path, with a home folder instead of `~` or `~name` at its start.

    Raises:
        InputError: there is no user of that name.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise InputError(f"{path} names no one's home folder; give the folder's path") from None


def _word(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
