"""freqtrade candles (feather) as bars.

The pair, the timeframe and the market are in the file's name: ``BTC_USDT-5m.feather`` is spot,
``BTC_USDT_USDT-5m-futures.feather`` the USDT-margined perpetual. A candle's date is its opening; a bar is
stamped with its close, when it can first be known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import feather

from apex_nautilus.data.bars import bar_type_name
from apex_nautilus.data.catalog import CatalogWriter, settle_instrument
from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.data.instruments import binance_instrument, infer_instrument
from apex_nautilus.data.nautilus_tables import BARS
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_freqtrade", "parse_name"]

_MINUTES = {"m": 1, "h": 60, "d": 1440}
_PRICES = ("open", "high", "low", "close")
_LARGEST = 9e18  # in units: what 64 bits hold


def parse_name(path: str | os.PathLike[str]) -> tuple[str, int]:
    """Return (instrument id, minutes) that a candle file's name stands for.

    Raises
    ------
    ImportRefused
        When the name does not say; funding and mark-price files among them.
    """
    name = Path(path).name
    match = re.fullmatch(r"([A-Z0-9]+)_([A-Z0-9]+)(?:_([A-Z0-9]+))?-(\d+)([mhd])(-futures)?\.feather", name)
    if match is None or bool(match[3]) != bool(match[6]):
        raise ImportRefused(
            f"{name}: expected BASE_QUOTE-TIMEFRAME.feather (spot) or "
            f"BASE_QUOTE_SETTLE-TIMEFRAME-futures.feather"
        )
    if match[3] and match[3] != match[2]:
        raise ImportRefused(
            f"{name}: settled in {match[3]}, not {match[2]}: inverse contracts are not supported"
        )
    suffix = "-PERP" if match[6] else ""
    return f"{match[1]}{match[2]}{suffix}.BINANCE", int(match[4]) * _MINUTES[match[5]]


def _specification(
    instrument_id: str,
    prices: np.ndarray,
    sizes: np.ndarray,
    catalog_path: str | os.PathLike[str],
    rows: RowLedger,
) -> InstrumentSpec:
    """Return the instrument: the table's where the candles fit its decimals, else one read off the
    candles."""
    wanted = infer_instrument(instrument_id, prices, sizes)
    try:
        known = binance_instrument(instrument_id)
    except DataError:
        known = None
    if (
        known is not None
        and known.price_precision >= wanted.price_precision
        and known.size_precision >= wanted.size_precision
    ):
        wanted = known
    else:  # not in the table, or the table is of another time than these candles
        rows.note("instrument_inferred")
    spec, differs = settle_instrument(catalog_path, wanted)
    if differs:
        rows.note("instrument_of_catalog")
    return spec


def _check(frame: pl.DataFrame, length_ns: int, rows: RowLedger) -> pl.DataFrame:
    """Count and take out bad candles; return good ones in time order with `ts` the opening in nanoseconds."""
    frame = frame.with_columns(ts=pl.col("date").dt.epoch("ns"), line=pl.int_range(1, pl.len() + 1))
    finite = pl.all_horizontal(
        [pl.col(c).is_not_null() & pl.col(c).is_finite() for c in (*_PRICES, "volume")]
    )
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
            rows.refuse(
                reason,
                str({k: v for k, v in bad.row(0, named=True).items() if k not in ("ts", "line")}),
                bad.height,
            )
            frame = frame.filter(passes.fill_null(False))
    newest = pl.col("ts").cum_max().shift(1)
    for reason, bad_rule in (
        ("duplicate", pl.col("ts") == newest),
        ("time_backwards", pl.col("ts") < newest),
    ):
        bad = frame.filter(bad_rule.fill_null(False))
        if bad.height:
            rows.line = bad["line"][0]
            rows.refuse(reason, f"candle of {bad['date'][0]}", bad.height)
            frame = frame.filter(~bad_rule.fill_null(False))
    if frame.height:
        span = (frame["ts"][-1] - frame["ts"][0]) // length_ns + 1
        rows.note("missing_candles", span - frame.height)
    return frame


def import_freqtrade(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    *,
    max_bad_share: float = 0.001,
    replace: bool = False,
) -> list[ImportReport]:
    """Import candle files into a catalog, each whole or not at all; see the module for names and times.

    Parameters
    ----------
    paths : feather files, one pair and timeframe each.
    max_bad_share : largest share of refused candles of a file.
    replace : take the place of stored bars over the same span.

    Returns
    -------
    list of ImportReport, one a file, in the order given

    Raises
    ------
    ImportRefused
        When a file cannot be read, lacks a column, or has too many bad candles. Files before it stay
        imported.
    """
    if not paths:
        raise ImportRefused("no files were named")
    named = [(Path(p), *parse_name(p)) for p in paths]  # all names are checked before the first is imported
    return [
        _import_file(path, instrument_id, minutes, catalog_path, max_bad_share, replace)
        for path, instrument_id, minutes in named
    ]


def _read(path: Path) -> pl.DataFrame:
    """Return a feather file's table; Arrow's reader checks a damaged one where polars' panics."""
    try:
        table = feather.read_table(path, memory_map=False)
        table.validate(full=True)
        return pl.DataFrame(pl.from_arrow(table))
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as e:
        raise ImportRefused(f"{path}: cannot be read as feather: {e}") from e


