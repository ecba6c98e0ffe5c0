"""Rows of features out of a catalog, thinned as they are computed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import cast

import numpy as np

from apex_nautilus.cli._thin import MinMaxThinner
from apex_nautilus.data import DataError, bar_types, load_instrument, read_bars, read_events
from apex_nautilus.data.bars import MINUTES, minutes_of, resample
from apex_nautilus.features import BarFeatures, BookFeatures, FeatureSpec, scale
from apex_nautilus.features.bar_features import BarClock
from apex_nautilus.features.book_features import BookClock

__all__ = ["FeatureSeries", "feature_series"]


@dataclass(slots=True)
class FeatureSeries:
    """Thinned rows: column 0 of `series` is the price, the features follow.

    Attributes
    ----------
    first_ns, last_ns : int
        Times of the first and the last row, 0 where there is none.
    first_warm_ns : int or None
        Time of the first row past every warm-up.
    """

    specs: tuple[FeatureSpec, ...]
    series: MinMaxThinner
    price: str
    first_ns: int = 0
    last_ns: int = 0
    warm_rows: int = 0
    first_warm_ns: int | None = None

    def add(self, ts_ns: np.ndarray, price: np.ndarray, features: np.ndarray, warm: np.ndarray) -> None:
        """Add rows that follow those added before."""
        if len(ts_ns) == 0:
            return
        if self.series.rows == 0:
            self.first_ns = int(ts_ns[0])
        self.last_ns = int(ts_ns[-1])
        if self.first_warm_ns is None and warm.any():
            self.first_warm_ns = int(ts_ns[np.argmax(warm)])
        self.warm_rows += int(np.count_nonzero(warm))
        self.series.add(ts_ns, np.column_stack([price, features]))


def feature_series(
    catalog: str | os.PathLike[str],
    instrument_id: str,
    names: list[str],
    clock: str,
    start: int | None = None,
    end: int | None = None,
    *,
    conflate_ms: int = 0,
    stretches: int = 2_000,
) -> FeatureSeries:
    """Compute features from what a catalog holds of an instrument between two times.

    Parameters
    ----------
    clock : "book" or "1s" for book features, "1m", "5m" or "15m" for bar features
    start, end : nanoseconds, start included, end not; at the book clocks receive times, at the others closes
    stretches : see `MinMaxThinner`

    Raises
    ------
    DataError, FeatureError
        When the data or a feature is not there, or a feature is not of the clock's kind.
    """
    spec = load_instrument(catalog, instrument_id)
    if clock in MINUTES:
        bars = BarFeatures(names, cast(BarClock, clock))
        found = FeatureSeries(bars.specs, MinMaxThinner(1 + len(names), stretches), "close")
        rows = _bars(catalog, instrument_id, MINUTES[clock], start, end)
        units = scale(spec.price_precision)
        prices = {c: rows[c] / units for c in ("open", "high", "low", "close")}
        made = bars.run(rows["ts_ns"], **prices, volume=rows["volume"] / scale(spec.size_precision))
        found.add(made.ts_ns, prices["close"], made.features, made.warm)
        return found
    machine = BookFeatures(
        names,
        price_precision=spec.price_precision,
        size_precision=spec.size_precision,
        clock=cast(BookClock, clock),
        conflate_ms=conflate_ms,
    )
    found = FeatureSeries(machine.specs, MinMaxThinner(1 + len(names), stretches), "mid")
    for events in read_events(catalog, instrument_id, start, end):
        part = machine.run(events, depth=1)
        mid = (part.path_bid[part.row_event] + part.path_ask[part.row_event]) / 2.0
        found.add(part.ts_ns, mid, part.features, part.warm)
    return found


def _bars(
    catalog: str | os.PathLike[str], instrument_id: str, minutes: int, start: int | None, end: int | None
) -> np.ndarray:
    stored = {m: t for t in bar_types(catalog, instrument_id) if (m := minutes_of(t)) and minutes % m == 0}
    if not stored:
        raise DataError(
            f"{catalog}: no bars of {instrument_id} that make bars of {minutes} minutes; stored are "
            f"{', '.join(bar_types(catalog, instrument_id)) or 'none'}"
        )
    length = minutes if minutes in stored else max(stored)
    return resample(read_bars(catalog, stored[length], start, end), length, minutes)
