"""Moments of a return series, from the series and from its power sums."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as scipy_stats

from apex_nautilus.stats import max_drawdown, moments, moments_from_sums, sharpe_ratio

RETURNS = hnp.arrays(np.float64, st.integers(3, 60), elements=st.floats(-0.5, 0.5, width=32))


@settings(max_examples=100)
@given(RETURNS)
def test_moments_agree_with_scipy(returns):
    deviation = returns.std()
    m = moments(returns)
    if deviation < 1e-6:
        return
    assert m.sharpe == pytest.approx(returns.mean() / deviation, rel=1e-9, abs=1e-12)
    assert m.skew == pytest.approx(scipy_stats.skew(returns), rel=1e-6, abs=1e-9)
    assert m.kurtosis == pytest.approx(scipy_stats.kurtosis(returns, fisher=False), rel=1e-6)


@settings(max_examples=100)
@given(RETURNS)
def test_power_sums_give_the_same_moments(returns):
    m = moments(returns)
    if m.deviation < 1e-3:
        return
    sums = [float(np.sum(returns**k)) for k in (1, 2, 3, 4)]
    again = moments_from_sums(returns.size, *sums)
    assert again.sharpe == pytest.approx(m.sharpe, rel=1e-6, abs=1e-9)
    assert again.skew == pytest.approx(m.skew, rel=1e-4, abs=1e-5)
    assert again.kurtosis == pytest.approx(m.kurtosis, rel=1e-4)


@pytest.mark.parametrize("returns", [[], [0.1], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_a_series_that_says_nothing_has_sharpe_zero_and_normal_shape(returns):
    m = moments(returns)
    assert (m.sharpe, m.skew, m.kurtosis) == (0.0, 0.0, 3.0)
    sums = [float(np.sum(np.power(returns, k))) for k in (1, 2, 3, 4)]
    assert moments_from_sums(len(returns), *sums)[3:] == (0.0, 0.0, 3.0)


@pytest.mark.parametrize("returns", [[0.1, math.nan], [math.inf], [[0.1, 0.2]]])
def test_gaps_are_refused_not_skipped(returns):
    with pytest.raises(ValueError):
        sharpe_ratio(returns)


@pytest.mark.parametrize(
    ("equity", "expected"),
    [
        ([], 0.0),
        ([200.0], 0.0),
        ([1, 2, 3], 0.0),
        ([100, 50, 200, 120], 0.5),
        ([100, 200, 50], 0.75),
        ([1, -1], 2.0),
    ],
)
def test_max_drawdown_is_the_deepest_fall_from_a_peak(equity, expected):
    assert max_drawdown(equity) == pytest.approx(expected)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0.1, 10.0)))
def test_max_drawdown_agrees_with_all_pairs(equity):
    pairs = [(equity[i] - equity[j]) / equity[i] for i in range(equity.size) for j in range(i, equity.size)]
    assert max_drawdown(equity) == pytest.approx(max(pairs), abs=1e-12)


@pytest.mark.parametrize("equity", [[0.0, 1.0], [math.nan], [[1.0]]])
def test_a_curve_that_cannot_be_a_curve_is_refused(equity):
    with pytest.raises(ValueError):
        max_drawdown(equity)
