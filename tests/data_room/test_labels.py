"""Triple-barrier labels against a slow twin in exact arithmetic and against the replay's own trades."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.data import (
    LABEL_CODES,
    Bracket,
    DatasetError,
    binance_instrument,
    dataset_from_bars,
    dataset_from_events,
    read_events,
)
from apex_nautilus.data.labels import Slippage, label_bars, label_book
from apex_nautilus.data.nautilus_tables import BARS
from apex_nautilus.forge.replay import EXIT_MAX_HOLD, EXIT_STOP, EXIT_TAKE_PROFIT, replay_trades
from apex_nautilus.genome import compile_trees, constant
from apex_nautilus.risk import BarCosts, Egarch, InstrumentSpec, trading_rules

BTC = binance_instrument("BTCUSDT-PERP.BINANCE")
SECOND = 1_000_000_000
SPEC = InstrumentSpec(
    id="X.Y", base="X", quote="Y", price_precision=1, size_precision=0, tick=0.5, lot=1.0, maker_fee=0.0002,
    taker_fee=0.0005,
)  # fmt: skip


def barriers(side, bid, ask, bracket, mids, spec):
    """Take-profit and stop in exact arithmetic; None where no order would be placed."""
    touch = Fraction(str(ask if side > 0 else bid))
    if bracket.stop == "bps":
        distance = touch * Fraction(bracket.stop_value) / 10_000
    else:
        if len(mids) < bracket.window + 1:
            return None
        returns = np.diff(np.log(mids[-bracket.window - 1 :]))
        distance = Fraction(bracket.stop_value * float(returns.std())) * touch
    if distance <= Fraction(str(ask)) - Fraction(str(bid)):
        return None
    tick = Fraction(str(spec.tick))
    profit = touch + side * Fraction(bracket.reward_risk) * distance
    stop = touch - side * distance
    up, down = (lambda x: math.ceil(x / tick) * tick), (lambda x: math.floor(x / tick) * tick)
    profit, stop = (up(profit), down(stop)) if side > 0 else (down(profit), up(stop))
    return None if profit <= 0 or stop <= 0 else (profit, stop)


def slow_book_label(row, side, bracket, spec, row_event, ts, bid, ask, mid):
    start = row_event[row]
    found = barriers(side, bid[start], ask[start], bracket, mid[: row + 1], spec)
    if found is None:
        return "no_trade", -1, math.nan
    profit, stop = found
    entry = ask[start] if side > 0 else bid[start]
    for e in range(start + 1, len(ts)):
        price = bid[e] if side > 0 else ask[e]
        exact = Fraction(str(price))
        if side * (exact - stop) <= 0:
            return "stop", e, side * (price - entry) / entry - spec.taker_fee * (1 + price / entry)
        if side * (exact - profit) >= 0:
            out = float(profit)
            return (
                "take_profit",
                e,
                side * (out - entry) / entry - spec.taker_fee - spec.maker_fee * out / entry,
            )
        if ts[e] >= ts[start] + bracket.max_hold_ns:
            return "time_out", e, side * (price - entry) / entry - spec.taker_fee * (1 + price / entry)
    return "still_open", -1, math.nan


brackets = st.one_of(
    st.builds(Bracket, st.just("bps"), st.sampled_from([30.0, 75.0, 200.0]), st.sampled_from([3, 10]),
    st.sampled_from([1.0, 3.0])), st.builds(Bracket, st.just("volatility"), st.sampled_from([0.7, 2.0]),
    st.sampled_from([3, 10]), st.just(3.0), st.just(4)),
)  # fmt: skip


@st.composite
def paths(draw):
    n = draw(st.integers(5, 40))
    steps = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    bid = 100.0 + 0.5 * np.cumsum(steps)
    ask = bid + 0.5 * np.array(draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)))
    ts = np.cumsum(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))).astype(np.int64)
    row_event = np.array(sorted(draw(st.sets(st.integers(0, n - 1), min_size=1))), dtype=np.int64)
    return ts, bid, ask, row_event


@settings(max_examples=150)
@given(paths(), brackets, st.sampled_from(["linear_perp", "spot"]))
def test_book_labels_agree_with_a_slow_obvious_twin(path, bracket, kind):
    ts, bid, ask, row_event = path
    spec = (
        SPEC
        if kind == "linear_perp"
        else SPEC.__class__(**{f: getattr(SPEC, f) for f in SPEC.__struct_fields__} | {"kind": kind})
    )
    mid = 0.5 * (bid[row_event] + ask[row_event])
    labels = label_book(
        bracket,
        spec,
        (0, row_event.size),
        row_event=row_event,
        path_ts_ns=ts,
        path_bid=bid,
        path_ask=ask,
        mid=mid,
    )
    for row in range(row_event.size):
        for column, side in enumerate((1, -1)):
            if side < 0 and spec.is_spot:
                expected = ("no_trade", -1, math.nan)
            else:
                expected = slow_book_label(row, side, bracket, spec, row_event, ts, bid, ask, mid)
            got = labels[row, column]
            assert LABEL_CODES[got["code"]] == expected[0]
            assert got["exit_event"] == expected[1]
            assert got["net_return"] == pytest.approx(expected[2], abs=1e-12, nan_ok=True)
            assert got["outcome"] == {"take_profit": 1, "stop": 0, "time_out": 0}.get(expected[0], -1)


# A long from 100.25 (half spread 0.25), stop 1 % away at 99.0 (rounded from 99.2475 to the tick of 0.5),
# take-profit 3 % away at 103.5; a short from 99.75 with the stop at 101.0 and the take-profit at 96.5.
BAR_CASES = [
    # bars after the row as (open, high, low, close), code and exit bar of the long, and of the short
    (
        "rise to the take-profit",
        [(100, 102, 100, 102), (102, 104, 102, 104)],
        ("take_profit", 2),
        ("stop", 1),
    ),
    ("fall to the take-profit", [(100, 100, 98, 98), (98, 98, 96, 96)], ("stop", 1), ("take_profit", 2)),
    ("both in one bar is a stop", [(100, 105, 95, 100)], ("stop", 1), ("stop", 1)),
    ("quiet until the time is over", [(100, 100.5, 99.5, 100)] * 3, ("time_out", 2), ("time_out", 2)),
    ("quiet until the data end", [(100, 100.5, 99.5, 100)], ("still_open", -1), ("still_open", -1)),
    ("a gap over the stop", [(100, 100, 100, 100), (90, 91, 89, 90)], ("stop", 2), ("take_profit", 2)),
]


@pytest.mark.parametrize(("case", "bars", "long", "short"), BAR_CASES, ids=[c[0] for c in BAR_CASES])
def test_bars_to_expected_labels(case, bars, long, short):
    path = np.array([(100.0, 100.0, 100.0, 100.0), *bars], dtype=float)
    opened, high, low, close = path.T.copy()
    labels = label_bars(
        Bracket("bps", 100.0, 2 * 60 * SECOND), msgspec.structs.replace(SPEC, price_precision=2), (0, 1),
        row_event=np.zeros(1, dtype=np.int64),
        path_ts_ns=np.arange(1, len(path) + 1) * 60 * SECOND, path_open=opened, path_high=high, path_low=low,
        path_close=close, path_half_spread=np.full(len(path), 0.25), mid=np.array([100.0]),
    )  # fmt: skip
    got = [(LABEL_CODES[label["code"]], int(label["exit_event"])) for label in labels[0]]
    assert got == [long, short]
    if case == "a gap over the stop":
        fill, entry = 90.0 - 0.25, 100.25
        assert labels[0, 0]["net_return"] == pytest.approx((fill - entry - 0.0005 * (entry + fill)) / entry)


def test_an_order_on_bars_pays_for_its_size_on_the_way_in_and_out():
    """By hand: in and out slip k sigma sqrt(quantity / volume), up to a tick; a take-profit does not."""
    spec = msgspec.structs.replace(SPEC, size_precision=2, lot=0.01)
    opened, high, low, close = np.array(
        [(100, 100, 100, 100), (100, 102, 100, 102), (102, 104, 102, 104)], dtype=float
    ).T.copy()
    arguments = {
        "row_event": np.zeros(1, dtype=np.int64), "path_ts_ns": np.arange(1, 4) * 60 * SECOND,
        "path_open": opened, "path_high": high, "path_low": low, "path_close": close,
        "path_half_spread": np.full(3, 0.5), "mid": np.array([100.0]),
    }  # fmt: skip
    slippage = Slippage(2.0, np.array([0.0, 0.01, 0.02]), np.array([1.0, 4.0, 9.0]), notional=100.6)
    bracket = Bracket("bps", 101.0, 120 * SECOND)
    long, short = label_bars(bracket, spec, (0, 1), **arguments, slippage=slippage)[0]
    # A long of 1.01 would be worth more than 100.6 at 100.5: it is of 1.00, and slips on the way in by
    # 100.5 * 2 * 0.01 * sqrt(1 / 4) = 1.005, to 102.0. No high's bid reaches the take-profit, 104.0: the time
    # is over at a bid of 103.5 in the last bar, less 103.5 * 2 * 0.02 * sqrt(1 / 9) = 1.38: 102.0.
    assert LABEL_CODES[long["code"]] == "time_out"
    entry, out = 102.0, 102.0
    assert long["net_return"] == pytest.approx((out - entry - 0.0005 * (entry + out)) / entry, abs=1e-15)
    # A short of 1.01: in at 99.5 less 99.5 * 2 * 0.01 * sqrt(1.01 / 4) = 1.00, so 98.5. Its stop, 101.0, is
    # met in the next bar, where it slips by 101.0 * 2 * 0.01 * sqrt(1.01 / 4) = 1.02, to 102.5.
    assert LABEL_CODES[short["code"]] == "stop"
    entry, out = 98.5, 102.5
    assert short["net_return"] == pytest.approx((entry - out - 0.0005 * (entry + out)) / entry, abs=1e-15)


def always(instrument: InstrumentSpec, side: float, stop, max_hold_s: float):
    """Rules and program of a genome that always wants in on one side, small enough for any touch."""
    genome = SimpleNamespace(
        id="always",
        entry_threshold=0.5,
        bracket=SimpleNamespace(reward_risk=3.0, max_hold_s=max_hold_s, stop=stop),
        calibration=SimpleNamespace(a=0.0, b=9.0),
        execution="aggressive",
        sizing=SimpleNamespace(
            mode="kelly",
            kelly_fraction=0.5,
            stake="risk",
            max_leverage=10.0,
            min_qty=None,
            max_qty=0.002,
            lo=0.0,
            hi=1.0,
        ),
    )
    return trading_rules(genome, instrument), [constant(side), constant(1.0)]


def check_against_replay(dataset, side, stop, max_hold_s, least, notional=150.0):
    """Orders of the replay are of 0.002, as those of labels worth 150 are at 50,000 to 75,000."""
    rules, trees = always(dataset.instrument, side, stop, max_hold_s)
    program = compile_trees(trees, len(dataset.feature_names))
    trades = replay_trades(dataset, program, rules, equity=1e6)
    labels = dataset.labels(rules, notional=notional)[:, 0 if side > 0 else 1]
    kinds = {EXIT_TAKE_PROFIT: "take_profit", EXIT_STOP: "stop", EXIT_MAX_HOLD: "time_out"}
    closed = [t for t in trades if int(t["exit_kind"]) in kinds]
    assert len(closed) >= least
    assert {t["quantity"] for t in closed} == {0.002}
    for t in closed:
        label = labels[int(t["entry_row"])]
        assert LABEL_CODES[label["code"]] == kinds[int(t["exit_kind"])]
        assert label["exit_event"] == t["exit_event"]
        assert label["net_return"] == pytest.approx(
            t["profit"] / (t["entry_price"] * t["quantity"]), abs=2e-6
        )


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_labels_are_how_the_replayed_trades_end_on_a_recorded_book(side, btc_import):
    catalog, _ = btc_import
    events = np.concatenate(list(read_events(catalog, BTC.id)))
    # Without fees: on so short a recording no bet pays them, and none would be made.
    free = msgspec.structs.replace(BTC, maker_fee=0.0, taker_fee=0.0)
    dataset = dataset_from_events(events, free, "book", ["imbalance"])
    check_against_replay(dataset, side, SimpleNamespace(value=0.5), 5.0, 10)
    check_against_replay(dataset, side, SimpleNamespace(multiple=3.0, window=20), 5.0, 3)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_labels_are_how_the_replayed_trades_end_on_bars(side):
    rng = np.random.default_rng(5)
    n = 800
    close = np.round(600_000 * np.exp(np.cumsum(rng.normal(0, 0.002, n)))).astype(np.int64)
    bars = np.zeros(n, dtype=BARS)
    bars["ts_ns"] = np.arange(1, n + 1) * 300 * SECOND
    bars["close"] = close
    bars["open"] = np.concatenate([[600_000], close[:-1]])
    bars["high"] = np.maximum(bars["open"], close) + rng.integers(0, 900, n)
    bars["low"] = np.minimum(bars["open"], close) - rng.integers(0, 900, n)
    bars["volume"] = 1000
    dataset = dataset_from_bars(bars, BTC, "5m", ["bar_return"])
    check_against_replay(dataset, side, SimpleNamespace(value=50.0), 7_200.0, 30)
    check_against_replay(dataset, side, SimpleNamespace(multiple=1.5, window=10), 3_600.0, 30)
    # With a cost model: small orders in a thin market slip by several ticks.
    egarch = Egarch(omega=0.15, alpha=0.25, gamma=-0.05, beta=0.96, start=5.0, low=0.0, high=14.0)
    costs = BarCosts(half_spread_bps=0.3, half_spread_sigma=0.02, impact=1.0, volume_window=24, egarch=egarch)
    slipped = dataset_from_bars(bars, BTC, "5m", ["bar_return"], bar_costs=costs)
    check_against_replay(slipped, side, SimpleNamespace(value=50.0), 7_200.0, 30)
    check_against_replay(slipped, side, SimpleNamespace(multiple=1.5, window=10), 3_600.0, 30)
    column = 0 if side > 0 else 1
    bracket = Bracket("bps", 50.0, 7_200 * SECOND)
    small, large = (slipped.labels(bracket, notional=worth)[:, column] for worth in (150.0, 15_000.0))
    assert small["code"].tolist() == large["code"].tolist()  # size decides what it costs, not how it ends
    done = small["exit_event"] >= 0
    loss = small["net_return"][done] - large["net_return"][done]
    assert (loss >= 0.0).all()
    assert loss.mean() > 1e-4
    with pytest.raises(DatasetError, match="notional must be finite and positive"):
        slipped.labels(bracket, notional=0.0)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"stop": "wide"}, "'bps' or 'volatility'"),
        ({"stop_value": 0.0}, "stop_value"),
        ({"reward_risk": math.nan}, "reward_risk"),
        ({"max_hold_ns": 0}, "max_hold_ns"),
        ({"stop": "volatility"}, "window >= 1"),
    ],
)
def test_a_bracket_that_makes_no_sense_is_refused(fields, match):
    good = {"stop": "bps", "stop_value": 10.0, "max_hold_ns": SECOND}
    with pytest.raises(DatasetError, match=match):
        Bracket(**(good | fields))
