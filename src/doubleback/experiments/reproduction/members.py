"""What each table and figure of the paper is made of: commands of doubleback, each filling one folder, and their order.

Imports no torch.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from doubleback.experiments.reproduction.scales import Autoencoder, Flags, Scale

RECORD = "reproduction.json"  # in a reproduction's folder: what became of every command
TABLES = ("table1", "table2", "table3", "table4")
FIGURES = ("figure1", "figure2", "figure3", "figure4", "figure5", "figure6")
ARTEFACTS = (*TABLES, *FIGURES)
PENALTIES: dict[str, Flags] = {
    "plain": (),
    "hardened": ("--penalty", "reconstruction"),
    # Of the VAE on MNIST two more: lambda1 = lambda2 = 1, as the paper says of its Figure 6, and what makes the best
    # classifier (docs/choices.md).
    "lambda-1": ("--penalty", "reconstruction", "--penalty-weight", "1", "--kl-weight", "1"),
    "output-10": ("--penalty", "output", "--penalty-weight", "10"),
}
PAIR = ("plain", "hardened")
FURTHER = {"lambda-1": "lambda1 = lambda2 = 1", "output-10": "output penalty, weight 10"}


@dataclass(frozen=True)
class Member:
    """One command of a reproduction.

    Attributes:
        folder: the one that it fills, below the reproduction's; its name.
        words: the command, its paths relative to the reproduction's folder.
        data: the data set that it needs.
        needs: folders that must be there before.
        minutes: what it is expected to take on two cores, two commands side by side; None: nobody has measured it.
    """

    folder: str
    words: Flags
    data: str
    needs: Flags = ()
    minutes: float | None = None


def members(scale: Scale, artefacts: Iterable[str], data: Mapping[str, str]) -> dict[str, Member]:
    """The commands that these tables and figures need, each after those that it needs.

    Args:
        scale: their size.
        artefacts: some of `ARTEFACTS`.
        data: what stands in for the paper's data sets, by their names.
    """
    every = {one.folder: one for one in _all(scale, data)}
    wanted: dict[str, Member] = {}

    def want(folder: str) -> None:
        for needed in every[folder].needs:
            want(needed)
        wanted.setdefault(folder, every[folder])

    for artefact in artefacts:
        for folder in _made_of(scale, artefact):
            want(folder)
    return wanted


@dataclass(frozen=True)
class Comparison:
    """A row of Tables 1 and 2: the folders of its plain and of its hardened runs, a pair a seed."""

    label: str
    data: str
    plain: tuple[str, ...]
    hardened: tuple[str, ...]


def comparisons(scale: Scale) -> list[Comparison]:
    """The rows of Tables 1 and 2: every autoencoder, and the VAE on MNIST under two more penalties."""
    rows = [
        Comparison(row.label, row.data, *(tuple(row.run(kind, seed) for seed in row.seeds) for kind in PAIR))
        for row in scale.autoencoders
    ]
    vae = scale.autoencoder("mnist", "vae")
    further = [
        Comparison(f"{vae.label}, {label}", "mnist", (vae.run("plain"),), (vae.run(kind),))
        for kind, label in FURTHER.items()
    ]
    return [*rows[:1], *further, *rows[1:]]


def shown_under_attack(scale: Scale) -> list[Autoencoder]:
    """The rows of Figure 5: VAE and DRAW on MNIST and CelebA."""
    keys = (("mnist", "vae"), ("mnist", "draw-12"), ("celeba", "conv-vae"), ("celeba", "draw-12"))
    return [scale.autoencoder(*key) for key in keys]


def _made_of(scale: Scale, artefact: str) -> list[str]:
    """The folders that a table or a figure is read from."""
    draws = [row for row in scale.autoencoders if row.key == "draw-12"]
    runs = {
        "table1": [run for row in comparisons(scale) for run in (*row.plain, *row.hardened)],
        "figure2": [scale.autoencoder("mnist", "vae").run(kind) for kind in PAIR],
        "figure4": [row.run(kind) for row in draws for kind in PAIR],
        "figure5": [row.run(kind) for row in shown_under_attack(scale) for kind in PAIR],
    }
    runs["table2"] = runs["table1"]
    if artefact in ("table1", "figure4"):
        return runs[artefact]
    if artefact in runs:
        return [f"{run}/audit" for run in runs[artefact]]
    if artefact in ("table3", "table4"):
        return [f"robustness/{data}" for data in scale.robustness]
    if artefact == "figure1":
        return [f"figure1/{_name(scale.autoencoder('mnist', 'draw-12').run(kind))}" for kind in PAIR]
    return [artefact]  # the transitions of figures 3 and 6


def _all(scale: Scale, data: Mapping[str, str]) -> Iterator[Member]:
    for row in scale.autoencoders:
        for seed in row.seeds:
            for kind in PAIR:
                yield from _trained_and_audited(scale, row, kind, seed, data)
    for kind in FURTHER:
        yield from _trained_and_audited(scale, scale.autoencoder("mnist", "vae"), kind, 0, data)
    for (dataset, model), flags in scale.classifiers.items():
        folder = f"runs/{dataset}-{model}"
        words = ("train", "--data", data.get(dataset, dataset), "--model", model, *flags, *_output(folder), "--resume")
        yield Member(folder, words, dataset, minutes=scale.expected(folder))
    for dataset in scale.robustness:
        yield from _classified(scale, dataset)
    yield from _figures(scale)


def _trained_and_audited(
    scale: Scale, row: Autoencoder, kind: str, seed: int, data: Mapping[str, str]
) -> Iterator[Member]:
    run = row.run(kind, seed)
    words = ("train", "--data", data.get(row.data, row.data), *row.flags, *PENALTIES[kind], "--seed", str(seed))
    yield Member(run, (*words, *_output(run), "--resume"), row.data, minutes=scale.expected(run))
    folder = f"{run}/audit"
    yield Member(folder, ("audit", run, *row.audit), row.data, (run,), scale.expected(folder))


def _classified(scale: Scale, dataset: str) -> Iterator[Member]:
    """Mixtures on the codes of the first autoencoder of a data set, and what all classifiers of it withstand."""
    row = next(row for row in scale.autoencoders if row.data == dataset)
    made = []
    for kind in PENALTIES if dataset == "mnist" else PAIR:
        folder = f"classifiers/{_name(row.run(kind))}"
        words = ("classify", row.run(kind), *scale.mixture[dataset], *_output(folder))
        yield Member(folder, words, dataset, (row.run(kind),), scale.expected(folder))
        made.append(folder)
    others = [f"runs/{at}-{model}" for at, model in scale.classifiers if at == dataset]
    folder, attacked = f"robustness/{dataset}", (*made, *others)
    words = ("robustness", *attacked, *scale.robustness[dataset], *_output(folder))
    yield Member(folder, words, dataset, attacked, scale.expected(folder))


def _figures(scale: Scale) -> Iterator[Member]:
    """What the figures show beside the runs and audits of the tables."""
    draw, vae = scale.autoencoder("mnist", "draw-12"), scale.autoencoder("mnist", "vae")
    for kind in PAIR:
        run = draw.run(kind)
        folder = f"figure1/{_name(run)}"
        words = ("audit", run, "--from", "1", "--to", "0", *scale.figure_1, *_output("figure1"))
        yield Member(folder, words, "mnist", (run,), scale.expected(folder))
    mixtures = {kind: f"classifiers/{_name(vae.run(kind))}" for kind in PENALTIES}
    judge = "runs/mnist-lenet"
    ways = {
        "figure3": ((mixtures["hardened"],), ("--from", "9", "--to", "7")),
        "figure6": (tuple(mixtures.values()), scale.transitions),
    }
    for folder, (models, flags) in ways.items():
        words = ("transition", *models, *flags, "--judge", judge, *_output(folder))
        yield Member(folder, words, "mnist", (*models, judge), scale.expected(folder))


def _output(folder: str) -> Flags:
    return ("--output", folder)


def _name(folder: str) -> str:
    return folder.rsplit("/", 1)[-1]
