"""What `--help` shows: an example first, then what a beginner needs, then every setting under its heading.

The texts are the docstrings of the commands and of their settings. Imports no torch.
"""

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from doubleback.errors import InputError
from doubleback.interrupts import INTERRUPTED
from doubleback.settings import commands
from doubleback.settings.headings import Heading
from doubleback.settings.options import Option, options
from doubleback.settings.words import near

WIDEST = 100  # columns: longer lines are hard to read
COLUMN = 24  # where the explanations begin
STACKED = 60  # on a terminal narrower than this, an explanation stands below its setting
SHORT = 30  # choices that are longer are listed in the explanation
FAMILIES = {
    "autoencoders": ("Demo", "Train", "Check", "Audit", "Attack", "Harden", "Frontier"),
    "classifiers": ("Classify", "Robustness", "Transition"),
    "results": ("Report", "Leaderboard", "Push", "Reproduce"),
}
COMMANDS: dict[str, type[Any]] = {
    name.lower(): getattr(commands, name) for family in FAMILIES.values() for name in family
}
STATUSES = {
    0: "Done.",
    2: "The input cannot be used, or the machine cannot do it. One line says why, and what to do.",
    INTERRUPTED: "Ctrl-C has stopped it. Finished work is kept: the same command goes on (`train` needs --resume).",
}
ABOUT = "Can an autoencoder be fooled by a small change of its input? Measure it, and train one that withstands more."
FIRST_STEPS = """doubleback demo
doubleback train --data digits --batch-size 32 --output runs/plain
doubleback audit runs/plain
doubleback harden runs/plain --within 2% --output runs/hardened
doubleback audit runs/plain runs/hardened
doubleback report runs/plain runs/hardened --output report.html"""


def overview() -> str:
    """The page of `doubleback --help`."""
    lines = ["usage: doubleback COMMAND [SETTINGS]", "", *_wrapped(ABOUT), "", "first steps, without any download"]
    lines += [line for example in FIRST_STEPS.splitlines() for line in _typed(example)]
    for family, names in FAMILIES.items():
        lines += ["", family]
        for name in names:
            lines += _entry(name.lower(), _paragraphs(getattr(commands, name))[0])
    lines += ["", "exit status"]
    for status, meaning in STATUSES.items():
        lines += _entry(str(status), meaning)
    lines += ["", "more"]
    lines += _entry("COMMAND --help", "Explain a command and its settings.")
    lines += _entry("--completion SHELL", "Print what lets the Tab key complete commands: bash or zsh.")
    lines += _entry("--version", "Print the version.")
    return "\n".join(lines)


def page(command: type[Any]) -> str:
    """The page of `doubleback COMMAND --help`.

    Args:
        command: one of `doubleback.settings.commands`.
    """
    about, *more = _paragraphs(command)
    every = usable(command)
    usage = [_invocation(one) for one in every if one.required]
    usage += [f"[{_invocation(one)}]" for one in every if one.positional and not one.required]
    lines = _wrapped(" ".join(["usage: doubleback", command.__name__.lower(), *usage, "[SETTINGS]"]), "       ")
    lines += ["", *_wrapped(about), "", "examples" if len(examples(command)) > 1 else "example"]
    for example in examples(command):
        lines += _typed(example)
    for paragraph in more:
        if not paragraph.startswith(_EXAMPLE):
            lines += ["", *_wrapped(paragraph)]
    for heading in Heading:
        if shown := [one for one in every if _heading(one, command) is heading]:
            lines += ["", heading.value]
            for one in sorted(shown, key=lambda one: not one.required):
                lines += _entry(_invocation(one), _explanation(one, command))
    lines += ["", *_wrapped("Exit status: 0 done, 2 unusable input, 130 Ctrl-C. See `doubleback --help`.")]
    return "\n".join(lines)


def usable(command: type[Any]) -> list[Option]:
    """The settings of a command, without those that it refuses."""
    return [one for one in options(command) if one.field not in command.REFUSED]


def examples(command: type[Any]) -> list[str]:
    """The command lines that the help of a command shows."""
    return [one.removeprefix(_EXAMPLE) for one in _paragraphs(command) if one.startswith(_EXAMPLE)]


_EXAMPLE = "Example: "


def _paragraphs(command: type[Any]) -> list[str]:
    return [" ".join(part.split()) for part in (command.__doc__ or "").split("\n\n")]


def _heading(option: Option, command: type[Any]) -> Heading:
    first = option.required or option.positional or option.field in command.FIRST
    return Heading.START if first else option.heading


def _invocation(option: Option) -> str:
    takes = option.takes
    if option.choices:
        takes = takes if len(takes) <= SHORT else "NAME"
        takes += f" [{takes} ...]" if option.several else ""
    return takes if option.positional else f"{option.flag} {takes}".strip()


def _explanation(option: Option, command: type[Any]) -> str:
    explained = set(re.findall(r"[\w+-]+", option.help))
    listed = (
        [] if len(option.takes) <= SHORT or explained >= {*option.choices} else [f"One of {', '.join(option.choices)}."]
    )
    default = f"(default: {command.DEFAULTS[option.field]})" if option.field in command.DEFAULTS else option.default
    return " ".join([option.help, *listed, default]).strip()


def _entry(name: str, text: str) -> Iterator[str]:
    """A name and its explanation, beside it or below it."""
    indent = " " * (6 if _columns() < STACKED else COLUMN)
    lines = _wrapped(text, indent, indent)
    if len(name) + 4 > len(indent):
        yield from _wrapped(name, "    ", "  ")
    else:
        lines[0] = f"  {name}".ljust(len(indent)) + lines[0].strip()
    yield from lines


def _typed(example: str) -> Iterator[str]:
    """A command line, broken so that it can still be copied."""
    together = re.sub(r"(--\S+) (?!-)", "\\1\u00a0", example)  # an option and its value stay on one line
    *lines, last = [line.replace("\u00a0", " ") for line in _wrapped(together, "      ", "  ", room=2)]
    yield from (f"{line} \\" for line in lines)
    yield last


def _wrapped(text: str, indent: str = "", first: str = "", room: int = 0) -> list[str]:
    width = _columns() - room
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _columns() -> int:
    return min(shutil.get_terminal_size().columns, WIDEST)


def asked(words: Sequence[str]) -> str | None:
    """The page that a command line asks for; None if it asks for no page.

    Raises:
        InputError: the command is unknown.

    >>> asked(["train", "--help"]).splitlines()[0]
    'usage: doubleback train --output DIR [SETTINGS]'
    >>> asked(["train", "--output", "x"])
    """
    if words and not {"-h", "--help"} & set(words):
        return None
    if not words or words[0].startswith("-"):
        return overview()
    return page(command(words[0]))


def command(name: str) -> type[Any]:
    """The command of this name.

    Raises:
        InputError: the command is unknown.
    """
    if name not in COMMANDS:
        raise InputError(f"{name} is not a command{near(name, COMMANDS)}; choose one of {', '.join(COMMANDS)}")
    return COMMANDS[name]