def _import_file(
    path: Path,
    instrument_id: str,
    minutes: int,
    catalog_path: str | os.PathLike[str],
    max_bad_share: float,
    replace: bool,
) -> ImportReport:
    frame = _read(path)
    missing = {"date", *_PRICES, "volume"} - set(frame.columns)
    if missing:
        raise ImportRefused(f"{path}: lacks the columns {', '.join(sorted(missing))}")
    if not isinstance(frame.schema["date"], pl.Datetime):
        raise ImportRefused(f"{path}: column date holds {frame.schema['date']}, not times")
    if frame.height == 0:
        raise ImportRefused(f"{path}: holds no candle")
    for name in (*_PRICES, "volume"):
        if not frame.schema[name].is_numeric():
            raise ImportRefused(f"{path}: column {name} holds {frame.schema[name]}, not numbers")
    rows = RowLedger(max_bad_share)
    rows.place = path.name
    rows.rows = frame.height
    length_ns = minutes * 60_000_000_000
    frame = _check(
        frame.with_columns(pl.col(c).cast(pl.Float64) for c in (*_PRICES, "volume")), length_ns, rows
    )
    rows.check()
    if frame.height == 0:
        raise ImportRefused(f"{path}: holds no candle")
    rows.keep("candle", frame.height)

    prices = frame.select(_PRICES).to_numpy()
    volume = frame["volume"].to_numpy()
    spec = _specification(instrument_id, prices, volume, catalog_path, rows)
    for name, values, decimals in (
        ("price", prices, spec.price_precision),
        ("volume", volume, spec.size_precision),
    ):
        if values.max() * 10.0**decimals > _LARGEST:
            raise ImportRefused(
                f"{path}: a {name} of {values.max():g} with {decimals} decimals needs more than 64 bits; "
                "mend or remove the candle"
            )
    bars = np.zeros(frame.height, dtype=BARS)
    bars["ts_ns"] = frame["ts"].to_numpy() + length_ns
    for i, name in enumerate(_PRICES):
        bars[name] = np.rint(prices[:, i] * 10.0**spec.price_precision)
    bars["volume"] = np.rint(volume * 10.0**spec.size_precision)
    with CatalogWriter(catalog_path, spec, replace=replace) as writer:
        writer.append_bars(bars, bar_type_name(instrument_id, minutes))
        written = writer.commit()
    rows.note("files_replaced", len(written.replaced))
    report = ImportReport(
        source=f"freqtrade-{minutes}m",
        instrument_id=instrument_id,
        paths=[path.name],
        rows=rows.rows,
        kept=rows.kept,
        refused=rows.refused,
        noted=rows.noted,
        examples=rows.examples,
        first_ns=int(bars["ts_ns"][0]),
        last_ns=int(bars["ts_ns"][-1]),
        written={"bars": written.bars},
        files=list(written.files),
    )
    keep_report(catalog_path, report)
    return report


def _run(
    paths: Sequence[Path],
    catalog: Path,
    *,
    max_bad_share: float,
    replace: bool,
    progress: Callable[[str], None],
) -> list[ImportReport]:
    return import_freqtrade(paths, catalog, max_bad_share=max_bad_share, replace=replace)


register(
    Importer(
        kind="freqtrade",
        help="""freqtrade candles (feather).

    Pair, timeframe and market are read from each file's name: BTC_USDT-5m.feather is spot,
    BTC_USDT_USDT-5m-futures.feather the perpetual.
    """,
        run=_run,
        instrument="never",
    )
)
