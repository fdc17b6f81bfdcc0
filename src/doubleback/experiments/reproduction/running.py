"""A reproduction from its plan to its folders: each command in a process of its own, several side by side.

A command that fails takes with it only those that need its folder. What is finished is used again, so an interrupted
reproduction goes on where it stopped. `reproduction.json` tells what became of every command.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch

import doubleback
from doubleback.data import load_images, stored
from doubleback.errors import InputError
from doubleback.experiments.config import Reproduce
from doubleback.experiments.folders import CONFIG, RESULTS, SCHEMA
from doubleback.experiments.reproduction.members import ARTEFACTS, RECORD, Member, members
from doubleback.experiments.reproduction.scales import SCALES
from doubleback.files import check_writable, read_json, write_json
from doubleback.machine import cores, machine

LOGS = "logs"
State = Literal["finished", "due", "running", "failed", "left out"]
_GIGABYTES_EACH = {"cpu": 4, "cuda": 10}  # of memory, for a command: the largest is a 64x64 audit
_AT_ONCE = 4  # commands on one GPU: more share its kernels without gain
_POLL, _GRACE = 0.2, 60  # seconds between two looks; that an interrupted command may take to leave


@dataclass
class Progress:
    """What became of one command: `seconds` over all its attempts, `why` it failed or was left out."""

    state: State = "due"
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Reproduction:
    """A reproduction that has been planned.

    Attributes:
        folder: where everything goes.
        scale: its name.
        members: the commands, each after those that it needs.
        progress: by folder, what became of each.
        data: what stands in for the paper's data sets.
        environment: of the commands, beside our own.
        jobs: how many run side by side.
        why_jobs: and why so many.
    """

    folder: Path
    scale: str
    members: dict[str, Member]
    progress: dict[str, Progress]
    data: dict[str, str]
    environment: dict[str, str]
    jobs: int
    why_jobs: str
    _running: dict[str, "_Command"] = field(default_factory=dict)

    def of_state(self, *states: State) -> list[Member]:
        """The commands that are in one of these states."""
        return [one for folder, one in self.members.items() if self.progress[folder].state in states]

    def run(self, told: Callable[[Member, Progress], None]) -> None:
        """Run what is due; `told` hears of every command that begins or ends.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM; the commands have been stopped and have kept what they had done.
        """
        self._write()
        with _terminable(), self._leaving_nobody():
            while self._running or self.of_state("due"):
                for member in self._ready():
                    self._running[member.folder] = _Command(self.folder, member, self.environment)
                    self.progress[member.folder].state = "running"
                    told(member, self.progress[member.folder])
                time.sleep(_POLL)
                for folder, command in list(self._running.items()):
                    if command.process.poll() is not None:
                        self._ended(folder)
                        told(self.members[folder], self.progress[folder])

    def _ready(self) -> list[Member]:
        """Those that can begin now, the longest way to the end first, as many as there is room for."""
        finished = {one.folder for one in self.of_state("finished")}
        left: dict[str, float] = {}
        for folder, one in reversed(self.members.items()):  # minutes from the beginning of a command to the last end
            after = [left[other.folder] for other in self.members.values() if folder in other.needs]
            left[folder] = (one.minutes or 1.0) + max(after, default=0.0)
        ready = [one for one in self.of_state("due") if finished.issuperset(one.needs)]
        return sorted(ready, key=lambda one: -left[one.folder])[: self.jobs - len(self._running)]

    def _ended(self, folder: str) -> None:
        command, progress = self._running.pop(folder), self.progress[folder]
        progress.seconds += command.seconds()
        progress.state = "finished" if command.process.returncode == 0 else "failed"
        progress.why = "" if progress.state == "finished" else command.complaint()
        self.leave_out_what_is_in_vain()
        self._write()

    def leave_out_what_is_in_vain(self) -> None:
        """What needs a folder that will not be there."""
        for folder, one in self.members.items():  # each after those that it needs
            lost = [name for name in one.needs if self.progress[name].state in ("failed", "left out")]
            if lost and self.progress[folder].state == "due":
                self.progress[folder] = Progress("left out", why=f"needs {lost[0]}")

    @contextmanager
    def _leaving_nobody(self) -> Iterator[None]:
        """Whatever happens, no command outlives us: each is interrupted, and keeps what it has done."""
        try:
            yield
        finally:
            for command in self._running.values():
                with suppress(ProcessLookupError):
                    command.process.send_signal(signal.SIGINT)
            for folder, command in self._running.items():
                try:
                    command.process.wait(_GRACE)
                except subprocess.TimeoutExpired:
                    command.process.kill()
                    command.process.wait()
                self.progress[folder].seconds += command.seconds()
                self.progress[folder].state = "due"
            self._write()

    def _write(self) -> None:
        """Write `reproduction.json`; commands of another call of it are kept."""
        path = self.folder / RECORD
        before = read_json(path)["commands"] if path.exists() else {}
        commands = {
            folder: {
                "command": ["doubleback", *one.words],
                "data": one.data,
                "expected_minutes": one.minutes,
                **asdict(self.progress[folder]),
            }
            for folder, one in self.members.items()
        }
        made_on = machine() | {"commands_at_once": self.jobs}
        write_json(path, _identity(self.scale, self.data) | {"machine": made_on, "commands": before | commands})


def plan(settings: Reproduce) -> Reproduction:
    """Find out what has to be run: which data are there, what is finished already.

    Raises:
        InputError: the folder holds another reproduction, or cannot be written; a setting is out of range.
    """
    folder = settings.output or Path(f"reproduction-{settings.scale}")
    scale = SCALES[settings.scale]
    _settle_data(settings.data_dir)
    data = _stand_ins()
    _check_folder(folder, _identity(settings.scale, data))
    check_writable(folder)
    artefacts = ARTEFACTS if "all" in settings.what else settings.what
    wanted = members(scale, artefacts, data)
    jobs, why = (settings.jobs, "as asked for") if settings.jobs is not None else _jobs()
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; give a whole number of at least 1")
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // jobs))}
    known = read_json(folder / RECORD)["commands"] if (folder / RECORD).exists() else {}
    progress = {name: _progress(folder, one, known.get(name, {})) for name, one in wanted.items()}
    found = Reproduction(folder, settings.scale, wanted, progress, data, environment, jobs, why)
    _leave_out_missing_data(found)
    return found


class _Command:
    """One command, running."""

    def __init__(self, home: Path, member: Member, environment: Mapping[str, str]) -> None:
        self.started = time.monotonic()
        self.log = home / LOGS / f"{member.folder.replace('/', '-')}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as stream, _interruptible():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "doubleback", *member.words],
                cwd=home,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C reaches us alone: we pass it on, once
            )

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def complaint(self) -> str:
        """The line that says why it failed."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        own = [line.removeprefix("doubleback: ") for line in lines if line.startswith("doubleback: ")]
        says = (own or lines or ["it said nothing"])[-1]
        return says if own else f"status {self.process.returncode}: {says}; its output is in {self.log}"


