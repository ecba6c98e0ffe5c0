"""Bar features: by their definitions, live as in batch, only from bars that have closed."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from apex_nautilus.features import BAR_OK, BarFeatures, FeatureError, apply_bar, batch_bars, get, names

FEATURES = names("bar")
MINUTE = 60_000_000_000
COLUMNS = ("open", "high", "low", "close", "volume")


def resample(bars: dict[str, np.ndarray], minutes: int) -> dict[str, np.ndarray]:
    """Bars of a longer clock, by pandas, whole ones only."""
    frame = pd.DataFrame(bars).set_index(pd.to_datetime(bars["ts_ns"]))
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    grouped = frame[list(COLUMNS)].resample(f"{minutes}min", closed="right", label="right")
    out = grouped.agg(how)[grouped.count()["close"] == minutes]
    times = out.index.as_unit("ns").asi8
    return {"ts_ns": times, **{c: out[c].to_numpy() for c in COLUMNS}}


def columns(bars, rows=slice(None)):
    return [bars[c][rows] for c in ("ts_ns", *COLUMNS)]


def trend(closes: list[float]) -> float:
    if len(closes) < 11:
        return 0.0
    last = closes[-11:]
    path = sum(abs(b - a) for a, b in pairwise(last))
    return (last[-1] - last[0]) / path if path else 0.0


EVERY = 7  # bars that the slow definition skips, no divisor of any timeframe


def slow_mtfa(bars, minutes: int) -> list[float]:
    """By the definition: at every seventh bar, each timeframe's bars that have closed by then."""
    widths = [w for w in (1, 5, 15, 60) if w >= minutes]
    values = []
    for k in range(0, len(bars["ts_ns"]), EVERY):
        now = int(bars["ts_ns"][k])
        total = 0.0
        for width in widths:
            span = width * MINUTE
            closes: dict[int, float] = {}
            for j in range(max(0, k - 13 * 60 // minutes), k + 1):
                end = -(-int(bars["ts_ns"][j]) // span) * span
                if end <= now:
                    closes[end] = float(bars["close"][j])
            # The oldest one of this look back is as complete as the others: only its last close matters.
            total += trend([closes[e] for e in sorted(closes)])
        values.append(total / len(widths))
    return values


@pytest.fixture(params=["1m", "5m", "15m"])
def market(request, real_bars):
    minutes = int(request.param[:-1])
    return (real_bars if minutes == 1 else resample(real_bars, minutes)), request.param


def test_features_follow_their_definitions(market):
    bars, clock = market
    rows = batch_bars(*columns(bars), FEATURES, clock)
    got = dict(zip(FEATURES, rows.features.T, strict=True))
    frame = pd.DataFrame(bars)
    previous = frame.close.shift()
    returns = np.log(frame.close / previous)
    window = frame.rolling(20)
    expected = {
        "bar_return": (returns * 1e4).fillna(0.0),
        "true_range": (
            np.maximum(frame.high, previous) - np.minimum(frame.low, previous)
        ).div(previous).mul(1e4).fillna(0.0),
        "bar_volatility": (returns.rolling(20).std(ddof=0) * 1e4).fillna(0.0),
        "volume_zscore": (
            (frame.volume - window.volume.mean()) / window.volume.std(ddof=0)
        ).fillna(0.0),
        "range_position": (
            (frame.close - window.low.min()) / (window.high.max() - window.low.min())
        ).fillna(0.5),
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(got.pop(name), values, rtol=1e-6, atol=1e-6, err_msg=name)
    n = 900
    np.testing.assert_allclose(
        got.pop("mtfa")[:n:EVERY], slow_mtfa({c: v[:n] for c, v in bars.items()}, int(clock[:-1]))
    )
    beside = {name for name in got if name.startswith("vmd_")}  # test_vmd.py
    assert got.keys() == beside, f"no definition here for {sorted(got.keys() - beside)}"


@njit
def _simulate(memory, ts, open_, high, low, close, volume, row, rows):
    for k in range(len(ts)):
        if apply_bar(memory, ts[k], open_[k], high[k], low[k], close[k], volume[k]) != BAR_OK:
            return k
        rows[k] = row
    return len(ts)


def test_live_and_the_simulators_loop_equal_batch_to_the_last_bit(market):
    bars, clock = market
    batch = batch_bars(*columns(bars), FEATURES, clock)
    live = BarFeatures(FEATURES, clock)
    rows, warm = [], []
    for bar in zip(*(c.tolist() for c in columns(bars)), strict=True):
        assert live.apply(*bar) is True
        assert live.row_ts_ns == bar[0]
        rows.append(live.row.copy())
        warm.append(live.is_warm)
    assert np.array(rows).tobytes() == batch.features.tobytes()
    assert warm == batch.warm.tolist()
    assert live.row_count == len(batch.ts_ns)

    inside = BarFeatures(FEATURES, clock)
    out = np.empty_like(batch.features)
    assert _simulate(inside.memory, *columns(bars), inside.row, out) == len(out)
    assert out.tobytes() == batch.features.tobytes()


def test_chunks_equal_one_pass(market):
    bars, clock = market
    whole = batch_bars(*columns(bars), FEATURES, clock)
    machine = BarFeatures(FEATURES, clock)
    edges = [0, 7, 7, 50, 211, len(bars["ts_ns"])]
    parts = [machine.run(*columns(bars, slice(a, b))) for a, b in pairwise(edges)]
    assert np.concatenate([p.features for p in parts]).tobytes() == whole.features.tobytes()
    assert np.concatenate([p.warm for p in parts]).tobytes() == whole.warm.tobytes()


def test_perturbing_the_future_moves_no_past_value(market):
    bars, clock = market
    full = batch_bars(*columns(bars), FEATURES, clock)
    rng = np.random.default_rng(4)
    for cut in rng.integers(30, len(bars["ts_ns"]), 5):
        factor = np.ones(len(bars["ts_ns"]))
        factor[cut:] = np.exp(rng.normal(0, 0.01))
        other = {c: bars[c] * factor for c in COLUMNS} | {"ts_ns": bars["ts_ns"]}
        changed = batch_bars(*columns(other), FEATURES, clock)
        assert changed.features[:cut].tobytes() == full.features[:cut].tobytes()
        assert changed.features[cut].tobytes() != full.features[cut].tobytes()


@pytest.mark.parametrize("name", FEATURES)
def test_once_warm_a_feature_does_not_know_where_the_data_began(real_bars, name):
    # With holes, so that market time and rows are not the same.
    keep = np.random.default_rng(8).random(len(real_bars["ts_ns"])) < 0.8
    keep[1_000:1_800] = False
    bars = {c: v[keep] for c, v in real_bars.items()}
    full = batch_bars(*columns(bars), [name], "1m")
    for start in (1, 37, 633):
        late = batch_bars(*columns(bars, slice(start, None)), [name], "1m")
        first = int(np.flatnonzero(late.warm)[0])
        spec = get(name)
        assert first == max(spec.warmup_rows, spec.warmup_ns // MINUTE)
        assert late.warm[first:].all()
        assert late.features[first:].tobytes() == full.features[start + first :].tobytes()


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 200), st.floats(1e-3, 1e6), st.floats(0, 0.5), st.floats(0, 1e9), st.booleans()
        ),
        max_size=80,
    ),
    st.sampled_from(["1m", "5m", "15m"]),
)
def test_values_are_never_nan_and_keep_their_range(steps, clock):
    live = BarFeatures(FEATURES, clock)
    ts = 1_700_000_000_000_000_000
    for gap, price, span, volume, up in steps:
        ts += gap * 17_000_000_000  # not on any boundary, mostly
        low, high = price * (1 - span), price * (1 + span)
        live.apply(ts, price, high, low, high if up else low, volume)
        for value, spec in zip(live.row, live.specs, strict=True):
            assert math.isfinite(value)
            assert spec.low <= value <= spec.high


def test_flat_bars_give_neutral_values():
    n = 900
    ts = 1_700_000_040_000_000_000 // MINUTE * MINUTE + np.arange(n) * MINUTE
    flat = np.full(n, 7.0)
    rows = batch_bars(ts, flat, flat, flat, flat, flat, FEATURES, "1m")
    assert (rows.features == [get(name).neutral for name in FEATURES]).all()
    assert rows.warm[-1]


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 1.0), (-1.0, -1.0)])
def test_mtfa_is_one_when_every_timeframe_agrees(slope, expected):
    ts = 1_700_000_400_000_000_000 // (60 * MINUTE) * 60 * MINUTE + np.arange(1, 900) * MINUTE
    close = 5_000.0 + slope * np.arange(1, 900)
    rows = batch_bars(ts, close, close, close, close, close, ["mtfa"], "1m")
    assert rows.features[-1, 0] == pytest.approx(expected)
    # 11 closes of a timeframe are needed: 11 minutes give the first quarter, 55 the second, and so on.
    strength = np.abs(rows.features[[9, 10, 53, 54, 163, 164, 658, 659], 0])
    assert strength == pytest.approx([0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0])


