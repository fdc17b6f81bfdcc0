"""A rough network, and a trained one."""

import pytest
import torch
from torch import Tensor

from doubleback.data import load_images
from doubleback.models import MLP
from doubleback.training import fit
from tests.attacks.classifiers.problems import Bends, images


@pytest.fixture
def bends() -> tuple[Bends, Tensor, Tensor]:
    """A network, images, and what it takes them for; a few labels are wrong."""
    model, x = Bends(), images(40)
    y = model(x).argmax(1)
    y[::13] = (y[::13] + 1) % 5
    return model, x, y


@pytest.fixture(scope="session")
def digits() -> tuple[MLP, Tensor, Tensor]:
    """A trained MLP, and 200 test images with their labels."""
    data = load_images("digits")
    torch.manual_seed(0)
    model = MLP(data.image_shape, hidden=(32,))
    fit(model, data, epochs=8, batch_size=64, progress=False)
    assert data.test.labels is not None
    return model.eval().requires_grad_(False), data.test.images[:200].float() / 255, data.test.labels[:200]
