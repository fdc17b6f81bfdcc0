"""What the files of a reproduction must hold, as types: `reproduction.json`, and what the tables are made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from doubleback.files import read_json
from doubleback.settings.stored import Whole, checked

RECORD = "reproduction.json"  # in a reproduction's folder: what became of every command
State = Literal["finished", "due", "running", "failed", "left out"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Machine:
    """What figures were made on."""

    processor: str
    cores: int
    gpu: str | None
    python: str
    torch: str
    commands_at_once: int


@dataclass(frozen=True)
class Command:
    """What became of one command: `seconds` over all its attempts, `why` it failed or was left out."""

    command: tuple[str, ...]
    data: str
    expected_minutes: float | None
    state: State
    seconds: Seconds
    why: str


@dataclass(frozen=True)
class Record:
    """`reproduction.json`."""

    schema: Literal[1]
    version: str
    scale: Literal["smoke", "cpu", "full"]
    stand_ins: dict[Literal["mnist", "svhn", "celeba"], str]
    machine: Machine
    commands: dict[str, Command]


class Attacked(TypedDict):
    """Of `robustness`: what one model withstood."""

    clean_accuracy: Share
    robust_accuracy: dict[str, dict[str, Share]]
    worst_case: dict[str, Share]
    transfer: dict[str, dict[str, Share]]
    ci95: NotRequired["AttackedIntervals"]
    flags: NotRequired[dict[str, Any]]


class AttackedIntervals(TypedDict):
    """Of its shares."""

    worst_case: NotRequired[dict[str, Interval]]
    transfer: NotRequired[dict[str, dict[str, Interval]]]


class Robustness(TypedDict):
    """`results.json` of `robustness`."""

    images: Whole
    eps: list[str]
    norm: Literal["Linf", "L2"]
    models: dict[str, Attacked]


class Moved(TypedDict):
    """Of `transition`: what became of one classifier's images."""

    judge: NotRequired[dict[str, Share]]
    ci95: NotRequired["MovedIntervals"]


class MovedIntervals(TypedDict):
    """Of its shares."""

    judge: dict[str, Interval]


class Transitions(TypedDict):
    """`results.json` of `transition`."""

    images: Whole
    judge: str | None
    models: dict[str, Moved]


class Made(TypedDict):
    """By which machine, and how long its commands took when summed."""

    machine: Machine
    minutes: Seconds


class Caption(TypedDict):
    """What stands below a figure."""

    title: str
    caption: str


class Row(TypedDict):
    """One of Tables 1 and 2: what the runs of each side reach."""

    key: str
    model: str
    kind: str
    label: str
    data: Literal["mnist", "svhn", "celeba"]
    seeds: Whole
    plain: dict[str, Any]
    hardened: dict[str, Any]
    best: NotRequired[dict[str, Any]]


class Results(TypedDict):
    """`results.json` of a reproduction (docs/reproducing.md), at its surface."""

    schema: Literal[1]
    version: str
    scale: Literal["smoke", "cpu", "full"]
    about: str
    stand_ins: dict[Literal["mnist", "svhn", "celeba"], str]
    made: list[Made]
    commands: dict[str, list[str]]
    lost: dict[str, str]
    autoencoders: list[Row]
    classifiers: dict[str, dict[str, Any]]
    one_to_zero: dict[str, Any] | None
    transitions: dict[str, dict[str, Any]]
    withheld: list[str]
    figures: dict[Literal["figure1", "figure2", "figure3", "figure4", "figure5", "figure6"], Caption]


class Audited(TypedDict):
    """The settings of an audit that the tables name."""

    pairs: Whole
    coefficients: Whole
    steps: Whole


def read_reproduction(folder: Path) -> Record:
    """What has become of a reproduction so far.

    Raises:
        InputError: `reproduction.json` is missing, or is not as `doubleback reproduce` writes it.
    """
    return checked(Record, read_json(folder / RECORD), folder / RECORD)