@pytest.mark.parametrize(
    ("bar", "message"),
    [
        ((0, 1, 2, 0.5, 1, 1), "does not close later"),
        ((MINUTE, 1, 2, 0.5, math.nan, 1), "NaN or infinite"),
        ((MINUTE, 1, math.inf, 0.5, 1, 1), "NaN or infinite"),
        ((MINUTE, 1, 2, 0.0, 1, 1), "not positive"),
        ((MINUTE, 1, 2, 0.5, 1, -1), "not positive or the volume is negative"),
        ((MINUTE, 3, 2, 0.5, 1, 1), "lies outside"),
        ((MINUTE, 1, 2, 1.5, 1.7, 1), "lies outside"),
    ],
)
def test_a_bad_bar_is_refused_and_changes_nothing(bar, message):
    live = BarFeatures(FEATURES, "1m")
    live.apply(0, 1, 2, 0.5, 1, 1)
    before = live.memory.copy()
    with pytest.raises(FeatureError, match=message):
        live.apply(*bar)
    assert (live.memory == before).all()
    first = (0, 1, 2, 0.5, 1, 1)
    with pytest.raises(FeatureError, match=f"bar 1, closing at {bar[0]}, refused.*{message}"):
        batch_bars(*([a, b] for a, b in zip(first, bar, strict=True)), FEATURES, "1m")


def test_bad_settings_are_refused_by_name():
    with pytest.raises(FeatureError, match="clock '1s'"):
        BarFeatures(["mtfa"], "1s")
    with pytest.raises(FeatureError, match="is a book feature"):
        BarFeatures(["imbalance"], "1m")
    with pytest.raises(FeatureError, match="equally long"):
        batch_bars([1, 2], [1], [1], [1], [1], [1], ["mtfa"], "1m")
    with pytest.raises(TypeError, match="build it anew"):
        pickle.dumps(BarFeatures(["mtfa"], "1m"))
