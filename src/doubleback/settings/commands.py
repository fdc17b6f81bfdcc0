"""Every command as its settings, with its help. Imports no torch: `doubleback --help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from doubleback.errors import InputError
from doubleback.registry import MODELS
from doubleback.settings import (
    Auditing,
    Hardening,
    Mixture,
    Price,
    Search,
    Threat,
    Threats,
    Training,
    Walk,
    Wrapping,
)
from doubleback.settings.checks import UNPREFIXED, at_least
from doubleback.settings.pages import Frontier as Frontier
from doubleback.settings.pages import Leaderboard as Leaderboard
from doubleback.settings.pages import Push as Push
from doubleback.settings.pages import Report as Report

Split = Literal["test", "validation"]
Artefact = Literal[
    "all", "table1", "table2", "table3", "table4", "figure1", "figure2", "figure3", "figure4", "figure5", "figure6"
]


@dataclass(frozen=True)
class Train:
    """Train an autoencoder, plain or hardened by double backpropagation; or a classifier to compare with.

    Example: doubleback train --data mnist --penalty reconstruction --output runs/hardened

    Settings that you leave out (sizes, likelihood, epochs, learning rate, weight of the penalty) take the values that
    worked best for the model on such images.
    """

    output: Annotated[Path, arg(metavar="DIR")]
    """The run's folder; it must not hold another run."""
    training: Annotated[Training, UNPREFIXED] = Training()
    resume: bool = False
    """Go on from the folder's checkpoint, to the very weights of a run that never stopped."""

    def __post_init__(self) -> None:
        for name, need in self.training.penalty.unread.items():
            raise InputError(f"--{name.replace('_', '-')} has no effect without {need}; add that, or leave it out")
        model = self.training.architecture.model
        if model and not MODELS[model].variational and self.training.kl_weight is not None:
            raise InputError(f"--kl-weight has no effect on {model}, which has no KL; leave it out")


@dataclass(frozen=True)
class Harden:
    """Make a trained autoencoder withstand more, and lose no more reconstruction than you say.

    Example: doubleback harden runs/plain --within 2% --output runs/hardened

    Example: doubleback harden sd-vae --data photos/ --within 2% --freeze decoder --output sd-vae-hardened

    The model is trained on from its weights, with its own loss and a penalty whose weight follows the budget. The same
    command goes on where it was interrupted. DIR/weights holds the new weights in the layout of the model's library.
    """

    victim: Annotated[Positional[Path], arg(metavar="VICTIM")]
    """As in `doubleback audit`."""
    output: Annotated[Path, arg(metavar="DIR")]
    """The folder of the hardened model; it must not hold anything else."""
    hardening: Annotated[Hardening, UNPREFIXED] = Hardening()
    data: Annotated[str | None, arg(metavar="NAME|PATH", help_behavior_hint="(default: the run's own)")] = None
    """Images to learn from, of which a part decides. Of a model that is no run: needed."""
    image_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the images' own)")] = None
    """Crop and resize these images for a model that is no run."""
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)
        for name, need in self.hardening.penalty.unread.items():
            raise InputError(f"--{name.replace('_', '-')} has no effect without {need}; add that, or leave it out")


