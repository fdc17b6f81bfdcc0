"""The command as people run it: in a process of its own where that matters, else through `main`."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import doubleback
from doubleback.cli import main
from doubleback.cli.help import COMMANDS
from doubleback.experiments.runs import load_run
from doubleback.folders import Folder

COMMAND = [sys.executable, "-m", "doubleback"]
SMALL = shlex.split("train --data digits --image-size 8 --limit 300 --model.hidden 32 --model.latent 4")


def run(*words: object, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **settings)  # type: ignore[call-overload,no-any-return]


def refused(capsys: pytest.CaptureFixture[str], words: Sequence[object]) -> str:
    """The one line that a refused command prints."""
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"doubleback: [^\n]+\n", printed.err), printed.err
    assert not set("╭│╰─") & set(printed.err)
    return printed.err


# -- help and the parser -------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from doubleback.cli import main
for words in (["--help"], ["train", "--help"], ["reproduce", "--help"], ["--version"], []):
    try:
        main(words)
    except SystemExit as leaving:
        assert leaving.code in (0, None)
assert main(["train", "--output", "x", "--epochs", "0"]) == 2, "nor to refuse a setting"
assert main(["robustness", "x", "--eps", "much"]) == 2
heavy = {"torch", "datasets", "sklearn", "lightning_fabric", "torchmetrics", "matplotlib", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "doubleback demo" in done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, doubleback; assert 'torch' not in sys.modules; assert 'fit' in dir(doubleback)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_there() -> None:
    for name in doubleback.__all__:
        assert getattr(doubleback, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = doubleback.nothing


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_is_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code in (0, None)
    text = capsys.readouterr().out
    assert "None" not in text
    for option in re.findall(r"│ (--[a-z-]+)[^│]*│\n│([^│]*)│", text):
        assert option[1].strip(), option


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"doubleback {doubleback.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train", "--output"),
        ("train --output x --penalty jacobian", "none.*reconstruction.*output.*latent"),
        ("train --output x --model transformer", "vae"),
        ("train --output x --epochs many", "epochs"),
        ("train --output x --epochz 3", "--epochs"),
        ("trian", "trian"),
        ("audit", "no run to audit"),
        ("audit x --attack code", "latent"),
        ("report", "no folder to report on"),
        ("classify", "VICTIM"),
        ("classify nowhere", "nowhere is not a folder"),
        ("classify x --covariance round", "full.*diag.*tied"),
        ("robustness", "no model to attack"),
        ("robustness nowhere", "nowhere is not a folder"),
        ("robustness x --attack deepfool", "fgsm.*pgd.*apgd"),
        ("robustness x --norm L1", "Linf.*L2"),
        ("transition", "no classifier to follow"),
        ("transition nowhere --from 9 --to 7", "nowhere is not a folder"),
        ("train --output x --data digits --model lenet --penalty output", "--penalty is for autoencoders"),
        ("train --output x --data digits --model mlp --model.latent 3", "not a size of mlp"),
        ("report nowhere", "nowhere is not a folder"),
        ("audit nowhere", "nowhere is not a folder"),
        ("train --output x --init nowhere", "nowhere is not a folder"),
        ("train --output x --data ''", "unknown data set ''"),
        ("train --output x --data nowhere/at/all", "does not exist"),
        ("train --output x --data mnits", "did you mean mnist"),
        ("train --output x --epochs 0", "epochs is 0"),
        ("train --output x --epochs -3", "epochs is -3"),
        ("train --output x --penalty latent --penalty-weight -1", "penalty weight is -1"),
        ("train --output x --limit 0", "limit is 0"),
        ("train --output x --seed -1", "seed is -1"),
        ("train --output x --through-target perhaps", "through-target"),
        ("train --output x --penalty output --estimator perturbed", "the output penalty cannot be perturbed"),
        ("train --output x --model vae --model.steps 3", "--model.steps is not a size of vae"),
        ("train --output x --model draw --model.hidden 3 4", "draw has one: give one number"),
        ("train --output x --model ae --kl-weight 2", "ae has no KL"),
        ("train --output x --batch-size 5 --devices 2", "does not divide over 2 processes"),
        ("train --output x --cuda-graph", "a CUDA graph is asked for, but there is no GPU"),
        ("audit x --pairs 0", "pairs is 0"),
        ("audit x --coefficients -1", "coefficients"),
        ("audit x --coefficients 0", "coefficients is 0"),
        ("audit x --steps 0", "steps is 0"),
        ("classify x --components 0", "components is 0"),
        ("classify x --regularization -1", "regularization is -1"),
        ("robustness x --eps 1/0", "eps '1/0' is not a number"),
        ("robustness x --attack", "attack"),
        ("robustness x --samples 0", "samples is 0"),
        ("transition x --eta 0", "eta is 0"),
        ("transition x --confidence 2", "confidence is 2.0"),
        ("reproduce table9", "table9"),
        ("reproduce --jobs 0", "jobs"),
        ("train --output x --seed 99999999999999999999", "seed is 9"),
        ("train --output x --devices 0", "devices is 0"),
        ("train --output x --devices 3", "does not divide over 3 processes"),
        ("train --output x --data ~nosuchuser", "no one's home folder"),
        ("demo --output x --seed -1", "seed is -1"),
        ("demo --output x --pairs 0", "pairs is 0"),
        ("demo --output x --epochs 0", "epochs is 0"),
        ("train --output x --image-size 100000", "image size is 100000; give at most"),
        ("train --output x --model.hidden 1000000000 1000000000", r"vae of these sizes needs \S+ GB of memory"),
        ("train --output x --model.latent 1000000000000", "latent is 1000000000000; give at most"),
        ("train --output x --model draw --model.steps 2000000000", r"draw of these sizes needs \S+ GB of memory"),
        ("train --output x --epochs 10000000000000000000000", "epochs is 1"),
        ("train --output x --batch-size 9999999999", "batch size is 9999999999; give at most"),
        ("audit x --pairs 10000000000", "pairs is 10000000000; give at most"),
        ("robustness x --eps 1e300", "eps is 1e300; pixels lie in"),
        ("robustness x --eps 1e999999999", "eps is 1e999999999; pixels lie in"),
        ("robustness x --eps 1/2/3", "eps '1/2/3' is not a number"),
        ("train --output x --epochs many", "^doubleback: --epochs is 'many'; give a number; see `doubleback"),
        ("audit x --pairs 2.5", "^doubleback: --pairs is '2.5'; give a number; see `doubleback"),
        ("train --output x --penalty-weight 1", "^doubleback: --penalty-weight has no effect without a penalty"),
        ("train --epochs 1", "^doubleback: --output is missing; give --output DIR: The folder of the run"),
        ("harden --output x", "^doubleback: VICTIM is missing; give VICTIM: The model"),
        ("train --output x --epoch 1", r"^doubleback: train has no setting --epoch \(did you mean --epochs\?\)"),
        (
            "trian --output x",
            r"^doubleback: trian is not a command \(did you mean train\?\); choose one of demo, train",
        ),
        (f"train --epochs 1 --limit 60 --output {'x' * 300}", "cannot read x+: File name too long"),
        (f"report {'x' * 300}", "x is not a folder|File name too long"),
        (f"audit {'x' * 300}", "x is not a folder"),
        (f"report x --output {'x' * 300}.html", "File name too long"),
        ("report 'new\nline\x1b[31m'", r"new\\nline\\x1b\[31m is not a folder"),
        ("report 'run[/x]'", r"run\[/x\] is not a folder"),
    ],
)
def test_one_line_says_what_is_wrong(
    words: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(said, refused(capsys, shlex.split(words)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    """A folder that somebody sent may hold modules: the command is run in it, as a module and as a script."""
    for name in ("tyro", "typing", "rich", "numpy", "matplotlib", "jinja2", "sitecustomize", "doubleback"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the folder')")
    (tmp_path / "doubleback.py").unlink()  # `-m` itself looks for this one there
    (tmp_path / "matplotlibrc").write_text("text.usetex: True")
    script = [sys.executable, str(Path(sys.executable).with_name("doubleback"))]
    for command in (COMMAND, script):
        done = subprocess.run(
            [*command, "report", "nowhere"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("doubleback: nowhere is not a folder")


def test_a_name_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    """Neither what is not UTF-8 nor a terminal that is ASCII ends in a traceback."""
    name = os.fsdecode(b"caf\xe9 \xc3\xa9")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("report", tmp_path / name, env=environment)
    assert done.returncode == 2
    assert r"caf\udce9 \xe9 is not a folder" in done.stderr


@pytest.mark.slow
def test_a_plan_whose_folder_the_terminal_cannot_show(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xc3\xa9")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("reproduce", "--plan", "--scale", "smoke", "--output", tmp_path / name, env=environment)
    assert done.returncode == 0, done.stderr
    assert r"caf\udce9 \xe9" in done.stdout


# -- bad images ----------------------------------------------------------------------------------------------


def folder_of_images(folder: Path, sizes: Sequence[int]) -> Path:
    folder.mkdir()
    for i, size in enumerate(sizes):
        Image.fromarray(np.full((size, size), 20 * i, dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_images_of_several_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of_images(tmp_path / "images", [8, 9, 8, 8, 8])
    said = refused(capsys, ["train", "--data", folder, "--output", tmp_path / "run"])
    assert "--image-size" in said
    assert (
        main(["train", "--data", str(folder), "--image-size", "8", "--epochs", "1", "--output", str(tmp_path / "run")])
        == 0
    )


def test_corrupt_images_and_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of_images(tmp_path / "images", [8, 8, 8, 8, 8])
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:40])
    said = refused(capsys, ["train", "--data", folder, "--output", tmp_path / "run"])
    assert "2.png is not a readable image" in said
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    (parquet / "train-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    said = refused(capsys, ["train", "--data", parquet, "--output", tmp_path / "run"])
    assert "not readable parquet" in said
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(capsys, ["train", "--data", tmp_path / "empty", "--output", tmp_path / "run"])
    assert not (tmp_path / "run").exists()


# -- whole runs ----------------------------------------------------------------------------------------------


def test_train_audit_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, hardened = tmp_path / "plain", tmp_path / "hardened"
    assert main([*SMALL, "--epochs", "4", "--output", str(plain)]) == 0
    assert main([*SMALL, "--epochs", "4", "--penalty", "output", "--output", str(hardened)]) == 0
    quick = ["--pairs", "3", "--coefficients", "5", "--steps", "10"]
    assert main(["audit", str(plain), str(hardened), "--attack", "latent", *quick]) == 0
    assert main(["report", str(plain), str(hardened), "--output", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert str(tmp_path / "page.html") in printed.out
    page = (tmp_path / "page.html").read_text()
    assert "doubleback train --data digits" in page
    config = json.loads((plain / "audit" / "config.json").read_text())
    assert config["command"][:2] == ["doubleback", "audit"]


def test_classify_robustness_transition_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The contract of the classifier's commands, from one run to one page."""
    small = "--data digits --image-size 12 --limit 300 --epochs 4 --batch-size 16"
    classifier = tmp_path / "run" / "classifier"
    for words in (
        f"train {small} --model.hidden 32 --model.latent 4 --output {tmp_path}/run",
        f"train {small} --model lenet --output {tmp_path}/lenet",
        f"classify {tmp_path}/run --components 2 --covariance tied",
        f"robustness {classifier} --attack fgsm pgd --eps 0.05 0.1 --steps 3 --queries 5 --samples 10 "
        f"--black-box {tmp_path}/lenet --output {tmp_path}/robustness",
        f"transition {classifier} --from 9 --to 7 --count 2 --steps 4 --judge {tmp_path}/lenet --output {tmp_path}/t",
    ):
        assert main(shlex.split(words)) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "Linf 0.05" in printed
    assert "judge" in printed
    model = json.loads((tmp_path / "robustness" / "results.json").read_text())["models"]["classifier"]
    assert set(model["robust_accuracy"]) >= {"fgsm", "pgd"}
    assert set(model["worst_case"]) == {"0.05", "0.1"}
    assert "lenet" in model["transfer"]
    judged = json.loads((tmp_path / "t" / "results.json").read_text())["models"]["classifier"]["judge"]
    assert set(judged) == {"image", "reconstruction", "source"}
    for folder in ("robustness", "t"):
        assert "<svg" in (tmp_path / folder / "report.html").read_text()
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "all.html")]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main([*SMALL, "--epochs", "1", "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_bad_output_folders(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [*SMALL, "--epochs", "1", "--output", str(folder)]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "another configuration (seed: 0 there, 1 here)" in refused(capsys, [*train, "--seed", "1"])
    assert "add --resume" in refused(capsys, train)
    assert main([*train, "--resume"]) == 0
    capsys.readouterr()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    config = json.loads((folder / "config.json").read_text())
    config["train"]["sizes"]["latent"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    assert "does not belong to config.json" in refused(capsys, ["audit", folder])
    (folder / "model.safetensors").write_bytes(b"nothing of the kind")
    assert "is damaged" in refused(capsys, ["audit", folder])


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_two_at_once(folder: Path, resume: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One works; the other says which process does, and changes nothing. Then the way is free again."""
    (folder / "results.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    described = {name: config[name] for name in ("train", "image_shape", "images")}
    train = [*SMALL, "--epochs", "1", "--output", str(folder)]
    with Folder(folder, "train", described, ()).claimed():
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        said = refused(capsys, [*train, *resume])
        assert f"{folder} is being written by process {os.getpid()} on " in said
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert main([*train, "--resume"]) == 0
    assert not (folder / ".lock").exists()


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    """The process's file size limit stands in for the disk's end."""
    code = f"""
import resource, signal, sys
from doubleback.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import doubleback.experiments.training
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
sys.exit(main({[*SMALL, "--epochs", "1", "--output", str(tmp_path / "run")]!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"doubleback: cannot write [^\n]*free some space[^\n]*\n", done.stderr), done.stderr
    assert not list((tmp_path / "run").rglob("*.safetensors*"))


def started(words: Sequence[object], until: Path) -> subprocess.Popen[str]:
    """A command in the background, once `until` has appeared."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not until.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert until.exists(), process.communicate()
    return process


@pytest.mark.slow
def test_killed_and_resumed_is_never_interrupted(tmp_path: Path) -> None:
    """SIGKILL at some step; the resumed run ends with the same weights, bit for bit."""
    train = [*SMALL, "--penalty", "reconstruction", "--epochs", "100"]
    assert main([*train, "--output", str(tmp_path / "whole")]) == 0
    process = started([*train, "--output", tmp_path / "killed"], tmp_path / "killed" / "log.csv")
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "results.json").exists()
    rows = len((tmp_path / "killed" / "log.csv").read_text().splitlines())
    assert rows < 101
    assert main([*train, "--output", str(tmp_path / "killed"), "--resume"]) == 0
    whole, resumed = (load_run(tmp_path / name).model.state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    process = started([*SMALL, "--epochs", "100000", "--output", tmp_path / "run"], tmp_path / "run" / "log.csv")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"doubleback: interrupted[^\n]*--resume[^\n]*\n", said), said
    assert (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()
