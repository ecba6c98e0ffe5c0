"""The regression on order flow: planted slopes, other people's estimators, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.stats.ofi_regression import least_squares, newey_west_lags, ofi_regression


def planted(seed: int, n: int = 2_000, slope: float = 0.8, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) * 50.0
    shocks = rng.normal(size=n)
    # Correlated and heteroskedastic, as residuals of the kind are.
    residual = noise * (shocks + 0.5 * np.concatenate([[0.0], shocks[:-1]])) * (1.0 + np.abs(x) / 50.0)
    return slope * x + residual, x


@pytest.mark.parametrize("lags", [0, 1, 5, None])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_coefficients_errors_and_r2_are_those_of_statsmodels(k, lags):
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(7)
    y, x = planted(1)
    others = [rng.normal(size=y.size) * 10.0**i + 0.3 * x for i in range(k - 1)]
    fit = least_squares(y, x, *others, lags=lags)
    used = newey_west_lags(y.size) if lags is None else lags
    settings = {"cov_type": "HAC", "cov_kwds": {"maxlags": used, "use_correction": False}}
    oracle = sm.OLS(y, sm.add_constant(np.column_stack([x, *others]))).fit(**settings)
    np.testing.assert_allclose(fit.coefficients, oracle.params, rtol=1e-9)
    np.testing.assert_allclose(fit.errors, oracle.bse, rtol=1e-8)
    assert fit.r2 == pytest.approx(oracle.rsquared, rel=1e-10)
    assert fit.lags == used


def test_coefficients_are_those_of_a_plain_least_squares_solver():
    y, x = planted(2)
    fit = least_squares(y, x)
    solution, *_ = np.linalg.lstsq(np.column_stack([np.ones_like(x), x]), y, rcond=None)
    np.testing.assert_allclose(fit.coefficients, solution, rtol=1e-10)
    assert fit.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-10)


def test_a_planted_slope_is_found_within_its_error():
    hits = 0
    for seed in range(200):
        y, x = planted(seed, n=400)
        fit = least_squares(y, x)
        hits += abs(fit.slope - 0.8) < 1.96 * fit.slope_error
    # 95 % in the limit; the errors run a little small at this length.
    assert 0.88 <= hits / 200 <= 1.0


def test_plain_errors_would_be_too_small_where_newey_wests_are_not():
    y, x = planted(3, n=20_000)
    fit = least_squares(y, x)
    residual = y - fit.coefficients[0] - fit.slope * x
    plain = residual.std() / (x.std() * np.sqrt(x.size))
    assert fit.slope_error > 1.3 * plain


@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
def test_units_change_the_slope_and_nothing_else(scale, shift):
    y, x = planted(4, n=200)
    one, other = least_squares(y, x), least_squares(y, scale * (x + shift))
    assert other.slope * scale == pytest.approx(one.slope, rel=1e-6)
    assert other.slope_error * scale == pytest.approx(one.slope_error, rel=1e-6)
    assert other.r2 == pytest.approx(one.r2, abs=1e-8)


def test_an_exact_line_has_no_error():
    x = np.arange(50.0)
    fit = least_squares(3.0 - 2.0 * x, x)
    np.testing.assert_allclose(fit.coefficients, [3.0, -2.0], atol=1e-12)
    assert fit.r2 == 1.0
    assert fit.slope_error < 1e-12


def test_trades_are_fitted_alone_and_beside_the_order_flow():
    rng = np.random.default_rng(5)
    flow = rng.normal(size=5_000)
    trades = 0.6 * flow + rng.normal(size=5_000)
    change = flow + rng.normal(size=5_000)
    found = ofi_regression(change, flow, trades)
    assert found.trades is not None
    assert found.both is not None
    assert found.ofi.r2 > found.trades.r2 > 0.05
    assert found.both.r2 == pytest.approx(found.ofi.r2, abs=2e-3)  # trades move prices through the flow only
    assert abs(found.both.coefficients[2]) < 3 * found.both.errors[2]
    assert ofi_regression(change, flow, np.zeros(5_000)).trades is None
    assert ofi_regression(change, flow).both is None


@pytest.mark.parametrize(
    ("y", "regressors", "match"),
    [
        ([1, 2, 3], [[1, 2, 3]], "too few"),
        ([1, 2, 3, 4], [[1, 2, 3]], "one length"),
        ([1, 2, 3, np.nan], [[1, 2, 3, 5]], "not finite"),
        ([1, 2, 3, 4], [[1, 2, np.inf, 5]], "not finite"),
        ([1, 2, 3, 4], [[2, 2, 2, 2]], "collinear"),
        ([1, 2, 3, 4], [[0, 0, 0, 0]], "collinear"),
        ([1, 2, 3, 4, 5], [[1, 2, 3, 4, 6], [2, 4, 6, 8, 12]], "collinear"),
        ([5, 5, 5, 5], [[1, 2, 3, 4]], "does not vary"),
    ],
)
def test_what_cannot_be_fitted_is_refused(y, regressors, match):
    with pytest.raises(ValueError, match=match):
        least_squares(np.array(y, dtype=float), *(np.array(x, dtype=float) for x in regressors))


def test_lags_follow_the_rule_and_their_range():
    assert [newey_west_lags(n) for n in (10, 100, 1_000, 100_000)] == [2, 4, 6, 18]
    with pytest.raises(ValueError, match="lags"):
        least_squares(np.arange(9.0) ** 2, np.arange(9.0), lags=9)
