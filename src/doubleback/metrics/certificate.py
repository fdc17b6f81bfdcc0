"""The AUDDC below which no attack can bring an autoencoder whose Lipschitz constant is proven.

    ||x_hat_a - x_t|| >= ||x_hat_0 - x_t|| - L ||x_a - x_0||,    so    v(u) >= max(1 - a u, m)
    a = L ||x_0 - x_t|| / gain,    m = -||x_hat_t - x_t|| / gain,    gain = ||x_hat_0 - x_t|| - ||x_hat_t - x_t||

Its area over u in [0, 1] is the certificate (Barrett et al. 2022, "Certifiably robust variational autoencoders", bound
the distance; the area follows).
"""

import numpy as np
from jaxtyping import Float

Row = Float[np.ndarray, "P"]


def certified_auddc(lipschitz: float, apart: Row, start: Row, floor: Row) -> Row:
    """The certified lower bound of the AUDDC of each pair, in the envelope convention.

    Args:
        lipschitz: L of the reconstruction, in the 2-norm.
        apart: ||x_0 - x_t||, (P,).
        start: ||x_hat_0 - x_t||, (P,).
        floor: ||x_hat_t - x_t||, (P,); below `start`.

    >>> certified_auddc(1.0, np.array([2.0]), np.array([2.0]), np.array([0.0]))
    array([0.5])
    >>> certified_auddc(2.0, np.array([2.0]), np.array([2.0]), np.array([0.0]))
    array([0.25])
    """
    gain = start - floor
    slope, least = lipschitz * apart / gain, -floor / gain
    meets = np.clip((1 - least) / np.maximum(slope, 1e-300), 0, 1)  # where the line meets the least there is
    return np.asarray(meets - slope * meets**2 / 2 + least * (1 - meets))
