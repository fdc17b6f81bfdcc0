"""Files to arrays, rows and numbers, each checked for the shape that docs/run-directory.md promises."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doubleback.errors import InputError, reason
from doubleback.files import read_arrays, read_json, read_text

SCHEMA = 1
LARGEST = 1e30  # the largest figure that is shown: drawings and products of larger ones go wrong
Arrays = dict[str, NDArray[Any]]
LogRow = dict[str, float | None]
Keys = str | tuple[str, ...]


def read_record(path: Path) -> dict[str, Any]:
    """Read a `config.json` or `results.json`.

    Raises:
        InputError: it is missing, damaged, or of a schema that this version does not know.
    """
    record = read_json(path)
    if (schema := record.get("schema")) != SCHEMA:
        raise InputError(
            f"{path} has schema {schema!r}, expected {SCHEMA}; write it again with this version of doubleback"
        )
    return record


def read_curves(path: Path) -> Arrays:
    """Read an audit's `curves.npz`: every `<attack>/envelope` is (P, G) on the `grid` (G,).

    Returns:
        The arrays by name; none if there is no such file.

    Raises:
        InputError: damaged, or of other shapes.
    """
    arrays = read_arrays(path)
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
        rows = [name for name in arrays if name.endswith("/auddc") or name in ("source_index", "target_index")]
        for name in rows:
            _expect(path, name, _take(path, arrays, name, 1).shape == (pairs,), f"shape ({pairs},)")
    return arrays


def read_test_images(path: Path) -> Arrays:
    """Read a run's `images.npz`: `test` and `test_reconstruction`, uint8 (n, C, H, W); none without a file.

    Raises:
        InputError: damaged, or of other shapes.
    """
    arrays = read_arrays(path)
    if arrays:
        shape = _pictures(path, arrays, "test").shape
        same = _pictures(path, arrays, "test_reconstruction").shape == shape
        _expect(path, "test_reconstruction", same, f"shape {shape}")
    return arrays


def read_gallery(path: Path, attacks: list[str], epsilons: Mapping[str, int] | None = None) -> Arrays:
    """Read an audit's `images.npz`; none if there is no file.

    Args:
        path: the file.
        attacks: those whose (M, Q, C, H, W) adversarial inputs and reconstructions must be there.
        epsilons: how many eps each attack's budgets have. If there are pictures of them, `<attack>/eps/x_adv` and
            `<attack>/eps/reconstruction`, there must be as many.

    Raises:
        InputError: damaged, or of other shapes.
    """
    arrays = read_arrays(path)
    if not arrays or "source" not in arrays:  # signals and codes have no pictures
        return {}
    shape = _pictures(path, arrays, "source").shape
    _expect(path, "target", _pictures(path, arrays, "target").shape == shape, f"shape {shape}")
    for name in ("source_reconstruction", "target_reconstruction"):
        if name in arrays:
            _expect(path, name, _pictures(path, arrays, name).shape == shape, f"shape {shape}")
    table = (shape[0], len(_take(path, arrays, "budgets", 1)))
    for attack in attacks:
        for name in (f"{attack}/x_adv", f"{attack}/reconstruction"):
            wanted = table + shape[1:]
            _expect(path, name, _pictures(path, arrays, name, ndim=5).shape == wanted, f"shape {wanted}")
        for name in (f"{attack}/distortion", f"{attack}/adversarial_distance"):
            _expect(path, name, _take(path, arrays, name, 2).shape == table, f"shape {table}")
    _expect_stops(path, arrays, attacks)
    for attack, count in (epsilons or {}).items():
        ends = [f"{attack}/eps/x_adv", f"{attack}/eps/reconstruction"]
        for name in ends if count and any(end in arrays for end in ends) else ():
            wanted = (shape[0], count, *shape[1:])
            _expect(path, name, _pictures(path, arrays, name, ndim=5).shape == wanted, f"shape {wanted}")
    return arrays


def _expect_stops(path: Path, arrays: Arrays, attacks: list[str]) -> None:
    """Check what the slider shows: rising `stops` (S,), and for some attacks pictures of the first pairs at each stop.

    Folders of an older version have none. The pictures may be smaller than the sources.
    """
    if "stops" not in arrays:
        return
    stops, shape = _take(path, arrays, "stops", 1), arrays["source"].shape
    rises = np.isfinite(stops).all() and (np.diff(stops, prepend=0) > 0).all()
    _expect(path, "stops", bool(rises), "distortions that rise")
    for place in (f"{attack}/stops" for attack in attacks if f"{attack}/stops/x_adv" in arrays):
        kept = _pictures(path, arrays, f"{place}/x_adv", ndim=5).shape
        fits = (
            kept[1:3] == (len(stops), shape[1])
            and kept[0] <= shape[0]
            and max(0, *np.subtract(kept[3:], shape[2:])) == 0
        )
        _expect(path, f"{place}/x_adv", fits, f"pictures of the first pairs at {len(stops)} stops")
        same = _pictures(path, arrays, f"{place}/reconstruction", ndim=5).shape == kept
        _expect(path, f"{place}/reconstruction", same, f"shape {kept}")
        for name in (f"{place}/distortion", f"{place}/adversarial_distance"):
            _expect(path, name, _take(path, arrays, name, 2).shape == kept[:2], f"shape {kept[:2]}")


def read_examples(path: Path, models: Sequence[str], epsilons: int) -> Arrays:
    """Read a robustness folder's `images.npz`; none if there is no file.

    Args:
        path: the file.
        models: those whose `<name>/x_adv` (M, E, C, H, W) must be there beside `source` (M, C, H, W).
        epsilons: E.

    Raises:
        InputError: damaged, or of other shapes.
    """
    arrays = read_arrays(path)
    if arrays:
        shape = _pictures(path, arrays, "source").shape
        wanted = (shape[0], epsilons, *shape[1:])
        for name in (f"{model}/x_adv" for model in models):
            _expect(path, name, _pictures(path, arrays, name, ndim=5).shape == wanted, f"shape {wanted}")
    return arrays


def read_transitions(path: Path, models: Sequence[str], classes: int) -> Arrays:
    """Read a transition folder's `images.npz`; none if there is no file.

    Args:
        path: the file.
        models: those whose images, probabilities and steps must be there; reconstructions may be missing.
        classes: K.

    Raises:
        InputError: damaged, of other shapes, a class that is not one of the K, or steps that do not increase.
    """
    arrays = read_arrays(path)
    if not arrays:
        return arrays
    shown, count = _take(path, arrays, "shown", 1), len(_take(path, arrays, "source_class", 1))
    rises = len(shown) > 0 and shown.dtype.kind in "iu" and shown[0] >= 0 and (np.diff(shown.astype(float)) > 0).all()
    _expect(path, "shown", bool(rises), "steps that increase")
    last = int(shown[-1])
    for name in ("source_class", "target_class"):
        places = _take(path, arrays, name, 1)
        held = len(places) == count and bool(((places >= 0) & (places < classes)).all())
        _expect(path, name, held and places.dtype.kind in "iu", f"{count} places of {classes} classes")
    for model in models:
        shape = _pictures(path, arrays, f"{model}/images", ndim=5).shape
        _expect(path, f"{model}/images", shape[:2] == (count, len(shown)), f"{count} rows of {len(shown)} images")
        if (name := f"{model}/reconstructions") in arrays:
            _expect(path, name, _pictures(path, arrays, name, ndim=5).shape == shape, f"shape {shape}")
        name = f"{model}/probabilities"
        table = _take(path, arrays, name, 3).shape
        held = table[0] == count and table[2] == classes and table[1] > last
        _expect(path, name, held, f"shape ({count}, {last + 1} or more, {classes})")
        steps = _take(path, arrays, f"{model}/steps", 1)
        whole = steps.dtype.kind in "iu" and steps.shape == (count,)
        _expect(path, f"{model}/steps", whole, f"{count} whole numbers")
    return arrays


def read_outcomes(path: Path, shares: Mapping[str, NDArray[Any]]) -> Arrays:
    """Read `outcomes.npz`, what became of each image; none if there is no file, as in folders of an older version.

    Args:
        path: the file.
        shares: the shares in `results.json`, by name: () for an array (N,), (E,) for one (E, N). If one of them is NaN,
            the array is not read.

    Returns:
        Truth values by name, only those that `shares` names, with the same N for all.

    Raises:
        InputError: damaged, of other shapes, or not as the shares say.
    """
    arrays = read_arrays(path)
    known = {name: share for name, share in shares.items() if arrays and np.isfinite(share).all()}
    found = {name: _take(path, arrays, name, share.ndim + 1) for name, share in known.items()}
    counts = {array.shape[-1] for array in found.values()}
    for name, array in found.items():
        held = array.shape[:-1] == known[name].shape and array.dtype == np.bool_ and len(counts) == 1 and array.size > 0
        _expect(path, name, held and np.allclose(array.mean(-1), known[name], atol=1e-6), "the shares of results.json")
    return found


def read_log(path: Path) -> list[LogRow]:
    """Read `log.csv`: a row an epoch, numbers by column; None where a cell is empty. No file: no rows.

    Raises:
        InputError: a cell is not a number.
    """
    try:
        rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
        return [{key: float(cell) if cell else None for key, cell in row.items()} for row in rows]
    except InputError:
        raise
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path} is not a table of numbers ({reason(error)}); train again to write a new one"
        ) from error


def number(record: Mapping[str, Any], path: Keys) -> float | None:
    """Look up `a.b.c` in nested mappings; None unless it is a number of at most `LARGEST`."""
    value = lookup(record, path)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        return None
    return float(value)


def interval(record: Mapping[str, Any], path: Keys) -> tuple[float, float] | None:
    """Look up [low, high] at `a.b.c`; None unless both are finite numbers."""
    value = lookup(record, path)
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = (number({"end": end}, "end") for end in value)
    return None if low is None or high is None else (low, high)


def why_missing(record: Mapping[str, Any], path: Keys) -> str:
    """Why there is no number at `a.b.c`: the reason that a `not_measured` on the way gives; empty without a reason."""
    keys = path.split(".") if isinstance(path, str) else path
    for depth in range(len(keys)):
        reason = lookup(record, (*keys[:depth], "not_measured", ".".join(keys[depth:])))
        if isinstance(reason, str):
            return reason
    return ""


def lookup(record: Mapping[str, Any], path: Keys) -> Any:
    """The value at `a.b.c` in nested mappings, None without one. A path with a dot inside a key is given as a tuple."""
    value: Any = record
    for key in path.split(".") if isinstance(path, str) else path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def mapping(record: Mapping[str, Any], path: Keys) -> Mapping[str, Any]:
    """The mapping at `a.b.c`, an empty one if there is none."""
    value = lookup(record, path)
    return value if isinstance(value, Mapping) else {}


def words(record: Mapping[str, Any], path: Keys) -> list[str]:
    """The list at `a.b.c`, its items as words; an empty one if there is none."""
    value = lookup(record, path)
    return [str(item) for item in value] if isinstance(value, list) else []


def folder_at(record: Mapping[str, Any], path: Keys) -> Path | None:
    """The folder that is named at `a.b.c`, resolved; None unless it exists."""
    value = lookup(record, path)
    try:
        found = Path(value).resolve() if isinstance(value, str) and value else None
        return found if found and found.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # not a possible name: too long, with a zero byte, links in a circle
        return None


def _expect(path: Path, name: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise InputError(f"{path}: array {name!r} does not have {wanted}; write the file again")


def _take(path: Path, arrays: Arrays, name: str, ndim: int) -> NDArray[Any]:
    array = arrays.get(name)
    if array is None or array.ndim != ndim or array.dtype.kind not in "bfiu":
        raise InputError(f"{path}: expected a {ndim}-dimensional array of numbers {name!r}; write the file again")
    return array


def _pictures(path: Path, arrays: Arrays, name: str, ndim: int = 4) -> NDArray[Any]:
    array = _take(path, arrays, name, ndim)
    _expect(path, name, array.dtype == np.uint8 and array.size > 0, "uint8 pixels")
    return array
