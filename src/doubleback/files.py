"""Files that are never half-written: each is written beside its place and renamed into it."""

import csv
import json
import os
import platform
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from doubleback.errors import InputError


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
    """Write `text` as UTF-8."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON: numbers that are not finite become null, which every reader understands."""
    write_text(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is missing, is not JSON or is not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; give a folder that `doubleback train` or `audit` has written"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON ({str(error).splitlines()[0]}); write it anew") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}, not an object; write it anew")
    return value


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
    damage = (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        MemoryError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    )
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except damage as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a readable NPZ of plain arrays ({reason}); write it anew") from error


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, the first row's keys as its header (no rows: an empty file)."""
    with replacing(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as stream:
        if rows:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
