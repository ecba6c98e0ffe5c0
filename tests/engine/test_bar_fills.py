"""Agents on bars in Nautilus: a table of bars, and the trades that must come of them."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from nautilus_trader.model.data import Bar, QuoteTick
from support.engine_case import BTC, START, scripted

from apex_nautilus.data import BARS, bar_type_name, read_bars, write_bars
from apex_nautilus.data.bars import resample
from apex_nautilus.engine import MarketDataError, nautilus_config, open_engine, run_market
from apex_nautilus.engine.bar_market import bar_batches, clocks_over, path_clock
from apex_nautilus.engine.config import bar_hub_config
from apex_nautilus.features import FeatureError, get
from apex_nautilus.risk import BarCosts, Egarch

MINUTE = 60_000_000_000
FIRST = START // MINUTE * MINUTE
ONE_TICK = BarCosts(half_spread_bps=0.0)
"""The half spread is the least there is, one tick: 0.1."""

QUIET = (60_000.0, 60_010.0, 59_990.0, 60_000.0)
FEATURE = ("true_range",)
WARM = get(FEATURE[0]).warmup_rows
"""Bars before the first row: every table of bars gets so many quiet ones in front."""


def make_bars(rows, minutes: int = 1, volume: int = 100_000) -> np.ndarray:
    """Bars one after the other, `volume` in thousandths of a bitcoin."""
    rows = [QUIET] * WARM + list(rows)
    bars = np.zeros(len(rows), dtype=BARS)
    bars["ts_ns"] = FIRST + MINUTE * minutes * np.arange(1 - WARM, len(rows) + 1 - WARM)
    for i, name in enumerate(("open", "high", "low", "close")):
        bars[name] = np.rint([row[i] * 10 for row in rows]).astype(np.int64)
    bars["volume"] = volume
    return bars


def run(
    folder: Path, rows, agents, costs: BarCosts = ONE_TICK, *, minutes: int = 1, chunk_size: int = 100_000
):
    """Run agents over bars through a catalog."""
    catalog, path = folder / "catalog", f"{minutes}m"
    if not catalog.exists():
        write_bars(catalog, BTC, make_bars(rows, minutes), bar_type_name(BTC.id, minutes))
    config = nautilus_config(
        catalog=str(catalog),
        instrument_ids=[BTC.id],
        quote="USDT",
        balance=100_000.0,
        actors=[bar_hub_config(BTC.id, path)],
        bar_paths={BTC.id: path},
        bar_costs={BTC.id: costs},
    )
    with open_engine(config) as engine:
        for agent in agents:
            engine.add_strategy(agent)
        run_market(engine, bar_batches(catalog, {BTC.id: path}, costs={BTC.id: costs}, chunk_size=chunk_size))


def agent(slot: str, side: int, take_profit: float, stop: float, *, row: int = 0, hold_s: float = 3600.0):
    entry = (row, side, 0.01, take_profit, stop, round(hold_s * 1000))
    return scripted(slot, [entry], clock="1m", features=FEATURE)


# Decided at the close of the first bar, entered at the open of the second: a long at 60000.1, a short at
# 59999.9, with barriers at 60050 and 59950.
# Of each the kind of exit, its price, and the minute: the close of the bar, or its open where a gap did it.
CASES = {
    "both barriers in one bar are a stop": (
        [(60_000, 60_100, 59_900, 60_000)],
        ("stop", 59_950.0, 2),
        ("stop", 60_050.0, 2),
    ),
    "both in a later bar, too": (
        [QUIET, (60_000, 60_100, 59_900, 60_000)],
        ("stop", 59_950.0, 3),
        ("stop", 60_050.0, 3),
    ),
    "a rise": (
        [QUIET, (60_000, 60_051, 59_990, 60_045)],
        ("take_profit", 60_050.0, 3),
        ("stop", 60_050.0, 3),
    ),
    "a fall": (
        [QUIET, (60_000, 60_010, 59_949, 59_950)],
        ("stop", 59_950.0, 3),
        ("take_profit", 59_950.0, 3),
    ),
    "the high alone does not reach, the bid below it must": (
        [(60_000, 60_050, 59_990, 60_000), (60_000, 60_050.1, 59_990, 60_000)],
        ("take_profit", 60_050.0, 3),
        ("stop", 60_050.0, 2),
    ),
    "a gap over a barrier fills at the open": (
        [QUIET, (59_900, 59_910, 59_890, 59_900)],
        ("stop", 59_899.9, 2),
        ("take_profit", 59_950.0, 2),
    ),
    "a gap at the entry itself": (
        [(59_900, 59_910, 59_890, 59_900)],
        ("stop", 59_899.9, 1),
        None,  # see the test on take-profits already passed
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bars_to_expected_exits(tmp_path, case):
    rows, long, short = CASES[case]
    agents = [agent("long", 1, 60_050.0, 59_950.0), agent("short", -1, 59_950.0, 60_050.0)]
    run(tmp_path, [QUIET, *rows, QUIET, QUIET], agents)
    for one, expected, side in zip(agents, (long, short), (1, -1), strict=True):
        if expected is None:
            continue
        (trade,) = one.trades
        kind, price, minute = expected
        assert (trade.exit_kind, trade.exit_price) == (kind, price)
        assert trade.entry_ts_ns == FIRST + MINUTE
        assert trade.exit_ts_ns == FIRST + MINUTE * minute
        assert trade.entry_price == pytest.approx(rows[0][0] + 0.1 * side)
        fee = 0.0002 if kind == "take_profit" else 0.0005
        assert trade.fees == pytest.approx(
            0.01 * (0.0005 * trade.entry_price + fee * trade.exit_price), abs=1e-8
        )


def test_the_holding_time_ends_at_the_close_of_its_bar(tmp_path):
    one = agent("a", 1, 61_000.0, 59_000.0, hold_s=90.0)
    run(tmp_path, [QUIET, QUIET, (60_000, 60_020, 59_990, 60_007), QUIET], [one])
    (trade,) = one.trades
    assert (trade.exit_kind, trade.exit_price) == ("max_hold", 60_006.9)
    assert trade.exit_ts_ns - trade.entry_ts_ns == 2 * MINUTE


def test_an_agent_that_leaves_at_a_close_may_enter_at_the_next_open(tmp_path):
    entries = [(0, 1, 0.01, 61_000.0, 59_000.0, 60_000), (1, -1, 0.01, 59_000.0, 61_000.0, 60_000)]
    one = scripted("a", entries, clock="1m", features=FEATURE)
    run(tmp_path, [QUIET] * 5, [one])
    first, second = one.trades
    assert first.exit_ts_ns == second.entry_ts_ns == FIRST + 2 * MINUTE
    assert (first.side, second.side) == (1, -1)


def test_an_entry_that_waits_for_its_open_is_dropped_when_its_agent_retires(tmp_path):
    entries = [(1, 1, 0.01, 61_000.0, 59_000.0, 60_000)]
    one = scripted("a", entries, clock="1m", features=FEATURE, retire_at=1)
    two = scripted("b", entries, clock="1m", features=FEATURE)
    run(tmp_path, [QUIET] * 4, [one, two])
    assert one.is_flat
    assert not one.trades
    assert not one.fills
    assert len(two.trades) == 1


def test_a_take_profit_that_is_passed_at_the_entry_costs_the_taker_fee(tmp_path):
    """The one place where the replay is cheaper: it takes the maker fee here (docs/replay-vs-nautilus.md)."""
    one = agent("a", -1, 59_950.0, 60_050.0)
    run(tmp_path, [QUIET, (59_900, 59_910, 59_890, 59_900), QUIET], [one])
    (trade,) = one.trades
    assert (trade.entry_price, trade.exit_price, trade.exit_kind) == (59_899.9, 59_950.0, "take_profit")
    assert trade.fees == pytest.approx(0.01 * 0.0005 * (trade.entry_price + trade.exit_price), abs=1e-8)


def test_orders_slip_by_the_square_root_of_their_size(tmp_path):
    """sigma held at 20 bps, 100 BTC a bar: half a bitcoin at k = 2 slips 2 * 0.002 * sqrt(0.005)."""
    level = math.log(20.0**2)
    egarch = Egarch(omega=0.0, alpha=0.0, gamma=0.0, beta=0.0, start=level, low=level, high=level)
    costs = msgspec.structs.replace(ONE_TICK, impact=2.0, egarch=egarch)
    entry = (0, 1, 0.5, 61_000.0, 59_950.0, 3_600_000)
    one = scripted("a", [entry], clock="1m", features=FEATURE)
    run(tmp_path, [QUIET, QUIET, (60_000, 60_010, 59_900, 60_000), QUIET], [one], costs)
    (trade,) = one.trades
    share = 2.0 * 0.002 * math.sqrt(0.5 / 100.0)
    assert trade.entry_price == math.ceil(60_000.1 * (1 + share) * 10) / 10
    assert trade.exit_price == math.floor(59_950.0 * (1 - share) * 10) / 10


def test_the_run_does_not_depend_on_how_it_is_cut(tmp_path):
    rng = np.random.default_rng(5)
    close = np.round(60_000 + np.cumsum(rng.normal(0, 30, 200)), 1)
    open_ = np.concatenate([[60_000.0], close[:-1]])
    rows = list(
        zip(
            open_,
            np.maximum(open_, close) + rng.integers(0, 300, 200) / 10,
            np.minimum(open_, close) - rng.integers(0, 300, 200) / 10,
            close,
            strict=True,
        )
    )
    entries = [
        (
            i,
            1 if i % 2 else -1,
            0.01,
            60_000 + 400 * (1 if i % 2 else -1),
            60_000 - 400 * (1 if i % 2 else -1),
            400_000,
        )
        for i in range(0, 190, 5)
    ]
    found = []
    for chunk_size in (6, 100, 100_000):
        one = scripted("a", entries, clock="1m", features=FEATURE)
        run(tmp_path, rows, [one], chunk_size=chunk_size)
        found.append(
            [(t.entry_ts_ns, t.exit_ts_ns, t.entry_price, t.exit_price, t.exit_kind) for t in one.trades]
        )
    assert len(found[0]) > 10
    assert found[0] == found[1] == found[2]


def test_longer_bars_are_gathered_as_datasets_gather_them(tmp_path):
    rng = np.random.default_rng(3)
    rows = [(c, c + 9, c - 9, c) for c in np.round(60_000 + rng.normal(0, 50, 187), 1)]
    bars = make_bars(rows, 1)
    bars["volume"] = rng.integers(0, 10_000, bars.size)
    bars = np.delete(bars, [40, 41, 42, 90])  # holes
    write_bars(tmp_path / "catalog", BTC, bars, bar_type_name(BTC.id, 1))
    given = [item for chunk in bar_batches(tmp_path / "catalog", {BTC.id: "1m"}) for item in chunk]
    times = [item.ts_init for item in given]
    assert times == sorted(times)
    for clock in clocks_over("1m"):
        minutes = int(clock[:-1])
        wanted = resample(bars, 1, minutes)
        found = [
            item for item in given if isinstance(item, Bar) and f"-{minutes}-MINUTE" in str(item.bar_type)
        ]
        assert [b.ts_init for b in found] == wanted["ts_ns"].tolist()
        for name in ("open", "high", "low", "close"):
            assert [round(float(getattr(b, name).as_decimal()) * 10) for b in found] == wanted[name].tolist()
        assert [round(float(b.volume.as_decimal()) * 1000) for b in found] == wanted["volume"].tolist()
    assert sum(isinstance(item, QuoteTick) for item in given) == 5 * bars.size
    assert read_bars(tmp_path / "catalog", bar_type_name(BTC.id, 1)).size == bars.size


def test_what_cannot_be_served_is_said(tmp_path):
    write_bars(tmp_path / "catalog", BTC, make_bars([QUIET] * 3, 5), bar_type_name(BTC.id, 5))
    catalog = tmp_path / "catalog"
    assert path_clock(catalog, BTC.id) == "5m"
    with pytest.raises(MarketDataError, match=r"of 1m are stored \(there are: 5m\)"):
        path_clock(catalog, BTC.id, "1m")
    with pytest.raises(MarketDataError, match="no instrument 'SOLUSDT-PERP"):
        list(bar_batches(catalog, {"SOLUSDT-PERP.BINANCE": "5m"}))
    with pytest.raises(FeatureError, match=r"clock '1m': .* fed by bars of 5m \(clocks: 5m, 15m\)"):
        run(tmp_path, [], [scripted("a", [], clock="1m", features=FEATURE)], minutes=5)
    with pytest.raises(RuntimeError, match="legs 'emulated'"):
        run(tmp_path, [], [scripted("a", [], clock="5m", features=FEATURE, legs="emulated")], minutes=5)
