"""The machine, as it is told of. Many processes train and audit as one does; one that dies is told of, once."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import lightning_fabric
import numpy as np
import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from safetensors.torch import load_file
from torch import Tensor

from doubleback import processes
from doubleback.errors import InputError, LostProcessError

SMALL = shlex.split("train --data digits --image-size 8 --limit 300 --model.latent 4 --penalty reconstruction")
MODELS = {
    "vae": ["--model.hidden", "32"],
    "conv-vae": shlex.split("--model conv-vae --model.hidden 32 --model.filters 8"),
    "draw": shlex.split("--model draw --model.hidden 16 --model.steps 3 --model.read-size 3"),
}
DOUBLEBACK = [sys.executable, "-m", "doubleback"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "doubleback"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_what_figures_were_made_on() -> None:
    told = processes.machine()
    assert set(told) == {"processor", "cores", "gpu", "python", "torch"}
    assert told["torch"] == torch.__version__
    assert 1 <= told["cores"] == processes.cores()


@pytest.mark.parametrize(("bf16", "float32", "has"), [(1.0, 2.0, True), (1.0, 1.1, False), (90.0, 1.0, False)])
def test_bf16_is_had_where_its_products_are_faster(
    bf16: float, float32: float, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    seconds = {torch.bfloat16: bf16, torch.float32: float32}
    monkeypatch.setattr(processes, "_product_seconds", seconds.__getitem__)
    assert processes.has_bf16() is has


def test_a_product_takes_time() -> None:
    assert processes._product_seconds(torch.float32) > 0


def test_memory_and_gpu_are_told() -> None:
    assert processes.free_memory() > 0
    assert processes.has_gpu() is torch.cuda.is_available()
    peak = processes.peak_memory_mb()
    assert peak is None or 50 < peak < 1e6


def test_who_this_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun's word goes first; elsewhere RANK and WORLD_SIZE, which SLURM's users set, say nothing."""
    for name in ("TORCHELASTIC_RUN_ID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (processes.rank(), processes.processes(), processes.processes(2)) == (0, 1, 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("MASTER_PORT", "29500")  # as for the processes that `launched` starts
    assert processes.rank() == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert (processes.rank(), processes.processes(2)) == (3, 4)
    with pytest.raises(InputError, match="transition is for one process; start it without torchrun"):
        processes.alone("transition")


def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lightning says of it on a machine with GPUs is a page; its first line is enough."""

    def refusing(**settings: object) -> None:
        raise MisconfigurationException(f"You requested gpu: {settings['devices']}\n But your machine only has: 1")

    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr(lightning_fabric, "Fabric", refusing)
    with pytest.raises(InputError, match=r"devices is 2: You requested gpu: 2$"):
        processes.launched(2)


def test_only_errors_of_the_network_are_a_lost_process() -> None:
    said = "another process of this run has died; kept"
    with pytest.raises(LostProcessError, match=said), processes.noticing_lost_processes("kept"):
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer")
    with pytest.raises(RuntimeError, match="of our own"), processes.noticing_lost_processes("kept"):
        raise RuntimeError("of our own")


def run(launcher: Sequence[str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [*launcher, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_torchrun_trains_like_one_process(tmp_path: Path, model: str) -> None:
    """20 steps in float64, the penalty on in the last ten: the same weights within 1e-8."""
    train = [*SMALL, *MODELS[model], *shlex.split("--epochs 5 --batch-size 64 --precision 64")]
    run(DOUBLEBACK, *train, "--output", tmp_path / "one")
    run(TORCHRUN, *train, "--output", tmp_path / "two")
    results = json.loads((tmp_path / "two" / "results.json").read_text())
    assert results["train"]["steps"] == 20
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(value.dtype == torch.float64 for value in two.values())
    assert furthest(one, two) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize(("model", "estimator"), [("vae", "exact"), ("conv-vae", "perturbed")])
def test_compiled_processes_train_like_one(tmp_path: Path, model: str, estimator: str) -> None:
    train = [*SMALL, *MODELS[model], "--estimator", estimator]
    train += shlex.split("--epochs 5 --batch-size 64 --precision 64 --compile")
    run(DOUBLEBACK, *train, "--output", tmp_path / "one")
    two = run(TORCHRUN, *train, "--output", tmp_path / "two")
    assert furthest(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-8
    for kind in ("plain", "penalised"):  # said once, by the first process
        assert len(re.findall(rf"doubleback: compiled the {kind} step in [\d.]+ s", two.stderr)) == 1


@pytest.mark.slow
def test_processes_of_our_own_train_like_one_in_float32(tmp_path: Path) -> None:
    train = [*SMALL, *MODELS["vae"], *shlex.split("--epochs 30 --batch-size 16 --kl-weight 0.1")]
    errors = []
    for devices in (1, 2):
        run(DOUBLEBACK, *train, "--devices", devices, "--output", tmp_path / str(devices))
        results = json.loads((tmp_path / str(devices) / "results.json").read_text())
        errors.append(results["test"]["reconstruction_l2"])
    assert errors[1] == pytest.approx(errors[0], rel=0.02)


@pytest.mark.slow
def test_torchrun_audits_like_one_process(tmp_path: Path) -> None:
    """The very same numbers: a chunk of pairs is the same whoever attacks it."""
    folder = tmp_path / "run"
    run(
        DOUBLEBACK,
        *SMALL,
        *MODELS["vae"],
        *shlex.split("--epochs 8 --batch-size 2 --kl-weight 0.1"),
        "--output",
        folder,
    )
    audit = ["audit", folder, *shlex.split("--pairs 13 --coefficients 6 --steps 30 --attack latent output untargeted")]
    run(DOUBLEBACK, *audit, "--output", tmp_path / "one")
    run(TORCHRUN, *audit, "--output", tmp_path / "two")
    for file in ("curves.npz", "images.npz"):
        with np.load(tmp_path / "one" / "run" / file) as one, np.load(tmp_path / "two" / "run" / file) as two:
            assert set(one) == set(two)
            assert all(np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind == "f") for name in one)
            if file == "curves.npz":
                assert np.isfinite(one["worst_case/auddc"]).sum() > 10
    results = [json.loads((tmp_path / name / "run" / "results.json").read_text()) for name in ("one", "two")]
    for found in results:
        del found["seconds"], found["peak_memory_mb"]
        for attack in found["attacks"].values():
            attack.pop("seconds", None)
    assert results[0] == results[1]


def second_process(folder: Path) -> Iterator[int]:
    """The process of rank 1 that writes into a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, words = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"LOCAL_RANK=1" in environment.split(b"\0") and str(folder).encode() in words:
            yield int(process.name)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the process in /proc")
@pytest.mark.parametrize("launcher", ["torchrun", "devices"])
def test_a_process_that_dies_is_told_of_once_and_nothing_is_lost(tmp_path: Path, launcher: str) -> None:
    folder = tmp_path / "run"
    train = [*SMALL, *MODELS["vae"], "--batch-size", "64", "--output", str(folder)]
    command = [*TORCHRUN, *train] if launcher == "torchrun" else [*DOUBLEBACK, *train, "--devices", "2"]
    process = subprocess.Popen(
        [*command, "--epochs", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "log.csv").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        (victim,) = second_process(folder)
        os.kill(victim, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == (1 if launcher == "torchrun" else 2)
    ours = len(re.findall("doubleback: another process of this run has died; [^\n]*resume", said))
    if launcher == "devices":
        assert (ours, said.count("\n")) == (1, 1), said
    else:  # torchrun may end the other process before it can say anything; it names the failing rank itself
        assert ours <= 1, said
        assert len(re.findall(r"Signal 9 \(SIGKILL\) received by PID", said)) == 1, said
    assert len((folder / "log.csv").read_text().splitlines()) > 1
    assert (folder / "checkpoint" / "state.safetensors").exists()
    assert not (folder / "results.json").exists()


@pytest.mark.slow
def test_an_error_of_all_processes_is_said_once(tmp_path: Path) -> None:
    command = [*TORCHRUN, *SMALL, "--epochs", "0", "--output", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr.count("epochs is 0; give a whole number") == 1


@pytest.mark.parametrize(
    ("taken", "set_already", "loaded", "passive"),
    [
        (0.2, None, False, False),
        (0.9, None, False, True),
        (2.0, None, False, True),
        (2.0, "OMP_WAIT_POLICY", False, False),
        (2.0, "GOMP_SPINCOUNT", False, False),
        (2.0, "KMP_BLOCKTIME", False, False),
        (2.0, "OMP_NUM_THREADS", False, False),
        (2.0, None, True, False),
    ],
)
def test_threads_sleep_while_they_wait_where_others_use_the_cores(
    monkeypatch: pytest.MonkeyPatch, taken: float, set_already: str | None, loaded: bool, passive: bool
) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
    for name in names:
        monkeypatch.setenv(name, "3")  # so that it is put back afterwards, whatever is done to it
        if name != set_already:
            monkeypatch.delenv(name)
    if not loaded:
        monkeypatch.setattr(processes, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(processes, "cores", lambda: 2)
    monkeypatch.setattr(processes, "cores_taken", lambda: taken)
    assert processes.yield_while_waiting() is passive
    expected = {"OMP_WAIT_POLICY": "PASSIVE"} if passive else {set_already: "3"} if set_already else {}
    assert {name: os.environ[name] for name in names if name in os.environ} == expected


def test_cores_that_are_taken() -> None:
    assert processes.cores_taken() >= 0
