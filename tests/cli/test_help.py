"""`--help` teaches: an example that works, what a beginner needs, then every setting once, readable on any terminal."""

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doubleback.cli import main
from doubleback.cli.completion import script
from doubleback.cli.help import COMMANDS, FIRST_STEPS, STATUSES, examples, overview, page, usable
from doubleback.cli.main import _parsed
from doubleback.settings.headings import Heading
from doubleback.settings.options import options

ORDER = "demo train check audit attack harden frontier classify robustness transition report leaderboard push reproduce"


def blocks(text: str) -> dict[str, str]:
    """What a page has under each of its headings."""
    headings = "|".join(re.escape(heading.value) for heading in Heading)
    _, *parts = re.split(rf"^({headings})$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_begins_with_an_example_and_what_a_beginner_needs(name: str) -> None:
    command = COMMANDS[name]
    shown = page(command)
    assert shown.startswith(f"usage: doubleback {name} ")
    assert shown.index(f"  doubleback {name}") < shown.index("start here")
    first, *others = blocks(shown)
    assert first == "start here"
    assert others == [heading.value for heading in Heading if heading.value in others]
    begin = re.findall(r"^  \S+", blocks(shown)["start here"], re.MULTILINE)
    assert 2 <= len(begin) <= 5
    assert set(command.FIRST) <= {one.field for one in options(command)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_setting_once_and_says_what_it_does(name: str) -> None:
    under = "\n".join(blocks(page(COMMANDS[name])).values())
    for one in usable(COMMANDS[name]):
        shown = re.findall(rf"^  {re.escape(one.takes if one.positional else one.flag)}(?= |$)", under, re.MULTILINE)
        if not (one.positional and one.choices):
            assert len(shown) == 1, one.flag
        assert one.help.endswith("."), one.flag
        assert one.help[:20] in " ".join(under.split()), one.flag


@pytest.mark.parametrize("name", ["harden", "frontier"])
def test_a_setting_that_is_refused_is_not_shown(name: str) -> None:
    assert "--seed" in page(COMMANDS[name])
    assert "--devices" not in page(COMMANDS[name])
    assert "--devices" in page(COMMANDS["train"])
    line = next(one for one in script("bash").splitlines() if one.strip().startswith(f'"{name}")'))
    assert "--seed" in line
    assert "--devices" not in line


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for shown in (overview(), *map(page, COMMANDS.values())):
        assert max(map(len, shown.splitlines())) <= min(columns, 100)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_can_be_typed(name: str) -> None:
    """Those of the page, with the ends of lines that a shell puts together; their command is the page's own."""
    shown = page(COMMANDS[name])
    block = re.search(r"^examples?\n((?:  .*\n)+)", shown, re.MULTILINE)
    assert block is not None
    lines = re.sub(r"\\\n\s+", "", block[1]).splitlines()
    assert [line.strip() for line in lines] == examples(COMMANDS[name])
    for line in lines:
        assert isinstance(_parsed(shlex.split(line)[1:]), COMMANDS[name])


def test_the_first_steps_are_examples_of_their_commands() -> None:
    steps = re.findall(r"^  (doubleback .*)$", overview(), re.MULTILINE)
    assert steps == FIRST_STEPS.splitlines()
    assert {step.split()[1] for step in steps} == {"demo", "train", "audit", "harden", "report"}
    assert set(steps) - {"doubleback audit runs/plain runs/hardened"} <= {
        examples(command)[0] for command in COMMANDS.values()
    }


@pytest.mark.slow
def test_the_first_example_of_every_command_works_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each on what those before it have made; a.png and b.png are two images of the reader's."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Image.fromarray(np.random.default_rng(ord(name)).integers(0, 255, (28, 28), np.uint8)).save(f"{name}.png")
    assert set(ORDER.split()) == set(COMMANDS)
    for name in ORDER.split():
        assert main(shlex.split(examples(COMMANDS[name])[0])[1:]) == 0, name
    left = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("results.json")}
    assert left >= {"runs/plain", "runs/plain/audit", "runs/hardened", "runs/hardened/classifier", "robustness"}


def test_exit_statuses_are_listed_and_true(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module("doubleback.cli.main")

    def ends(error: BaseException | None) -> int:
        def dispatch(*_: object) -> None:
            if error:
                raise error

        monkeypatch.setattr(module, "_dispatch", dispatch)
        return main(["demo"])

    met = {ends(None), ends(module.InputError("x")), ends(MemoryError()), ends(KeyboardInterrupt())}
    assert met == set(STATUSES) == {0, 2, 130}
    listed = overview()[overview().index("exit status") :]
    assert re.findall(r"^  (\d+) ", listed, re.MULTILINE) == ["0", "2", "130"]
    for command in COMMANDS.values():
        assert all(f"{status} " in page(command).splitlines()[-1] for status in STATUSES)
    capsys.readouterr()


@pytest.mark.parametrize("words", [["train", "-h"], ["train", "--output", "x", "--help"], ["--help"], []])
def test_help_wherever_it_stands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(words)
    assert leaving.value.code == 0
    assert capsys.readouterr().out.strip() == (page(COMMANDS["train"]) if "train" in words else overview())


def test_help_about_no_command_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "--help"]) == 2
    assert "train" in capsys.readouterr().err
