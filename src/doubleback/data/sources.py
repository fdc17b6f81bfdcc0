"""Where a source of images is: a folder, or the Hugging Face hub."""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from doubleback.errors import InputError
from doubleback.settings.words import home_of

_NAMED = {"mnist": "ylecun/mnist", "svhn": "ufldl-stanford/svhn", "celeba": "flwrlabs/celeba"}
_IMAGE_SIZES = {"celeba": 64}
_SETTLED = {*_NAMED, "faces"}  # they never change, and published figures depend on their splits
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


@dataclass(frozen=True)
class Source:
    """What to read: a folder, or a repository of the hub.

    Attributes:
        name: what to call it.
        place: the folder, or the repository's id.
        image_size: the one that its images are brought to if none is asked for; None for their own.
        settled: a named data set, which never changes.
    """

    name: str
    place: Path | str
    image_size: int | None = None
    settled: bool = False


def locate(source: str | os.PathLike[str]) -> Source:
    """Find what a user means by `source`, without reading it.

    Raises:
        InputError: it is a file, a folder that does not exist, or a name that is not known.
    """
    text, path = os.fspath(source), home_of(Path(source))
    kept = stored(source)
    if isinstance(source, str) and source in _NAMED:
        return Source(source, kept or _NAMED[source], _IMAGE_SIZES.get(source), settled=True)
    if kept:
        return Source(text, kept, settled=text in _SETTLED)
    if text and _is_folder(path):
        return Source(path.resolve().name, path.resolve())
    if text and path.exists():
        if path.suffix.lower() in ARCHIVES:
            raise InputError(f"{text} is an archive; unpack it, and give the folder")
        raise InputError(f"{text} is a file; expected a folder of parquet or images: give {path.parent}")
    if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text):
        return Source(text, text)
    if isinstance(source, Path) or "/" in text:
        raise InputError(f"{text} does not exist; give a folder of parquet or images, or a data set's name")
    known = ["digits", *_NAMED]
    close = difflib.get_close_matches(text.lower(), known, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"unknown data set '{text}'; {meant}known: {', '.join(known)}, any folder, any hub id owner/name")


def stored(source: str | os.PathLike[str]) -> Path | None:
    """The folder of this plain name in $DOUBLEBACK_DATA, if it is there."""
    home = os.environ.get("DOUBLEBACK_DATA")
    if not home or not isinstance(source, str) or not re.fullmatch(r"\w[\w.-]*", source):
        return None
    place = home_of(Path(home)).resolve() / source
    return place if _is_folder(place) else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise InputError(f"{path} cannot be reached ({error.strerror}); give another folder") from error


def settled(source: str) -> str:
    """The source, a folder's path made absolute: it means the same from anywhere."""
    path = home_of(Path(source))
    is_folder = source not in ("digits", *_NAMED) and source != "" and not stored(source) and _is_folder(path)
    return str(path.resolve()) if is_folder else source
