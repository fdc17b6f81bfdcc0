"""Objects of a user's own code, by name: found, or refused in one line that says what to mend."""

import sys
from pathlib import Path

import pytest

from doubleback.errors import InputError
from doubleback.imports import beside, code_digest, is_named, named_object


def test_a_module_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_object("pathlib:Path") is Path
    (tmp_path / "json.py").write_text("answer = 42\n")
    monkeypatch.chdir(tmp_path)
    assert named_object("json.py:answer") == 42
    assert named_object(f"{tmp_path}/json.py:answer") == 42
    assert named_object("json:dumps")([]) == "[]"  # a file hides no module of its name
    (tmp_path / "json.py").write_text("answer = 4300\n")
    assert named_object("json.py:answer") == 4300


def test_a_file_may_define_dataclasses_whose_hints_are_strings(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Mine:\n"
        "    share: float = 0.5\n"
    )
    assert named_object(f"{tmp_path}/mine.py:Mine")().share == 0.5


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    """Also as it makes a model; a neighbour hides no library, nothing is written, and the folder is forgotten."""
    (tmp_path / "a_neighbour.py").write_text("answer = 42\n")
    (tmp_path / "another_neighbour.py").write_text("answer = 43\n")
    (tmp_path / "json.py").write_text("raise SystemExit\n")
    (tmp_path / "mine.py").write_text(
        "import json\nfrom a_neighbour import answer\n"
        "def later():\n    from another_neighbour import answer\n    return answer\n"
    )
    before = list(sys.path)
    assert named_object(f"{tmp_path}/mine.py:answer") == 42
    with beside(tmp_path / "mine.py"):
        assert named_object(f"{tmp_path}/mine.py:later")() == 43
    assert sys.path == before
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "a_neighbour.py", "another_neighbour.py", "json.py", "mine.py"
    ]  # fmt: skip


def test_a_module_that_is_a_file_here_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_model_of_mine.py").write_text("make = 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"did you mean a_model_of_mine\.py:make\?"):
        named_object("a_model_of_mine:make")


def test_what_cannot_be_had_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('first\\nsecond')\n")
    (tmp_path / "silent.py").write_text("raise RuntimeError\n")
    (tmp_path / "unfinished.py").write_text("def loss(:\n")
    (tmp_path / "reads.py").write_text("open('nothing.txt')\n")
    (tmp_path / "empty.py").write_text("")
    for text, said in {
        "latent": "'latent' names no object; give module:name or file.py:name",
        ":name": "':name' names no object",
        "module:": "'module:' names no object",
        "no/such/file.py:A": "no/such/file.py does not exist; give file.py:name of a file that does",
        "no_such_module:A": "no_such_module cannot be imported (ModuleNotFoundError: No module named 'no_such_module')",
        "..above:A": "..above cannot be imported (TypeError: ",
        "json:nothing": "json has no 'nothing'; give a name that it defines",
        f"{tmp_path}/broken.py:A": "broken.py cannot be imported (RuntimeError: first); fix it",
        f"{tmp_path}/silent.py:A": "silent.py cannot be imported (RuntimeError: ); fix it",
        f"{tmp_path}/unfinished.py:A": "unfinished.py cannot be imported (SyntaxError: ",
        f"{tmp_path}/reads.py:A": "reads.py cannot be imported (FileNotFoundError: ",
        f"{tmp_path}/empty.py:A": "empty.py has no 'A'",
    }.items():
        with pytest.raises(InputError) as caught:
            named_object(text)
        assert said in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_digest_is_of_the_text_of_the_file(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.py", tmp_path / "other.py"
    mine.write_text("a = 1\n")
    other.write_text("a = 1\n")
    before = code_digest(f"{mine}:a")
    assert before == code_digest(f"{other}:a")
    mine.write_text("a = 2\n")
    assert code_digest(f"{mine}:a") != before
    assert code_digest("json:dumps") == code_digest("json:loads") != code_digest("pathlib:Path")


def test_what_is_a_name_of_an_object() -> None:
    assert is_named("mine.py:Mine")
    assert not is_named("latent")
