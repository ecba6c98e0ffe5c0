"""What trading on bars costs: from the past only, the same bar by bar and at once, never for the order."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.risk import (
    BarCosts,
    BarCostTracker,
    Egarch,
    InstrumentSpec,
    bar_cost_path,
    bar_fill_kernel,
    bar_touch,
    forward_sigma,
    slippage_kernel,
)
from apex_nautilus.risk.cost_file import CostFile, FitNote, decode_cost_file, encode_cost_file

SPEC = InstrumentSpec(
    id="ETHUSDT-PERP.BINANCE", base="ETH", quote="USDT", price_precision=2, size_precision=3, tick=0.05,
    lot=0.001, min_qty=0.001, max_qty=1000.0, min_notional=5.0, maker_fee=0.0002, taker_fee=0.0005,
)  # fmt: skip
MODEL = BarCosts(
    half_spread_bps=0.4,
    half_spread_sigma=0.05,
    impact=0.8,
    volume_window=7,
    egarch=Egarch(omega=0.2, alpha=0.3, gamma=-0.05, beta=0.95, start=5.0, low=0.0, high=12.0),
)


def bars(seed: int, n: int = 300):
    rng = np.random.default_rng(seed)
    close = np.round(2000.0 * np.exp(np.cumsum(rng.normal(0.0, 2e-3, n))) / 0.05) * 0.05
    open_ = np.concatenate([[2000.0], close[:-1]])
    return open_, close, rng.integers(0, 5_000_000, n)


@pytest.mark.parametrize("model", [MODEL, BarCosts(half_spread_bps=0.5)], ids=["full", "constant"])
def test_bar_by_bar_and_at_once_are_the_same_to_the_bit(model):
    open_, close, volume = bars(1)
    path = bar_cost_path(model, SPEC, open_, close, volume)
    tracker = BarCostTracker(model, SPEC, open_[0])
    for i in range(close.size):
        assert (tracker.half_spread, tracker.sigma, tracker.volume) == tuple(column[i] for column in path)
        tracker.close_bar(close[i], int(volume[i]))


def test_each_number_is_what_its_definition_says():
    open_, close, volume = bars(2)
    half, sigma, mean = bar_cost_path(MODEL, SPEC, open_, close, volume)
    returns = np.log(close / np.concatenate([open_[:1], close[:-1]]))
    np.testing.assert_allclose(sigma, forward_sigma(MODEL.egarch, returns)[:-1], rtol=1e-13)
    for i in (1, 5, 100):
        past = volume[max(0, i - MODEL.volume_window) : i]
        assert mean[i] == past.mean() / 1000.0
        wanted = close[i - 1] * (0.4e-4 + 0.05 * sigma[i])
        assert half[i] == pytest.approx(math.ceil(wanted / 0.05 - 1e-6) * 0.05)


@given(at=st.integers(0, 99), factor=st.floats(0.5, 2.0), volume=st.integers(0, 10**9))
def test_a_bar_changes_nothing_of_its_own_nor_of_the_past(at, factor, volume):
    open_, close, units = bars(3, 100)
    before = bar_cost_path(MODEL, SPEC, open_, close, units)
    close[at] *= factor
    units[at] = volume
    after = bar_cost_path(MODEL, SPEC, open_, close, units)
    for one, other in zip(before, after, strict=True):
        assert (one[: at + 1] == other[: at + 1]).all()


@given(
    side=st.sampled_from([-1, 1]),
    ticks=st.integers(1000, 10**6),
    quantity=st.floats(1e-3, 1e3),
    sigma=st.floats(0.0, 0.02),
    volume=st.floats(1e-3, 1e6),
    impact=st.floats(0.0, 3.0),
)
def test_an_order_never_fills_better_than_its_base_and_always_on_the_grid(
    side, ticks, quantity, sigma, volume, impact
):
    base = ticks * SPEC.tick_units / 100.0
    price = bar_fill_kernel(side, base, quantity, impact, sigma, volume, SPEC.tick_units, 100.0)
    units = price * 100.0 / SPEC.tick_units
    assert units == pytest.approx(round(units), abs=1e-6)
    paid = side * (price - base)
    owed = base * slippage_kernel(impact, sigma, quantity, volume)
    assert paid >= 0.0
    if side > 0 or owed < base - SPEC.tick:  # a sale cannot fetch less than a tick
        assert owed - 1e-6 * base <= paid + 1e-9 <= owed + SPEC.tick + 1e-9


def test_the_slippage_is_the_square_root_law():
    assert slippage_kernel(0.8, 0.002, 4.0, 100.0) == pytest.approx(0.8 * 0.002 * 0.2)
    assert bar_fill_kernel(1, 2000.0, 4.0, 0.8, 0.002, 100.0, 5, 100.0) == 2000.65  # 0.64, to the next tick
    assert bar_fill_kernel(-1, 2000.0, 4.0, 0.8, 0.002, 100.0, 5, 100.0) == 1999.35
    assert bar_fill_kernel(1, 2000.0, 4.0, 0.0, 0.002, 100.0, 5, 100.0) == 2000.0


def test_a_touch_is_the_float_of_its_decimal_number():
    """0.3 - 0.1 is not 0.2 in floats; a barrier at 0.2 must be touched all the same."""
    assert bar_touch(0.3, -1, 0.1, 100.0) == 0.2
    assert bar_touch(0.7, 1, 0.1, 100.0) == 0.8
    assert bar_touch(0.05, -1, 0.1, 100.0) == 0.01


def test_a_market_that_did_not_trade_counts_one_unit():
    _, _, mean = bar_cost_path(MODEL, SPEC, [2000.0] * 4, [2000.0] * 4, [0, 0, 0, 0])
    assert mean.tolist() == [0.001] * 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"impact": -1.0}, r"costs\.impact: must be finite and not negative"),
        ({"half_spread_bps": math.nan}, r"costs\.half_spread_bps: must be finite"),
        ({"half_spread_bps": 2000.0}, r"must not exceed 1000 bps"),
        ({"volume_window": 0}, r"costs\.volume_window: must lie in"),
        ({"egarch": None}, r"costs\.egarch: needed"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_by_name(change, said):
    with pytest.raises(ValueError, match=said):
        msgspec.structs.replace(MODEL, **change).check()


def test_bars_that_are_none_are_refused():
    with pytest.raises(ValueError, match="every close must be finite and positive"):
        bar_cost_path(MODEL, SPEC, [1.0, 1.0], [1.0, 0.0], [1, 1])
    with pytest.raises(ValueError, match="must be"):
        bar_cost_path(MODEL, SPEC, [1.0], [1.0, 1.0], [1, 1])
    with pytest.raises(ValueError, match="first open"):
        BarCostTracker(MODEL, SPEC, math.nan)


FILE = CostFile(
    schema="apex.costs/1",
    instrument_id=SPEC.id,
    bar_minutes=5,
    costs=MODEL,
    notes=[FitNote(name="impact", method="m", source="s", samples=9, value=0.8, standard_error=math.nan)],
)


def test_a_cost_file_comes_back_as_it_went():
    data = encode_cost_file(FILE)
    assert decode_cost_file(data, "costs.json", instrument_id=SPEC.id, bar_minutes=5) == MODEL
    assert msgspec.json.decode(data, type=CostFile).notes[0].standard_error is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"impact": 0.8,', b'"impact": 0.8, "luck": 1,', "luck: is not a field here"),
        (b'"impact": 0.8,', b'"impact": -0.8,', r"costs\.impact: must be"),
        (b"apex.costs/1", b"apex.costs/2", "schema"),
        (b'"bar_minutes": 5', b'"bar_minutes": 15', "bars of 15 minutes, orders meet bars of 5"),
        (b'"ETHUSDT', b'"BTCUSDT', "the model is of BTCUSDT-PERP.BINANCE, not of ETHUSDT-PERP.BINANCE"),
        (b"{", b"", "not a cost model"),
    ],
)
def test_a_cost_file_that_does_not_fit_is_refused_with_its_name(old, new, said):
    data = encode_cost_file(FILE)
    assert old in data
    with pytest.raises(ValueError, match=f"costs.json: .*{said}"):
        decode_cost_file(data.replace(old, new, 1), "costs.json", instrument_id=SPEC.id, bar_minutes=5)
