"""The cache of decoded images: one folder for each source, its state and its options, mapped into memory."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doubleback.data.decoding import decode
from doubleback.data.images import Decoded, Split
from doubleback.data.sources import Source, open_splits
from doubleback.errors import InputError
from doubleback.files import sweep, temporary

FORMAT = 1  # raise it whenever the same source would decode to other arrays


def cached(source: Source) -> Decoded:
    """Map the decoded images of a source, decoding them first where that has not been done.

    Raises:
        InputError: the source cannot be read, or there is nowhere to write its decoded images.
    """
    splits = None
    if isinstance(source.place, Path):
        stamp = _stamp(source.place)
    else:
        splits = open_splits(source.place, None)
        stamp = [[split, data._fingerprint] for split, data in splits.items()]
    options = [FORMAT, stamp, source.image_size, source.limit]
    key = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]
    own, shared = os.environ.get("DOUBLEBACK_CACHE"), os.environ.get("XDG_CACHE_HOME")
    home = Path(own or Path(shared or "~/.cache", "doubleback")).expanduser()
    kept = home / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', source.name)}-{key}"
    if home.is_dir():
        with suppress(OSError):
            sweep(home, "decoding")
    found = _mapped(kept)
    if found is not None:
        return found
    try:
        home.mkdir(parents=True, exist_ok=True)
        return _decode_under(home, kept, source, splits)
    except OSError as first:
        # The cache cannot be written. Mapped files outlive their folder, so a temporary one serves this call.
        try:
            return _decode_under(Path(tempfile.gettempdir()), None, source, splits)
        except OSError:
            raise InputError(
                f"cannot write decoded images to {home}: {first.strerror or first}; "
                "free some space or set DOUBLEBACK_CACHE to another folder"
            ) from first


def _stamp(folder: Path) -> list[list[Any]]:
    """Path, size and time of every file under a folder: they tell whether it has changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise InputError(f"{folder} is empty; expected a folder of parquet or images")
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def _decode_under(home: Path, kept: Path | None, source: Source, splits: Mapping[str, Any] | None) -> Decoded:
    """Decode into a scratch folder under `home`, map the result and move it, whole, to `kept`."""
    with tempfile.TemporaryDirectory(prefix=temporary("decoding"), dir=home, ignore_cleanup_errors=True) as scratch:
        fresh = Path(scratch, "decoded")
        fresh.mkdir()
        decode(source, splits or open_splits(source.place, Path(scratch, "arrow")), fresh)
        decoded = _mapped(fresh)
        assert decoded is not None, "what was just written can be read"
        if kept is not None and _mapped(kept) is None:  # another process may have put the same images there
            with suppress(OSError):
                shutil.rmtree(kept, ignore_errors=True)
                fresh.rename(kept)
        return decoded


def _mapped(folder: Path) -> Decoded | None:
    """Map a folder of decoded images; None if it is not there, or damaged in any way."""
    try:
        record = json.loads((folder / "images.json").read_text())
        parts = {}
        for part, count in record["counts"].items():
            images = np.load(folder / f"{part}.npy", mmap_mode="c")
            labels = np.load(folder / f"{part}-labels.npy") if record["labelled"] else None
            if images.shape != (count, *record["shape"]) or images.dtype != np.uint8:
                return None
            if labels is not None and (labels.shape != (count,) or labels.dtype != np.int64):
                return None
            parts[part] = Split(torch.from_numpy(images), None if labels is None else torch.from_numpy(labels))
        return Decoded(parts, record["label_names"] and tuple(record["label_names"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError):
        return None
