"""Candles as bars: bad ones counted and taken out, the instrument settled, one series written whole."""

from __future__ import annotations

import os

import numpy as np
import polars as pl

from apex_nautilus.data.bars import bar_type_name
from apex_nautilus.data.catalog_writer import CatalogWriter
from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.data.nautilus_tables import BARS
from apex_nautilus.risk import InstrumentSpec

__all__ = ["PRICES", "check_candles", "write_candles"]

PRICES = ("open", "high", "low", "close")
_LARGEST = 9e18  # in units: what 64 bits hold


def check_candles(frame: pl.DataFrame, length_ns: int, rows: RowLedger) -> pl.DataFrame:
    """Count and take out bad candles; return the good ones, in time order.

    Parameters
    ----------
    frame : columns `ts` (opening, nanoseconds), open, high, low, close, volume (doubles) and `line`.
    length_ns : of a candle.
    """
    finite = pl.all_horizontal([pl.col(c).is_not_null() & pl.col(c).is_finite() for c in (*PRICES, "volume")])
    low, high = pl.col("low"), pl.col("high")
    inside = pl.all_horizontal([(pl.col(c) >= low) & (pl.col(c) <= high) for c in ("open", "close")])
    # fill_null(False): a comparison with a hole is no pass.
    rules = [
        ("not_a_number", finite & pl.col("ts").is_not_null()),
        ("non_positive_price", low > 0),
        ("negative_size", pl.col("volume") >= 0),
        ("too_large", pl.all_horizontal([pl.col(c) <= _LARGEST for c in ("high", "volume")])),
        ("outside_range", inside),
        ("off_grid_time", pl.col("ts") % length_ns == 0),
    ]
    for reason, passes in rules:
        bad = frame.filter(~passes.fill_null(False))
        if bad.height:
            rows.line = bad["line"][0]
            told = {k: v for k, v in bad.row(0, named=True).items() if k != "line"}
            rows.refuse(reason, str(told), bad.height)
            frame = frame.filter(passes.fill_null(False))
    newest = pl.col("ts").cum_max().shift(1)
    for reason, bad_rule in (
        ("duplicate", pl.col("ts") == newest),
        ("time_backwards", pl.col("ts") < newest),
    ):
        bad = frame.filter(bad_rule.fill_null(False))
        if bad.height:
            rows.line = bad["line"][0]
            rows.refuse(reason, f"candle of {bad['ts'][0]} ns", bad.height)
            frame = frame.filter(~bad_rule.fill_null(False))
    if frame.height:
        span = (frame["ts"][-1] - frame["ts"][0]) // length_ns + 1
        rows.note("missing_candles", span - frame.height)
    return frame


def write_candles(
    frame: pl.DataFrame,
    spec: InstrumentSpec,
    minutes: int,
    catalog_path: str | os.PathLike[str],
    rows: RowLedger,
    *,
    source: str,
    names: list[str],
    replace: bool,
) -> ImportReport:
    """Write checked candles as bars stamped with their close; return the report, which is kept too.

    Raises
    ------
    ImportRefused
        When a price or volume needs more than 64 bits.
    """
    prices = frame.select(PRICES).to_numpy()
    volume = frame["volume"].to_numpy()
    for name, values, decimals in (
        ("price", prices, spec.price_precision),
        ("volume", volume, spec.size_precision),
    ):
        if values.max() * 10.0**decimals > _LARGEST:
            raise ImportRefused(
                f"{', '.join(names)}: a {name} of {values.max():g} with {decimals} decimals needs more than "
                "64 bits; mend or remove the candle"
            )
    bars = np.zeros(frame.height, dtype=BARS)
    bars["ts_ns"] = frame["ts"].to_numpy() + minutes * 60_000_000_000
    for i, name in enumerate(PRICES):
        bars[name] = np.rint(prices[:, i] * 10.0**spec.price_precision)
    bars["volume"] = np.rint(volume * 10.0**spec.size_precision)
    with CatalogWriter(catalog_path, spec, replace=replace) as writer:
        writer.append_bars(bars, bar_type_name(spec.id, minutes))
        written = writer.commit()
    rows.note("files_replaced", len(written.replaced))
    report = rows.report(
        source=f"{source}-{minutes}m",
        instrument_id=spec.id,
        paths=names,
        first_ns=int(bars["ts_ns"][0]),
        last_ns=int(bars["ts_ns"][-1]),
        written={"bars": written.bars},
        files=list(written.files),
    )
    keep_report(catalog_path, report)
    return report
