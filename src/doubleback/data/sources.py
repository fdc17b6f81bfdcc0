"""Where a source of images is, a folder or the Hugging Face hub, and its splits as `datasets` reads them."""

import difflib
import errno
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doubleback.errors import InputError

_NAMED = {"mnist": "ylecun/mnist", "svhn": "ufldl-stanford/svhn", "celeba": "flwrlabs/celeba"}
_CONFIGS = {"ufldl-stanford/svhn": "cropped_digits"}
_IMAGE_SIZES = {"celeba": 64}
_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Source:
    """What to decode: a folder, or a repository of the hub, and which of its images at which size."""

    name: str
    place: Path | str
    image_size: int | None
    limit: int | None


def locate(source: str | os.PathLike[str], image_size: int | None, limit: int | None) -> Source:
    """Find what a user means by `source`, without reading it.

    Raises:
        InputError: it is a file, a folder that does not exist, or a name that is not known.
    """
    text, path = os.fspath(source), _path(source)
    kept = stored(source)
    if isinstance(source, str) and source in _NAMED:
        return Source(source, kept or _NAMED[source], image_size or _IMAGE_SIZES.get(source), limit)
    if kept:
        return Source(text, kept, image_size, limit)
    if text and path.is_dir():
        return Source(path.resolve().name, path.resolve(), image_size, limit)
    if text and path.exists():
        raise InputError(f"{text} is a file; expected a folder of parquet or images: give {path.parent}")
    if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text):
        return Source(text, text, image_size, limit)
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
    place = Path(home).expanduser().resolve() / source
    return place if place.is_dir() else None


def _path(source: str | os.PathLike[str]) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:  # ~somebody who is not there
        raise InputError(f"{source} names no one's home folder; give the folder's path") from error


def settled(source: str) -> str:
    """The source, a folder's path made absolute: it means the same from anywhere."""
    path = _path(source)
    is_folder = source not in ("digits", *_NAMED) and source != "" and not stored(source) and path.is_dir()
    return str(path.resolve()) if is_folder else source


def open_splits(place: Path | str, arrow: Path | None) -> dict[str, Any]:
    """Return the `datasets.Dataset` of train and, where there are any, of validation and test.

    Args:
        place: a folder, or a repository of the hub.
        arrow: where a folder's images are written as Arrow files; the hub's have their own cache.

    Raises:
        InputError: the place cannot be reached or read, or has no training images.
        OSError: `arrow` cannot hold the images.
    """
    import datasets

    try:
        with _quiet():
            if isinstance(place, Path):
                found = datasets.load_dataset(str(place), cache_dir=str(arrow))
            else:
                found = _fetch(place)
    except InputError:
        raise
    except Exception as error:
        cause: BaseException = error
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper
        if not isinstance(cause, OSError) or cause.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(_why_unreadable(place, error)) from error
        if isinstance(place, Path):
            raise cause from error
        raise InputError(
            f"cannot store {place}: {cause.strerror}; free some space or set HF_HOME to another folder"
        ) from error
    parts = {_SPLITS[split]: data for split, data in found.items() if split in _SPLITS and len(data)}
    if "train" not in parts:
        raise InputError(f"{place} has no training images; expected a split `train`, found {', '.join(found)}")
    return parts


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the bars and the logs of `datasets` and the hub's client: our errors say what matters."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels, bars = [logger.level for logger in loggers], not datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


def _fetch(repository: str) -> Any:
    """Load from the hub, or what was fetched from it before."""
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError
    from rich.console import Console

    offline = datasets.config.HF_HUB_OFFLINE
    try:
        with Console(stderr=True).status(f"fetching {repository} from the Hugging Face hub"):
            try:
                HfApi().dataset_info(repository, timeout=10)
            except RepositoryNotFoundError:
                raise InputError(
                    f"{repository} is neither a folder nor a data set that the hub shows you; "
                    "check its spelling, or log in with `hf auth login` if it is private"
                ) from None
            except Exception:
                datasets.config.HF_HUB_OFFLINE = True  # use its cache now, not after half a minute of retries
            return datasets.load_dataset(repository, _CONFIGS.get(repository))
    except ConnectionError as error:
        raise InputError(
            f"cannot reach the Hugging Face hub for {repository}; give a local folder of parquet or images, "
            "or put it at $DOUBLEBACK_DATA/<name> for mnist, svhn or celeba"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline


def _why_unreadable(place: Path | str, error: Exception) -> str:
    """One line on why `datasets` could not read a place, naming the damaged file if there is one."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    for path in sorted(place.rglob("*.parquet")) if isinstance(place, Path) else ():
        try:
            with parquet.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    file.read_row_group(group)
        except Exception as damage:
            return f"{path} is not readable parquet ({first_line(damage)}); replace it"
    expected = "expected parquet with an image column, or a folder of images"
    return f"{place} cannot be read ({first_line(error)}); {expected}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
