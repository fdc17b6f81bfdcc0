"""Folders of every kind to what the page shows: runs and studies, each with its name and colour."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from doubleback.errors import InputError
from doubleback.folders import is_finished
from doubleback.report.archives import read_record
from doubleback.report.runs import RunFolder, read_runs
from doubleback.report.studies import Study, colours, kind_of, read_study


@dataclass(frozen=True)
class Contents:
    """All that a report is about. Each kind keeps the order that it was given in."""

    runs: list[RunFolder]
    robustness: list[Study]
    transitions: list[Study]

    @property
    def names(self) -> list[str]:
        """The names of the runs and of the models, each once."""
        models = [model for study in [*self.robustness, *self.transitions] for model in study.models]
        return list(dict.fromkeys([*(run.name for run in self.runs), *models]))


def read_folders(folders: Sequence[Path]) -> Contents:
    """Read all that `folders` hold, in order (in a folder of folders: `plain` first, then by name).

    Args:
        folders: each one that `train`, `audit`, `classify`, `robustness` or `transition` has written, or one
            that holds several of them (`demo`).

    Raises:
        InputError: a folder is missing or holds nothing to report, or a file in it is damaged.
    """
    found = [one for folder in folders for one in _in(folder)]
    runs = [one for one in found if isinstance(one, RunFolder)]
    runs = [replace(run, name=name) for run, name in zip(runs, distinct(runs), strict=True)]
    studies = [one for one in found if isinstance(one, Study)]
    homes = [[run.folder, *([run.classifier.folder] if run.classifier else [])] for run in runs]
    places = colours([run.name for run in runs], homes, studies)
    named = zip(studies, distinct(studies), places, strict=True)
    studies = [replace(study, name=name, places=places) for study, name, places in named]
    kinds = {kind: [study for study in studies if study.kind == kind] for kind in ("robustness", "transition")}
    return Contents(runs, kinds["robustness"], kinds["transition"])


def _in(folder: Path) -> Sequence[RunFolder | Study]:
    try:
        if not folder.is_dir():
            raise InputError(
                f"{folder} is not a folder; give one that `doubleback train`, `audit` or `demo` has written"
            )
        if found := _read(folder):
            return found
        children = sorted(folder.iterdir(), key=lambda child: (child.name != "plain", child.name))
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}; give a readable folder") from error
    several = [one for child in children if child.is_dir() for one in _read_beside(child)]
    if not several:
        raise InputError(
            f"{folder} holds nothing to report: expected config.json and results.json, in it or one "
            "folder below; finish the run with `doubleback train --resume`"
        )
    return several


def _read_beside(folder: Path) -> Sequence[RunFolder | Study]:
    """What one of several folders holds. A folder that may not be read is left out, with a message."""
    try:
        return _read(folder)
    except PermissionError as error:
        print(f"doubleback: {folder} is left out: {error.strerror}", file=sys.stderr)
        return []


def _read(folder: Path) -> Sequence[RunFolder | Study]:
    """What one folder holds; nothing if it is not finished."""
    if not is_finished(folder):
        return []
    config: Mapping[str, Any] = read_record(folder / "config.json")
    kind = kind_of(config)
    return [read_study(folder, kind, config)] if kind else read_runs(folder, config)


def distinct(found: Sequence[RunFolder] | Sequence[Study]) -> list[str]:
    """Folder names. Alike ones get the name of the nearest folder above them that differs; if none does, a number."""
    plain, seen = Counter(one.name for one in found), Counter[str]()
    longer = [one.name if plain[one.name] == 1 else f"{_apart(one, found)}/{one.name}" for one in found]
    names = []
    for name in longer:
        seen[name] += 1
        names.append(name if longer.count(name) == 1 else f"{name} ({seen[name]})")
    return names


def _apart(one: RunFolder | Study, found: Sequence[RunFolder] | Sequence[Study]) -> str:
    """The folder above it that tells it from those of the same name; its parent, if none does."""
    above = [[*reversed(other.folder.resolve().parts[:-1])] for other in found if other.name == one.name]
    level = next(
        (level for level in range(min(map(len, above))) if len({way[level] for way in above}) == len(above)), 0
    )
    return one.folder.resolve().parts[-2 - level]
