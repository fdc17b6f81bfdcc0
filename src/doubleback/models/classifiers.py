"""The rivals of the robust classifier: a dense network and two convolutional ones. Scores are logits, (B, K)."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models.parts import check_sizes, dense, unrounded
from doubleback.models.pulling import Pullable

Classes = Sequence[str | int]


class MLP(nn.Module, Pullable):
    """Dense layers with rectifiers.

    Args:
        image_shape: (C, H, W).
        classes: names or numbers of the K classes.
        hidden: widths, input side first.

    Raises:
        InputError: a size is not positive, or there are fewer than two classes.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        classes: Classes = tuple(range(10)),
        *,
        hidden: Sequence[int] = (512, 512),
    ) -> None:
        super().__init__()
        check_sizes("MLP", image_shape=image_shape, hidden=hidden)
        self.image_shape, self.classes = image_shape, checked_classes(classes)
        self.layers = nn.Sequential(nn.Flatten(), *dense((math.prod(image_shape), *hidden, len(self.classes)), nn.ReLU))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Logits of images in [0, 1]."""
        return unrounded(self.layers(x))


class LeNet(nn.Module, Pullable):
    """LeNet-5 with rectifiers and maxima: 6 and 16 filters of 5x5, each halved, then 120-84-K.

    The first convolution keeps the size of images under 32 pixels, as the original's padded digits do.

    Args:
        image_shape: (C, H, W), H and W at least 12.
        classes: names or numbers of the K classes.

    Raises:
        InputError: the images are too small, or there are fewer than two classes.

    Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition".
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), classes: Classes = tuple(range(10))) -> None:
        super().__init__()
        channels, *sides = image_shape
        check_sizes("LeNet", image_shape=image_shape)
        if min(sides) < 12:
            raise InputError(f"images are {sides[0]}x{sides[1]}; LeNet needs 12x12 pixels or more")
        self.image_shape, self.classes = image_shape, checked_classes(classes)
        padding = 2 if min(sides) < 32 else 0
        height, width = (((side + 2 * padding - 4) // 2 - 4) // 2 for side in sides)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            *dense((16 * height * width, 120, 84, len(self.classes)), nn.ReLU),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Logits of images in [0, 1]."""
        return unrounded(self.layers(x))


class CvNet(nn.Module, Pullable):
    """A convolutional network for small colour images: two 3x3 convolutions for each of `filters`, then halved.

    The paper names its classifier for SVHN without describing it; this one is of the usual kind, with group
    normalisation (Wu & He 2018), which lets no image act on another.

    Args:
        image_shape: (C, H, W), H and W at least two to the power of the number of filters.
        classes: as in `MLP`.
        filters: of each pair of convolutions, multiples of 8.
        hidden: width of the dense layer.

    Raises: as `MLP`, and where a size does not fit the images.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        classes: Classes = tuple(range(10)),
        *,
        filters: Sequence[int] = (32, 64, 128),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        check_sizes("CvNet", image_shape=image_shape, filters=filters, hidden=hidden)
        channels, *sides = image_shape
        if not filters or any(count % GROUP for count in filters):
            raise InputError(f"filters of the CvNet are {tuple(filters)}; give one or more multiples of {GROUP}")
        if min(sides) < 2 ** len(filters):
            raise InputError(
                f"images are {sides[0]}x{sides[1]}; a CvNet of {len(filters)} levels needs "
                f"{2 ** len(filters)} pixels or more: give fewer filters"
            )
        self.image_shape, self.classes = image_shape, checked_classes(classes)
        layers: list[nn.Module] = []
        for outputs in filters:
            layers += [*_convolved(channels, outputs), *_convolved(outputs, outputs), nn.MaxPool2d(2)]
            channels = outputs
        last = channels * math.prod(side >> len(filters) for side in sides)
        self.layers = nn.Sequential(*layers, nn.Flatten(), *dense((last, hidden, len(self.classes)), nn.ReLU))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Logits of images in [0, 1]."""
        return unrounded(self.layers(x))


GROUP = 8  # filters that are normalised together


def checked_classes(classes: Classes) -> tuple[str | int, ...]:
    """The classes as a tuple.

    Raises:
        InputError: fewer than two, or one twice.
    """
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InputError(f"classes are {', '.join(map(str, classes)) or 'none'}; give two or more, each once")
    return tuple(classes)


def _convolved(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(outputs // GROUP, outputs), nn.ReLU()]
