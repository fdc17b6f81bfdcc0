"""The folder that a command fills (docs/run-directory.md): described, claimed, continued, finished. Knows no torch.

Every command keeps to one protocol. A folder is whose `config.json` says so: what decides its content is described
there, by content where it is data or weights. One process writes into it at a time. `results.json` comes last: with it
and with all that is promised, the folder is finished, and the same command finds its answer there.
"""

import hashlib
import json
import os
import platform
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from doubleback._version import __version__
from doubleback.errors import BusyError, InputError, reason
from doubleback.files import read_json, read_text, write_json

SCHEMA = 1
CONFIG, RESULTS, WEIGHTS, CURVES, IMAGES, SEEN, OUTCOMES = (
    "config.json",
    "results.json",
    "model.safetensors",
    "curves.npz",
    "images.npz",
    "training-images.npz",
    "outcomes.npz",
)
_LOCK = ".lock"
State = Literal["free", "unfinished", "finished"]


@dataclass(frozen=True)
class Folder:
    """What a command is to leave in one folder.

    Attributes:
        path: where.
        section: the part of `described` that holds the command's settings, such as "train".
        described: all that its content depends on: settings, and digests of data and weights.
        command: the words of the command line.
        promised: the files that a finished folder holds, beside `config.json` and `results.json`.
        noted: what `config.json` says besides: paths, for people.
    """

    path: Path
    section: str
    described: Mapping[str, Any]
    command: Sequence[str]
    promised: Sequence[str] = ()
    noted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """A digest of what is described; files of the folder name it."""
        return digest(self.described)

    def state(self) -> State:
        """Whether the folder is free, or holds this very thing, finished or not.

        Raises:
            InputError: it holds another configuration, or files of something else, or cannot be read.
        """
        names = names_in(self.path)
        if CONFIG not in names:
            if names:
                raise strange(self.path, "run")
            return "free"
        if differs := self._difference(self._there()):
            raise InputError(
                f"{self.path} holds another configuration ({differs}); give another --output, or remove it"
            )
        there = all((self.path / name).is_file() for name in (*self.promised, RESULTS))
        return "finished" if there else "unfinished"

    @contextmanager
    def claimed(self) -> Iterator[dict[str, Any] | None]:
        """Be the only one who writes here. Yields what `results.json` holds if the folder is finished, else None.

        A refusal (`InputError`) of what was free before leaves nothing behind.

        Raises:
            InputError: another process writes here; or as `state`.
        """
        if self.state() == "finished" and not (self.path / _LOCK).exists():
            yield self.results()
            return
        made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        try:
            with locked(self.path):
                state = self.state()
                if state == "free":
                    write_json(self.path / CONFIG, self.config())
                try:
                    yield self.results() if state == "finished" else None
                except InputError:
                    if state == "free" and not any(not is_ours(one) for one in self._beside_config()):
                        (self.path / CONFIG).unlink()
                    raise
        except InputError:
            for place in made:
                with suppress(OSError, ValueError):
                    place.rmdir()
            raise

    def finish(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Write `results.json`, after everything else, and return what it holds."""
        write_json(self.path / RESULTS, {"schema": SCHEMA, **results})
        return self.results()

    def results(self) -> dict[str, Any]:
        """What `results.json` holds."""
        return read_json(self.path / RESULTS)

    def config(self) -> dict[str, Any]:
        """What `config.json` holds."""
        about = {"schema": SCHEMA, "version": __version__, "command": list(self.command)}
        return {**about, **self.described, **self.noted}

    def _beside_config(self) -> list[Path]:
        return [one for one in self.path.iterdir() if one.name != CONFIG]

    def _there(self) -> dict[str, Any]:
        """The configuration in the folder. Raises: InputError, it is not one of doubleback's."""
        try:
            found = read_json(self.path / CONFIG)
        except InputError as error:
            raise InputError(f"{error}, or give another --output") from error
        if "schema" not in found:
            raise InputError(f"{self.path} holds a {CONFIG} that is not doubleback's; give another --output")
        return found

    def _difference(self, there: Mapping[str, Any]) -> str:
        """The first setting in which the folder's configuration differs from this one; empty if there is none."""
        ours = json.loads(json.dumps(self.described))
        old, new = there.get(self.section), ours[self.section]
        if not isinstance(old, dict):
            return f"no {self.section} settings there"
        for name in new | old:
            if old.get(name) != new.get(name):
                return f"{name.replace('_', '-')}: {_short(old.get(name))} there, {_short(new.get(name))} here"
        if all(there.get(name) == value for name, value in ours.items()):
            return ""
        if any(name not in there for name in ours):
            return (
                f"written by version {_short(there.get('version'))}, which did not note the content of data and weights"
            )
        return "made from other data or weights"


def is_finished(folder: Path) -> bool:
    """Whether a command has left its `config.json` and, last of all, its `results.json` there (if they are files)."""
    return all((folder / name).exists() for name in (CONFIG, RESULTS))


def is_begun(folder: Path) -> bool:
    """Whether a command fills this folder, or has filled it: it holds a `config.json`."""
    return os.path.lexists(folder / CONFIG)


def digest(value: Mapping[str, Any]) -> str:
    """A digest of JSON data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system gives it back when this process ends, however it ends.

    Raises:
        BusyError: another process holds it.
        InputError: the folder cannot be written.
    """
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise InputError(f"{path} was not written by doubleback; remove it, or give another --output")
        lock = FileLock(path, blocking=False)
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{folder} is being written by {_holder(path)}; wait for it, or give another --output"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: no folder has a zero byte in its name
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot write {folder}: {reason(error)}; choose another folder") from error
    try:
        with suppress(OSError):
            path.write_text(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%H:%M:%S')}")
        yield
    finally:
        path.unlink(missing_ok=True)  # whoever opened it meanwhile sees that it is gone, and makes a new one
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a lock lies there: a process is at work in the folder, or one was killed in it."""
    return (folder / _LOCK).is_file()


def _short(value: Any) -> str:
    """A value as a line can show it."""
    return textwrap.shorten(str(value), 60) or "nothing"


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError):
        return read_text(path) or "another process"
    return "another process"


def within(home: Path, name: str) -> Path:
    """A file or folder that doubleback itself names inside a folder that was given.

    Raises:
        InputError: a link stands in its place: what is written would land elsewhere, in a folder that nobody gave.
    """
    path = home / name
    for part in (path, *path.parents):
        if part == home:
            break
        if _is_link(part):
            raise InputError(f"{part} is a link, and files behind it would be written; remove it, or give its target")
    return path


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # a name that no file system takes: whoever writes there says so
        return False


def names_in(folder: Path) -> set[str]:
    """What lies in a folder that a command is to fill, without what a killed process of doubleback has left.

    Returns:
        The names; none where there is no folder yet.

    Raises:
        InputError: it is a file, or cannot be read.
    """
    try:
        return {one.name for one in folder.iterdir() if not is_ours(one)}
    except FileNotFoundError:
        return set()
    except NotADirectoryError as error:
        raise InputError(f"{folder} is a file, or below one; give a folder to write to") from error
    except (OSError, ValueError) as error:  # ValueError: no folder has a zero byte in its name
        why = getattr(error, "strerror", None) or reason(error)
        raise InputError(f"cannot read {folder}: {why}; give another --output") from error


def strange(folder: Path, what: str) -> InputError:
    """The refusal of a folder that holds something else than `what`, such as "run"."""
    return InputError(f"{folder} is not empty and holds no {what}; give another --output")


def is_ours(path: Path) -> bool:
    """Whether a file is one that a process of doubleback leaves when it is killed."""
    return path.name == _LOCK or path.name.startswith(".doubleback-")