@dataclass(frozen=True)
class Audit:
    """Attack autoencoders and measure what each withstands.

    Example: doubleback audit runs/plain runs/hardened

    Example: doubleback audit sd-vae --data photos/ --output audits

    Example: doubleback audit runs/plain --norm Linf --eps 2/255 4/255 8/255
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="VICTIM [VICTIM ...]")]
    """Runs of `doubleback train`; folders of diffusers, transformers or pythae, or hub:owner/name; module:factory or
    file.py:factory; TorchScript or exported programs."""
    attack: Annotated[
        tuple[str, ...] | None, arg(metavar="GOAL [GOAL ...]", help_behavior_hint="(default: latent output)")
    ] = None
    """What the attacks move: latent, the code to a target's; output, the reconstruction to a target; untargeted, the
    reconstruction anywhere; drift, the code anywhere; rate, a codec's bits; layers, all layers; latent-l2,
    drift-wasserstein, ..., by other distances of codes; or a goal or a function of your own, as file.py:name."""
    data: Annotated[str | None, arg(metavar="NAME|PATH", help_behavior_hint="(default: the run's own)")] = None
    """Attack images of this data set instead, at the size that the run was trained on. Of another model: its images."""
    image_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the images' own)")] = None
    """Crop and resize these images for a model that is no run."""
    split: Split = "test"
    """Which images: test to report, validation to choose settings by."""
    auditing: Annotated[Auditing, UNPREFIXED] = Auditing()
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: see below)")] = None
    """Write DIR/<victim's name>/ for each; by default RUN/audit, with --split validation RUN/audit-validation. A model
    that is no run needs it."""
    transfer: bool = False
    """Attack each victim by the examples made on every other one, too. With --eps, and two victims or more."""

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)
        if self.transfer and not self.auditing.threat.eps:
            raise InputError("--transfer has no effect without --eps; say how far: --eps 8/255")


@dataclass(frozen=True)
class Check:
    """Look at an autoencoder before it is attacked: would its figures be right? Takes seconds.

    Example: doubleback check sd-vae --data photos/

    Is the audited reconstruction the model's own, are its ranges plausible, do images of a batch stay apart, is there a
    gradient for every goal, can it be hardened, what will an audit cost? Every fault comes with its mend.
    """

    victim: Annotated[Positional[Path], arg(metavar="VICTIM")]
    """As in `doubleback audit`."""
    data: Annotated[str | None, arg(metavar="NAME|PATH", help_behavior_hint="(default: the run's own)")] = None
    """As in `doubleback audit`."""
    image_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the images' own)")] = None
    """Crop and resize these images."""
    attack: Annotated[
        tuple[str, ...] | None, arg(metavar="GOAL [GOAL ...]", help_behavior_hint="(default: latent output)")
    ] = None
    """The goals that will be attacked."""
    auditing: Annotated[Auditing, UNPREFIXED] = Auditing()
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write the findings there, too."""

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)


@dataclass(frozen=True)
class Attack:
    """Attack one pair of your own images, and see what comes out.

    Example: doubleback attack runs/plain a.png b.png --coefficient 1 --output attacked

    Example: doubleback attack runs/plain a.png b.png --norm Linf --eps 8/255
    """

    victim: Annotated[Positional[Path], arg(metavar="VICTIM")]
    """As in `doubleback audit`."""
    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """The image that is changed, as little as can be."""
    target: Annotated[Positional[Path], arg(metavar="TARGET")]
    """The image that is to come out."""
    attack: Annotated[
        tuple[str, ...] | None, arg(metavar="GOAL [GOAL ...]", help_behavior_hint="(default: latent output)")
    ] = None
    """As in `doubleback audit`."""
    coefficient: float = 1.0
    """What the distortion costs in the attack whose images are kept: more leaves the source more alike."""
    price: Annotated[Price, UNPREFIXED] = Price()
    search: Annotated[Search, UNPREFIXED] = Search()
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()
    output: Annotated[Path, arg(metavar="DIR")] = Path("attacked")
    """Gets adversarial-GOAL.png, what comes out of it, the curves, and report.html; it must not hold anything else."""
    threat: Annotated[Threat, UNPREFIXED] = Threat()

    def __post_init__(self) -> None:
        if not 0 <= self.coefficient < float("inf"):
            raise InputError(f"--coefficient is {self.coefficient}; give a finite number of at least 0")
        Auditing(price=self.price, threat=self.threat)
        if self.threat.eps and self.coefficient != type(self).coefficient:
            raise InputError("--coefficient has no effect with --eps, a budget in the place of a price; leave one out")
        if len(self.threat.eps) > 1:
            raise InputError(f"--eps has {len(self.threat.eps)} values; an image is kept for one: give one")


@dataclass(frozen=True)
class Classify:
    """Fit a Gaussian mixture per class to a run's codes: a differentiable classifier.

    Example: doubleback classify runs/hardened
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of an autoencoder that `doubleback train` has written, on images that have labels."""
    mixture: Annotated[Mixture, UNPREFIXED] = Mixture()
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: RUN/classifier)")] = None
    """The classifier's folder; it must not hold another one."""


