"""Do two models differ? Each pair or image is compared with itself: the mean difference, its interval, an exact test.

Figures (an AUDDC for each pair): the bootstrap of the pair-by-pair differences (Efron & Tibshirani 1993), and the sign
test. Outcomes (right or wrong for each image): McNemar's exact test (McNemar 1947; Fagerland, Lydersen & Laake 2013),
and the interval that belongs to it. Knows no torch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from doubleback.errors import InputError
from doubleback.metrics.intervals import bootstrap_interval

EQUAL = 1e-9  # figures that differ by less than this share of the larger one are equal: arithmetic differs by as much


@dataclass(frozen=True)
class Difference:
    """How much higher one model scores than another on the same things.

    Attributes:
        mean: the first's figures minus the second's, on average; of outcomes, a difference of shares.
        interval: its 95 % interval, (low, high); None where there are fewer than two pairs.
        p: two-sided, of the exact test that neither is higher more often than the other.
        pairs: how many pairs, or images, were compared.
        higher: on how many of them the first scores higher.
        lower: on how many it scores lower.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float
    pairs: int
    higher: int
    lower: int

    @property
    def settled(self) -> bool:
        """Whether the interval is known and 0 lies outside it."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def p_words(self) -> str:
        """The p-value as a sentence has it.

        >>> paired_outcomes([True] * 9, [False] * 9).p_words, paired_outcomes([True] * 20, [False] * 20).p_words
        ('p = 0.004', 'p < 0.001')
        """
        if self.p < 0.001:
            return "p < 0.001"
        near = abs(self.p - 0.05) < 0.0005  # where a digit less would not say on which side it is
        return f"p = {self.p:.4f}" if near else f"p = {self.p:.3f}" if self.p < 0.1 else f"p = {self.p:.2f}"


def paired_figures(one: ArrayLike, other: ArrayLike) -> Difference | None:
    """How much higher the figures of one model are than those of another.

    Args:
        one: (P,), a figure for each pair; not finite where there is none.
        other: (P,), the other's on the same pairs in the same order.

    Returns:
        Over the pairs on which both have a figure, with the sign test's p; None without such a pair.

    Raises:
        InputError: the two are not rows of the same length.

    >>> paired_figures([0.5, 0.75, 0.5], [0.25, 0.5, float("nan")])
    Difference(mean=0.25, interval=(0.25, 0.25), p=0.5, pairs=2, higher=2, lower=0)
    """
    left, right = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    _checked(left, right)
    known = np.isfinite(left) & np.isfinite(right)
    left, right = left[known], right[known]
    if not known.any():
        return None
    each = left - right
    each[np.abs(each) <= EQUAL * np.maximum(np.abs(left), np.abs(right))] = 0
    ends = bootstrap_interval(each)
    higher, lower = int((each > 0).sum()), int((each < 0).sum())
    interval = None if ends is None else (ends[0], ends[1])
    return Difference(float(each.mean()), interval, _two_sided(higher, lower), len(each), higher, lower)


def paired_outcomes(one: ArrayLike, other: ArrayLike) -> Difference | None:
    """How many more of the same images one model gets right than another.

    Args:
        one: (N,) truth values, whether each image is right.
        other: (N,), the other's on the same images in the same order.

    Returns:
        The difference of the shares with McNemar's exact p. Its interval is exact too, given how many images only one
        of them gets right (Clopper & Pearson 1934): 0 lies outside it exactly where p < 0.05. None without an image.

    Raises:
        InputError: the two are not rows of the same length.

    >>> found = paired_outcomes([True] * 60 + [False] * 40, [True] * 50 + [False] * 50)
    >>> found.higher, found.lower, round(found.p, 4), found.settled
    (10, 0, 0.002, True)
    """
    from scipy.stats import binomtest

    left, right = np.asarray(one, dtype=np.bool_), np.asarray(other, dtype=np.bool_)
    _checked(left, right)
    if not len(left):
        return None
    higher, lower = int((left & ~right).sum()), int((~left & right).sum())
    only, count = higher + lower, len(left)
    interval = (0.0, 0.0)
    if only:
        ends = binomtest(higher, only).proportion_ci(0.95, method="exact")
        low, high = ((2 * float(end) - 1) * only / count for end in ends)
        interval = (low, high)
    known = interval if count > 1 else None
    return Difference((higher - lower) / count, known, _two_sided(higher, lower), count, higher, lower)


def _checked(left: NDArray[Any], right: NDArray[Any]) -> None:
    if left.ndim != 1 or left.shape != right.shape:
        raise InputError(f"shapes {left.shape} and {right.shape}; give two rows, for the same things in the same order")


def _two_sided(higher: int, lower: int) -> float:
    """Of the exact test that among those that differ each sign is as likely as the other."""
    from scipy.stats import binomtest

    return float(binomtest(higher, higher + lower).pvalue) if higher + lower else 1.0
