"""The quotes of one instrument, read once: silences, quotes that cross or stand still, spreads."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from apex_nautilus.data.inspect_report import QuotesSummary, Timeline
from apex_nautilus.data.inspect_stream import STRETCHES, LongestGaps, Stretches, quantiles
from apex_nautilus.data.log_histogram import LogHistogram
from apex_nautilus.data.nautilus_tables import QUOTES
from apex_nautilus.features import scale
from apex_nautilus.risk import InstrumentSpec

__all__ = ["inspect_quotes"]

_SAME = ("bid", "ask", "bid_size", "ask_size")


def inspect_quotes(
    spec: InstrumentSpec,
    chunks: Iterable[np.ndarray],
    span: tuple[int, int],
    *,
    gap_s: float,
    timeline: bool,
) -> QuotesSummary | None:
    """Read quotes once and sum them up; None when there are none.

    Parameters
    ----------
    chunks : arrays of QUOTES whose receive times do not fall
    span : first and last receive time, as the files' names tell
    """
    start, width = span[0], max(-(-(span[1] - span[0] + 1) // STRETCHES), 1)
    units = scale(spec.price_precision)
    gaps, spread, skew = LongestGaps(gap_s), LogHistogram(), LogHistogram()
    mids, spreads, skews = Stretches(), Stretches(), Stretches()
    counts = np.zeros(STRETCHES, dtype=np.int64)
    n = crossed = locked = one_sided = repeated = backwards = first = last = 0
    newest = -1
    before = np.empty(0, dtype=QUOTES)
    for chunk in chunks:
        ts, venue = chunk["ts_init_ns"], chunk["ts_event_ns"]
        first, last = first or int(ts[0]), int(ts[-1])
        n += chunk.size
        gaps.add(ts)
        places = np.clip((ts - start) // width, 0, STRETCHES - 1)
        counts += np.bincount(places, minlength=STRETCHES)
        peaks = np.maximum.accumulate(np.concatenate([[newest], venue]))
        backwards += int((venue < peaks[:-1]).sum())
        newest = int(peaks[-1])
        timed = venue > 0
        late = (ts - venue)[timed] / 1e6
        skew.add(late)
        skews.add(places[timed], late)
        both = np.concatenate([before, chunk])
        repeated += int(np.all([both[f][1:] == both[f][:-1] for f in _SAME], axis=0).sum())
        before = both[-1:]
        bid, ask = chunk["bid"], chunk["ask"]
        empty = (chunk["bid_size"] <= 0) | (chunk["ask_size"] <= 0) | (bid <= 0) | (ask <= 0)
        one_sided += int(empty.sum())
        crossed += int((~empty & (bid > ask)).sum())
        locked += int((~empty & (bid == ask)).sum())
        whole = ~empty & (bid < ask)
        mid = 0.5 * (bid + ask)[whole]
        wide = (ask - bid)[whole] / mid * 1e4
        spread.add(wide)
        spreads.add(places[whole], wide)
        mids.add(places[whole], mid / units)
    if not n:
        return None
    drawn = Timeline(
        start_ns=start,
        width_ns=width,
        batches=counts.tolist(),
        trades=[0] * STRETCHES,
        mid=mids.values("last"),
        mid_low=mids.values("least"),
        mid_high=mids.values("most"),
        spread_bps=spreads.values("mean"),
        skew_ms=skews.values("mean"),
        skew_low_ms=skews.values("least"),
        skew_high_ms=skews.values("most"),
    )
    return QuotesSummary(
        instrument_id=spec.id,
        span_ns=(first, last),
        quotes=n,
        gaps=gaps.count,
        longest_gap_s=gaps.longest_ns / 1e9,
        longest_gaps=gaps.longest,
        crossed=crossed / n,
        locked=locked / n,
        one_sided=one_sided / n,
        repeated=repeated,
        event_time_backwards=backwards,
        skew=quantiles(skew),
        spread_bps=quantiles(spread),
        timeline=drawn if timeline else None,
    )
