"""Market data for the tests: the real excerpts, and a generator of badly behaved streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, empty_events

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND
START = EPOCH + 123_456_789


def load_book(path: Path) -> np.ndarray:
    with np.load(path) as columns:
        events = np.zeros(len(columns["kind"]), dtype=EVENT)
        for name in columns.files:
            differences = name in ("ts_init_ns", "ts_event_ns", "sequence")
            events[name] = np.cumsum(columns[name]) if differences else columns[name]
    return events


def load_bars(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as columns:
        bars = {name: columns[name] for name in ("open", "high", "low", "close", "volume")}
        return {"ts_ns": columns["close_ns"], **bars}


def rough_market(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return `n` events around a wandering mid, of which some do what no good feed should."""
    events = np.zeros(n, dtype=EVENT)
    gaps = rng.exponential(8e6, n).astype(np.int64) * (rng.random(n) < 0.6)
    gaps[rng.random(n) < 0.001] += rng.integers(0, 4 * SECOND)  # silence
    events["flags"] = FLAG_LAST * (rng.random(n) < 0.4)
    times = START + np.cumsum(gaps)
    batch = np.cumsum(events["flags"]) - events["flags"]
    first = np.searchsorted(batch, batch)  # a batch arrives at one time, nearly always
    times = np.where(rng.random(n) < 0.98, times[first], times)
    times[rng.random(n) < 0.005] -= 5_000_000  # a clock that steps back
    events["ts_init_ns"] = times
    events["ts_event_ns"] = times - 1_000
    mid = 50_000 + np.cumsum(rng.integers(-1, 2, n)) // 8
    roll = rng.random(n)
    events["kind"] = np.where(roll < 0.15, KIND_TRADE, np.where(roll < 0.1505, KIND_CLEAR, KIND_LEVEL))
    events["side"] = rng.choice([-1, 1], n)
    away = np.where(rng.random(n) < 0.01, rng.integers(1, 40_000, n), rng.integers(0, 12, n))
    events["price"] = mid - events["side"] * away  # 0 away: the sides meet, and cross as the mid moves
    events["size"] = rng.integers(1, 5_000, n) * (rng.random(n) < 0.6)
    trades = events["kind"] == KIND_TRADE
    events["price"][trades] = (mid + rng.integers(-3, 4, n))[trades]
    events["size"][trades] += 1
    events["side"][trades & (rng.random(n) < 0.05)] = 0
    events["side"][(events["kind"] == KIND_CLEAR) & (rng.random(n) < 0.5)] = 0
    # A feed repairs itself: every so often the levels that crossed are taken out.
    for start in range(0, n - 64, 250):
        block = events[start : start + 64]
        block["kind"] = KIND_LEVEL
        block["side"] = np.tile([1, -1], 32)
        block["flags"] = 0
        block["price"] = mid[start] - block["side"] * (np.arange(64) // 2 - 12)
        outside = np.arange(64) // 2 > 12
        block["size"] = np.where(outside, rng.integers(1, 5_000, 64), 0)
        block["flags"][-1] = FLAG_LAST
    return events


def stream(*steps: tuple[float, str]) -> np.ndarray:
    """Events from (seconds, what) steps; `what` is a short word for one event.

    b100 / a102: the bid or ask level, size 1, the batch ends; b100x3: size 3; b100-: not the end of a batch;
    t101: a buy, s101: a sale; clear: the book is emptied.
    """
    events = empty_events(len(steps))
    for event, (seconds, what) in zip(events, steps, strict=True):
        event["ts_init_ns"] = event["ts_event_ns"] = EPOCH + round(seconds * SECOND)
        open_batch = what.endswith("-")
        if what == "clear":
            event["kind"] = KIND_CLEAR
        else:
            price, _, size = what[1:].rstrip("-").partition("x")
            event["kind"] = KIND_TRADE if what[0] in "ts" else KIND_LEVEL
            event["side"] = -1 if what[0] in "as" else 1
            event["price"] = int(price)
            event["size"] = int(size or 1)
        event["flags"] = 0 if open_batch else FLAG_LAST
    return events
