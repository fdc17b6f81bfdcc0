"""The Tab key, in real shells: what is typed, then Tab, and what stands on the line."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from doubleback.cli import main
from doubleback.cli.completion import SHELLS, script
from doubleback.errors import InputError

TYPED = [
    ("doubleback leader", "leaderboard"),
    ("doubleback train --learn", "--learning-rate"),
    ("doubleback train --output x --penalty spec", "spectral"),
    ("doubleback robustness x --attack fgsm ap", "apgd"),
    ("doubleback reproduce table1 figure6 a", "all"),
    ("doubleback audit here-is-a-f", "here-is-a-file.png"),
    ("doubleback train --data here-is-a-f", "here-is-a-file.png"),
    ("doubleback train --model draw --likelihood gaussian-l", "gaussian-learned"),
    ("doubleback --completion z", "zsh"),
]


def offered(line: str) -> list[str]:
    """What bash's own function offers for the last word of a line."""
    words = line.split(" ")
    ask = f'COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _doubleback; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", script("bash") + ask, "bash", *words], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_what_bash_offers() -> None:
    assert offered("doubleback tr") == ["train", "transition"]
    assert offered("doubleback train --penalty-") == ["--penalty-weight", "--penalty-start"]
    assert offered("doubleback train --model.re") == ["--model.read-size"]
    assert offered("doubleback train --precision ") == ["32", "64", "bf16-mixed", "fast"]
    assert offered("doubleback train --precision 32 f") == [], "it takes one value: no second one is offered"
    assert offered("doubleback robustness x --attack fgsm pg") == ["pgd"], "it takes several"
    assert offered("doubleback audit x --penalty") == [], "that is a setting of other commands"
    assert offered("doubleback report --") == ["--output", "--help"]


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_in_a_terminal(shell: str, tmp_path: Path) -> None:
    """With the shell's own files, so that nothing of the reader's settings is met."""
    if (found := shutil.which(shell)) is None:
        pytest.skip(f"there is no {shell} here")
    (tmp_path / "here-is-a-file.png").touch()
    (tmp_path / "completion").write_text(script(shell))
    quiet = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}[shell]
    child, end = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(tmp_path)
        os.execve(found, [shell, *quiet, "-i"], {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "dumb"})
    try:
        ask(end, ". ./completion && doubleback() { printf '<%s>' \"$@\"; echo; } && echo re''ady\n", "ready")
        for line, last in TYPED:
            said = ask(end, f"{line}\t\n", "<", f"<{last}>")
            assert f"<{last}>" in said, (line, said)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(end)


def ask(end: int, text: str, *until: str) -> str:
    """Type something, and read what the terminal shows, until it shows all that is waited for, or for seconds."""
    os.write(end, text.encode())
    said, deadline = "", time.monotonic() + 15
    while not all(one in said for one in until) and time.monotonic() < deadline:
        if select.select([end], [], [], 0.1)[0]:
            said += os.read(end, 4096).decode(errors="replace")
    return said


def test_it_is_printed_quickly_and_without_torch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--completion", "bash"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out.strip() == script("bash").strip()
    code = """
import sys
from doubleback.cli.completion import script
script("zsh")
heavy = {"torch", "datasets", "sklearn", "matplotlib", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("words", [["--completion"], ["--completion", "fish"], ["--completion", "bash", "zsh"]])
def test_other_shells_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "give one of bash, zsh" in capsys.readouterr().err
    with pytest.raises(InputError, match="fish"):
        script("fish")
