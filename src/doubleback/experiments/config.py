"""Every setting of every command, with its help. Imports no torch: `doubleback --help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

ModelName = Literal["vae", "conv-vae", "draw", "ae", "conv-ae", "mlp", "lenet", "cvnet"]
Artefact = Literal[
    "all", "table1", "table2", "table3", "table4", "figure1", "figure2", "figure3", "figure4", "figure5", "figure6"
]
CLASSIFIERS = ("mlp", "lenet", "cvnet")
# The sizes that each model has; another's is refused.
SIZES_OF = {
    "vae": ("hidden", "latent"),
    "ae": ("hidden", "latent"),
    "conv-vae": ("filters", "hidden", "latent"),
    "conv-ae": ("filters", "hidden", "latent"),
    "draw": ("steps", "hidden", "latent", "read_size", "write_size"),
    "mlp": ("hidden",),
    "lenet": (),
    "cvnet": ("filters", "hidden"),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of the model; what is not said serves the model on such images (experiments/paper.py)."""

    hidden: Annotated[
        tuple[int, ...] | None, arg(metavar="N [N ...]", help_behavior_hint="(default: 512 512; conv 512; draw 256)")
    ] = None
    """vae, ae: widths of the encoder's layers, mirrored by the decoder; conv, cvnet: of its dense layer; draw: LSTM
    units; mlp: widths of its layers."""
    latent: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 32, or 64 in colour)")] = None
    """Size of the code; draw: of each step's code."""
    filters: Annotated[
        tuple[int, ...] | None, arg(metavar="N [N ...]", help_behavior_hint="(default: 32 64 128 ..., as fits)")
    ] = None
    """conv: filters of each convolution, which halves the image, mirrored by the decoder; cvnet: of each level's."""
    steps: Annotated[int | None, arg(metavar="T", help_behavior_hint="(default: 8)")] = None
    """draw: steps in which it reads and writes."""
    read_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: no attention)")] = None
    """draw: side of the window that is read."""
    write_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: no attention)")] = None
    """draw: side of the window that is written."""


