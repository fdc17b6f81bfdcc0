"""The rivals: sizes that fit, sizes that do not, the classic count of weights, and rows that do not interact."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from doubleback.errors import InputError
from doubleback.models import MLP, Classifier, CvNet, LeNet
from doubleback.models.classifiers import checked_classes

Build = Callable[..., nn.Module]
KINDS: dict[str, tuple[Build, int]] = {
    "mlp": (lambda shape, classes: MLP(shape, classes, hidden=(7,)), 1),
    "lenet": (LeNet, 12),
    "cvnet": (lambda shape, classes: CvNet(shape, classes, filters=(8, 16), hidden=5), 4),
}
every_kind = pytest.mark.parametrize(("build", "least"), KINDS.values(), ids=KINDS.keys())


@every_kind
@given(channels=st.integers(1, 4), height=st.integers(0, 36), width=st.integers(0, 36), count=st.integers(2, 12))
@settings(deadline=None, max_examples=20)
def test_every_size_that_fits(build: Build, least: int, channels: int, height: int, width: int, count: int) -> None:
    shape = (channels, least + height, least + width)
    classes = tuple(f"class {i}" for i in range(count))
    model = build(shape, classes)
    assert isinstance(model, Classifier)
    assert model.classes == classes
    assert model.image_shape == shape
    assert model(torch.rand(2, *shape)).shape == (2, count)


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_lenet_is_lenet() -> None:
    """C1 156, C3 2416 (every map sees all six), C5 48120, F6 10164, output 850."""
    assert weights(LeNet()) == weights(LeNet((1, 32, 32))) == 156 + 2416 + 48_120 + 10_164 + 850 == 61_706
    shapes = [tuple(p.shape) for p in LeNet((1, 28, 28)).parameters() if p.dim() > 1]
    assert shapes == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]


def test_weights_of_the_others() -> None:
    assert weights(MLP()) == 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
    assert weights(MLP((1, 2, 3), (0, 1), hidden=())) == 6 * 2 + 2
    pairs = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
    convolutions = sum(9 * before * after + 3 * after for before, after in pairs)  # bias and two of the normalisation
    assert weights(CvNet()) == convolutions + (128 * 4 * 4 + 1) * 256 + 257 * 10


@every_kind
def test_rows_do_not_interact(build: Build, least: int) -> None:
    """In training mode too: no normalisation over the batch."""
    torch.manual_seed(0)
    model = build((2, 14, 15), (0, 1, 2)).double()
    x = torch.rand(5, 2, 14, 15, dtype=torch.float64)
    alone = torch.cat([model(image[None]) for image in x])
    assert torch.allclose(model(x), alone, rtol=0, atol=1e-12)
    assert (alone[1:] != alone[:-1]).any(1).all()


@every_kind
def test_every_weight_and_pixel_counts(build: Build, least: int) -> None:
    torch.manual_seed(0)
    model, x = build((1, 16, 16), (0, 1, 2)), torch.rand(64, 1, 16, 16, requires_grad=True)
    model(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(0) > 0).all()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@every_kind
def test_scores_under_autocast_are_float32(build: Build, least: int) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert build((1, 12, 12), (0, 1))(torch.rand(2, 1, 12, 12)).dtype == torch.float32


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: LeNet((1, 11, 28)), "images are 11x28; LeNet needs 12x12"),
        (lambda: LeNet((1, 28, 11)), "images are 28x11; LeNet needs 12x12"),
        (lambda: CvNet((3, 7, 32)), "images are 7x32; a CvNet of 3 levels needs 8 pixels"),
        (lambda: CvNet((3, 32, 32), filters=(8,) * 6), "needs 64 pixels"),
        (lambda: CvNet(filters=(8, 12)), r"filters of the CvNet are \(8, 12\); give one or more multiples of 8"),
        (lambda: CvNet(filters=()), r"filters of the CvNet are \(\)"),
        (lambda: CvNet(filters=(8, -8)), "filters of the CvNet"),
        (lambda: CvNet(hidden=0), "hidden of the CvNet is 0"),
        (lambda: MLP(hidden=(5, 0)), r"hidden of the MLP is \(5, 0\)"),
        (lambda: MLP((1, 0, 3)), r"image shape of the MLP is \(1, 0, 3\)"),
        (lambda: LeNet((0, 28, 28)), r"image shape of the LeNet is \(0, 28, 28\)"),
        (lambda: MLP(classes=("only",)), "classes are only; give two or more, each once"),
        (lambda: LeNet(classes=()), "classes are none"),
        (lambda: CvNet(classes=(1, 2, 1)), "classes are 1, 2, 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_sizes(build: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build()


def test_classes_become_a_tuple() -> None:
    assert checked_classes(["a", 3]) == ("a", 3)
    assert checked_classes(range(3)) == (0, 1, 2)
