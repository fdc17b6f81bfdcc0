"""Which model is trained: its name in the registry, its sizes, and the distribution of its pixels."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from doubleback.registry import MODELS
from doubleback.settings.checks import LARGEST, LEFT_OUT, Settings, Unsaid, at_most, one_of, positive
from doubleback.settings.headings import Heading

Likelihood = Literal["bernoulli", "gaussian", "gaussian-learned"]


@dataclass(frozen=True)
class Sizes(Settings):
    """Sizes of the model. Those that you leave out take the values that worked best on such images."""

    HEADING = Heading.MODEL

    hidden: Annotated[
        Unsaid[tuple[int, ...]],
        arg(metavar="N [N ...]", help_behavior_hint="(default: 512 512; conv 512; draw 256)"),
    ] = LEFT_OUT
    """vae, ae, lipschitz: widths of the encoder's layers; the decoder has them in reverse. conv-vae, conv-ae,
    cvnet: width of the dense layer. draw: LSTM units. mlp: widths of its layers."""
    latent: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: 32, or 64 in colour)")] = LEFT_OUT
    """Size of the code. draw: size of the code of each step."""
    filters: Annotated[
        Unsaid[tuple[int, ...]], arg(metavar="N [N ...]", help_behavior_hint="(default: 32 64 128 ..., as fits)")
    ] = LEFT_OUT
    """conv-vae, conv-ae: filters of each convolution of the encoder; each halves the image, and the decoder has
    them in reverse. cvnet: filters of each level."""
    steps: Annotated[Unsaid[int], arg(metavar="T", help_behavior_hint="(default: 8)")] = LEFT_OUT
    """draw: how many times it reads and writes."""
    read_size: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: no attention)")] = LEFT_OUT
    """draw: side of the window that it reads."""
    write_size: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: no attention)")] = LEFT_OUT
    """draw: side of the window that it writes."""
    slope: Annotated[Unsaid[float], arg(metavar="L", help_behavior_hint="(default: 1)")] = LEFT_OUT
    """lipschitz: the reconstruction never moves by more than L times the change of the image."""

    def __post_init__(self) -> None:
        for name, size in self.given.items():
            for one in size if isinstance(size, tuple) else (size,):
                at_most(LARGEST, **{name: one})

    @property
    def given(self) -> dict[str, float | tuple[int, ...]]:
        """Those that are not left out."""
        return {name: size for name, size in vars(self).items() if size is not None}


@dataclass(frozen=True)
class Architecture(Settings):
    """A model of the registry.

    Raises:
        InputError: the model or the likelihood is unknown, the model has no such size, or the variance is not positive.
    """

    HEADING = Heading.MODEL

    model: Annotated[Unsaid[str], arg(metavar=f"{{{','.join(MODELS)}}}", help_behavior_hint="(default: vae)")] = (
        LEFT_OUT
    )
    """The architecture. vae: dense; conv-vae: convolutional; draw: recurrent; ae, conv-ae: the same without KL and
    noise; lipschitz: with proven robustness; mlp, lenet, cvnet: classifiers."""
    sizes: Annotated[Sizes, arg(name="model")] = field(default=Sizes(), metadata={"kept": True})
    """Sizes of the model."""
    likelihood: Annotated[
        Unsaid[Likelihood],
        arg(
            metavar="{bernoulli,gaussian,gaussian-learned}",
            help_behavior_hint="(default: bernoulli for grey images, gaussian for colour)",
        ),
    ] = LEFT_OUT
    """Distribution of the pixels: bernoulli, gaussian with a fixed variance, or gaussian-learned with a learned
    one."""
    variance: Annotated[
        Unsaid[float], arg(metavar="X", help_behavior_hint="(default: 0.02, which weighs the squared error by 25)")
    ] = LEFT_OUT
    """Variance of the Gaussian likelihood. If it is learned, its first value."""

    def __post_init__(self) -> None:
        one_of(MODELS, model=self.model)
        one_of(get_args(Likelihood), likelihood=self.likelihood)
        positive(variance=self.variance)
        if self.model is not None:
            MODELS[self.model].arguments(self.model, self.sizes.given)

    @property
    def classifies(self) -> bool:
        """Whether it is a classifier, which has neither code nor penalty."""
        return self.model is not None and MODELS[self.model].classifies
