"""Intervals: of a share against its own equation, of a mean against what resampling has to give."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from doubleback.errors import InputError
from doubleback.metrics.intervals import bootstrap_interval, wilson


@given(st.data(), st.integers(1, 2000))
def test_the_ends_of_wilsons_interval_solve_its_equation(data: st.DataObject, trials: int) -> None:
    """(p - share)^2 = z^2 p (1 - p) / trials, with z for 95 %."""
    successes = data.draw(st.integers(0, trials))
    share, z = successes / trials, scipy.stats.norm.ppf(0.975)
    low, high = wilson(successes, trials)
    assert 0 <= low <= share <= high <= 1
    for p in (low, high):
        assert (p - share) ** 2 == pytest.approx(z**2 * p * (1 - p) / trials, abs=1e-9)


def test_bootstrap_of_the_mean_is_the_normal_interval_where_that_holds() -> None:
    """Both ends within 0.15 standard errors: what skewness and resampling leave."""
    values = np.random.default_rng(0).normal(size=400)
    error = values.std() / 20
    expected = values.mean() + error * scipy.stats.norm.ppf([0.025, 0.975])
    assert bootstrap_interval(values) == pytest.approx(expected.tolist(), abs=0.15 * error)


def test_bootstrap_is_a_percentile_interval() -> None:
    """Of one 1 among nine 0 the resampled mean is Binomial(10, 0.1) / 10; a basic interval would reach below 0."""
    ends = scipy.stats.binom.ppf([0.025, 0.975], 10, 0.1) / 10
    assert bootstrap_interval([1.0] + 9 * [0.0]) == pytest.approx(ends.tolist())


def test_bootstrap_is_repeatable_and_leaves_the_global_generators_alone() -> None:
    values = torch.linspace(0, 1, 20)
    state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    found = bootstrap_interval(values)
    assert found == bootstrap_interval(values.tolist())
    assert isinstance(found, list)
    assert [type(end) for end in found] == [float, float]
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpys)  # type: ignore[index]


def test_bootstrap_does_not_depend_on_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).gamma(2.0, 0.2, size=40)
    whole = bootstrap_interval(values)
    monkeypatch.setattr("doubleback.metrics.intervals._VALUES", 40 * 7)
    assert bootstrap_interval(values) == pytest.approx(whole)


def test_bootstrap_of_equal_values_and_of_too_few() -> None:
    assert bootstrap_interval([0.25] * 8) == [0.25, 0.25]
    assert bootstrap_interval([0.25]) is None
    assert bootstrap_interval([]) is None


@pytest.mark.parametrize("values", [[0.1, float("nan")], [float("inf"), 0.1], [float("nan")], np.ones((1, 2)), 0.5])
def test_bootstrap_refuses(values: object) -> None:
    with pytest.raises(InputError, match="give one row of finite numbers"):
        bootstrap_interval(values)  # type: ignore[arg-type]
