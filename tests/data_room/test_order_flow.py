"""Order flow by interval against a slow count, and the command that regresses the price on it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from apex_nautilus.cli.data_commands.ofi import command
from apex_nautilus.data import DataError, load_instrument, read_events
from apex_nautilus.data.order_flow import OrderFlowCounter, order_flow
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, make_events
from apex_nautilus.risk import InstrumentSpec

BTC = "BTCUSDT-PERP.BINANCE"
SECOND = 1_000_000_000
SPEC = InstrumentSpec(
    id="XYZUSDT-PERP.BINANCE",
    base="XYZ",
    quote="USDT",
    price_precision=1,
    size_precision=2,
    tick=0.5,
    lot=0.01,
)


def slow(events, spec, seconds):
    """Count interval by interval with dictionaries: {end: (mid change, flow, volume, books)}."""
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    touch = mid = None
    rows: dict[int, list] = {}
    broken = set()
    for e in events:
        k = int(e["ts_init_ns"]) // (seconds * SECOND)
        row = rows.setdefault(k, [mid, None, 0.0, 0.0, 0])  # the mid before it, the last in it
        if e["kind"] == KIND_TRADE:
            row[3] += int(e["side"]) * int(e["size"]) / 10**spec.size_precision
            continue
        if e["kind"] == KIND_CLEAR:
            if touch is not None:
                broken.add(k)
            bids.clear()
            asks.clear()
            touch = None
        else:
            side = bids if e["side"] > 0 else asks
            side[int(e["price"])] = int(e["size"])
            if not e["size"]:
                del side[int(e["price"])]
        if not e["flags"] & FLAG_LAST or not bids or not asks or max(bids) >= min(asks):
            continue
        b, a = max(bids), min(asks)
        now = (b, bids[b], a, asks[a])
        if touch is not None:
            b0, q0, a0, r0 = touch
            flow = now[1] * (b >= b0) - q0 * (b <= b0) - now[3] * (a <= a0) + r0 * (a >= a0)
            row[2] += flow / 10**spec.size_precision
        elif mid is not None:
            broken.add(k)
        touch, mid = now, (a + b) / 2 / 10**spec.price_precision
        row[1], row[4] = mid, row[4] + 1
    first = min(k for k, r in rows.items() if r[4])
    found = {}
    for k in range(first + 1, max(rows)):
        row = rows.get(k, [None, None, 0.0, 0.0, 0])
        if k not in broken:
            change = (row[1] - row[0]) / spec.tick if row[1] is not None else 0.0
            found[(k + 1) * seconds * SECOND] = (change, row[2], row[3], row[4])
    return found


def compare(flow, wanted):
    assert flow.end_ns.tolist() == list(wanted)
    table = np.array(list(wanted.values()))
    np.testing.assert_allclose(flow.mid_change, table[:, 0], atol=1e-6)
    np.testing.assert_allclose(flow.ofi, table[:, 1], atol=1e-9)
    np.testing.assert_allclose(flow.trade_imbalance, table[:, 2], atol=1e-9)
    np.testing.assert_array_equal(flow.updates, table[:, 3])


@pytest.mark.parametrize("seconds", [1, 5, 7])
def test_a_recording_counts_as_the_slow_way(btc_import, seconds):
    catalog, _ = btc_import
    (flow,) = order_flow(catalog, BTC, [seconds])
    events = np.concatenate(list(read_events(catalog, BTC)))
    compare(flow, slow(events, load_instrument(catalog, BTC), seconds))
    assert flow.dropped == 0


def random_market(seed: int, n: int = 4_000):
    """A book that moves at random, with trades, silences and losses."""
    rng = np.random.default_rng(seed)
    parts, ts, mid = [], 10 * SECOND, 1_000
    begin = True
    for _ in range(n):
        ts += int(rng.exponential(0.05) * SECOND) + (4 * SECOND if rng.random() < 0.002 else 0)
        if begin or rng.random() < 0.003:
            parts.append((ts, 0, 0, KIND_CLEAR, 0, FLAG_LAST))
            ts += int(rng.exponential(0.3) * SECOND)
            for i in range(1, 8):
                parts.append((ts, mid - 5 * i, 100, KIND_LEVEL, 1, 0))
                parts.append((ts, mid + 5 * i, 100, KIND_LEVEL, -1, FLAG_LAST * (i == 7)))
            begin = False
        elif rng.random() < 0.2:
            parts.append((ts, mid, int(rng.integers(1, 50)), KIND_TRADE, int(rng.choice([-1, 0, 1])), 0))
        else:
            side, depth = int(rng.choice([-1, 1])), int(rng.integers(1, 4))
            size = int(rng.integers(0, 300)) * int(rng.random() < 0.8)
            parts.append((ts, mid - side * 5 * depth, size, KIND_LEVEL, side, FLAG_LAST))
    columns = list(zip(*parts, strict=True))
    names = ("ts_init_ns", "price", "size", "kind", "side", "flags")
    return make_events(ts_event_ns=columns[0], **dict(zip(names, columns, strict=True)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("seconds", [1, 3])
def test_a_market_with_losses_counts_as_the_slow_way_in_any_chunks(seed, seconds):
    events = random_market(seed)
    ends = np.flatnonzero((events["flags"] & FLAG_LAST) | (events["kind"] == KIND_TRADE)) + 1
    cuts = np.sort(np.random.default_rng(seed).choice(ends[:-1], 9, replace=False))
    whole, pieces = OrderFlowCounter(SPEC), OrderFlowCounter(SPEC)
    whole.add(events)
    for chunk in np.split(events, cuts):
        pieces.add(chunk)
    flow = whole.intervals(seconds)
    assert flow.dropped > 0
    compare(flow, slow(events, SPEC, seconds))
    for name in ("end_ns", "mid_change", "updates"):
        np.testing.assert_array_equal(getattr(pieces.intervals(seconds), name), getattr(flow, name))
    np.testing.assert_allclose(pieces.intervals(seconds).ofi, flow.ofi, atol=1e-9)


def test_without_a_book_or_with_a_wrong_length_there_is_an_error(btc_import):
    counter = OrderFlowCounter(SPEC)
    counter.add(make_events(ts_event_ns=1, ts_init_ns=1, price=5, size=5, kind=KIND_TRADE, side=1))
    with pytest.raises(DataError, match="no two-sided book"):
        counter.intervals(1)
    with pytest.raises(DataError, match="at least a second"):
        counter.intervals(0)
    with pytest.raises(DataError, match="no instrument"):
        order_flow(btc_import[0], "NO.BINANCE", [1])


def test_the_command_prints_a_table_numbers_for_machines_and_a_page(btc_import, tmp_path):
    catalog, _ = btc_import
    shared = ["--catalog", str(catalog), "--instrument", BTC]
    result = CliRunner().invoke(command, shared)
    assert result.exit_code == 0, result.output
    assert "R2 trades" in result.output
    page = tmp_path / "ofi.html"
    result = CliRunner().invoke(command, [*shared, "--interval", "1", "--json", "--html", str(page)])
    (record,) = json.loads(result.output)
    assert (record["instrument_id"], record["seconds"]) == (BTC, 1)
    assert 85 <= record["n"] <= 90
    # The sign and size that the paper finds: flow moves the price its own way, and explains much of it.
    assert record["slope_ticks_per_unit"] > 5 * record["newey_west_error"] > 0
    assert 0.2 < record["r2"] < record["r2_both"] < 1.0
    text = page.read_text()
    assert "Newey-West" in text
    assert "plotly.js v" in text  # the library is in the page, not fetched
    assert not re.search(r"<(script|link)[^>]*\s(src|href)=", text)
    first = page.read_bytes()
    CliRunner().invoke(command, [*shared, "--interval", "1", "--html", str(page)])
    assert page.read_bytes() == first


def test_the_command_says_when_a_recording_is_too_short(btc_import):
    catalog, _ = btc_import
    shared = ["--catalog", str(catalog), "--instrument", BTC]
    result = CliRunner().invoke(command, [*shared, "--interval", "60"])
    assert result.exit_code == 1
    assert "too few" in result.output
    assert "longer recording" in result.output
