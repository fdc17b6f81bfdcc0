"""Which images are trained on or attacked."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from doubleback.settings.checks import LEFT_OUT, Settings, Unsaid, at_least, at_most

LARGEST_SIDE = 8192  # pixels

Parts = Literal["own", "drawn"]
Background = Literal["white", "black"]


@dataclass(frozen=True)
class Data(Settings):
    """A data set, and how its images are read.

    Raises:
        InputError: a size or a limit is under 1, or a size over `LARGEST_SIDE`.
    """

    data: Annotated[Unsaid[str], arg(metavar="NAME|PATH", help_behavior_hint="(default: digits)")] = LEFT_OUT
    """digits (bundled), mnist, svhn, celeba, a hub id owner/name, or a folder of parquet or images."""
    image_size: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: the images' own)")] = LEFT_OUT
    """Crop and resize every image to this height and width."""
    limit: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: all)")] = LEFT_OUT
    """Use at most this many images of each split."""
    image_column: Annotated[Unsaid[str], arg(metavar="NAME", help_behavior_hint="(default: image or img)")] = LEFT_OUT
    """The column of the images, in parquet."""
    label_column: Annotated[Unsaid[str], arg(metavar="NAME", help_behavior_hint="(default: label or labels)")] = (
        LEFT_OUT
    )
    """The column of the labels, in parquet or in metadata.csv."""
    parts: Annotated[Unsaid[Parts], arg(metavar="own|drawn", help_behavior_hint="(default: own)")] = LEFT_OUT
    """own: the validation and test images that the data set has; drawn: both from its training images."""
    background: Annotated[Unsaid[Background], arg(metavar="white|black", help_behavior_hint="(default: white)")] = (
        LEFT_OUT
    )
    """What is seen through transparent pixels."""

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size, limit=self.limit)
        at_most(LARGEST_SIDE, image_size=self.image_size)
