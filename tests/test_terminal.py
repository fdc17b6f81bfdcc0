"""What is printed is one line of text, whatever names it holds."""

import os

import pytest

from doubleback.cli import console
from doubleback.errors import InputError
from doubleback.progress import progress_bar
from doubleback.terminal import plain

ODD = os.fsdecode(b"run[/x]\x1b[31m\x07\xff\n") + "\u202e\x9b\u2028"
SPELT = r"run[/x]\x1b[31m\x07\udcff\n\u202e\x9b\u2028"


def test_what_does_not_print_is_spelt_out() -> None:
    assert plain(ODD) == SPELT
    assert plain("caf\u00e9 \u5b57 a\u00a0b\u2009c") == "caf\u00e9 \u5b57 a\u00a0b\u2009c"
    assert plain(plain(ODD)) == plain(ODD)


def test_an_error_is_one_line() -> None:
    assert str(InputError(f"{ODD} is no folder")) == f"{SPELT} is no folder"


def test_tables_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Names as they stand: no markup, no emoji, no escape sequence."""
    figures = {"reconstruction_l2": 1.0, "accuracy": None}
    console.show_trained({f":smile: [red]{ODD}": {"test": figures, "train": {"seconds": 1}}})
    console.say(ODD)
    console.say(ODD, error=True)
    printed = capsys.readouterr()
    table = "".join(printed.out.split())
    assert ":smile:" in table
    assert r"[red]run[/x]\x1b[31m" in table
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(printed.out)
    assert printed.out.endswith(f"\n{SPELT}\n")
    assert printed.err == f"{SPELT}\n"


def test_a_bar_of_any_name() -> None:
    with progress_bar(f"moving by {ODD}", 2) as advance:
        advance(1, ODD)
