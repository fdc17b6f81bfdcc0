"""What each table and figure of the paper is made of: commands of doubleback, each filling one folder, and their order.

Imports no torch.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from doubleback.paper.compared import (
    BEST,
    FURTHER,
    JUDGE,
    KINDS,
    LABELLED,
    SIDES,
    TOLD_APART,
    Kind,
    classifiers,
    comparisons,
    first_row,
    from_1_to_0,
    shown_under_attack,
)
from doubleback.paper.scales import Autoencoder, Scale
from doubleback.settings import Training
from doubleback.settings.commands import Audit, Classify, Harden, Robustness, Train, Transition
from doubleback.settings.words import words

TABLES = ("table1", "table2", "table3", "table4")
FIGURES = ("figure1", "figure2", "figure3", "figure4", "figure5", "figure6")
ARTEFACTS = (*TABLES, *FIGURES)
Command = Train | Harden | Audit | Classify | Robustness | Transition


@dataclass(frozen=True)
class Member:
    """One command of a reproduction.

    Attributes:
        folder: the one that it fills, below the reproduction's; its name.
        command: its settings; paths are relative to the reproduction's folder.
        data: the data set that it needs.
        needs: folders that must be there before.
        minutes: what it is expected to take on two cores, two commands side by side; None: nobody has measured it.
    """

    folder: str
    command: Command
    data: str
    needs: tuple[str, ...] = ()
    minutes: float | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The command as it is typed, without `doubleback`."""
        return words(self.command)


def members(scale: Scale, artefacts: Iterable[str], data: Mapping[str, str]) -> dict[str, Member]:
    """The commands that these tables and figures need, each after those that it needs.

    Args:
        scale: their size.
        artefacts: some of `ARTEFACTS`.
        data: what stands in for the paper's data sets, by their names.
    """
    every = {one.folder: replace(one, minutes=scale.expected(one.folder)) for one in _all(scale, data)}
    wanted: dict[str, Member] = {}

    def want(folder: str) -> None:
        for needed in every[folder].needs:
            want(needed)
        wanted.setdefault(folder, every[folder])

    for artefact in artefacts:
        for folder in read_from(scale, artefact):
            want(folder)
    return wanted


def read_from(scale: Scale, artefact: str) -> list[str]:
    """The folders that a table or a figure is read from."""
    draws = [row for row in scale.autoencoders if row.key == "draw-12"]
    runs = {
        "table1": [run for row in comparisons(scale) for runs in row.runs.values() for run in runs],
        "figure2": [scale.autoencoder("mnist", "vae").run(side) for side in SIDES],
        "figure4": [row.run(side) for row in draws for side in SIDES],
        "figure5": [row.run(side) for row in shown_under_attack(scale) for side in SIDES],
    }
    runs["table2"] = runs["table1"]
    if artefact in ("table1", "figure4"):
        return runs[artefact]
    if artefact in runs:
        return [f"{run}/audit" for run in runs[artefact]]
    if artefact in ("table3", "table4"):
        return [f"robustness/{data}" for data in scale.robustness]
    if artefact == "figure1":
        return list(from_1_to_0(scale))
    return [artefact]  # the transitions of figures 3 and 6


def _all(scale: Scale, data: Mapping[str, str]) -> Iterator[Member]:
    for row in scale.autoencoders:
        for seed in row.seeds:
            for kind in SIDES:
                yield from _trained_and_audited(row, KINDS[kind], seed, data)
    for kind in FURTHER:
        yield from _trained_and_audited(scale.autoencoder("mnist", "vae"), KINDS[kind], 0, data)
    for (dataset, model), training in scale.classifiers.items():
        folder = f"runs/{dataset}-{model}"
        yield Member(folder, Train(Path(folder), _on(dataset, training, data), resume=True), dataset)
    for dataset in scale.robustness:
        yield _labelled(scale, dataset, data)
        yield from _classified(scale, dataset)
    yield from _figures(scale)


def _on(dataset: str, training: Training, data: Mapping[str, str]) -> Training:
    """A training on this data set, or on what stands in for it."""
    return replace(training, images=replace(training.images, data=data.get(dataset, dataset)))


def _trained_and_audited(row: Autoencoder, kind: Kind, seed: int, data: Mapping[str, str]) -> Iterator[Member]:
    run, plain = row.run(kind.key, seed), row.run("plain", seed)
    if kind.penalty is None:
        hardening = replace(row.hardening, loop=replace(row.hardening.loop, seed=seed))
        yield Member(run, Harden(Path(plain), Path(run), hardening), row.data, (plain,))
    else:
        training = replace(
            _on(row.data, row.training, data),
            penalty=kind.penalty,
            kl_weight=row.training.kl_weight if kind.kl_weight is None else kind.kl_weight,
            loop=replace(row.training.loop, seed=seed),
        )
        yield Member(run, Train(Path(run), training, resume=True), row.data)
    yield Member(f"{run}/audit", Audit((Path(run),), auditing=row.auditing), row.data, (run,))


def _labelled(scale: Scale, dataset: str, data: Mapping[str, str]) -> Member:
    """The best hardened run of this data set, as it learns labels."""
    row = first_row(scale, dataset)
    run, best = row.run(LABELLED), row.run(BEST)
    training = _on(dataset, replace(scale.labelled[dataset], images=row.training.images, init=Path(best)), data)
    return Member(run, Train(Path(run), training, resume=True), dataset, (best,))


def _classified(scale: Scale, dataset: str) -> Iterator[Member]:
    """Mixtures on the codes of an autoencoder, and what all classifiers of a data set withstand."""
    every = classifiers(scale, dataset)
    for one in every:
        if one.penalty is not None:
            run = f"runs/{one.name}"
            mixture = scale.of_labelled if one.penalty == LABELLED else scale.mixtures[dataset]
            yield Member(one.folder, Classify(Path(run), mixture, Path(one.folder)), dataset, (run,))
    attacked, folder = tuple(one.folder for one in every), f"robustness/{dataset}"
    robustness = replace(scale.robustness[dataset], models=_paths(attacked), output=Path(folder))
    yield Member(folder, robustness, dataset, attacked)


def _figures(scale: Scale) -> Iterator[Member]:
    """What the figures show beside the runs and audits of the tables."""
    towards_0 = replace(scale.figure_1.pairing, source_label="1", target_label="0")
    for folder, run in from_1_to_0(scale).items():
        auditing = replace(scale.figure_1, pairing=towards_0)
        yield Member(folder, Audit((Path(run),), auditing=auditing, output=Path("figure1")), "mnist", (run, JUDGE))
    mixtures = {one.penalty: one.folder for one in classifiers(scale, "mnist") if one.kind == "mixture"}
    ways = {
        "figure3": (tuple(mixtures[kind] for kind in TOLD_APART), Transition((), from_class="9", to="7")),
        "figure6": (tuple(mixtures.values()), scale.transitions),
    }
    for folder, (models, transition) in ways.items():
        filled = replace(transition, classifiers=_paths(models), judge=Path(JUDGE), output=Path(folder))
        yield Member(folder, filled, "mnist", (*models, JUDGE))


def _paths(folders: Iterable[str]) -> tuple[Path, ...]:
    return tuple(map(Path, folders))
