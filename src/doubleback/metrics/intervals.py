"""95 % intervals: of a share, by its count; of a mean, by resampling."""

import numpy as np
from numpy.typing import ArrayLike

from doubleback.errors import InputError

RESAMPLES = 9999
_VALUES = 1 << 20  # resampled values held at a time: this bounds the memory, and changes no figure


def wilson(successes: int, trials: int) -> list[float]:
    """Wilson's 95 % interval of a share (Wilson 1927), as [low, high].

    >>> [round(end, 3) for end in wilson(0, 100)]
    [0.0, 0.037]
    """
    from scipy.stats import binomtest

    ends = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return [float(ends.low), float(ends.high)]


def bootstrap_interval(values: ArrayLike) -> list[float] | None:
    """The 95 % percentile bootstrap interval of the mean (Efron & Tibshirani 1993), as [low, high].

    Args:
        values: (P,), finite, one for each pair; the same values give the same interval.

    Returns:
        The interval in the unit of the values; None for fewer than 2, which tell nothing of their spread.

    Raises:
        InputError: `values` is not one row of finite numbers.

    >>> bootstrap_interval([0.5, 0.5, 0.5])
    [0.5, 0.5]
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise InputError(f"values of shape {sample.shape}; give one row of finite numbers, one for each pair")
    if len(sample) < 2:
        return None
    if np.ptp(sample) == 0:
        return [float(sample[0])] * 2
    from scipy.stats import bootstrap

    found = bootstrap(
        (sample,),
        np.mean,
        method="percentile",
        n_resamples=RESAMPLES,
        batch=max(1, _VALUES // len(sample)),
        rng=np.random.default_rng(0),
    )
    return [float(end) for end in found.confidence_interval]
