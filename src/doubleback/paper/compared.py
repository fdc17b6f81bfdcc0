"""What the paper compares: ways to train an autoencoder, rows of Tables 1 and 2, classifiers of Tables 3 and 4.

Each has ids, which stand in `results.json` and which tables, claims and figures ask for, and a label, which is only
printed. Imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from doubleback.paper.scales import Autoencoder, Scale, listed
from doubleback.settings import Penalty

PAIR = ("plain", "hardened")  # what the paper compares
BEST = "best"
LABELLED = "labelled"
SIDES = (*PAIR, BEST)  # columns of Tables 1 and 2: BEST is what `harden` makes of the plain run
HARDENED = SIDES[1:]
SHORT = {"plain": "plain", "hardened": "DBP", BEST: "within 2 %"}  # a side's name in tables and figures
MOVED = {"plain": "plain", "hardened": "lambda-1", BEST: LABELLED}  # by side, of `KINDS`, the classifiers of Figure 6
TOLD_APART = (*HARDENED, LABELLED)  # the mixtures that are compared with the other classifiers


@dataclass(frozen=True)
class Kind:
    """A way to train an autoencoder.

    Attributes:
        key: its id.
        name: as the tables say it.
        detail: what the tables add to that, perhaps nothing.
        penalty: its settings; None: the plain run is hardened, or the best one learns labels, as the scale says.
        kl_weight: lambda1, None where the scale says it.
    """

    key: str
    name: str
    detail: str
    penalty: Penalty | None
    kl_weight: float | None = None


KINDS = {
    kind.key: kind
    for kind in (
        Kind("plain", "no DBP", "", Penalty()),
        Kind("hardened", "DBP", "", Penalty("reconstruction")),
        Kind(BEST, "hardened within 2 %", "", None),
        # Of the VAE on MNIST two more: lambda1 = lambda2 = 1, as the paper says of its Figure 6, and what makes the
        # best classifier (docs/choices.md).
        Kind("lambda-1", "DBP", "lambda1 = lambda2 = 1", Penalty("reconstruction", 1.0), kl_weight=1.0),
        Kind("output-10", "DBP", "output penalty, weight 10", Penalty("output", 10.0)),
        # What the hardened run becomes when it learns labels, too; of the first autoencoder of each data set that has
        # them, for the classifiers (docs/classifiers.md).
        Kind(LABELLED, "DBP", "with labels", None),
    )
}
JUDGE = "runs/mnist-lenet"  # says what the images of Figures 1, 3 and 6 show
FURTHER = tuple(key for key in KINDS if key not in (*SIDES, LABELLED))
_CLASSIFIERS = {"mlp": "MLP", "lenet": "LeNet", "cvnet": "CvNet"}


@dataclass(frozen=True)
class Comparison:
    """A row of Tables 1 and 2: one autoencoder, trained in two or three ways, with each seed.

    Attributes:
        row: the autoencoder.
        kinds: by side, one of `SIDES`, the way that stands there, one of `KINDS`.
        seeds: of the trainings.
    """

    row: Autoencoder
    kinds: Mapping[str, str]
    seeds: tuple[int, ...]

    @property
    def data(self) -> str:
        """The data set's id."""
        return self.row.data

    @property
    def label(self) -> str:
        """As the tables print it."""
        return listed(self.row.label, KINDS[self.kinds["hardened"]].detail)

    @property
    def ids(self) -> dict[str, str]:
        """`key` of the autoencoder, `model` in the registry, `kind` of the runs by the paper's penalty."""
        model = str(self.row.training.architecture.model)
        return {"key": self.row.key, "model": model, "kind": self.kinds["hardened"]}

    @property
    def runs(self) -> dict[str, tuple[str, ...]]:
        """By side, the folders of its runs, one a seed."""
        return {side: tuple(self.row.run(kind, seed) for seed in self.seeds) for side, kind in self.kinds.items()}


def comparisons(scale: Scale) -> list[Comparison]:
    """The rows of Tables 1 and 2: every autoencoder, and the VAE on MNIST under two more penalties."""
    rows = [Comparison(row, {side: side for side in SIDES}, row.seeds) for row in scale.autoencoders]
    vae = scale.autoencoder("mnist", "vae")
    further = [Comparison(vae, {"plain": "plain", "hardened": kind}, (0,)) for kind in FURTHER]
    return [*rows[:1], *further, *rows[1:]]


@dataclass(frozen=True)
class Classifier:
    """A row of Tables 3 and 4.

    Attributes:
        folder: where it stands, below the reproduction's folder.
        kind: "mixture", or the name of a classifier in the registry.
        penalty: of a mixture's autoencoder, one of `KINDS`.
    """

    folder: str
    kind: str
    penalty: str | None = None

    @property
    def name(self) -> str:
        """The folder's own name; other folders use it."""
        return self.folder.rpartition("/")[2]

    @property
    def label(self) -> str:
        """As the tables print it.

        >>> Classifier("classifiers/mnist-vae-hardened-0", "mixture", "hardened").label
        'encoder (DBP) + GMM'
        """
        if self.penalty is None:
            return _CLASSIFIERS[self.kind]
        kind = KINDS[self.penalty]
        return f"encoder ({listed(kind.name, kind.detail)}) + GMM"

    @property
    def ids(self) -> dict[str, str | None]:
        """What `results.json` knows it by."""
        return {"kind": self.kind, "penalty": self.penalty}


def first_row(scale: Scale, data: str) -> Autoencoder:
    """The first autoencoder of a data set, whose code is classified."""
    return next(row for row in scale.autoencoders if row.data == data)


def classifiers(scale: Scale, data: str) -> list[Classifier]:
    """Those of one data set: mixtures on the codes of its first autoencoder, then those that owe nothing to one."""
    row = first_row(scale, data)
    kinds: Sequence[str] = tuple(KINDS) if data == "mnist" else (*SIDES, LABELLED)
    mixtures = [Classifier(f"classifiers/{_name(row.run(kind))}", "mixture", kind) for kind in kinds]
    return mixtures + [Classifier(f"runs/{at}-{model}", model) for at, model in scale.classifiers if at == data]


def from_1_to_0(scale: Scale) -> dict[str, str]:
    """The audits of Figure 1, of DRAW with attention, a side each: the audited run by the audit's folder."""
    runs = [scale.autoencoder("mnist", "draw-12").run(side) for side in SIDES]
    return {f"figure1/{_name(run)}": run for run in runs}


def shown_under_attack(scale: Scale) -> list[Autoencoder]:
    """The rows of Figure 5: VAE and DRAW on MNIST and CelebA."""
    keys = (("mnist", "vae"), ("mnist", "draw-12"), ("celeba", "conv-vae"), ("celeba", "draw-12"))
    return [scale.autoencoder(*key) for key in keys]


def _name(folder: str) -> str:
    return folder.rpartition("/")[2]