@dataclass(frozen=True)
class Train:
    """Train an autoencoder, plain or hardened by double backpropagation; or a classifier to compare with.

    Example: doubleback train --data mnist --penalty reconstruction --output runs/hardened

    What is not said (sizes, likelihood, epochs, learning rate, weight of the penalty) is what serves the model on such
    images: experiments/paper.py, with what was measured for it.
    """

    output: Annotated[Path, arg(metavar="DIR")]
    """The run's folder; it must not hold another run."""
    data: Annotated[str | None, arg(metavar="NAME|PATH", help_behavior_hint="(default: digits)")] = None
    """digits (bundled), mnist, svhn, celeba, a hub id owner/name, or a folder of parquet or images."""
    image_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the images' own)")] = None
    """Crop and resize every image to this height and width."""
    limit: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Use at most this many images of each split."""
    model: Annotated[
        ModelName | None,
        arg(metavar="{vae,conv-vae,draw,ae,conv-ae,mlp,lenet,cvnet}", help_behavior_hint="(default: vae)"),
    ] = None
    """Which architecture: dense, convolutional or recurrent; ae and conv-ae are plain: no KL, no noise; mlp, lenet and
    cvnet are classifiers, and have no penalty."""
    sizes: Annotated[Sizes, arg(name="model")] = Sizes()
    """Sizes of the model."""
    likelihood: Annotated[
        Literal["bernoulli", "gaussian", "gaussian-learned"] | None,
        arg(
            metavar="{bernoulli,gaussian,gaussian-learned}",
            help_behavior_hint="(default: bernoulli for grey images, gaussian for colour)",
        ),
    ] = None
    """Of the pixels: Bernoulli, or Gaussian around a sigmoid mean with a fixed or a learned variance."""
    variance: Annotated[
        float | None, arg(metavar="X", help_behavior_hint="(default: 0.02, which weighs the squared error by 25)")
    ] = None
    """Of the Gaussian likelihood, or where its learning starts."""
    penalty: Literal["none", "reconstruction", "output", "latent"] = "none"
    """What is kept small: the gradient of the reconstruction loss, or the Jacobian of the output or of the code."""
    penalty_weight: Annotated[
        float | None,
        arg(
            metavar="X",
            help_behavior_hint="(default: as measured for the model and the images)",
        ),
    ] = None
    """lambda2, the weight of the penalty."""
    kl_weight: Annotated[float | None, arg(metavar="X", help_behavior_hint="(default: 1, or as in --init)")] = None
    """lambda1, the weight of the KL divergence."""
    through_target: Annotated[
        Literal["yes", "no"] | None,
        arg(metavar="{yes,no}", help_behavior_hint="(default: no for bernoulli, yes for gaussian, as measured)"),
    ] = None
    """Does the loss's target move with the input?"""
    projections: int = 1
    """Random projections a step, of the Jacobian penalties."""
    estimator: Literal["exact", "finite-difference", "perturbed"] = "exact"
    """How the penalty's gradient is taken; perturbed: of reconstruction, to first order, at less cost."""
    difference_step: float = 1e-2
    """Step of the finite differences, in units of a pixel."""
    penalty_start: Annotated[float | None, arg(metavar="X", help_behavior_hint="(default: 0.5; 0 with --init)")] = None
    """Share of the steps after which the penalty is on."""
    every: int = 1
    """Take the penalty every k-th step only, k times as heavy."""
    epochs: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: as measured, 8 to 80; 5 with --init)")
    ] = None
    """Passes over the training images."""
    batch_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: as measured, 128 or 256)")] = None
    """Images a step."""
    learning_rate: Annotated[
        float | None, arg(metavar="X", help_behavior_hint="(default: as measured, 0.001 to 0.003)")
    ] = None
    """Peak of the one-cycle schedule."""
    max_grad_norm: float = 30.0
    """Gradients are clipped at this norm."""
    seed: int = 0
    """Of the weights, the order and the noise."""
    precision: Literal["32", "64", "bf16-mixed", "fast"] = "32"
    """Of the arithmetic; fast is bf16-mixed where the machine computes that several times faster, else 32."""
    compile: bool = False
    """Compile the loss, double backward included: worth its half minute on long runs."""
    cuda_graph: bool = False
    """Record a step on the GPU and replay it: without Python's share, the numbers the same."""
    devices: int = 1
    """Processes on this machine; under torchrun (one machine or many) its own count instead."""
    init: Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="(default: new weights)")] = None
    """Start from the weights of this run, and with its data and model: harden what exists already."""
    resume: bool = False
    """Go on from the folder's checkpoint, to the very weights of a run that never stopped."""
    tensorboard: bool = False
    """Write TensorBoard's files too (pip install 'doubleback[tensorboard]')."""


@dataclass(frozen=True)
class Audit:
    """Attack trained runs and measure what each withstands.

    Example: doubleback audit runs/plain runs/hardened
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]")]
    """Folders that `doubleback train` has written."""
    attack: tuple[Literal["latent", "output", "untargeted"], ...] = ("latent", "output")
    """What the attacks move: the code, the reconstruction towards a target, or the reconstruction anywhere."""
    data: Annotated[str | None, arg(metavar="NAME|PATH", help_behavior_hint="(default: the run's own)")] = None
    """Attack images of this data set instead, at the size that the run was trained on."""
    split: Literal["test", "validation"] = "test"
    """Which images: test to report, validation to choose settings by."""
    from_class: Annotated[str | None, arg(name="from", metavar="CLASS", help_behavior_hint="(default: any)")] = None
    """Class of the sources, where the images have labels."""
    to: Annotated[str | None, arg(metavar="CLASS", help_behavior_hint="(default: any other)")] = None
    """Class of the targets."""
    pairs: int = 20
    """Pairs of a source and a target from these images, the same for every run."""
    coefficients: int = 50
    """Weights of the distortion in the attack, from 2^-20 to 2^20, beside 0."""
    steps: int = 300
    """Steps of an attack, at most."""
    restarts: int = 0
    """Random starts, beside the source and the best blend with the target."""
    samples: int = 0
    """0 attacks the mean path; n averages n draws of the model's noise at every step and scores on n others."""
    seed: int = 0
    """Of the pairs, the starts and the noise."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: see below)")] = None
    """Write DIR/<run's name>/ for each run; by default RUN/audit, with --split validation RUN/audit-validation."""


