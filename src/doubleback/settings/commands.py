"""Every command as its settings, with its help. Imports no torch: `doubleback --help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from doubleback.errors import InputError
from doubleback.registry import MODELS
from doubleback.settings import (
    Auditing,
    Hardening,
    Price,
    Search,
    Threat,
    Training,
    Wrapping,
)
from doubleback.settings.checks import UNPREFIXED, at_least
from doubleback.settings.classifying import Classify as Classify
from doubleback.settings.classifying import Robustness as Robustness
from doubleback.settings.classifying import Transition as Transition
from doubleback.settings.headings import Command, Heading
from doubleback.settings.pages import Frontier as Frontier
from doubleback.settings.pages import Leaderboard as Leaderboard
from doubleback.settings.pages import Push as Push
from doubleback.settings.pages import Report as Report
from doubleback.settings.reproducing import Reproduce as Reproduce
from doubleback.settings.shared import Goals, Images, Part, Side, Victim


@dataclass(frozen=True)
class Train(Command):
    """Train an autoencoder, plain or hardened by double backpropagation; or a classifier to compare with.

    Example: doubleback train --data digits --batch-size 32 --output runs/plain

    Example: doubleback train --data mnist --penalty reconstruction --output runs/mnist-hardened

    Example: doubleback train --data photos/ --image-size 64 --model conv-vae --output runs/photos

    Settings that you leave out (sizes, likelihood, epochs, learning rate, weight of the penalty) take the values that
    worked best for this model on similar images.
    """

    FIRST = ("output", "data", "model", "penalty")
    DEFAULTS: ClassVar = {
        "epochs": "as measured, 8 to 80; 5 with --init",
        "penalty_start": "0.5; 0 with --init",
        "margin": "0.5 for targeted, 1 for spectral",
    }

    output: Annotated[Path, arg(metavar="DIR")]
    """The folder of the run. It must not hold another run."""
    training: Annotated[Training, UNPREFIXED] = Training()
    resume: Annotated[bool, Heading.TRAINING] = False
    """Go on from the checkpoint in the folder. The weights will be those of a run that never stopped."""

    def __post_init__(self) -> None:
        for name, need in (self.training.penalty.unread | self.training.labels.unread).items():
            raise InputError(f"--{name.replace('_', '-')} has no effect without {need}; add that, or leave it out")
        model = self.training.architecture.model
        if model and not MODELS[model].variational and self.training.kl_weight is not None:
            raise InputError(f"--kl-weight has no effect on {model}, which has no KL; leave it out")


@dataclass(frozen=True)
class Harden(Command):
    """Make a trained autoencoder withstand more, at a loss of reconstruction that you choose.

    Example: doubleback harden runs/plain --within 2% --output runs/hardened

    Example: doubleback harden sd-vae --data photos/ --within 2% --freeze decoder --output sd-vae-hardened

    Example: doubleback harden mine.py:make --weights ae.pt --range -1 1 --data photos/ --output hardened

    The training goes on from the model's weights, with its own loss and a penalty. The penalty's weight is adjusted so
    that the budget is kept. If the command is interrupted, type it again: it goes on. Of a model that is not a run,
    DIR/weights holds the new weights in the layout of its library.
    """

    FIRST = ("victim", "output", "within", "data")
    REFUSED = ("devices", "cuda_graph")
    DEFAULTS: ClassVar = {
        "epochs": "15",
        "batch_size": "as the run was trained; 32 for a model that is not a run",
        "learning_rate": "two thirds of the run's; 0.0002 for a model that is not a run",
        "penalty_weight": "found from the gradients; the budget then moves it",
        "penalty_start": "0",
        "margin": "0.5 for targeted; for spectral 1, or 0 if the model is not doubleback's own",
    }

    victim: Victim
    output: Annotated[Path, arg(metavar="DIR")]
    """A new folder for the hardened model."""
    hardening: Annotated[Hardening, UNPREFIXED] = Hardening()
    data: Images = None
    """Images to learn from; a part of them checks the budget. A model that is not a run needs this."""
    image_size: Side = None
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)
        for name, need in self.hardening.penalty.unread.items():
            raise InputError(f"--{name.replace('_', '-')} has no effect without {need}; add that, or leave it out")


@dataclass(frozen=True)
class Audit(Command):
    """Attack autoencoders and measure what each withstands.

    Example: doubleback audit runs/plain

    Example: doubleback audit runs/plain --norm Linf --eps 2/255 8/255 --output audits

    Example: doubleback audit sd-vae --data photos/ --output audits

    Example: doubleback audit mine.py:make --weights ae.pt --range -1 1 --data photos/ --output audits

    The figures and their meaning are in docs/concepts.md.
    """

    FIRST = ("runs", "attack", "pairs", "data")

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="VICTIM [VICTIM ...]")]
    """The models: runs of `doubleback train` or `harden`; folders of diffusers, transformers or pythae; hub:owner/name;
    functions of yours that return one, as file.py:function; files of torch.export or TorchScript."""
    attack: Goals = None
    """What the attacker wants. latent: the code of another image; output: the reconstruction of another image;
    untargeted: any other reconstruction; drift: any other code; rate: more bits from a codec; layers: other values in
    all layers; canvas: what draw paints on its way. latent-l2, drift-wasserstein, ... measure codes by other distances.
    file.py:name is a goal of yours."""
    data: Images = None
    """Images to attack. For a run they are brought to the size that it was trained on. A model that is not a run needs
    this, unless `harden` has made it."""
    image_size: Side = None
    split: Part = "test"
    auditing: Annotated[Auditing, UNPREFIXED] = Auditing()
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: RUN/audit)")] = None
    """Write DIR/NAME for each model. Give it if RUN/audit holds an audit with other settings, and for a model that
    neither `train` nor `harden` has made."""
    transfer: Annotated[bool, Heading.BUDGET] = False
    """Attack each model also with the examples made on the others. Needs --eps and at least two models."""

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)
        if self.transfer and not self.auditing.threat.eps:
            raise InputError("--transfer has no effect without --eps; say how far: --eps 8/255")


@dataclass(frozen=True)
class Check(Command):
    """Look at an autoencoder before you attack it: would its figures be right? Takes seconds.

    Example: doubleback check runs/plain

    Example: doubleback check sd-vae --data photos/

    It checks that the reconstruction is the model's own, that its pixel range is plausible, and that the images of a
    batch do not mix. It also checks that every goal has a gradient, and that the model can be hardened. It estimates
    what an audit costs. For every fault it says how to fix it. Faults do not change the exit status: a script reads
    them from --json.
    """

    FIRST = ("victim", "data", "attack")

    victim: Victim
    data: Images = None
    """The images that will be attacked. A model that is not a run needs this, unless `harden` has made it."""
    image_size: Side = None
    attack: Goals = None
    """The goals that will be attacked; `doubleback audit --help` lists them."""
    auditing: Annotated[Auditing, UNPREFIXED] = Auditing()
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write the findings to this file, too."""

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)


