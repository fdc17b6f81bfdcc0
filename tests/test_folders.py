"""One protocol for every command's folder: whose it is, who writes there, and what a refusal leaves."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from doubleback._version import __version__
from doubleback.errors import InputError
from doubleback.folders import Folder, digest, is_begun, is_finished, is_locked, within

HOLDS = """
import sys
from pathlib import Path
from doubleback.folders import Folder
with Folder(Path({path!r}), "train", {described!r}, ()).claimed():
    print("held", flush=True)
    sys.stdin.read()
"""


def folder(path: Path, **train: object) -> Folder:
    described = {"train": {"epochs": 4, "hidden": (3, 4), **train}, "images": "abc"}
    return Folder(path, "train", described, ("doubleback", "train"), ("weights",), {"run": "/somewhere"})


def finished(path: Path) -> Folder:
    made = folder(path)
    with made.claimed() as found:
        assert found is None
        (path / "weights").write_text("w")
        assert made.finish({"loss": 1.5}) == {"schema": 1, "loss": 1.5}
    return made


@contextmanager
def held(one: Folder) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes there."""
    code = HOLDS.format(path=str(one.path), described=one.described)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def names(path: Path) -> set[str]:
    return {one.name for one in path.iterdir()}


def test_from_free_to_finished(tmp_path: Path) -> None:
    made = finished(tmp_path / "a" / "b")
    assert names(made.path) == {"config.json", "results.json", "weights"}
    config = json.loads((made.path / "config.json").read_text())
    about = {"schema": 1, "version": __version__, "command": ["doubleback", "train"], "run": "/somewhere"}
    assert config == {**about, "train": {"epochs": 4, "hidden": [3, 4]}, "images": "abc"}
    with made.claimed() as found:
        assert found == made.results() == {"schema": 1, "loss": 1.5}


def test_states(tmp_path: Path) -> None:
    path = tmp_path / "new"
    assert folder(path).state() == "free"
    path.mkdir()
    assert folder(path).state() == "free"
    (path / ".lock").touch()
    (path / ".doubleback-config.json-somehost-1-x.json").touch()
    assert folder(path).state() == "free", "what a killed process left at its first step is in nobody's way"
    assert finished(path).state() == "finished"
    assert replace(folder(path), command=("other",), noted={}).state() == "finished", "only what is described counts"
    for lost in ("results.json", "weights"):
        kept = (path / lost).read_bytes()
        (path / lost).unlink()
        assert folder(path).state() == "unfinished"
        (path / lost).write_bytes(kept)
    assert folder(path).state() == "finished"


def test_what_is_somebody_elses(tmp_path: Path) -> None:
    made = finished(tmp_path / "a")
    refused = {
        r"another configuration \(epochs: 4 there, 9 here\)": folder(made.path, epochs=9),
        r"\(every: None there, 2 here\)": folder(made.path, every=2),
        r"\(made from other data or weights\)": replace(made, described={**made.described, "images": "other"}),
        rf"\(written by version {__version__}, which did not note": replace(
            made, described={**made.described, "weights": "w"}
        ),
        r"\(no audit settings there\)": replace(made, section="audit", described={"audit": {}}),
        "is a file, or below one; give a folder": folder(made.path / "weights"),
        "not empty and holds no run": folder(tmp_path),
    }
    for says, one in refused.items():
        with pytest.raises(InputError, match=says):
            one.state()
        with pytest.raises(InputError, match=says), one.claimed():
            pass
    for text, says in (("{", "not readable JSON .*, or give another --output"), ('{"a": 1}', "not doubleback's")):
        (made.path / "config.json").write_text(text)
        with pytest.raises(InputError, match=says):
            made.state()


def test_a_refusal_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a" / "b", tmp_path / "empty"):
        with pytest.raises(InputError, match="unusable"), folder(path).claimed():
            raise InputError("unusable")
    assert names(tmp_path) == {"empty"}
    assert names(tmp_path / "empty") == set()


def test_what_was_begun_is_kept(tmp_path: Path) -> None:
    """After a first file, after Ctrl-C, and of an unfinished folder, the configuration stays: the work can go on."""
    with pytest.raises(InputError), folder(tmp_path / "a").claimed():
        (tmp_path / "a" / "log.csv").write_text("")
        raise InputError("too late")
    assert names(tmp_path / "a") == {"config.json", "log.csv"}
    with pytest.raises(KeyboardInterrupt), folder(tmp_path / "b").claimed():
        raise KeyboardInterrupt
    for _ in range(2):
        assert folder(tmp_path / "b").state() == "unfinished"
        assert names(tmp_path / "b") == {"config.json"}
        with pytest.raises(InputError), folder(tmp_path / "b").claimed():
            raise InputError("unusable")


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"is a file, or below one; give a folder"),
        folder(tmp_path / "file/x").claimed(),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"cannot write .*choose another folder"),
        folder(Path("/proc/doubleback")).claimed(),
    ):
        pass
    if os.getuid():  # root writes anywhere
        (tmp_path / "sealed").mkdir(0o500)
        for path in (tmp_path / "sealed", tmp_path / "sealed" / "x"):
            with pytest.raises(InputError, match=r"cannot write .*Permission denied"), folder(path).claimed():
                pass


