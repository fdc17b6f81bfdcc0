"""One trained autoencoder for every test of the audit: they attack it and leave it as it is."""

import pytest
import torch

from doubleback.data import ImageData
from doubleback.models import VAE
from doubleback.training import fit


@pytest.fixture(scope="session")
def vae(tiny: ImageData) -> VAE:
    torch.manual_seed(0)
    model = VAE(tiny.image_shape, hidden=(64,), latent=8)
    fit(model, tiny, epochs=60, batch_size=32, progress=False)
    return model.eval()
