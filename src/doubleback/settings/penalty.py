"""What double backpropagation keeps small, how strongly, and how its gradient is taken."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tyro.conf import arg

from doubleback.errors import InputError
from doubleback.settings.checks import LEFT_OUT, Settings, Unsaid, at_least, not_negative, one_of, positive
from doubleback.settings.headings import Heading

Differentiated = Literal[
    "none",
    "reconstruction",
    "output",
    "latent",
    "targeted",
    "spectral",
    "targeted+spectral",
    "noise",
    "smooth-code",
    "kept-code",
]
Estimator = Literal["exact", "finite-difference", "perturbed"]
Place = Literal["images", "blends"]
MARGINS = {
    "targeted": 0.5,
    "spectral": 1.0,
}  # values up to these are free; an isometry has 1
STEERING = (*MARGINS, "targeted+spectral")  # by default these are taken at blends
RADII = {"noise": 0.2, "smooth-code": 0.1, "kept-code": 0.1}  # the defaults, in units of a pixel
if TYPE_CHECKING:
    Switch = bool | None
else:
    Switch = Literal["yes", "no"] | bool | None  # as typed, until the settings are checked


@dataclass(frozen=True)
class Penalty(Settings):
    """The penalty L2 of the objective L0 + lambda1 L1 + lambda2 L2 (paper, eqs. 10-12).

    Raises:
        InputError: a weight is negative or not finite, a name is unknown, a count is under 1, or a share is outside
            [0, 1]; or the estimator is "perturbed" and the penalty is not "reconstruction".
    """

    HEADING = Heading.PENALTY

    penalty: Differentiated = "none"
    """What training keeps small. none: nothing; reconstruction: the gradient of the loss with respect to the image;
    targeted: the gradient of the distance to another image; output, latent: the Jacobian of the output or of the
    code; spectral: the largest singular value of the output's Jacobian; targeted+spectral: both; noise: the error on
    noisy images; smooth-code: how far the worst small change moves the code; kept-code: how far the worst small change
    moves the code away from the code before training."""
    penalty_weight: Annotated[
        Unsaid[float], arg(metavar="X", help_behavior_hint="(default: as measured for the model and the images)")
    ] = LEFT_OUT
    """Weight of the penalty in the loss (lambda2 in the paper)."""
    through_target: Annotated[
        Switch,
        arg(metavar="{yes,no}", help_behavior_hint="(default: no for bernoulli, yes for gaussian, as measured)"),
    ] = None
    """reconstruction: take the gradient through the target of the loss, too, which is the image itself."""
    projections: int = 1
    """output, latent: how many random directions a step takes."""
    estimator: Estimator = "exact"
    """How the gradient of the penalty is computed. perturbed: a first-order shortcut, for reconstruction only."""
    difference_step: float = 1e-2
    """Step of the finite differences, where a pixel goes from 0 to 1."""
    penalty_start: Annotated[
        Unsaid[float], arg(metavar="X", help_behavior_hint="(default: 0.5; 0 with --init and in harden)")
    ] = LEFT_OUT
    """When the penalty starts, as a share of all steps."""
    every: int = 1
    """Compute the penalty only in every N-th step, with N times the weight."""
    at: Annotated[
        Unsaid[Place],
        arg(metavar="{images,blends}", help_behavior_hint="(default: blends for targeted and spectral, else images)"),
    ] = LEFT_OUT
    """Where the penalty is taken: at images, or at blends of two images."""
    margin: Annotated[
        Unsaid[float],
        arg(
            metavar="X",
            help_behavior_hint="(default: 0.5 for targeted, 1 for spectral; 0 where harden gets a library's model)",
        ),
    ] = LEFT_OUT
    """Values below this are not penalised."""
    power_steps: int = 1
    """spectral: steps of power iteration."""
    radius: Annotated[
        Unsaid[float], arg(metavar="X", help_behavior_hint="(default: 0.2 for noise, 0.1 for the codes)")
    ] = LEFT_OUT
    """How far an image is moved. noise: the standard deviation; smooth-code, kept-code: the most that a pixel
    changes."""
    ascent_steps: int = 5
    """smooth-code, kept-code: steps of the search for the worst change."""

    @property
    def reach(self) -> float:
        """The radius that was given, or the default."""
        return RADII.get(self.penalty, 0.0) if self.radius is None else self.radius

    @property
    def directions(self) -> int:
        """How many directions a step draws; 1 for a penalty that draws no directions."""
        return self.projections if self.penalty in ("output", "latent") else 1

    @property
    def differentiates(self) -> bool:
        """Whether the penalty is on a derivative. Then there are several ways to take its gradient."""
        return self.penalty != "none" and self.penalty not in RADII

    @property
    def place(self) -> Place:
        """Where the penalty is taken: the place that was given, or the default."""
        return self.at or ("blends" if self.penalty in STEERING else "images")

    @property
    def slope(self) -> float:
        """The margin that was given, or the default."""
        return MARGINS.get(self.penalty, 0.0) if self.margin is None else self.margin

    @property
    def unread(self) -> dict[str, str]:
        """The settings that were given but have no effect, and what each of them needs to have one."""
        some, of_jacobian = self.penalty != "none", self.penalty in ("output", "latent")
        steers = self.penalty in STEERING
        by_differences = self.differentiates and self.estimator == "finite-difference"
        needs = {
            "penalty_weight": (some, "a penalty"),
            "penalty_start": (some, "a penalty"),
            "every": (some, "a penalty"),
            "estimator": (self.differentiates, "a penalty on a derivative"),
            "difference_step": (by_differences, "a penalty and the estimator finite-difference"),
            "through_target": (self.penalty == "reconstruction", "the penalty reconstruction"),
            "projections": (of_jacobian, "the penalty output or latent"),
            "at": (some, "a penalty"),
            "margin": (steers, "the penalty targeted or spectral"),
            "power_steps": (self.penalty.endswith("spectral"), "the penalty spectral"),
            "radius": (self.penalty in RADII, "the penalty noise, smooth-code or kept-code"),
            "ascent_steps": (self.penalty.endswith("-code"), "the penalty smooth-code or kept-code"),
        }
        said = {name for name in needs if getattr(self, name) != getattr(Penalty, name)}
        return {name: need for name, (read, need) in needs.items() if name in said and not read}

    def __post_init__(self) -> None:
        if isinstance(self.through_target, str):
            one_of(("yes", "no"), through_target=self.through_target)
            object.__setattr__(self, "through_target", self.through_target == "yes")
        one_of(get_args(Differentiated), penalty=self.penalty)
        one_of(get_args(Estimator), estimator=self.estimator)
        one_of(get_args(Place), at=self.at)
        not_negative(penalty_weight=self.penalty_weight, margin=self.margin)
        at_least(1, projections=self.projections, every=self.every, power_steps=self.power_steps)
        at_least(1, ascent_steps=self.ascent_steps)
        positive(difference_step=self.difference_step, radius=self.radius)
        if self.estimator == "perturbed" and self.at == "blends":
            raise InputError(
                "the perturbed estimator needs the penalty at images, not at blends; take the estimator exact"
            )
        if self.estimator == "perturbed" and self.penalty not in ("none", "reconstruction"):
            raise InputError(
                f"the {self.penalty} penalty cannot be perturbed; take the estimator exact or finite-difference"
            )
        if self.penalty_start is not None and not 0 <= self.penalty_start <= 1:
            raise InputError(f"penalty start is {self.penalty_start}; give a share of the steps between 0 and 1")
