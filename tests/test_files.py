"""Files are whole or not there, whatever goes wrong."""

import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from doubleback import files, processes
from doubleback.errors import InputError
from doubleback.files import (
    is_folder,
    opened,
    read_arrays,
    read_json,
    read_text,
    replacing,
    sweep,
    temporary,
    write_arrays,
    write_json,
    write_rows,
    write_text,
)


def test_a_failure_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as scratch:
        scratch.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_says_whose_it_is(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as scratch:
        assert scratch.parent == tmp_path
        assert scratch.name.startswith(temporary("a.txt"))
        assert f"-{os.getpid()}-" in scratch.name
        assert scratch.suffix == ".txt"
    assert not scratch.exists()


def test_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    """SIGKILL in the midst of a file; the next to write it clears up, and touches nothing of anyone else."""
    path = tmp_path / "a.txt"
    code = f"""
import os, signal
from pathlib import Path
from doubleback.files import replacing
with replacing(Path({str(path)!r})) as scratch:
    scratch.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.Popen([sys.executable, "-c", code])
    assert killed.wait() == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    ours, theirs = f"-{os.getpid()}-", f"-{killed.pid}-"
    assert left.name == f"{temporary('a.txt').replace(ours, theirs)}{left.name.rpartition('-')[2]}"
    alive = temporary("a.txt").replace(ours, f"-{os.getppid()}-") + "x.txt"
    others = [alive, left.name.replace("a.txt-", "b.txt-", 1), left.name.replace(theirs, f"_{theirs}"), "a.txt-1-x"]
    for name in others:
        (tmp_path / name).touch()
    write_text(path, "whole")
    assert {one.name for one in tmp_path.iterdir()} == {*others, "a.txt"}
    folder = tmp_path / temporary("decoded").replace(ours, theirs)
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    sweep(tmp_path, "other")
    assert folder.exists()
    sweep(tmp_path, "decoded")
    assert not folder.exists()


def test_folders_are_made_and_permissions_are_the_users(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "x")
    assert path.read_text() == "x"
    plain = tmp_path / "plain.txt"
    plain.write_text("x")
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """The process's file size limit stands in for the disk's end."""
    path = tmp_path / "big.npz"
    write_text(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*big.npz: .*; free some space"):
            write_arrays(path, {"noise": np.random.default_rng(0).normal(size=10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_text(tmp_path / "taken" / "a.txt", "x")


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"nan": math.nan, "deep": [{"inf": math.inf}, (1.5,)], "text": "x"})
    assert json.loads(path.read_text()) == {"nan": None, "deep": [{"inf": None}, [1.5]], "text": "x"}
    assert read_json(path)["text"] == "x"


@pytest.mark.parametrize(
    ("text", "said"), [("{", "not readable JSON"), ("[1]", "holds a JSON list"), (None, "does not exist")]
)
def test_bad_json(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_json(path)


def test_arrays_and_rows_come_back(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"x/y": np.arange(3)})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["x/y"].tolist() == [0, 1, 2]
    write_rows(tmp_path / "a.csv", [{"epoch": 1, "penalty": None}, {"epoch": 2, "penalty": 0.5}])
    assert (tmp_path / "a.csv").read_text().split() == ["epoch,penalty", "1,", "2,0.5"]


def odd_files(folder: Path) -> dict[str, Path]:
    """What is no regular file, by what it is called."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(folder / "socket"))
    (folder / "link").symlink_to("/dev/zero")
    return {"a pipe": folder / "pipe", "a folder": folder / "folder", "a socket": folder / "socket"} | {
        "a device": folder / "link"
    }


@pytest.mark.parametrize("read", [read_json, read_arrays, read_text, opened])
def test_nothing_but_a_file_is_read_and_nothing_is_waited_for(read: Callable[[Path], object], tmp_path: Path) -> None:
    for kind, path in odd_files(tmp_path).items():
        with pytest.raises(InputError, match=f"is {kind}, not a file"):
            read(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1} {"b": 2}',
    ],
)
def test_forged_json_is_refused_in_a_line(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(InputError, match=r"a\.json is not readable JSON") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_text_that_is_too_large_to_be_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_TEXT", 1 << 20)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": "x" * (1 << 20)}))
    with pytest.raises(InputError, match="more than 1 MB"):
        read_json(path)
    path.write_text(json.dumps({"a": "x" * ((1 << 20) - 9)}))
    assert path.stat().st_size == 1 << 20
    assert len(read_json(path)["a"]) == (1 << 20) - 9


def forged_archive(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(header: str, data: bytes = b"") -> bytes:
    """A member with this header, right or not."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def test_a_file_that_has_become_a_pipe_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    looked = (tmp_path / "file").stat()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "stat", lambda _: looked)
    with pytest.raises(InputError, match="is a pipe, not a file"):
        opened(tmp_path / "pipe")


def test_no_file_holds_no_arrays_and_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    assert read_arrays(tmp_path / "a.npz") == {}
    (tmp_path / "a.npz").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"a\.npz is not a readable NPZ of plain arrays \(not a zip archive\)"):
        read_arrays(tmp_path / "a.npz")


def test_a_name_that_no_file_system_takes_is_no_folder(tmp_path: Path) -> None:
    assert is_folder(tmp_path)
    assert not is_folder(tmp_path / "none")
    assert not is_folder(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"no array",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}", b"short"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."),
        npy("{'descr': [['x']], 'fortran_order': 3, 'shape': 'a'}"),
        npy("(" * 5000),
    ],
)
def test_forged_arrays_are_refused_in_a_line(member: bytes, tmp_path: Path) -> None:
    path = forged_archive(tmp_path / "a.npz", {"a.npy": member})
    with pytest.raises(InputError, match=r"a\.npz is not a readable NPZ of plain arrays") as caught:
        read_arrays(path)
    assert "\n" not in str(caught.value)


def test_an_archive_that_memory_cannot_hold_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "free_memory", lambda: 1 << 20)
    path = forged_archive(tmp_path / "a.npz", {"a.npy": b"\0" * (2 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"a\.npz unpacks to needs 0\.00195 GB of memory, and 0\.000977 are free"):
        read_arrays(path)


def test_names_that_are_not_utf_8_are_spelt_out(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_text(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_text() == r"caf\udce9"
    write_json(tmp_path / "a.json", {"path": name})
    assert read_json(tmp_path / "a.json") == {"path": name}, "JSON has words for it"
    write_rows(tmp_path / "a.csv", [{"name": name}])
    assert (tmp_path / "a.csv").read_text() == "name\ncaf\\udce9\n"
