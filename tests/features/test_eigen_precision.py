"""How far float64 is from 512 bits: the largest eigenvalue and the volatility gate's decisions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from apex_nautilus.features import FeatureError, volatility_gate
from apex_nautilus.features._eigen_products import drift_bound
from apex_nautilus.features.eigen import EigenConfig, scan_prices
from apex_nautilus.features.volatility_gate import VolatilityGate

needs_flint = pytest.mark.skipif(not volatility_gate.has_flint(), reason="needs the extra `precision`")


def precise_largest(prices: np.ndarray) -> float:
    """Largest eigenvalue / N of the correlations of the returns between `prices`, at 512 bits.

    Power iteration on the exact matrix until the residual is below 2^-160: with a gap that is known to be
    wide, far below the last bit of a float64.
    """
    import flint

    before = flint.ctx.prec
    flint.ctx.prec = 512
    try:
        t, n = prices.shape
        exact = [[flint.arb(float(p)) for p in row] for row in prices]
        columns = [[exact[i + 1][j] / exact[i][j] - 1 for i in range(t - 1)] for j in range(n)]
        for column in columns:
            mean = sum(column) / len(column)
            column[:] = [x - mean for x in column]
            length = sum(x * x for x in column).sqrt()
            column[:] = [x / length for x in column]
        z = flint.arb_mat(columns)
        c = z * z.transpose()
        v = flint.arb_mat(n, 1, [1] * n)
        value = flint.arb(0)
        for _ in range(400):
            y = c * v
            square = sum(y[i, 0] * y[i, 0] for i in range(n))
            vv = sum(v[i, 0] * v[i, 0] for i in range(n))
            value = sum(v[i, 0] * y[i, 0] for i in range(n)) / vv
            if square / vv - value * value < flint.arb(2) ** -320:
                break
            length = square.sqrt()
            # Balls are cut to their middles: an iterate need not be exact, the residual says how good it is.
            v = flint.arb_mat(n, 1, [(y[i, 0] / length).mid() for i in range(n)])
        return float((value / n).mid())
    finally:
        flint.ctx.prec = before


@needs_flint
def test_float64_is_within_its_bound_of_512_bits():
    config = EigenConfig(windows=(10, 20, 40, 80), regime_window=40, null_every=0)
    rng = np.random.default_rng(12)
    moves = 0.85 * rng.normal(size=(1500, 1)) + 0.5 * rng.normal(size=(1500, 10))
    prices = 100.0 * np.cumprod(1.0 + 1e-4 * moves, axis=0)
    prices[700:, 2] *= 40.0  # a shock that passes through every window
    found = scan_prices(prices, np.arange(1500), config)
    worst = np.zeros(4)
    for m in (0, 500, 660, 700, 720, 900, len(found.row) - 1):
        for k, w in enumerate(config.windows):
            exact = precise_largest(prices[found.row[m] - w : found.row[m] + 1])
            worst[k] = max(worst[k], abs(found.records["lambda_max"][m, k] - exact))
    bounds = [drift_bound(w) for w in config.windows]
    print(f"largest error {worst.max():.1e}, bounds {', '.join(f'{b:.1e}' for b in bounds)}")
    assert (worst < bounds).all()
    assert worst.max() < 1e-12


def both_gates(prices, times, **settings):
    gates = [VolatilityGate(precise=p, **settings) for p in (True, False)]
    decisions = [[g.update(p, t) for p, t in zip(prices, times, strict=True)] for g in gates]
    return gates, decisions


@needs_flint
@pytest.mark.parametrize("threshold", [None, 1.0e-4])
def test_the_gate_decides_alike_with_512_bits_and_64(threshold):
    rng = np.random.default_rng(4)
    steps = 1e-4 * rng.normal(size=1200) * rng.choice([0.3, 1.0, 3.0], size=12).repeat(100)
    steps[300:420] = 0.0  # a dead market
    steps[500:620] = np.tile([2e-4, -1e-4, 0.0], 40)  # equal windows over and over: ties
    prices = 60_000.0 * np.cumprod(1.0 + steps)
    prices[50] = np.nan
    times = 1_700_000_000_000_000_000 + 60_000_000_000 * np.arange(1200)  # crosses midnight
    gates, (precise, plain) = both_gates(prices, times, threshold=threshold)
    assert precise == plain
    assert 50 < sum(plain) < 1150
    assert all(np.isfinite(g.deviation) for g in gates)


def test_the_gate_calibrates_itself_from_the_days_hundredth_sample():
    gate = VolatilityGate(precise=False, window=5)
    prices = 100.0 * np.cumprod(1.0 + 1e-3 * np.random.default_rng(0).normal(size=200))
    day = 86_400_000_000_000
    for i, price in enumerate(prices):
        is_open = gate.update(price, day * 100 + i)
        if i + 1 < 100:
            assert not is_open
        else:
            past = [np.std(prices[j - 4 : j + 1] / prices[j - 5 : j] - 1) for j in range(5, i + 1)]
            assert is_open == (past[-1] >= np.quantile(past, 0.6, method="inverted_cdf"))
    assert not gate.update(prices[-1] * 1.1, day * 101)  # a new day begins shut


def test_a_missing_flint_warns_once_and_falls_back(monkeypatch):
    monkeypatch.setattr(volatility_gate, "_flint", None)
    monkeypatch.setattr(volatility_gate, "_warned", False)
    with pytest.warns(RuntimeWarning, match="python-flint is not installed"):
        VolatilityGate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VolatilityGate()
    with pytest.raises(FeatureError, match="precision"):
        VolatilityGate(precise=True)
    with pytest.raises(FeatureError, match="threshold"):
        VolatilityGate(-1.0)
