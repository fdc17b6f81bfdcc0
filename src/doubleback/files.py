"""Files that are never half-written: each is written beside its place and renamed into it.

What is read may be a stranger's: nothing but a regular file is opened, nothing is waited for, nothing that memory
cannot hold is unpacked.
"""

import csv
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import psutil
from numpy.typing import NDArray

from doubleback.errors import InputError, reason
from doubleback.processes import refuse_too_large

LARGEST_TEXT = 64 << 20  # bytes of a JSON or CSV file: ours have a hundredth of it
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` on success, remove it on any failure.

    What a process that was killed has left of the same file is removed first.

    Raises:
        InputError: the folder cannot be written or the disk is full (the old file, if any, is untouched).
    """
    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary(path.name), suffix=path.suffix)
        os.close(handle)
        scratch = Path(name)
        yield scratch
        scratch.chmod(0o666 & ~_umask())
        with scratch.open("rb") as written:
            os.fsync(written.fileno())
        scratch.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def temporary(name: str) -> str:
    """How a temporary file or folder of this process begins: it says of what, and whose it is."""
    return f".doubleback-{name}-{_host()}-{os.getpid()}-"


def sweep(folder: Path, name: str) -> None:
    """Remove what processes that are no more have left of `name`'s temporary files and folders."""
    mark = re.compile(re.escape(f".doubleback-{name}-{_host()}-") + r"(\d+)-")
    for left in folder.iterdir():
        owner = mark.match(left.name)
        if owner and int(owner[1]) != os.getpid() and not psutil.pid_exists(int(owner[1])):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _host() -> str:
    """This machine's name as a file name may hold it: another machine's processes are not ours to judge."""
    return re.sub(r"\W", "_", platform.node())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8; what has no place in UTF-8, such as a name that is not, is spelt out."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON: numbers that are not finite become null, which every reader understands."""
    write_text(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that no file system takes is that of none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def opened(path: Path) -> BinaryIO:
    """Open a file to read it, if it is a regular one: a pipe or a device could be waited for without end.

    Raises:
        InputError: it is a folder, a pipe, a device or a socket.
        OSError: it is missing, or cannot be read.
    """
    _refuse_odd(path, path.stat())
    stream = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    try:
        _refuse_odd(path, os.fstat(stream.fileno()))  # it may be another by now
    except InputError:
        stream.close()
        raise
    return stream


def _refuse_odd(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a device")
        raise InputError(f"{path} is {kind}, not a file; remove it, or name another")


def read_text(path: Path) -> str:
    """The text of a file of ours.

    Raises:
        InputError: it is not a regular file.
        OSError: it is missing, or cannot be read.
        ValueError: it is not UTF-8, or too large to be one of ours.
    """
    with opened(path) as stream:
        text = stream.read(LARGEST_TEXT + 1)
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"more than {LARGEST_TEXT >> 20} MB")
    return text.decode("utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is missing, is not JSON, is not an object, or names a key twice.
    """
    try:
        value = json.loads(read_text(path), object_pairs_hook=_each_once)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; give a folder that `doubleback train` or `audit` has written"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON ({reason(error)}); write it again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}, not an object; write it again")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are there once: two readers could take two values for the same."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as a compressed NPZ (no pickled objects), one after the other: only one has to be there."""
    with replacing(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an NPZ of plain arrays; none without a file.

    Raises:
        InputError: it is damaged, or holds pickled objects.
    """
    if not path.exists():
        return {}
    try:
        with opened(path) as stream:
            return _unpacked(path, stream)
    except InputError:
        raise
    except Exception as error:  # whatever numpy and zipfile stumble over in a file that is damaged, or forged
        raise InputError(f"{path} is not a readable NPZ of plain arrays ({reason(error)}); write it again") from error


def _unpacked(path: Path, stream: IO[bytes]) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(stream):
        raise ValueError("not a zip archive")
    with zipfile.ZipFile(stream) as archive:
        size = sum(one.file_size for one in archive.infolist())
    refuse_too_large(size, f"what {path} unpacks to; write it again")
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    if odd := [name for name, array in found.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{odd[0]} is no array")
    return found


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, the first row's keys as its header (no rows: an empty file)."""
    with (
        replacing(path) as scratch,
        scratch.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        if rows:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
