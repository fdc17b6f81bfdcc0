"""The house rules that can be counted: files stay short, signatures too, and nobody names an attack but its goal."""

import ast
import itertools
import re
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "doubleback"
FILES = sorted(SRC.rglob("*.py"))
ON_THE_WAY = ("cli", "settings", "experiments", "training")  # from the command line to the loop


def signatures(path: Path) -> list[tuple[str, list[str]]]:
    """The functions of a file, and the names of their arguments."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            found.append((node.name, [one.arg for one in every if one and one.arg not in ("self", "cls")]))
    return found


def keywords(path: Path) -> list[tuple[str, set[str]]]:
    """The functions of a file, and the names of their arguments that have a default or no place."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            defaults = node.args.args[len(node.args.args) - len(node.args.defaults) :]
            found.append((node.name, {one.arg for one in [*defaults, *node.args.kwonlyargs]}))
    return found


def test_no_file_is_longer_than_320_lines() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > 320}


@pytest.mark.parametrize("room", ON_THE_WAY)
def test_no_function_between_command_line_and_loop_takes_more_than_eight_arguments(room: str) -> None:
    many = [
        f"{path.name}: {name}"
        for path in FILES
        if path.relative_to(SRC).parts[0] == room
        for name, arguments in signatures(path)
        if len(arguments) > 8
    ]
    assert not many


def test_no_list_of_six_keywords_stands_in_two_signatures() -> None:
    every = [(f"{path.name}: {name}", names) for path in FILES for name, names in keywords(path)]
    twice = [(one, two) for (one, a), (two, b) in itertools.combinations(every, 2) if len(a & b) >= 6]
    assert not twice


def test_nobody_names_an_attack_but_its_goal() -> None:
    named = re.compile(r"""["'](untargeted|latent)["']""")
    rooms = ("auditing", "cli", "evaluation.py", "trust.py", "report/verdict.py", "report/page.py", "report/figures.py")
    guilty = [
        str(path.relative_to(SRC))
        for path in FILES
        if str(path.relative_to(SRC)).startswith(rooms)
        if named.search(path.read_text(encoding="utf-8").replace('("latent", "output")', ""))  # the default attacks
    ]
    assert not [path for path in guilty if not path.endswith("auditor.py")]  # its docstring lists the names
    assert "untargeted" not in (SRC / "auditing" / "record.py").read_text(encoding="utf-8")
