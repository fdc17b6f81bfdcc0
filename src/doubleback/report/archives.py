"""Files to arrays, rows and numbers, each checked for the shape that docs/run-directory.md promises."""

import csv
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doubleback.errors import InputError
from doubleback.files import read_json

SCHEMA = 1
Arrays = dict[str, NDArray[Any]]
LogRow = dict[str, float | None]


def read_record(path: Path) -> dict[str, Any]:
    """Read a `config.json` or `results.json`.

    Raises:
        InputError: it is missing, damaged, or of a schema that this version does not know.
    """
    record = read_json(path)
    if (schema := record.get("schema")) != SCHEMA:
        raise InputError(
            f"{path} has schema {schema!r}, expected {SCHEMA}; write it anew with this version of doubleback"
        )
    return record


def read_curves(path: Path) -> Arrays:
    """Read an audit's `curves.npz`: every `<attack>/envelope` is (P, G) on the `grid` (G,).

    Returns:
        The arrays by name; none if there is no such file.

    Raises:
        InputError: damaged, or of other shapes.
    """
    arrays = _read_arrays(path)
    if arrays:
        grid = _take(path, arrays, "grid", 1)
        pairs = len(_take(path, arrays, "flagged", 1))
        for name in (name for name in arrays if name.endswith("/envelope")):
            _expect(
                path,
                name,
                _take(path, arrays, name, 2).shape == (pairs, len(grid)),
                f"shape ({pairs}, {len(grid)})",
            )
        for name in (name for name in arrays if name.endswith("/auddc")):
            _expect(path, name, _take(path, arrays, name, 1).shape == (pairs,), f"shape ({pairs},)")
    return arrays


def read_test_images(path: Path) -> Arrays:
    """Read a run's `images.npz`: `test` and `test_reconstruction`, uint8 (n, C, H, W); none without a file.

    Raises:
        InputError: damaged, or of other shapes.
    """
    arrays = _read_arrays(path)
    if arrays:
        shape = _pictures(path, arrays, "test").shape
        same = _pictures(path, arrays, "test_reconstruction").shape == shape
        _expect(path, "test_reconstruction", same, f"shape {shape}")
    return arrays


def read_gallery(path: Path, attacks: list[str]) -> Arrays:
    """Read an audit's `images.npz`; none if there is no file.

    Args:
        path: the file.
        attacks: those whose (M, Q, C, H, W) adversarial inputs and reconstructions must be there.

    Raises:
        InputError: damaged, or of other shapes.
    """
    arrays = _read_arrays(path)
    if not arrays:
        return arrays
    shape = _pictures(path, arrays, "source").shape
    _expect(path, "target", _pictures(path, arrays, "target").shape == shape, f"shape {shape}")
    table = (shape[0], len(_take(path, arrays, "budgets", 1)))
    for attack in attacks:
        for name in (f"{attack}/x_adv", f"{attack}/reconstruction"):
            wanted = table + shape[1:]
            _expect(path, name, _pictures(path, arrays, name, ndim=5).shape == wanted, f"shape {wanted}")
        for name in (f"{attack}/distortion", f"{attack}/adversarial_distance"):
            _expect(path, name, _take(path, arrays, name, 2).shape == table, f"shape {table}")
    return arrays


def read_log(path: Path) -> list[LogRow]:
    """Read `log.csv`: a row an epoch, numbers by column; None where a cell is empty. No file: no rows.

    Raises:
        InputError: a cell is not a number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [{key: float(cell) if cell else None for key, cell in row.items()} for row in csv.DictReader(stream)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is not a table of numbers ({error}); train again to write it anew") from error


def number(record: Mapping[str, Any], path: str) -> float | None:
    """Look up `a.b.c` in nested mappings; None unless a finite number stands there."""
    value = lookup(record, path)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def interval(record: Mapping[str, Any], path: str) -> tuple[float, float] | None:
    """Look up [low, high] at `a.b.c`; None unless two finite numbers stand there."""
    value = lookup(record, path)
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = (number({"end": end}, "end") for end in value)
    return None if low is None or high is None else (low, high)


def lookup(record: Mapping[str, Any], path: str) -> Any:
    """What stands at `a.b.c` in nested mappings, None if nothing does."""
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _read_arrays(path: Path) -> Arrays:
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


def _expect(path: Path, name: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise InputError(f"{path}: array {name!r} does not have {wanted}; write the file anew")


def _take(path: Path, arrays: Arrays, name: str, ndim: int) -> NDArray[Any]:
    array = arrays.get(name)
    if array is None or array.ndim != ndim or array.dtype.kind not in "bfiu":
        raise InputError(f"{path}: expected a {ndim}-dimensional array of numbers {name!r}; write the file anew")
    return array


def _pictures(path: Path, arrays: Arrays, name: str, ndim: int = 4) -> NDArray[Any]:
    array = _take(path, arrays, name, ndim)
    _expect(path, name, array.dtype == np.uint8 and array.size > 0, "uint8 pixels")
    return array
