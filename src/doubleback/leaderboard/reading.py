"""Audits in any number of folders, each once. Knows no torch."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from doubleback.errors import InputError
from doubleback.files import read_json
from doubleback.folders import CONFIG, is_finished
from doubleback.progress import note
from doubleback.report.runs import RunFolder, read_run

DEEPEST = 6  # folders below the one that is given


def read_audits(folders: Sequence[Path]) -> list[RunFolder]:
    """Every finished audit in these folders or below, once, in the order of the folders.

    Args:
        folders: audits' folders, runs, or folders of several of them. Links below them are not followed.

    Raises:
        InputError: a folder is missing, none holds an audit, or a file of an audit is damaged.
    """
    found: dict[Path, RunFolder] = {}
    for folder in folders:
        try:
            if not folder.is_dir():
                raise InputError(
                    f"{folder} is not a folder; give one that `doubleback audit` has written, or one above"
                )
            for home in _homes(folder):
                found.setdefault(home.resolve(), _read(home))
        except OSError as error:
            raise InputError(f"cannot read {folder}: {error.strerror or error}; give a readable folder") from error
    if not found:
        named = ", ".join(map(str, folders)) or "no folder"
        raise InputError(f"{named}: no finished audit in it or below; run `doubleback audit` first")
    return list(found.values())


def _homes(folder: Path) -> Iterator[Path]:
    """The folders that audits have filled, in the order of their names."""
    for place, below, _ in os.walk(folder):
        home = Path(place)
        below[:] = sorted(one for one in below if not one.startswith("."))
        if len(home.relative_to(folder).parts) >= DEEPEST:
            below.clear()
        if is_finished(home) and _is_audit(home, folder):
            yield home


def _is_audit(home: Path, asked: Path) -> bool:
    """Whether an audit has filled it; below the folder that was asked for, `config.json` may be somebody else's."""
    try:
        return isinstance(read_json(home / CONFIG).get("audit"), dict)
    except InputError as error:
        if home == asked:
            raise
        note(f"left out: {error}")
        return False


def _read(home: Path) -> RunFolder:
    """The audit; named as its model, also where it lies in the model's folder."""
    config = read_json(home / CONFIG)
    run, place, said = read_run(home, config), home.resolve(), config.get("run")
    if place.name != "audit" and not place.name.startswith("audit-"):
        return run
    return replace(run, name=(PurePath(said).name if isinstance(said, str) else "") or place.parent.name)
