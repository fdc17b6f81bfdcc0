"""Which images are trained on or attacked."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from doubleback.settings.checks import LEFT_OUT, Settings, Unsaid, at_least, at_most
from doubleback.settings.headings import Heading

LARGEST_SIDE = 8192  # pixels

Parts = Literal["own", "drawn"]
Background = Literal["white", "black"]


@dataclass(frozen=True)
class Data(Settings):
    """A data set, and how its images are read.

    Raises:
        InputError: a size or a limit is under 1, or a size over `LARGEST_SIDE`.
    """

    HEADING = Heading.IMAGES

    data: Annotated[Unsaid[str], arg(metavar="NAME|PATH", help_behavior_hint="(default: digits)")] = LEFT_OUT
    """digits (bundled), mnist, svhn, celeba, a hub id owner/name, or a folder of images or parquet."""
    image_size: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: the images' own)")] = LEFT_OUT
    """Crop and resize every image to this height and width."""
    limit: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: all)")] = LEFT_OUT
    """Use at most this many images of each split."""
    image_column: Annotated[Unsaid[str], arg(metavar="NAME", help_behavior_hint="(default: image or img)")] = LEFT_OUT
    """Which column of a parquet file holds the images."""
    label_column: Annotated[Unsaid[str], arg(metavar="NAME", help_behavior_hint="(default: label or labels)")] = (
        LEFT_OUT
    )
    """Which column of parquet or metadata.csv holds the labels."""
    parts: Annotated[Unsaid[Parts], arg(metavar="own|drawn", help_behavior_hint="(default: own)")] = LEFT_OUT
    """Where validation and test images come from. own: from the data set; drawn: from its training images."""
    background: Annotated[Unsaid[Background], arg(metavar="white|black", help_behavior_hint="(default: white)")] = (
        LEFT_OUT
    )
    """The colour behind transparent pixels."""

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size, limit=self.limit)
        at_most(LARGEST_SIDE, image_size=self.image_size)
