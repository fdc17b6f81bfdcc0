"""The reconstruction of noisy images: what a denoising autoencoder is trained on.

    L2 = ||x_hat(x + radius n) - x||^2,    n ~ N(0, I)            "noise"

Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders". For a small radius it is
the reconstruction error and radius^2 times the squared Frobenius norm of d x_hat / d x (Bishop 1995).
"""

from torch import Tensor

from doubleback.models.base import Autoencoder
from doubleback.objective.penalties.gradient import Images, Noise, Penalised
from doubleback.tensors import squared_norm


def noise_penalty(model: Autoencoder, x: Images, noise: Noise, direction: Tensor, *, radius: float = 0.2) -> Penalised:
    """L2 = ||x_hat(x + radius n) - x||^2.

    Args:
        model: an autoencoder.
        x: images in [0, 1].
        noise: of the model, (n, *noise_shape), or None for the mean path.
        direction: n, shaped as x.
        radius: the standard deviation of the noise, in units of a pixel.

    Returns:
        The reconstruction of the noisy images and the penalty of each example.
    """
    reconstruction = model(x + radius * direction, noise)
    return reconstruction, squared_norm(reconstruction.likelihood.mean - x)
