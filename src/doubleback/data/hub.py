"""Data sets of the Hugging Face hub, as `datasets` fetches and keeps them."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doubleback.data.records import Choice, Opened
from doubleback.data.remarks import Remarks
from doubleback.data.roles import role_of
from doubleback.data.tables import ArrowTable, Table, table_parts
from doubleback.errors import InputError, reason

_CONFIGS = {"ufldl-stanford/svhn": "cropped_digits"}


def open_repository(repository: str, choice: Choice) -> Opened:
    """The records of a repository of the hub.

    Raises:
        InputError: it cannot be reached, read or kept on this disk, or has no training images.
    """
    import datasets

    remarks = Remarks()
    parts: dict[str, list[Table]] = {}
    stamps = []
    for split, data in _loaded(repository).items():
        role = role_of(split)
        stamps.append([split, data._fingerprint])
        if not len(data):
            continue
        if role is None:
            remarks.say(f"the split {split}, which is neither train, validation nor test", left_out=len(data))
        else:
            parts.setdefault(role, []).append(ArrowTable(data.with_format("arrow")[:]))
    if "train" not in parts:
        raise InputError(f"{repository} has no training images; expected a split train")
    cache = Path(datasets.config.HF_CACHE_HOME).expanduser().resolve()  # where a set of single files is kept
    return table_parts(repository, parts, choice, (remarks, stamps), cache)


def _loaded(repository: str) -> Any:
    try:
        with _quiet():
            return _fetch(repository)
    except InputError:
        raise
    except Exception as error:
        causes = _causes(error)
        full = next((one for one in causes if isinstance(one, OSError) and one.errno in _FULL), None)
        if full is not None:
            raise InputError(
                f"cannot store {repository}: {full.strerror}; free some space or set HF_HOME to another folder"
            ) from error
        raise InputError(f"{repository} cannot be read ({reason(error)}); give a data set of images") from error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it came from, each once: a chain of causes may be a circle."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and not any(following is one for one in found):
        found.append(following)
        following = following.__cause__ or following.__context__
    return found


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