@dataclass(frozen=True)
class Classify:
    """Fit a Gaussian mixture per class to a run's codes: a differentiable classifier.

    Example: doubleback classify runs/hardened
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of an autoencoder that `doubleback train` has written, on images that have labels."""
    components: int = 10
    """Gaussians a class."""
    covariance: Literal["full", "diag", "tied"] = "full"
    """Of each Gaussian; tied: one for all Gaussians of a class."""
    regularization: float = 1e-3
    """Added to the diagonal of every covariance."""
    seed: int = 0
    """Of EM's start."""
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
    attack: tuple[Literal["fgsm", "pgd", "apgd"], ...] = ("fgsm", "pgd", "apgd")
    """White-box attacks, each with the losses cross-entropy, margin and DLR."""
    norm: Literal["Linf", "L2"] = "Linf"
    """How far an image may be moved is measured by this."""
    eps: tuple[str, ...] = ("0.05", "0.1", "0.2")
    """How far: in pixels of [0, 1]; fractions such as 8/255 are understood."""
    steps: int = 40
    """Steps of pgd and apgd, and draws of random noise."""
    restarts: int = 1
    """Random starts of pgd and apgd for each loss."""
    queries: int = 1000
    """Of the score-only attack; 0 leaves it out, and the page without a black box."""
    samples: int = 1000
    """Images of the split, the same for every model."""
    noise_samples: int = 1
    """Answers averaged at each step, for a model that draws noise when asked."""
    black_box: Annotated[tuple[Path, ...], arg(metavar="MODEL [MODEL ...]")] = ()
    """Further models to make examples on."""
    split: Literal["test", "validation"] = "test"
    """Which images: test to report, validation to choose settings by."""
    seed: int = 0
    """Of the images, the starts and the searches."""
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
    eta: float = 0.05
    """Length of a step, in the 2-norm of images in [0, 1]."""
    steps: int = 400
    """Steps, at most."""
    confidence: float = 0.95
    """Stop once the target class has this probability."""
    beyond: int = 40
    """Go on for so many steps after that: the classifier is sure before others are (docs/choices.md)."""
    judge: Annotated[Path | None, arg(metavar="MODEL", help_behavior_hint="(default: no judge)")] = None
    """A classifier that the transition never sees, which says what the images have become."""
    split: Literal["test", "validation"] = "test"
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
class Report:
    """Write one HTML page about runs, their audits, classifiers, and what those withstand.

    Example: doubleback report runs/plain runs/hardened --output report.html
    """

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR [DIR ...]")]
    """Run folders, audit folders, or folders of several of them."""
    output: Annotated[Path | None, arg(metavar="FILE.html", help_behavior_hint="(default: see below)")] = None
    """By default DIR/report.html for one folder, ./report.html for several."""


@dataclass(frozen=True)
class Demo:
    """Train a plain and a hardened autoencoder, attack both, and write a report: about a minute."""

    output: Annotated[Path, arg(metavar="DIR")] = Path("doubleback-demo")
    """Gets plain/, hardened/, report.html and results.json; what is finished there already is kept."""
    data: Annotated[str, arg(metavar="NAME|PATH")] = "digits"
    """As in `doubleback train`."""
    epochs: int = 60
    """Passes over the training images, for each of the two."""
    pairs: int = 20
    """Pairs to attack."""
    coefficients: int = 25
    """Weights of the distortion in the attack; `audit` takes 50."""
    seed: int = 0
    """Of the training and of the pairs."""