@dataclass(frozen=True)
class Attack(Command):
    """Attack one pair of your own images, and see what comes out.

    Example: doubleback attack runs/plain a.png b.png

    Example: doubleback attack runs/plain a.png b.png --norm Linf --eps 8/255 --output attacked-linf

    a.png and b.png stand for two images of yours. They are brought to the size that the model takes.
    """

    FIRST = ("victim", "source", "target", "coefficient", "output")

    victim: Victim
    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """The image that is changed, as little as possible: a file such as a.png."""
    target: Annotated[Positional[Path], arg(metavar="TARGET")]
    """The image that the attacker wants to come out."""
    attack: Goals = None
    """What the attacker wants; `doubleback audit --help` lists the goals."""
    coefficient: Annotated[float, Heading.GOALS] = 1.0
    """The price of a change, for the images that are kept. A higher price changes the source less."""
    price: Annotated[Price, UNPREFIXED] = Price()
    search: Annotated[Search, UNPREFIXED] = Search()
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()
    output: Annotated[Path, arg(metavar="DIR")] = Path("attacked")
    """Gets adversarial-GOAL.png, what comes out of it, the curves, and report.html. It must not hold anything else."""
    threat: Annotated[Threat, UNPREFIXED] = Threat()

    def __post_init__(self) -> None:
        if not 0 <= self.coefficient < float("inf"):
            raise InputError(f"--coefficient is {self.coefficient}; give a finite number of at least 0")
        Auditing(price=self.price, threat=self.threat)
        if self.threat.eps and self.coefficient != type(self).coefficient:
            raise InputError("--coefficient has no effect with --eps, which sets a budget and no price; leave one out")
        if len(self.threat.eps) > 1:
            raise InputError(f"--eps has {len(self.threat.eps)} values; an image is kept for one: give one")


@dataclass(frozen=True)
class Demo(Command):
    """Train an autoencoder, attack it, harden it, attack it again, and write a report: one to two minutes.

    Example: doubleback demo

    Example: doubleback demo --data mnist --output mnist-demo
    """

    FIRST = ("output", "data", "within")

    output: Annotated[Path, arg(metavar="DIR")] = Path("doubleback-demo")
    """Gets plain/, hardened/, report.html and results.json. What is finished there is kept."""
    data: Annotated[str, arg(metavar="NAME|PATH"), Heading.IMAGES] = "digits"
    """digits (bundled), mnist, svhn, celeba, a hub id owner/name, or a folder of images or parquet."""
    epochs: Annotated[int, Heading.TRAINING] = 30
    """Passes over the training images, for the plain model."""
    within: Annotated[str, arg(metavar="SHARE")] = "2%"
    """How much worse the reconstruction may become by hardening."""
    pairs: Annotated[int, Heading.PAIRS] = 20
    """How many pairs of images to attack."""
    coefficients: Annotated[int, Heading.GOALS] = 25
    """How many prices of a change the attack tries; `audit` tries 50."""
    seed: Annotated[int, Heading.TRAINING] = 0
    """Seed of the training and of the pairs."""

    def __post_init__(self) -> None:
        Hardening(self.within)  # refused before anything is trained
