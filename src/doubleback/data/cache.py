"""The cache of decoded images: one folder for each source, its state and its options, mapped into memory."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doubleback.data.decoding import Reading, decode
from doubleback.data.folders import open_folder
from doubleback.data.hub import open_repository
from doubleback.data.images import Decoded, Split
from doubleback.data.records import Choice, Opened
from doubleback.data.remarks import Remark
from doubleback.data.sources import Source
from doubleback.errors import InputError
from doubleback.files import sweep, temporary
from doubleback.settings.words import home_of

FORMAT = 3  # raise it whenever the same source would decode to other arrays


def cached(source: Source, reading: Reading, choice: Choice) -> Decoded:
    """Map the decoded images of a source, decoding them first where that has not been done.

    Raises:
        InputError: the source cannot be read, or there is nowhere to write its decoded images.
    """
    opened = _opened(source, choice)
    place = os.fsencode(source.place).hex()
    how = [reading.image_size, reading.limit, reading.background, type(reading.draw).__name__]
    options = [FORMAT, place, list(opened.stamp), how, asdict(choice)]
    key = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]
    own, shared = os.environ.get("DOUBLEBACK_CACHE"), os.environ.get("XDG_CACHE_HOME")
    home = home_of(Path(own) if own else Path(shared or "~/.cache", "doubleback"))
    kept = home / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', source.name)[:64]}-{key}"
    if home.is_dir():
        with suppress(OSError):
            sweep(home, "decoding")
    found = _mapped(kept)
    if found is not None:
        return replace(found, remarks=opened.remarks.all() + found.remarks)
    try:
        home.mkdir(parents=True, exist_ok=True)
        return _decode_under(home, kept, source, opened, reading)
    except OSError as first:
        # The cache cannot be written. Mapped files outlive their folder, so a temporary one is enough for this call.
        try:
            return _decode_under(Path(tempfile.gettempdir()), None, source, _opened(source, choice), reading)
        except OSError:
            raise InputError(
                f"cannot write decoded images to {home}: {first.strerror or first}; "
                "free some space or set DOUBLEBACK_CACHE to another folder"
            ) from first


def _opened(source: Source, choice: Choice) -> Opened:
    opened = (
        open_folder(source.place, choice) if isinstance(source.place, Path) else open_repository(source.place, choice)
    )
    if choice.own_parts:
        return opened
    for part in opened.parts.keys() - {"train"}:
        opened.remarks.say(
            f"the source's own {part} images, because you asked for drawn ones", left_out=len(opened.parts[part])
        )
    labels = None if opened.labels is None else {"train": opened.labels["train"]}
    return replace(opened, parts={"train": opened.parts["train"]}, labels=labels)


def _decode_under(home: Path, kept: Path | None, source: Source, opened: Opened, reading: Reading) -> Decoded:
    """Decode into a scratch folder under `home`, map the result and move it, whole, to `kept`."""
    with tempfile.TemporaryDirectory(prefix=temporary("decoding"), dir=home, ignore_cleanup_errors=True) as scratch:
        fresh = Path(scratch, "decoded")
        fresh.mkdir()
        decode(str(source.place), opened, reading, fresh)
        decoded = _mapped(fresh)
        assert decoded is not None, "what was just written can be read"
        decoded = replace(decoded, remarks=opened.remarks.all() + decoded.remarks)
        if kept is not None and _mapped(kept) is None:  # another process may have put the same images there
            with suppress(OSError):
                shutil.rmtree(kept, ignore_errors=True)
                fresh.rename(kept)
        return decoded


def _mapped(folder: Path) -> Decoded | None:
    """Map a folder of decoded images; None if it is not there, or damaged in any way."""
    try:
        record = json.loads((folder / "images.json").read_text())
        parts, keys = {}, {}
        for part, count in record["counts"].items():
            images = np.load(folder / f"{part}.npy", mmap_mode="c")
            labels = np.load(folder / f"{part}-labels.npy") if part in record["labelled"] else None
            keys[part] = np.load(folder / f"{part}-keys.npy")
            if not _is_array(images, np.uint8, (count, *record["shape"])):
                return None
            if labels is not None and not _is_array(labels, np.int64, (count,)):
                return None
            if not _is_array(keys[part], np.uint64, (count,)):
                return None
            parts[part] = Split(torch.from_numpy(images), None if labels is None else torch.from_numpy(labels))
        names = record["label_names"] and tuple(map(str, record["label_names"]))
        remarks = tuple(Remark(str(text), int(left_out)) for text, left_out in record["remarks"])
        return Decoded(parts, keys, names, remarks)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RecursionError):
        return None


def _is_array(array: Any, kind: Any, shape: tuple[int, ...]) -> bool:
    return bool(array.dtype == kind and array.shape == shape)
