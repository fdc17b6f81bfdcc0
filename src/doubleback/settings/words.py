"""From a command's settings back to the words of its command line."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from doubleback.errors import InputError
from doubleback.settings.checks import innermost
from doubleback.settings.options import Option, options


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
    """Refuse a command line with an option that is unknown, twice there or without its value, or without a needed one.

    Args:
        line: words of the command line; the first is the command.
        command: one of `doubleback.settings.commands`.

    Raises:
        InputError: there is such an option; the message names it.

    >>> from doubleback.settings.commands import Train
    >>> check_said(["train", "--model.hidden", "--compile"], Train)
    Traceback (most recent call last):
    doubleback.errors.InputError: --model.hidden has no value; give one after it, or leave it out
    """
    every = {option.flag: option for option in options(command)}
    named = {flag for flag, option in every.items() if not option.positional}
    said = [word.partition("=")[0].replace("_", "-") if word.startswith("--") else "" for word in line]
    for place, flag in enumerate(said):
        if not flag:
            continue
        if flag not in named:
            raise InputError(f"{line[0]} has no setting {flag}{near(flag, named)}; see `doubleback {line[0]} --help`")
        if flag in said[:place]:
            raise InputError(f"{flag} is there twice; give it once")
        last = place + 1 == len(line) or said[place + 1]
        if not every[flag].switch and last and "=" not in line[place]:
            raise InputError(f"{flag} has no value; give one after it, or leave it out")
        values = [] if every[flag].switch else [word for word in line[place + 1 :] if not word.startswith("--")][:1]
        if every[flag].choices and values and "=" not in line[place] and not every[flag].several:
            _check_choice(every[flag], values[0])
    missing = [flag for flag, option in every.items() if option.required and not option.positional and flag not in said]
    if missing:
        option = every[missing[0]]
        raise InputError(f"{option.flag} is missing; give {option.flag} {option.takes}: {option.help}".rstrip("."))


def in_its_case(line: Sequence[str], command: type[Any]) -> list[str]:
    """The command line, with choices as they are spelt: a user may type linf for Linf.

    >>> from doubleback.settings.commands import Audit
    >>> in_its_case(["audit", "run", "--norm", "linf"], Audit)
    ['audit', 'run', '--norm', 'Linf']
    """
    choices = {option.flag: {one.lower(): one for one in option.choices} for option in options(command)}
    before = ["", *line[:-1]]
    return [choices.get(flag, {}).get(word.lower(), word) for flag, word in zip(before, line, strict=True)]


def _check_choice(option: Option, word: str) -> None:
    known = [one for one in option.choices if one != "None"]
    if word not in known:
        raise InputError(f"{option.flag} is {word!r}{near(word, known)}; choose one of {', '.join(known)}")


def near(word: str, words: Iterable[str]) -> str:
    """The question that offers the most similar word; empty if none is similar.

    >>> near("--epoch", ["--epochs", "--every"])
    ' (did you mean --epochs?)'
    """
    found = get_close_matches(word, sorted(words), n=1)
    return f" (did you mean {found[0]}?)" if found else ""


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
