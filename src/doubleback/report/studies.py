"""Folders about several models at once: `robustness` and `transition` (docs/run-directory.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from doubleback.errors import InputError
from doubleback.metrics.differences import Difference, paired_outcomes
from doubleback.report.archives import (
    LARGEST,
    Arrays,
    folder_at,
    mapping,
    number,
    read_examples,
    read_outcomes,
    read_record,
    read_transitions,
    words,
)
from doubleback.report.runs import title
from doubleback.settings.ball import radius

Kind = Literal["robustness", "transition"]
Sees = Literal["gradient", "scores", "nothing"]
_ABOUT: dict[Sees, str] = {
    "gradient": "follows the gradient",
    "scores": "sees scores only",
    "nothing": "sees nothing",
}
# What the attacks of `robustness` are, where the name alone does not say it. A folder may describe others itself.
_KNOWN: dict[str, dict[str, str]] = {
    "fgsm": {"title": "FGSM"},
    "pgd": {"title": "PGD"},
    "apgd": {"title": "APGD"},
    "square": {"sees": "scores"},
    "noise": {"sees": "nothing", "about": "random corners of the ball"},
}


@dataclass(frozen=True)
class AttackWords:
    """What a robustness folder says of an attack: its title, what it sees of the model, and a few words on it."""

    title: str
    sees: Sees
    about: str


@dataclass(frozen=True)
class Study:
    """What a robustness or a transition folder holds; `places`: the colour of each model on the page."""

    kind: Kind
    name: str
    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any]
    images: Arrays = field(default_factory=dict)
    outcomes: Arrays = field(default_factory=dict)
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
    def attacks(self) -> list[str]:
        """The attacks on any of the models, once, in the order of the file."""
        each = [mapping(self.model(model), "robust_accuracy") for model in self.models]
        return list(dict.fromkeys(attack for attacks in each for attack in attacks))

    def attack(self, name: str) -> AttackWords:
        """What is known of an attack. By default its title is its name, and it follows the gradient."""
        said = mapping(self.results, ("attacks", name)) or _KNOWN.get(name, {})
        sees: Sees = next((sees for sees in _ABOUT if sees == said.get("sees")), "gradient")
        return AttackWords(str(said.get("title") or title(name)), sees, str(said.get("about") or _ABOUT[sees]))

    @property
    def eps(self) -> list[str]:
        """The epsilons as typed, in the file's order: keys of the results."""
        return words(self.results, "eps")

    def difference(self, one: str, other: str, path: Sequence[str]) -> Difference | None:
        """How much larger one model's share is than another's, on the same images.

        Args:
            one, other: names of models.
            path: where the share is in their results, as in `number`. In a robustness folder it ends with the epsilon.

        Returns:
            None if the folder does not hold what became of each image.
        """
        stored, row = (path[:-1], self.eps.index(path[-1])) if self.kind == "robustness" else (path, ...)
        pair = [self.outcomes.get("/".join([model, *stored])) for model in (one, other)]
        return None if pair[0] is None or pair[1] is None else paired_outcomes(pair[0][row], pair[1][row])

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the scores."""
        return words(self.results, "classes")


def kind_of(config: Mapping[str, Any]) -> Kind | None:
    """The kind of study in the folder of this config.json; None if there is no study in it."""
    kinds: tuple[Kind, ...] = ("robustness", "transition")
    return next((kind for kind in kinds if isinstance(config.get(kind), Mapping)), None)


def read_study(folder: Path, kind: Kind, config: Mapping[str, Any]) -> Study:
    """Read the folder of a study.

    Raises:
        InputError: a file is damaged, or of other shapes.
    """
    name = folder.resolve().name
    study = Study(kind, name, folder, config, read_record(folder / "results.json"))
    path = folder / "images.npz"
    if kind == "transition":
        images = read_transitions(path, study.models, _classes(study))
    else:
        _check_eps(study)
        images = read_examples(path, study.models, len(study.eps))
    return replace(study, images=images, outcomes=read_outcomes(folder / "outcomes.npz", _shares(study)))


def colours(names: Sequence[str], folders: Sequence[Sequence[Path]], studies: Sequence[Study]) -> list[dict[str, int]]:
    """A place on the page for every model: its run's if that is on the page, else the next free one.

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
            there = folder_at(study.config, ("models", model, "path"))
            home = homes.get(there) if there else None
            taken[model] = taken.get(model, len(set(taken.values()))) if home is None else home
        found.append({model: taken[model] for model in study.models})
    return found


def _shares(study: Study) -> dict[str, NDArray[np.float64]]:
    """The shares that models are compared by, under the names of their outcomes: (E,) for all epsilons, or ()."""
    found = {}
    for model in study.models:
        record = study.model(model)
        of_transfer = [("transfer", source) for source in mapping(record, "transfer")]
        compared = [("worst_case",), *of_transfer] if study.kind == "robustness" else [("reached",), ("judge", "image")]
        for path in compared:
            ends = [number(record, (*path, eps)) for eps in study.eps]
            share = ends if study.kind == "robustness" else number(record, path)
            found["/".join([model, *path])] = np.array(share, dtype=np.float64)
    return found


def _classes(study: Study) -> int:
    if not study.classes and (study.folder / "images.npz").exists():
        raise InputError(f"{study.folder / 'results.json'} names no classes; write the folder again")
    return len(study.classes)


def _check_eps(study: Study) -> None:
    for eps in study.eps:
        try:
            known = 0 <= radius(eps) <= LARGEST
        except (ValueError, ZeroDivisionError):
            known = False
        if not known:
            path = study.folder / "results.json"
            raise InputError(f"{path}: eps {eps[:60]!r} is not a number; write the folder again")
