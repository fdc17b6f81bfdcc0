"""What `doubleback reproduce` leaves, made up of numbers: the folders of every command of the plan, and its record."""

from pathlib import Path

from doubleback.experiments.reproduction.members import ARTEFACTS, Member, members
from doubleback.experiments.reproduction.scales import SCALES
from tests.report.synthetic import digits, make_audit, make_run, write_json
from tests.report.synthetic_studies import make_classifier_run, make_classify, make_robustness, make_transition

SCALE = SCALES["smoke"]
STAND_INS = {"celeba": "faces"}
STRENGTH = {"plain": 0.27, "hardened": 0.4, "lambda-1": 0.45, "output-10": 0.42}
MACHINE = {"processor": "abacus", "cores": 2, "gpu": None, "python": "3.11", "torch": "2.13", "commands_at_once": 2}


def make_reproduction(folder: Path, without: str = "nothing") -> Path:
    """Every folder of the plan, but for those whose names begin with `without`, and those that need them."""
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


def _make(folder: Path, member: Member) -> None:
    home, command = folder / member.folder, member.words[0]
    channels, size = (3, 64) if member.data == "celeba" else (3, 32) if member.data == "svhn" else (1, 28)
    images = digits(12, channels, size)
    kind = next((kind for kind in STRENGTH if f"-{kind}-" in member.folder), "")
    if command == "train" and kind:
        make_run(home, penalty="none" if kind == "plain" else "reconstruction", images=images)
    elif command == "train":
        make_classifier_run(home, model=member.words[4])
    elif command == "audit":
        seed = int(member.words[1][-1])
        make_audit(home, folder / member.words[1], strength=STRENGTH[kind] + 0.01 * seed, images=images, flagged=1)
    elif command == "classify":
        make_classify(home, folder / member.words[1])
    elif command == "robustness":
        eps = ("2/255", "4/255", "8/255") if member.data == "svhn" else ("0.05", "0.1", "0.2")
        names = [word.rsplit("/", 1)[-1] for word in member.words[1:] if word.startswith(("classifiers/", "runs/"))]
        halves = {name: 0.03 if "plain" in name else 0.02 if "-0" not in name else 0.11 for name in names}
        make_robustness(home, strength=halves, eps=eps)
    else:
        names = [word.rsplit("/", 1)[-1] for word in member.words if word.startswith("classifiers/")]
        make_transition(home, models=names, judge="mnist-lenet")
