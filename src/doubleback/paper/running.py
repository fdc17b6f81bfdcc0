"""A reproduction from its plan to its folders: each command in a process of its own, several side by side.

A command that fails takes with it only those that need its folder. What is finished is used again, so an interrupted
reproduction goes on where it stopped. `reproduction.json` tells what became of every command.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from doubleback._version import __version__
from doubleback.files import read_json, write_json
from doubleback.folders import CONFIG, SCHEMA, is_finished, locked, within
from doubleback.paper.launching import Launched, ending
from doubleback.paper.members import Member
from doubleback.paper.record import RECORD, State, read_reproduction
from doubleback.processes import machine

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
    _running: dict[str, Launched] = field(default_factory=dict)

    def of_state(self, *states: State) -> list[Member]:
        """The commands that are in one of these states."""
        return [one for folder, one in self.members.items() if self.progress[folder].state in states]

    def run(self, told: Callable[[Member, Progress], None]) -> None:
        """Run what is due; `told` hears of every command that begins or ends.

        Raises:
            InputError: another process fills this folder, or it cannot be written.
            KeyboardInterrupt: after Ctrl-C or SIGTERM; the commands have been stopped and have kept what they had done.
        """
        with locked(self.folder), ending() as check, self._leaving_nobody():
            self._look_again()
            self._write()
            while self._running or self.of_state("due"):
                for member in self._ready():
                    self._running[member.folder] = Launched(self.folder, member, self.environment)
                    self.progress[member.folder].state = "running"
                    told(member, self.progress[member.folder])
                time.sleep(_POLL)
                check()
                for folder, command in list(self._running.items()):
                    if command.process.poll() is not None:
                        self._ended(folder)
                        told(self.members[folder], self.progress[folder])

    def _look_again(self) -> None:
        """What another process has finished since this was planned is not done twice."""
        for member in self.of_state("due"):
            found = progress_of(self.folder, member, self.progress[member.folder].seconds)
            self.progress[member.folder] = found

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
        """Leave out what needs a folder that will not be there."""
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
        known = read_reproduction(self.folder).commands if path.exists() else {}
        before = {name: asdict(one) for name, one in known.items()}
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
        write_json(path, identity(self.scale, self.data) | {"machine": made_on, "commands": before | commands})


def progress_of(folder: Path, member: Member, seconds: float) -> Progress:
    """Finished is what holds results of this very command.

    Args:
        folder: of the reproduction.
        member: the command.
        seconds: of its earlier attempts.

    Raises:
        InputError: a link stands where its folder should.
    """
    home = within(folder, member.folder)
    if not is_finished(home):
        return Progress(seconds=seconds)
    same = read_json(home / CONFIG).get("command") == ["doubleback", *member.words]
    return Progress("finished" if same else "due", seconds)


def identity(scale: str, data: Mapping[str, str]) -> dict[str, Any]:
    """What all commands of one reproduction share, as its record says it."""
    return {"schema": SCHEMA, "version": __version__, "scale": scale, "stand_ins": dict(data)}
