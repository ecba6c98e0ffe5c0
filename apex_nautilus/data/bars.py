"""Bars of one length out of shorter ones, and the names that Nautilus gives them."""

from __future__ import annotations

import numpy as np
import polars as pl

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.nautilus_tables import BARS

__all__ = ["MINUTES", "bar_type_name", "minutes_of", "resample"]

MINUTES = {"1m": 1, "5m": 5, "15m": 15}
_NS_PER_MINUTE = 60_000_000_000
_LENGTHS = {"MINUTE": 1, "HOUR": 60, "DAY": 1440}


def bar_type_name(instrument_id: str, minutes: int) -> str:
    """Return the Nautilus bar type of recorded last-price bars: ``<instrument>-5-MINUTE-LAST-EXTERNAL``."""
    if minutes % 1440 == 0:
        return f"{instrument_id}-{minutes // 1440}-DAY-LAST-EXTERNAL"
    if minutes % 60 == 0:
        return f"{instrument_id}-{minutes // 60}-HOUR-LAST-EXTERNAL"
    return f"{instrument_id}-{minutes}-MINUTE-LAST-EXTERNAL"


def minutes_of(bar_type: str) -> int | None:
    """Return the length of a bar type in minutes; None for bars that are not made of time."""
    try:
        _, step, unit, _, _ = bar_type.rsplit("-", 4)
        return int(step) * _LENGTHS[unit]
    except (ValueError, KeyError):
        return None


def resample(bars: np.ndarray, minutes: int, into: int) -> np.ndarray:
    """Return bars of `into` minutes made of bars of `minutes`.

    A bar closes at a whole multiple of its length. One at either end that the data do not cover whole is
    left out; one with a hole inside is made of what there is.

    Parameters
    ----------
    bars : ndarray of BARS, times rising

    Raises
    ------
    DataError
        When the lengths do not divide.
    """
    if into % minutes:
        raise DataError(f"bars of {into} minutes cannot be made of bars of {minutes}")
    if bars.size == 0 or into == minutes:
        return bars
    length, fine = into * _NS_PER_MINUTE, minutes * _NS_PER_MINUTE
    frame = pl.DataFrame({name: bars[name] for name in BARS.names or ()})
    frame = frame.with_columns(close_ns=((pl.col("ts_ns") + length - 1) // length) * length)
    grouped = (
        frame.group_by("close_ns", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            first=pl.col("ts_ns").first(),
            last=pl.col("ts_ns").last(),
        )
        .sort("close_ns")
    )
    out = np.zeros(grouped.height, dtype=BARS)
    out["ts_ns"] = grouped["close_ns"].to_numpy()
    for name in ("open", "high", "low", "close", "volume"):
        out[name] = grouped[name].to_numpy()
    lo = 0 if grouped["first"][0] <= grouped["close_ns"][0] - length + fine else 1
    hi = out.size if grouped["last"][-1] == grouped["close_ns"][-1] else out.size - 1
    return out[lo:hi]