def test_one_writes_and_the_other_says_who(tmp_path: Path) -> None:
    one = folder(tmp_path / "a")
    with held(one) as writer:
        for _ in range(2):
            with pytest.raises(InputError, match=rf"a is being written by process {writer.pid} on \S+, since \d\d:"):
                one.claimed().__enter__()
        assert names(one.path) == {"config.json", ".lock"}, "the one who was refused has taken nothing away"
        assert is_locked(one.path)
        for nothing in (b"", b"\xff"):
            (one.path / ".lock").write_bytes(nothing)
            with pytest.raises(InputError, match="a is being written by another process; wait for it"):
                one.claimed().__enter__()
        writer.communicate("")
    assert names(one.path) == {"config.json"}
    assert not is_locked(one.path)
    finished(one.path)


def test_a_dead_writer_is_in_nobodys_way(tmp_path: Path) -> None:
    one = folder(tmp_path / "a")
    with held(one) as writer:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    assert re.match(rf"process {writer.pid} ", (one.path / ".lock").read_text())
    assert one.state() == "unfinished"
    assert names(finished(one.path).path) == {"config.json", "results.json", "weights"}


def test_a_finished_folder_is_read_while_another_holds_it(tmp_path: Path) -> None:
    one = finished(tmp_path / "a")
    (one.path / "weights").unlink()
    with held(one):
        (one.path / "weights").write_text("w")
        with one.claimed() as found:
            assert found == one.results()


def test_who_waited_finds_what_the_other_has_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is looked at again under the lock."""
    one, real = finished(tmp_path / "a"), Folder.state
    looks: list[str] = []

    def state(self: Folder) -> str:
        looks.append("unfinished" if not looks else real(self))
        return looks[-1]

    monkeypatch.setattr(Folder, "state", state)
    with one.claimed() as found:
        assert found == one.results()
    assert looks == ["unfinished", "finished"]


def test_the_identity_is_what_is_described(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "a"), folder(tmp_path / "b", epochs=5)
    assert one.identity == replace(one, path=tmp_path, command=(), promised=(), noted={}).identity
    assert one.identity != other.identity
    assert digest({"a": (1, 2), "b": 0.1}) == digest(json.loads(json.dumps({"b": 0.1, "a": [1, 2]})))


def test_finished_folders_without_their_settings(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    assert is_finished(finished(tmp_path / "a").path)
    (tmp_path / "a" / "results.json").unlink()
    assert not is_finished(tmp_path / "a")


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b", "a/" * 3000):
        with pytest.raises(InputError, match=r"cannot (read|write)"), folder(tmp_path / name).claimed():
            pass
    assert names(tmp_path) == set()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.parent / "theirs")])
def test_a_lock_that_is_no_file_is_refused(make: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "a").mkdir()
    make(tmp_path / "a" / ".lock")
    with pytest.raises(InputError, match=r"a/\.lock was not written by doubleback"), folder(tmp_path / "a").claimed():
        pass
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_what_we_name_inside_a_folder_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "real" / "checkpoint").mkdir(parents=True)
    (tmp_path / "run").symlink_to("real")
    assert within(tmp_path / "run", "checkpoint/state") == tmp_path / "run/checkpoint/state", "a link that was given"
    (tmp_path / "real" / "audit").symlink_to(tmp_path)
    for name in ("audit", "audit/config.json"):
        with pytest.raises(InputError, match="run/audit is a link, and files behind it would be written"):
            within(tmp_path / "run", name)
    assert within(tmp_path, "x" * 300) == tmp_path / ("x" * 300), "whoever writes there says that it cannot be"


def test_a_configuration_that_is_no_file_is_not_passed_over(tmp_path: Path) -> None:
    finished(tmp_path / "a")
    (tmp_path / "a" / "config.json").unlink()
    os.mkfifo(tmp_path / "a" / "config.json")
    assert is_finished(tmp_path / "a"), "whoever reads it will say what it is"
    assert is_begun(tmp_path / "a")
    with pytest.raises(InputError, match="is a pipe, not a file"):
        folder(tmp_path / "a").state()
