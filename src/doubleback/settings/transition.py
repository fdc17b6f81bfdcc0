"""The way from one class to another."""

from dataclasses import dataclass

from doubleback.errors import InputError
from doubleback.settings.checks import Settings, at_least, positive
from doubleback.settings.headings import Heading


@dataclass(frozen=True)
class Walk(Settings):
    """Steps along the gradient of the target class's probability (paper, equation 15).

    Raises:
        InputError: a length or a count is out of range, or the confidence is not a probability.
    """

    HEADING = Heading.WALK

    eta: float = 0.05
    """Length of a step, in the 2-norm of images in [0, 1]."""
    steps: int = 400
    """Most steps."""
    confidence: float = 0.95
    """Stop once the target class has this probability."""
    beyond: int = 40
    """Take N more steps after that. They make the change visible to other classifiers, too."""

    def __post_init__(self) -> None:
        positive(eta=self.eta)
        at_least(1, steps=self.steps)
        at_least(0, beyond=self.beyond)
        if not 0 < self.confidence <= 1:
            raise InputError(f"confidence is {self.confidence}; give a probability, such as 0.95")