@contextmanager
def _interruptible() -> Iterator[None]:
    """What is started here can be interrupted, even if we cannot: a shell's background job ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, which ends a job whose time is up, is taken for Ctrl-C."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _settle_data(data_dir: Path | None) -> None:
    """Make $DOUBLEBACK_DATA, or what is given in its place, absolute: the commands start in another folder."""
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"{data_dir} is not a folder; give one that holds mnist/, svhn/ and celeba/ (or faces/)")
    if home := data_dir or os.environ.get("DOUBLEBACK_DATA"):
        os.environ["DOUBLEBACK_DATA"] = str(Path(home).expanduser().resolve())


def _stand_ins() -> dict[str, str]:
    """Other faces in CelebA's place, where these are at hand and CelebA is not."""
    return {"celeba": "faces"} if stored("faces") and not stored("celeba") else {}


def _identity(scale: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"schema": SCHEMA, "version": doubleback.__version__, "scale": scale, "stand_ins": dict(data)}


def _check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    if not (folder / RECORD).exists():
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise InputError(f"{folder} is not empty and holds no reproduction; give another --output")
        return
    there = read_json(folder / RECORD)
    for name, here in identity.items():
        if there.get(name) != here:
            raise InputError(
                f"{folder} holds a reproduction of another {name.replace('_', '-')} ({there.get(name)} there, "
                f"{here} here); give another --output"
            )


def _progress(folder: Path, member: Member, before: Mapping[str, Any]) -> Progress:
    """Finished is what holds results of this very command; the seconds of earlier attempts count."""
    home, seconds = folder / member.folder, float(before.get("seconds", 0.0))
    if not all((home / name).is_file() for name in (CONFIG, RESULTS)):
        return Progress(seconds=seconds)
    same = read_json(home / CONFIG).get("command") == ["doubleback", *member.words]
    return Progress("finished" if same else "due", seconds)


def _leave_out_missing_data(reproduction: Reproduction) -> None:
    """Open every data set that is needed, once; without it, what needs it is left out and the rest still runs."""
    for name in dict.fromkeys(one.data for one in reproduction.of_state("due")):
        source = reproduction.data.get(name, name)
        trained = [one for one in reproduction.members.values() if one.data == name and one.words[0] == "train"]
        try:
            for limit in {_limit(one.words) for one in trained}:
                load_images(source, limit=limit)
        except InputError as error:
            for one in reproduction.of_state("due"):
                if one.data == name:
                    reproduction.progress[one.folder] = Progress("left out", why=f"needs {source}: {error}")
    reproduction.leave_out_what_is_in_vain()


def _limit(words: tuple[str, ...]) -> int | None:
    return int(words[words.index("--limit") + 1]) if "--limit" in words else None


def _jobs() -> tuple[int, str]:
    """How many commands to run side by side, and why."""
    count = cores()
    if torch.cuda.is_available():
        free = torch.cuda.mem_get_info()[0] / 2**30
        jobs = max(1, min(_AT_ONCE, count, int(free / _GIGABYTES_EACH["cuda"])))
        return jobs, f"a GPU with {free:.0f} GB free, {_GIGABYTES_EACH['cuda']} for each, {_AT_ONCE} at most"
    free = _available_memory() / 2**30
    jobs = int(max(1, min(count, free / _GIGABYTES_EACH["cpu"])))
    return jobs, f"{count} cores, {free:.0f} GB free, {_GIGABYTES_EACH['cpu']} for each"


def _available_memory() -> float:
    """Bytes, the page cache that can be given up among them; infinity where the system does not tell."""
    with suppress(OSError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * float(line.split()[1])
    return math.inf
