"""What `doubleback reproduce` leaves, made up of numbers: the folders of every command of the plan, and its record."""

import atexit
import shutil
import tempfile
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

from doubleback.cli.main import main
from doubleback.paper.compared import JUDGE
from doubleback.paper.members import ARTEFACTS, Member, members
from doubleback.paper.scales import SCALES
from doubleback.settings.commands import Audit, Classify, Harden, Robustness, Train
from tests.report.synthetic import digits, make_audit, make_run, write_json
from tests.report.synthetic_studies import make_classifier_run, make_classify, make_robustness, make_transition

SCALE = SCALES["smoke"]
STAND_INS = {"celeba": "faces"}
STRENGTH = {"plain": 0.27, "hardened": 0.4, "best": 0.48, "lambda-1": 0.45, "output-10": 0.42, "labelled": 0.46}
MACHINE = {"processor": "abacus", "cores": 2, "gpu": None, "python": "3.11", "torch": "2.13", "commands_at_once": 2}


def make_reproduction(folder: Path, without: str = "nothing") -> Path:
    """Every folder of the plan, but for those whose names begin with `without`, and those that need them."""
    return Path(shutil.copytree(_made_once(without), folder))


@cache
def _made_once(without: str) -> Path:
    """Such folders, for all tests of this process; they are removed at its end."""
    home = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return _make_reproduction(Path(home) / "smoke", without)


def _make_reproduction(folder: Path, without: str) -> Path:
    plan = members(SCALE, ARTEFACTS, STAND_INS)
    commands = {}
    for name, member in plan.items():
        lost = name.startswith(without) or any(commands[needed]["state"] == "failed" for needed in member.needs)
        if not lost:
            _make(folder, member)
        commands[name] = {
            "command": ["doubleback", *member.words],
            "data": member.data,
            "expected_minutes": None,
            "state": "failed" if lost else "finished",
            "seconds": 30.0,
            "why": "it is lost" if lost else "",
        }
    identity = {"schema": 1, "version": "0.1.0", "scale": "smoke", "stand_ins": STAND_INS}
    write_json(folder / "reproduction.json", identity | {"machine": MACHINE, "commands": commands})
    return folder


@cache
def _judge() -> Path:
    """A classifier that can be asked: it says what the outputs of Figure 1 show."""
    home = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    words = ["train", "--data", "digits", "--image-size", "28", "--limit", "300", "--model", "lenet", "--epochs", "1"]
    with redirect_stdout(None):
        assert main([*words, "--output", str(home / "lenet")]) == 0
    return home / "lenet"


def _make(folder: Path, member: Member) -> None:
    home, command = folder / member.folder, member.command
    channels, size = (3, 64) if member.data == "celeba" else (3, 32) if member.data == "svhn" else (1, 28)
    images = digits(12, channels, size)
    kind = next((kind for kind in STRENGTH if f"-{kind}-" in member.folder), "")
    if isinstance(command, Harden):
        make_run(home, penalty="spectral", images=images)
    elif isinstance(command, Train) and kind:
        make_run(home, penalty="none" if kind == "plain" else "reconstruction", images=images)
    elif member.folder == JUDGE:
        shutil.copytree(_judge(), home)
    elif isinstance(command, Train):
        make_classifier_run(home, model=command.training.architecture.model)
    elif isinstance(command, Audit):
        (run,) = command.runs
        seed = int(run.name[-1])
        make_audit(home, folder / run, strength=STRENGTH[kind] + 0.01 * seed, images=images, flagged=1)
    elif isinstance(command, Classify):
        make_classify(home, folder / command.run)
    elif isinstance(command, Robustness):
        names = [model.name for model in command.models]
        halves = {name: 0.03 if "plain" in name else 0.02 if "-0" not in name else 0.11 for name in names}
        make_robustness(home, strength=halves, eps=command.threats.eps)
    else:
        names = [model.name for model in command.classifiers]
        make_transition(home, models=names, judge=command.judge.name)