@dataclass(frozen=True)
class Robustness:
    """Attack classifiers and measure what each still gets right: white box, black box, and whether to believe it.

    Example: doubleback robustness runs/hardened/classifier runs/plain/classifier runs/lenet

    Every model is attacked with its own gradient, with random noise, with the score-only Square attack, and with the
    examples made on every other model. The worst case counts, image by image. Checks say whether to trust the figures
    (docs/checks.md).
    """

    models: Annotated[Positional[tuple[Path, ...]], arg(metavar="MODEL [MODEL ...]")]
    """Folders of `doubleback classify`, or of `doubleback train` with a classifier."""
    threats: Annotated[Threats, UNPREFIXED] = Threats()
    samples: int = 1000
    """Images of the split, the same for every model."""
    black_box: Annotated[tuple[Path, ...], arg(metavar="MODEL [MODEL ...]")] = ()
    """Further models to make examples on."""
    split: Split = "test"
    """Which images: test to report, validation to choose settings by."""
    output: Annotated[Path, arg(metavar="DIR")] = Path("robustness")
    """Gets results.json, images.npz and report.html; it must not hold anything else."""


@dataclass(frozen=True)
class Transition:
    """Follow a classifier's gradient from one class to another: does the image turn into the other class?

    Example: doubleback transition runs/hardened/classifier --from 9 --to 7 --judge runs/lenet
    """

    classifiers: Annotated[Positional[tuple[Path, ...]], arg(metavar="CLASSIFIER [CLASSIFIER ...]")]
    """Folders of `doubleback classify`."""
    from_class: Annotated[str, arg(name="from", metavar="CLASS|any")] = "any"
    """Class of the images to start from."""
    to: Annotated[str, arg(metavar="CLASS|any")] = "any"
    """Class to move to; any: for each image one of the others, drawn by the seed."""
    count: int = 8
    """Images, the same for every classifier."""
    walk: Annotated[Walk, UNPREFIXED] = Walk()
    judge: Annotated[Path | None, arg(metavar="MODEL", help_behavior_hint="(default: no judge)")] = None
    """A classifier that the transition never sees, which says what the images have become."""
    split: Split = "test"
    """Which images: test to report, validation to choose settings by."""
    seed: int = 0
    """Of the images and the targets."""
    output: Annotated[Path, arg(metavar="DIR")] = Path("transition")
    """Gets results.json, images.npz and report.html; it must not hold anything else."""


@dataclass(frozen=True)
class Reproduce:
    """Repeat the paper: its tables and figures, with what its text states beside what is measured.

    Example: doubleback reproduce table2 --scale smoke

    A plan comes first: what will be trained and attacked, how long that is expected to take, what is there already. An
    interrupted reproduction goes on with the same command; what fails is reported, and the rest still runs.
    """

    what: Annotated[
        Positional[tuple[Artefact, ...]],
        arg(metavar="all|table1..table4|figure1..figure6", help_behavior_hint="(default: all)"),
    ] = ("all",)
    """Which of them."""
    scale: Literal["smoke", "cpu", "full"] = "cpu"
    """smoke: does it run? cpu: two hours on two cores; full: the paper's sizes, for a GPU."""
    data_dir: Annotated[
        Path | None, arg(metavar="DIR", help_behavior_hint="(default: $DOUBLEBACK_DATA, or the hub)")
    ] = None
    """Holds mnist/, svhn/ and celeba/ as on the hub; faces/ stands in for celeba/, and is named in its place."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: reproduction-SCALE)")] = None
    """Gets report.html, tables/, figures/, and a folder for every command."""
    jobs: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: by cores and memory)")] = None
    """Commands that run side by side."""
    withhold: tuple[Literal["mnist", "svhn", "celeba"], ...] = ()
    """Leave the images of these data sets, whose licence may not let them be passed on, out of the figures."""
    plan: bool = False
    """Print the plan and stop."""


@dataclass(frozen=True)
class Demo:
    """Train an autoencoder, attack it, harden it, attack it again, and write a report: under two minutes."""

    output: Annotated[Path, arg(metavar="DIR")] = Path("doubleback-demo")
    """Gets plain/, hardened/, report.html and results.json; what is finished there already is kept."""
    data: Annotated[str, arg(metavar="NAME|PATH")] = "digits"
    """As in `doubleback train`."""
    epochs: int = 30
    """Passes over the training images, of the plain one."""
    within: str = "2%"
    """As in `doubleback harden`: what the hardening may cost."""
    pairs: int = 20
    """Pairs to attack."""
    coefficients: int = 25
    """Weights of the distortion in the attack; `audit` takes 50."""
    seed: int = 0
    """Of the training and of the pairs."""

    def __post_init__(self) -> None:
        Hardening(self.within)  # refused before anything is trained
