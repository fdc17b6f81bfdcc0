"""The whole paper at smoke scale, as people run it: every command, then tables, figures and report."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from doubleback.paper.running import identity
from doubleback.processes import machine
from tests.data.folders import digits_folder

REPRODUCE = [sys.executable, "-m", "doubleback", "reproduce"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in the place of MNIST, SVHN and faces, in the hub's layout."""
    home = tmp_path_factory.mktemp("data")
    digits_folder(home / "mnist", 28)
    digits_folder(home / "svhn", 32, "RGB")
    digits_folder(home / "faces", 64, "RGB", labelled=False)
    return home


def reproduce(*words: object) -> subprocess.CompletedProcess[str]:
    command = [*REPRODUCE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


@pytest.mark.slow
def test_the_whole_paper(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    words = ("all", "--scale", "smoke", "--data-dir", data, "--output", out)
    begun = subprocess.Popen([*REPRODUCE, *map(str, words)], stdout=subprocess.PIPE, text=True)
    assert begun.stdout is not None
    for line in begun.stdout:
        if re.match(r"\d\d:\d\d finished ", line):
            break
    begun.send_signal(signal.SIGTERM)
    begun.communicate(timeout=60)
    assert begun.returncode == 130
    record = json.loads((out / "reproduction.json").read_text())
    done = [name for name, one in record["commands"].items() if one["state"] == "finished"]
    assert done

    whole = reproduce(*words)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert not [name for name in done if re.search(rf"running +{name}$", whole.stdout, re.MULTILINE)], "kept"
    results = json.loads((out / "results.json").read_text())
    assert results["lost"] == {}
    assert results["stand_ins"] == {"celeba": "faces"}
    assert sorted(path.name for path in (out / "figures").glob("*.png")) == [f"figure{i}.png" for i in range(1, 7)]
    assert sorted(path.name for path in (out / "tables").glob("*.md")) == [f"table{i}.md" for i in range(1, 5)]
    vae = results["autoencoders"][0]
    assert (vae["label"], vae["seeds"]) == ("VAE", 2)
    assert vae["hardened"]["input_gradient_norm"][0] < vae["plain"]["input_gradient_norm"][0], "the penalty was on"
    assert vae["best"]["difference"]["output"]["pairs"] >= 1

    started = time.monotonic()
    again = reproduce(*words)
    assert again.returncode == 0
    assert "0 commands to run" in again.stdout
    assert time.monotonic() - started < 60
    other = reproduce("all", "--scale", "cpu", "--data-dir", data, "--output", out)
    assert other.returncode == 2
    assert "another scale" in other.stderr


@pytest.mark.slow
def test_what_lacks_or_fails_is_told_and_the_rest_still_runs(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    home, out = tmp_path / "data", tmp_path / "out"
    home.mkdir()
    (home / "mnist").symlink_to(data / "mnist")
    (out / "runs" / "mnist-lenet").mkdir(parents=True)
    words = ("figure2", "table4", "--scale", "smoke", "--data-dir", home, "--output", out)
    assert "holds no reproduction" in reproduce(*words).stderr
    (out / "runs" / "mnist-lenet").rmdir()
    (out / "runs").rmdir()
    assert reproduce(*words, "--plan").returncode == 0
    (out / "runs" / "mnist-lenet").mkdir(parents=True)
    (out / "runs" / "mnist-lenet" / "notes.txt").touch()
    (out / "reproduction.json").write_text(
        json.dumps(identity("smoke", {}) | {"machine": machine() | {"commands_at_once": 1}, "commands": {}})
    )
    found = reproduce(*words)
    assert found.returncode == 2
    assert "Traceback" not in found.stdout + found.stderr
    assert "commands are left out: needs svhn: cannot reach the Hugging Face hub" in found.stderr
    assert re.search(r"failed +runs/mnist-lenet .*is not empty", found.stdout)
    assert re.fullmatch(r"doubleback: \d+ of \d+ commands are missing, .*", found.stderr.splitlines()[-1])
    assert (out / "figures" / "figure2.png").is_file()
    assert "robustness/svhn" in (out / "report.html").read_text(encoding="utf-8")
