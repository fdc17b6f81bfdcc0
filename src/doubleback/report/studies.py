"""Folders about several models at once: `robustness` and `transition` (docs/run-directory.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from doubleback.errors import InputError
from doubleback.report.archives import (
    Arrays,
    mapping,
    read_examples,
    read_record,
    read_transitions,
    words,
)

Kind = Literal["robustness", "transition"]


@dataclass(frozen=True)
class Study:
    """What a robustness or a transition folder holds; `places`: the colour of each model on the page."""

    kind: Kind
    name: str
    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any]
    images: Arrays = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """Their names, in the file's order."""
        return list(mapping(self.results, "models"))

    def model(self, name: str) -> Mapping[str, Any]:
        """What results.json holds of one model."""
        return mapping(self.results, ("models", name))

    def place(self, name: str) -> int:
        """The model's colour on the page."""
        return self.places.get(name, 0)

    @property
    def eps(self) -> list[str]:
        """The epsilons as typed, in the file's order: keys of the results."""
        return words(self.results, "eps")

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the scores."""
        return words(self.results, "classes")


def size(eps: str) -> float:
    """An epsilon as typed (`0.1`, `8/255`) as a number.

    >>> size("8/255")
    0.03137254901960784
    """
    return float(Fraction(eps))


def kind_of(config: Mapping[str, Any]) -> Kind | None:
    """Which study the folder of this config.json is, None if it is none."""
    kinds: tuple[Kind, ...] = ("robustness", "transition")
    return next((kind for kind in kinds if isinstance(config.get(kind), Mapping)), None)


def read_study(folder: Path, kind: Kind, config: Mapping[str, Any]) -> Study:
    """Read one.

    Raises:
        InputError: a file is damaged, or of other shapes.
    """
    name = folder.resolve().name
    study = Study(kind, name, folder, config, read_record(folder / "results.json"))
    path = folder / "images.npz"
    if kind == "transition":
        return Study(kind, name, folder, config, study.results, read_transitions(path, study.models, _classes(study)))
    _check_eps(study)
    return Study(kind, name, folder, config, study.results, read_examples(path, study.models, len(study.eps)))


def colours(names: Sequence[str], folders: Sequence[Sequence[Path]], studies: Sequence[Study]) -> list[dict[str, int]]:
    """A place on the page for every model: its run's if that is on the page, else the next one.

    Args:
        names: of the runs, in their places.
        folders: those that each run was read from.
        studies: whose models want places.

    Returns:
        For each study, the places by model.
    """
    homes = {folder.resolve(): place for place, run in enumerate(folders) for folder in run}
    taken = {name: place for place, name in enumerate(names)}
    found = []
    for study in studies:
        for model in study.models:
            path = mapping(study.config, ("models", model)).get("path")
            home = homes.get(Path(path).resolve()) if isinstance(path, str) and path else None
            taken[model] = taken.get(model, len(set(taken.values()))) if home is None else home
        found.append({model: taken[model] for model in study.models})
    return found


def _classes(study: Study) -> int:
    if not study.classes and (study.folder / "images.npz").exists():
        raise InputError(f"{study.folder / 'results.json'} names no classes; write the folder anew")
    return len(study.classes)


def _check_eps(study: Study) -> None:
    for eps in study.eps:
        try:
            size(eps)
        except (ValueError, ZeroDivisionError) as error:
            path = study.folder / "results.json"
            raise InputError(f"{path}: eps {eps!r} is not a number; write the folder anew") from error
