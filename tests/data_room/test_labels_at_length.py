"""Labels over long holding times, and in blocks, are those of looking at every entry of the path."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apex_nautilus.data import LABEL, LABEL_CODES, Bracket, Dataset, dataset_from_bars, dataset_from_events
from apex_nautilus.data.labels import RUN, bar_prices, book_prices, label_blocks
from apex_nautilus.data.nautilus_tables import BARS
from apex_nautilus.features import FLAG_LAST, KIND_LEVEL, make_events
from apex_nautilus.risk import InstrumentSpec

SPEC = InstrumentSpec(
    id="X.Y", base="X", quote="Y", price_precision=2, size_precision=0, tick=0.5, lot=1.0, maker_fee=0.0002,
    taker_fee=0.0005,
)  # fmt: skip
N = 3 * RUN * RUN
BRACKETS = [
    Bracket("bps", 40.0, 60, 1.0),
    Bracket("bps", 150.0, 900, 3.0),
    Bracket("bps", 400.0, 2_500, 3.0),
    Bracket("bps", 5_000.0, 2_000, 1.0),
    Bracket("volatility", 3.0, 700, 3.0, window=30),
]


@pytest.fixture(scope="module")
def walk():
    """Times with ties, and a walk of whole half points with a spread that varies."""
    rng = np.random.default_rng(11)
    ts = np.cumsum(rng.integers(0, 3, N)).astype(np.int64)
    bid = 400.0 + 0.5 * np.cumsum(rng.integers(-2, 3, N))
    bid -= min(bid.min() - 100.0, 0.0)
    return ts, bid, bid + 0.5 * rng.integers(1, 4, N)


def seen_entry_by_entry(bracket, ts, prices, start, mids, bars):
    """(code, exit, net) of long and short, by masks over everything that follows."""
    out = []
    for side in (1, -1):
        into, away = (prices[4:], prices[:4]) if side > 0 else (prices[:4], prices[4:])
        bid, ask = prices[3, start], prices[7, start]
        touch = ask if side > 0 else bid
        if bracket.stop == "bps":
            distance = touch * bracket.stop_value / 1e4
        else:
            returns = np.diff(np.log(mids[-bracket.window - 1 :]))
            distance = (
                bracket.stop_value * returns.std() * touch if returns.size == bracket.window else math.nan
            )
        if not distance > ask - bid or (bars and start + 1 >= ts.size):
            out.append(("no_trade", -1, math.nan))
            continue
        outward = (math.ceil, math.floor) if side > 0 else (math.floor, math.ceil)
        profit = outward[0](round((touch + side * bracket.reward_risk * distance) / SPEC.tick, 9)) * SPEC.tick
        stop = outward[1](round((touch - side * distance) / SPEC.tick, 9)) * SPEC.tick
        if profit <= 0 or stop <= 0:
            out.append(("no_trade", -1, math.nan))
            continue
        entry = into[0, start + 1] if bars else into[3, start]
        later = np.arange(start + 1, ts.size)
        worst, best = (away[2, later], away[1, later]) if side > 0 else (away[1, later], away[2, later])
        events = {
            "stop": side * (worst - stop) <= 0,
            "take_profit": side * (best - profit) >= 0,
            "time_out": ts[later] >= ts[start] + bracket.max_hold_ns,
        }
        ends = {kind: int(np.argmax(hit)) for kind, hit in events.items() if hit.any()}
        if not ends:
            out.append(("still_open", -1, math.nan))
            continue
        kind = min(ends, key=lambda k: (ends[k], list(events).index(k)))
        e = int(later[ends[kind]])
        price = {"stop": away[0, e], "take_profit": profit, "time_out": away[3, e]}[kind]
        if kind == "stop" and bars and side * (price - stop) >= 0:
            price = stop
        fee = SPEC.maker_fee if kind == "take_profit" else SPEC.taker_fee
        out.append((kind, e, (side * (price - entry) - SPEC.taker_fee * entry - fee * price) / entry))
    return out


def labels_of(bracket, ts, row_event, mid, prices, bars, rows=None, block_rows=1_000):
    blocks = label_blocks(
        bracket, SPEC, rows or (0, row_event.size), row_event=row_event, path_ts_ns=ts, mid=mid,
        prices=prices, bars=bars, block_rows=block_rows,
    )  # fmt: skip
    return np.concatenate(list(blocks))


def check(bracket, ts, row_event, mid, prices, bars):
    labels = labels_of(bracket, ts, row_event, mid, prices, bars)
    everything = prices(0, ts.size)
    sample = np.random.default_rng(2).choice(row_event.size, 250, replace=False)
    kinds = set()
    for row in sorted({*sample.tolist(), 0, row_event.size - 1}):
        expected = seen_entry_by_entry(bracket, ts, everything, row_event[row], mid[: row + 1], bars)
        for label, (kind, end, net) in zip(labels[row], expected, strict=True):
            assert (LABEL_CODES[label["code"]], int(label["exit_event"])) == (kind, end)
            assert label["net_return"] == pytest.approx(net, abs=1e-12, nan_ok=True)
            kinds.add(kind)
    return labels, kinds


@pytest.mark.parametrize("bracket", BRACKETS)
def test_book_labels_are_those_of_looking_at_every_entry(bracket, walk):
    ts, bid, ask = walk
    row_event = np.sort(np.random.default_rng(3).choice(N, N // 2, replace=False)).astype(np.int64)
    mid = 0.5 * (bid[row_event] + ask[row_event])
    labels, kinds = check(bracket, ts, row_event, mid, book_prices(bid, ask), False)
    assert "still_open" in kinds or "time_out" in kinds
    for size in (7, N):  # however they are cut
        part = labels_of(bracket, ts, row_event, mid, book_prices(bid, ask), False, (400, 640), size)
        assert part.tobytes() == labels[400:640].tobytes()


@pytest.mark.parametrize("bracket", BRACKETS)
def test_bar_labels_are_those_of_looking_at_every_entry(bracket, walk):
    rng = np.random.default_rng(5)
    ts, close = np.arange(1, N + 1), walk[1]
    opened = close + 0.5 * rng.integers(-1, 2, N)
    high = np.maximum(opened, close) + 0.5 * rng.integers(0, 3, N)
    low = np.minimum(opened, close) - 0.5 * rng.integers(0, 3, N)
    prices = bar_prices(opened, high, low, close, np.full(N, 0.5), SPEC.price_precision)
    row_event = np.arange(0, N, 3)
    check(bracket, ts, row_event, close[row_event], prices, True)


@pytest.mark.parametrize("bars", [False, True])
def test_labels_written_to_a_file_are_those_in_memory(bars, walk, tmp_path, monkeypatch):
    _, bid, ask = walk
    if bars:
        units = np.zeros(800, dtype=BARS)
        units["ts_ns"] = np.arange(1, 801) * 300_000_000_000
        for name in ("open", "high", "low", "close"):
            units[name] = (bid[:800] * 100).astype(np.int64)
        units["volume"] = 1
        dataset = dataset_from_bars(units, SPEC, "5m", ["bar_return"])
        bracket = Bracket("bps", 100.0, 3_600_000_000_000)
    else:
        times = np.repeat(np.arange(1, 801) * 100_000_000, 4)
        # Each batch takes away the levels of the one before and sets its own.
        before = np.concatenate([[0, 0], np.column_stack([bid, ask])[:799].ravel()])
        prices = np.empty((800, 4))
        prices[:, [0, 2]], prices[:, [1, 3]] = before.reshape(800, 2), np.column_stack([bid, ask])[:800]
        prices[0, [0, 2]] = prices[0, [1, 3]]
        sizes = np.tile([0, 5, 0, 5], 800)
        events = make_events(
            ts_event_ns=times, ts_init_ns=times, price=(prices * 100).astype(np.int64).ravel(), size=sizes,
            kind=KIND_LEVEL, side=np.tile([1, 1, -1, -1], 800), flags=np.tile([0, 0, 0, FLAG_LAST], 800),
        )  # fmt: skip
        dataset = dataset_from_events(events, SPEC, "book", ["imbalance"])
        bracket = Bracket("bps", 100.0, 20_000_000_000)
    monkeypatch.setattr("apex_nautilus.data.labels.label_blocks.__kwdefaults__", {"block_rows": 100})
    written = dataset.labels(bracket, out=tmp_path / "labels.npy")
    assert isinstance(written, np.memmap)
    assert written.dtype == LABEL
    assert written.tobytes() == dataset.labels(bracket).tobytes()
    assert len(set(written["code"].ravel())) >= 3
    assert [p.name for p in tmp_path.iterdir()] == ["labels.npy"]
    assert isinstance(dataset, Dataset)


def test_a_failing_disk_leaves_the_labels_that_were_there(tmp_path, walk, monkeypatch):
    units = np.zeros(100, dtype=BARS)
    units["ts_ns"] = np.arange(1, 101) * 300_000_000_000
    for name in ("open", "high", "low", "close"):
        units[name] = 40_000
    dataset = dataset_from_bars(units, SPEC, "5m", ["bar_return"])
    target = tmp_path / "labels.npy"
    target.write_bytes(b"before")
    monkeypatch.setattr(
        "apex_nautilus.data.npy_append.os.fsync",
        lambda _: (_ for _ in ()).throw(OSError(28, "No space left")),
    )
    with pytest.raises(OSError, match="No space"):
        dataset.labels(Bracket("bps", 100.0, 3_600_000_000_000), out=target)
    assert target.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["labels.npy"]
