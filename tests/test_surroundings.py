"""The command in odd surroundings: one line and status 2, or what it does anywhere; never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doubleback.cli import main
from doubleback.errors import InputError
from doubleback.processes import check_environment, rank
from doubleback.settings.words import home_of
from tests.report.synthetic import make_run

COMMAND = [sys.executable, "-m", "doubleback"]
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_WORLD_SIZE": "1",
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*TORCHRUN, "MASTER_PORT", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK is 'x'"),
        ({"LOCAL_RANK": ""}, "LOCAL_RANK is ''"),
        ({"LOCAL_RANK": "1"}, "the other variables of torchrun are missing"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"SLURM_PROCID": "a"}, "SLURM_PROCID is 'a'"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"TORCHELASTIC_RUN_ID": "x"}, "TORCHELASTIC_RUN_ID is set and RANK is not"),
        ({name: value for name, value in TORCHRUN.items() if name != "LOCAL_WORLD_SIZE"}, "LOCAL_WORLD_SIZE is not"),
        (TORCHRUN | {"RANK": "x"}, "RANK is 'x'"),
    ],
)
def test_ranks_that_are_none_are_refused_before_anything_is_imported(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: dict[str, str], says: str
) -> None:
    for name, value in environment.items():
        bare.setenv(name, value)
    with pytest.raises(InputError, match=says):
        check_environment()
    assert main(["classify", "nothing"]) == 2
    printed = capsys.readouterr().err
    assert says in printed
    assert printed.count("\n") == 1


def test_ranks_as_they_should_be(bare: pytest.MonkeyPatch) -> None:
    check_environment()
    assert rank() == 0
    for name, value in TORCHRUN.items():
        bare.setenv(name, value)
    check_environment()
    assert rank() == 1
    bare.setenv("WORLD_SIZE", "0")
    assert main(["train", "--output", "nothing"]) == 2


def test_home_folders(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("HOME", "/the/home")
    assert home_of(Path("~/x")) == Path("/the/home/x")
    assert home_of(Path("a/~b")) == Path("a/~b")
    with pytest.raises(InputError, match=r"~nobody9/x names no one's home folder"):
        home_of(Path("~nobody9/x"))


@pytest.mark.parametrize(
    "words",
    [
        "train --output ~nobody9/x",
        "train --output=~nobody9/x",
        "train --output x --init ~nobody9/x",
        "audit ~nobody9/x",
        "audit x ~nobody9/x",
        "audit x --output ~nobody9/x",
        "classify ~nobody9/x",
        "robustness x --black-box ~nobody9/x",
        "robustness ~nobody9/x",
        "transition x --judge ~nobody9/x",
        "transition ~nobody9/x",
        "reproduce --plan --output ~nobody9/x",
        "reproduce --plan --data-dir ~nobody9/x",
        "report ~nobody9/x",
        "report x --output ~nobody9/x.html",
        "demo --output ~nobody9/x",
    ],
)
def test_nobodys_home_is_refused_in_every_path(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert "~nobody9/x" in (said := capsys.readouterr().err)
    assert "names no one's home folder" in said


@pytest.mark.parametrize(
    "environment",
    [
        {"COLUMNS": "1"},
        {"COLUMNS": "0"},
        {"COLUMNS": "x"},
        {"TERM": "dumb", "LINES": "1"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": ""},
        {"TMPDIR": "/nonexistent"},
    ],
    ids=str,
)
def test_help_comes_to_an_end_anywhere(environment: dict[str, str]) -> None:
    surroundings = {**os.environ, **environment}
    done = subprocess.run([*COMMAND, "train", "--help"], env=surroundings, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert b"--output" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&-", "| head -1", "| head -c 0"])
def test_closed_streams(redirected: str) -> None:
    line = f"{' '.join(COMMAND)} train --help {redirected}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("unchecked")
def test_a_folder_beside_that_may_not_be_looked_into_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever runs the tests may look anywhere, perhaps: so the refusal is planted."""
    from doubleback.report import folders

    for name in ("locked", "open"):
        (tmp_path / name).mkdir()

    def read(folder: Path) -> list[object]:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return ["found"] if folder.name == "open" else []

    monkeypatch.setattr(folders, "_read", read)
    assert folders._in(tmp_path) == ["found"]
    assert f"{tmp_path / 'locked'} is left out: Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("lies_there", ["a pipe", "bytes"])
@pytest.mark.parametrize(
    ("words", "status", "says"),
    [("report ../run --output report.html", 0, "report.html"), ("check ../nobody", 2, "../nobody is not a folder")],
)
def test_a_matplotlibrc_of_the_current_folder_is_not_read(
    words: str, status: int, says: str, lies_there: str, tmp_path: Path
) -> None:
    """matplotlib reads what is called so in the folder in which it is imported; torchmetrics imports it, too."""
    make_run(tmp_path / "run")
    here = tmp_path / "here"
    here.mkdir()
    if lies_there == "bytes":
        (here / "matplotlibrc").write_bytes(b"\xff\xfe")
    else:
        os.mkfifo(here / "matplotlibrc")
    done = subprocess.run([*COMMAND, *words.split()], cwd=here, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == status
    assert says in done.stdout + done.stderr
    assert done.stderr.count("\n") == (status != 0)
