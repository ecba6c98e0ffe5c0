"""One series of bars, read once: holes, duplicates, silent bars, bars that cannot be, jumps."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from apex_nautilus.data.bars import minutes_of
from apex_nautilus.data.inspect_report import LONGEST, BarsSummary, PriceLine
from apex_nautilus.data.inspect_stream import STRETCHES, LongestGaps, Stretches
from apex_nautilus.data.log_histogram import LogHistogram

__all__ = ["inspect_bars"]

_OUTLIER = 20.0
"""How many times the median move a move must be to be called one. Of normal moves one in 10^41 is."""


def inspect_bars(
    bar_type: str,
    chunks: Iterable[np.ndarray],
    span: tuple[int, int],
    *,
    timeline: bool,
    price_units: float = 1.0,
) -> BarsSummary:
    """Sum up `BARS` in order of time; `span` as the files' names tell, `price_units` what a price of one is
    in the integers of the bars."""
    minutes = minutes_of(bar_type)
    step = minutes * 60_000_000_000 if minutes else 0
    # A hole is named by the bar before it and lasts from its close to the close of the next one.
    holes = LongestGaps(1.5 * step / 1e9)
    width = max(-(-(span[1] - span[0] + 1) // STRETCHES), step, 1)
    present = np.zeros(STRETCHES, dtype=np.int64)
    moves = LogHistogram()
    closes, lows, highs = Stretches(), Stretches(), Stretches()
    worst: list[tuple[float, int, float]] = []
    bars = missing = duplicates = zero = outside = 0
    first = last = 0
    close = np.empty(0)
    for chunk in chunks:
        ts = chunk["ts_ns"]
        steps = np.diff(ts, prepend=last) if bars else np.diff(ts)
        fresh = np.concatenate([np.ones(0 if bars else 1, dtype=bool), steps > 0])
        duplicates += int((~fresh).sum())
        if step:
            missing += int((steps[steps > 0] // step - 1).sum())
            holes.add(np.maximum.accumulate(np.maximum(ts, last)))
        rising = np.maximum.accumulate(np.maximum(ts, last))
        places = np.clip((rising - span[0]) // width, 0, STRETCHES - 1)
        for line, name in ((closes, "close"), (lows, "low"), (highs, "high")):
            line.add(places, chunk[name] / price_units)
        first, last = first or int(ts[0]), max(last, int(ts[-1]))
        bars += chunk.size
        zero += int((chunk["volume"] == 0).sum())
        low, high = chunk["low"], chunk["high"]
        inside = (low <= chunk["open"]) & (chunk["open"] <= high) & (low <= chunk["close"])
        outside += int((~(inside & (chunk["close"] <= high) & (low > 0))).sum())
        prices = np.concatenate([close, chunk["close"].astype(np.float64)])
        with np.errstate(divide="ignore", invalid="ignore"):
            returns = np.diff(np.log(prices)) * 1e4
        times = ts[-returns.size :] if returns.size else ts[:0]
        returns, times = returns[np.isfinite(returns)], times[np.isfinite(returns)]
        close = prices[-1:]
        moves.add(np.abs(returns))
        for at in np.argsort(-np.abs(returns), kind="stable")[:LONGEST]:
            heapq.heappush(worst, (abs(float(returns[at])), -int(times[at]), float(returns[at])))
            if len(worst) > LONGEST:
                heapq.heappop(worst)
        present += np.bincount(np.clip((ts - span[0]) // width, 0, STRETCHES - 1), minlength=STRETCHES)
    limit = _OUTLIER * moves.quantile(0.5) if moves.count else np.inf
    return BarsSummary(
        bar_type=bar_type,
        span_ns=(first, last),
        bars=bars,
        missing=missing,
        holes=holes.longest if step else [],
        duplicates=duplicates,
        zero_volume=zero,
        outside_range=outside,
        outliers=moves.count_beyond(limit) if np.isfinite(limit) and limit > 0 else 0,
        worst=[(-at, move) for size, at, move in sorted(worst, reverse=True) if 0 < limit < size],
        timeline=_shares(present, width, step, first, last) if timeline and step and bars else None,
        prices=PriceLine(span[0], width, closes.values("last"), lows.values("least"), highs.values("most"))
        if timeline and bars
        else None,
    )


def _shares(present: np.ndarray, width: int, step: int, first: int, last: int) -> list[float]:
    """Bars that are there over bars that could be, in each stretch up to the last."""
    edges = first + width * np.arange(STRETCHES + 1)
    could = np.diff(np.maximum(np.minimum(edges, last + step) - first + step - 1, 0) // step)
    used = int(np.count_nonzero(could))
    return np.minimum(present[:used] / np.maximum(could[:used], 1), 1.0).tolist()
