"""freqtrade candles (feather or JSON) as bars.

The pair, the timeframe and the market are in the file's name: ``BTC_USDT-5m.feather`` is spot,
``BTC_USDT_USDT-5m-futures.feather`` the USDT-margined perpetual. A candle's date is its opening; a bar is
stamped with its close, when it can first be known.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import feather

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._candles import PRICES, check_candles, write_candles
from apex_nautilus.data.importers._lines import unpacked
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.binance import binance_instrument, infer_instrument
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_freqtrade", "parse_name"]

_MINUTES = {"m": 1, "h": 60, "d": 1440}
_PRICES = PRICES
_Ms = Annotated[int, msgspec.Meta(ge=0, le=(2**63 - 1) // 1_000_000)]
_Number = float | None  # freqtrade writes null where an exchange gave nothing
_candles = msgspec.json.Decoder(list[tuple[_Ms, _Number, _Number, _Number, _Number, _Number]])


def parse_name(path: str | os.PathLike[str]) -> tuple[str, int]:
    """Return (instrument id, minutes) that a candle file's name stands for.

    Raises
    ------
    ImportRefused
        When the name does not say; funding and mark-price files among them.
    """
    name = Path(path).name
    if re.search(r"-(funding_rate|mark)\.", name):
        raise ImportRefused(
            f"{name}: {'funding rates' if 'funding' in name else 'mark prices'} are no candles to trade on; "
            "funding rates come in as an external series with its publication delay, by the kind "
            "freqtrade-funding. Name the -futures file"
        )
    match = re.fullmatch(
        r"([A-Z0-9]+)_([A-Z0-9]+)(?:_([A-Z0-9]+))?-(\d+)([mhd])(-futures)?\.(?:feather|json|json\.gz)", name
    )
    if match is None or bool(match[3]) != bool(match[6]):
        raise ImportRefused(
            f"{name}: expected BASE_QUOTE-TIMEFRAME.feather (spot) or "
            f"BASE_QUOTE_SETTLE-TIMEFRAME-futures.feather; .json and .json.gz are read too"
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
    paths : feather or JSON files, one pair and timeframe each.
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
    """Return a file's candles; Arrow's reader checks a damaged feather file where polars' panics."""
    if ".json" in path.suffixes:
        return _read_json(path)
    try:
        table = feather.read_table(path, memory_map=False)
        table.validate(full=True)
        return pl.DataFrame(pl.from_arrow(table))
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as e:
        raise ImportRefused(f"{path}: cannot be read as feather: {e}") from e


def _read_json(path: Path) -> pl.DataFrame:
    """Return the candles of freqtrade's JSON: a list of [opening in ms, open, high, low, close, volume]."""
    try:
        with unpacked(path) as stream:
            candles = _candles.decode(stream.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ImportRefused(
            f"{path}: expected a list of [milliseconds, open, high, low, close, volume]: {e}"
        ) from e
    except (OSError, EOFError, zlib.error) as e:
        raise ImportRefused(f"{path}: cannot be read: {e}; fetch it again") from e
    columns = list(zip(*candles, strict=True)) or [()] * 6
    data = dict(zip(("date", *_PRICES, "volume"), columns, strict=True))
    schema = {"date": pl.Int64} | dict.fromkeys((*_PRICES, "volume"), pl.Float64)
    return pl.DataFrame(data, schema=schema).with_columns(
        pl.from_epoch("date", "ms").dt.replace_time_zone("UTC")
    )


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
    frame = frame.with_columns(
        *(pl.col(c).cast(pl.Float64) for c in (*_PRICES, "volume")),
        ts=pl.col("date").dt.epoch("ns"),
        line=pl.int_range(1, pl.len() + 1),
    )
    frame = check_candles(frame, minutes * 60_000_000_000, rows)
    rows.check()
    if frame.height == 0:
        raise ImportRefused(f"{path}: holds no candle")
    rows.keep("candle", frame.height)
    prices, volume = frame.select(_PRICES).to_numpy(), frame["volume"].to_numpy()
    spec = _specification(instrument_id, prices, volume, catalog_path, rows)
    return write_candles(
        frame,
        spec,
        minutes,
        catalog_path,
        rows,
        source="freqtrade",
        names=[path.name],
        replace=replace,
    )


register(
    Importer(
        kind="freqtrade",
        help="""freqtrade candles (feather or JSON).

    Pair, timeframe and market are read from each file's name: BTC_USDT-5m.feather is spot,
    BTC_USDT_USDT-5m-futures.feather the perpetual.
    """,
        function=import_freqtrade,
        instrument="never",
    )
)
