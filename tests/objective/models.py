"""Small models in float64, and images for them: what the tests of the objectives differentiate."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from doubleback.models import DRAW, VAE, ConvVAE
from tests.problems import LinearAutoencoder

PENALTIES = ("reconstruction", "output", "latent")


def no_projection(model: LinearAutoencoder) -> LinearAutoencoder:
    """With another decoder: the error of a projection is orthogonal to it, and J'(x_hat - x) would be zero."""
    with torch.no_grad():
        model.V.mul_(0.8)
    return model


def images(count: int = 3, size: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_vae(likelihood: str = "bernoulli") -> VAE:
    torch.manual_seed(0)
    return VAE((1, 4, 4), hidden=(8,), latent=3, likelihood=likelihood).double()


SMALL: dict[str, Callable[[], nn.Module]] = {
    "vae": lambda: VAE((1, 6, 6), hidden=(5,), latent=2, likelihood="gaussian"),
    "vae, learned variance": lambda: VAE((1, 6, 6), hidden=(5,), latent=2, likelihood="gaussian-learned"),
    "conv-vae": lambda: ConvVAE((2, 6, 7), filters=(3, 2), hidden=4, latent=2),
    "ae": lambda: VAE((1, 6, 6), hidden=(5,), latent=2, variational=False),
    "draw": lambda: DRAW((1, 4, 5), steps=2, hidden=3, latent=2),
    "draw, attention": lambda: DRAW(
        (2, 5, 4), steps=2, hidden=3, latent=2, read_size=2, write_size=3, likelihood="gaussian"
    ),
}


def small(name: str) -> tuple[nn.Module, Tensor]:
    """A small instance of each model in float64, and images for it."""
    torch.manual_seed(0)
    model = SMALL[name]().double()
    shape: tuple[int, ...] = model.image_shape  # type: ignore[assignment]
    return model, torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
