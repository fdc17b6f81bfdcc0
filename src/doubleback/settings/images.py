"""Which images are trained on or attacked."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from doubleback.settings.checks import LEFT_OUT, Settings, Unsaid, at_least, at_most

LARGEST_SIDE = 8192  # pixels


@dataclass(frozen=True)
class Data(Settings):
    """A data set, and how its images are brought to one size.

    Raises:
        InputError: a size or a limit is under 1, or a size over `LARGEST_SIDE`.
    """

    data: Annotated[Unsaid[str], arg(metavar="NAME|PATH", help_behavior_hint="(default: digits)")] = LEFT_OUT
    """digits (bundled), mnist, svhn, celeba, a hub id owner/name, or a folder of parquet or images."""
    image_size: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: the images' own)")] = LEFT_OUT
    """Crop and resize every image to this height and width."""
    limit: Annotated[Unsaid[int], arg(metavar="N", help_behavior_hint="(default: all)")] = LEFT_OUT
    """Use at most this many images of each split."""

    def __post_init__(self) -> None:
        at_least(1, image_size=self.image_size, limit=self.limit)
        at_most(LARGEST_SIDE, image_size=self.image_size)
