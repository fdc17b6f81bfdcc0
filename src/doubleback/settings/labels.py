"""What an autoencoder learns of the classes of its images, beside the images themselves."""

from dataclasses import dataclass

from doubleback.settings.checks import Settings, at_least, not_negative
from doubleback.settings.headings import Heading


@dataclass(frozen=True)
class Labels(Settings):
    """The loss of `objective.labelled` beside that of the autoencoder.

    Raises:
        InputError: a weight is negative or not finite, or the shift is out of range.
    """

    HEADING = Heading.LABELS

    label_weight: float = 0.0
    """Weight of the labels in the loss: of a cross-entropy that is read off the code. 0: labels are not used. Good
    values lie between a few hundred and a few thousand."""
    label_gradient: float = 0.3
    """Weight of double backpropagation of that cross-entropy: more of it withstands more, and classifies less."""
    shift: int = 0
    """Move the training images by up to so many pixels. It helps where there are few of them."""
    invert: bool = False
    """Invert half of the training images, as suits house numbers."""

    @property
    def unread(self) -> dict[str, str]:
        """The settings that were given but have no effect, and what each of them needs to have one."""
        said = [name for name, value in vars(self).items() if value != getattr(Labels, name)]
        return {} if self.label_weight else dict.fromkeys(said, "--label-weight")

    def __post_init__(self) -> None:
        not_negative(label_weight=self.label_weight, label_gradient=self.label_gradient)
        at_least(0, shift=self.shift)
