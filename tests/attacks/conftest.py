"""What the attacks on autoencoders are tried on: a small untrained VAE and three pairs."""

import pytest
import torch
from torch import Tensor

from doubleback.models import VAE


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 6, 6), hidden=(16,), latent=3).eval()


@pytest.fixture(scope="module")
def pairs() -> tuple[Tensor, Tensor]:
    source, target = torch.rand(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return source, target
