"""Paired differences against published and closed forms, and what is no difference."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from doubleback.errors import InputError
from doubleback.metrics.differences import Difference, paired_figures, paired_outcomes
from doubleback.metrics.intervals import bootstrap_interval

NAN = float("nan")


def outcomes(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Rights of two models on images that both, only the first, only the second, or neither gets right."""
    counts = [both, first, second, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_the_mean_over_pairs_and_the_bootstrap_of_their_differences() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0, 1, 40), rng.uniform(0, 1, 40)
    found = paired_figures(one, other)
    assert found is not None
    assert found.mean == pytest.approx((one - other).mean())
    assert list(found.interval or ()) == pytest.approx(bootstrap_interval(one - other))
    assert (found.higher, found.lower, found.pairs) == ((one > other).sum(), (one < other).sum(), 40)
    assert found.p == scipy.stats.binomtest(found.higher, 40).pvalue


def test_pairs_settle_what_their_spread_hides() -> None:
    """Both have intervals from 0.2 to 0.4; every pair is higher by 0.028 on average."""
    base = np.linspace(0.1, 0.5, 20)
    found = paired_figures(base + np.linspace(0.001, 0.055, 20), base)
    assert found is not None
    assert found.settled
    assert found.mean == pytest.approx(0.028)
    assert found.p == pytest.approx(2 * 0.5**20)


def test_only_pairs_that_both_use_count() -> None:
    found = paired_figures([0.5, NAN, 0.75, 9.0], [0.25, 0.5, 0.5, NAN])
    assert found is not None
    assert (found.mean, found.pairs, found.p) == (0.25, 2, 0.5)
    assert paired_figures([0.5, NAN], [NAN, 0.5]) is None


def test_a_single_pair_settles_nothing() -> None:
    found = paired_figures([0.9], [0.1])
    assert found is not None
    assert found.interval is None
    assert not found.settled


@pytest.mark.parametrize("moved", [0.0, 1e-12])
def test_equal_figures_are_no_difference_whatever_their_last_bits(moved: float) -> None:
    values = np.linspace(0.2, 0.4, 12)
    found = paired_figures(values + moved, values)
    assert found is not None
    assert (found.mean, found.interval, found.p, found.higher, found.lower) == (0.0, (0.0, 0.0), 1.0, 0, 0)


def test_mcnemar_of_the_two_classifiers_of_the_issue() -> None:
    """59 % against 50 % of the same 100 images: 12 that only the first gets right and 3 that only the second does."""
    found = paired_outcomes(*outcomes(47, 12, 3, 38))
    assert found is not None
    assert found.mean == pytest.approx(0.09)
    assert found.p == pytest.approx(2 * scipy.stats.binom.cdf(3, 15, 0.5))
    assert found.settled


def test_mcnemar_counts_the_images_on_which_they_differ() -> None:
    """59 % against 50 % again, but of images on which the two agree in nothing that matters."""
    found = paired_outcomes(*outcomes(20, 39, 30, 11))
    assert found is not None
    assert found.mean == pytest.approx(0.09)
    assert found.p > 0.3
    assert not found.settled


@given(*4 * [st.integers(0, 40)])
def test_mcnemars_interval_says_what_its_p_says(both: int, first: int, second: int, neither: int) -> None:
    found = paired_outcomes(*outcomes(both, first, second, neither))
    if found is None:
        assert both + first + second + neither == 0
        return
    assert found.settled == (found.p < 0.05)
    if found.interval is not None:
        low, high = found.interval
        assert -1 <= low <= found.mean <= high <= 1


@pytest.mark.parametrize(("p", "words"), [(0.0004, "p < 0.001"), (0.0026, "p = 0.003"), (0.5, "p = 0.50")])
def test_p_in_words(p: float, words: str) -> None:
    assert Difference(0.1, None, p, 1, 1, 0).p_words == words


@pytest.mark.parametrize("compare", [paired_figures, paired_outcomes])
def test_other_things_are_not_paired(compare: object) -> None:
    with pytest.raises(InputError, match="for the same things in the same order"):
        compare([1, 0, 1], [1, 0])  # type: ignore[operator]
    with pytest.raises(InputError, match="give two rows"):
        compare([[1, 0]], [[1, 0]])  # type: ignore[operator]
