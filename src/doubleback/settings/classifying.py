"""The commands about classifiers: `classify`, `robustness`, `transition`. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from doubleback.settings import Mixture, Threats, Walk, Wrapping
from doubleback.settings.checks import UNPREFIXED, at_least
from doubleback.settings.headings import Command, Heading
from doubleback.settings.shared import Code, Images, Part, Side, Victim


@dataclass(frozen=True)
class Classify(Command):
    """Make a classifier of an autoencoder: fit Gaussians to the codes of each class.

    Example: doubleback classify runs/hardened

    Example: doubleback classify sd-vae --data photos/ --output classifier
    """

    FIRST = ("run", "components", "data", "output")

    run: Victim
    mixture: Annotated[Mixture, UNPREFIXED] = Mixture()
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: RUN/classifier)")] = None
    """The folder of the classifier. It must not hold another one. Give it for a model that is not a run."""
    data: Images = None
    """Images that have labels. Only for a model that is not a run, which needs this."""
    image_size: Side = None
    wrapping: Annotated[Wrapping, UNPREFIXED] = Wrapping()

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size)


@dataclass(frozen=True)
class Robustness(Command):
    """Attack classifiers and measure how many images each still gets right.

    Example: doubleback robustness runs/hardened/classifier

    Example: doubleback robustness runs/hardened/classifier runs/lenet --eps 8/255 --output robustness-8

    Every model is attacked in four ways: with its gradient; with random noise; with Square, which sees only the scores;
    with the adversarial images made for the other models. For each image the worst attack counts. Checks say whether to
    trust the figures (docs/checks.md).
    """

    FIRST = ("models", "eps", "samples")

    models: Annotated[Positional[tuple[Path, ...]], arg(metavar="MODEL [MODEL ...]")]
    """Folders of `doubleback classify`, or runs of `doubleback train --model lenet` (or mlp, cvnet)."""
    threats: Annotated[Threats, UNPREFIXED] = Threats()
    samples: Annotated[int, Heading.IMAGES] = 1000
    """How many images to attack, the same for every model."""
    black_box: Annotated[tuple[Path, ...], arg(metavar="MODEL [MODEL ...]"), Heading.GOALS] = ()
    """More models for which adversarial images are made. They get no figures of their own."""
    split: Part = "test"
    output: Annotated[Path, arg(metavar="DIR")] = Path("robustness")
    """Gets results.json, images.npz and report.html. It must not hold anything else."""
    code: Code = None


@dataclass(frozen=True)
class Transition(Command):
    """Follow a classifier's gradient from one class to another: does the image turn into the other class?

    Example: doubleback transition runs/hardened/classifier --from 9 --to 7

    Example: doubleback transition runs/hardened/classifier --judge runs/lenet --output judged
    """

    FIRST = ("classifiers", "from_class", "to")

    classifiers: Annotated[Positional[tuple[Path, ...]], arg(metavar="CLASSIFIER [CLASSIFIER ...]")]
    """Folders of `doubleback classify`."""
    from_class: Annotated[str, arg(name="from", metavar="CLASS|any"), Heading.WALK] = "any"
    """The class of the images to start from."""
    to: Annotated[str, arg(metavar="CLASS|any"), Heading.WALK] = "any"
    """The class to move to. any: one of the others, drawn for each image."""
    count: Annotated[int, Heading.IMAGES] = 8
    """How many images to start from, the same for every classifier."""
    walk: Annotated[Walk, UNPREFIXED] = Walk()
    judge: Annotated[Path | None, arg(metavar="MODEL", help_behavior_hint="(default: no judge)"), Heading.WALK] = None
    """Another classifier, which says what the images have become."""
    split: Part = "test"
    seed: Annotated[int, Heading.IMAGES] = 0
    """Seed of the choice of images and classes."""
    output: Annotated[Path, arg(metavar="DIR")] = Path("transition")
    """Gets results.json, images.npz and report.html. It must not hold anything else."""
    code: Code = None
