"""Candles (klines) of Binance's public archive (data.binance.vision).

``BTCUSDT-1m-2024-01.zip`` or the csv inside: opening time, open, high, low, close, volume, closing time and
more. A bar is stamped with the end of its span, when it can first be known. Files of spot and futures look
alike, so the instrument has to be named. Coin-margined volume is in contracts, like the sizes of trades.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers._binance_archive import (
    ArchiveName,
    archive_rows,
    archive_times,
    check_symbol,
    first_cells,
    specification,
)
from apex_nautilus.data.importers._candles import PRICES, check_candles, write_candles
from apex_nautilus.data.importers._table import numbers
from apex_nautilus.data.importers.binance_capture import EXCHANGE_INFO
from apex_nautilus.data.importers.progress import Progress
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger

__all__ = ["import_binance_klines"]

_COLUMNS = (
    "time", *PRICES, "volume", "close_time", "quote_volume", "count", "taker_volume", "taker_quote", "ignore",
)  # fmt: skip
_EXAMPLE = "BTCUSDT-1m-2024-01.zip"
_MINUTES = {"m": 1, "h": 60, "d": 1440}


def _minutes(path: Path) -> int:
    interval = ArchiveName.of(path, _EXAMPLE).what
    match = re.fullmatch(r"(\d+)([mhd])", interval)
    if match is None:
        raise ImportRefused(
            f"{path.name}: candles of {interval}; read are lengths in whole minutes, hours and days"
        )
    width = len(first_cells(path))
    if width != len(_COLUMNS):
        raise ImportRefused(f"{path.name}: its rows have {width} columns, candles have {len(_COLUMNS)}")
    return int(match[1]) * _MINUTES[match[2]]


def import_binance_klines(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
    exchange_info: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[ImportReport]:
    """Import candle archives of one instrument; files of one length become one series, whole or not at all.

    Parameters
    ----------
    paths : zip or csv files, named as the archive names them; those of one length may overlap in time: a
        candle that is there already is refused as a duplicate.
    instrument_id : ``BTCUSDT-PERP.BINANCE``, ``BTCUSD-PERP.BINANCE`` or ``BTCUSDT.BINANCE``.
    max_bad_share, allow_truncated, replace, exchange_info, progress : as in `import_binance_trades`.

    Returns
    -------
    list of ImportReport, one a length, the shortest first

    Raises
    ------
    ImportRefused
        When a file cannot be read, is of another kind or symbol, or has too many bad candles. Shorter
        lengths stay imported.
    DataError
        When the catalog holds other bars over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    by_length: dict[int, list[Path]] = {}
    for path in map(Path, paths):
        check_symbol(path, ArchiveName.of(path, _EXAMPLE), instrument_id)
        by_length.setdefault(_minutes(path), []).append(path)
    told = Progress(progress)
    reports = []
    for minutes, files in sorted(by_length.items()):
        files.sort(key=lambda p: int(archive_times(pl.Series([first_cells(p)[0]]))[0]))
        rows = RowLedger(max_bad_share)
        newest = -1
        parts = []
        for path in files:
            for frame in archive_rows(path, _COLUMNS, rows, allow_truncated=allow_truncated):
                part = check_candles(_numbers(frame), minutes * 60_000_000_000, rows)
                again = part.filter(pl.col("ts") <= newest)
                if again.height:
                    rows.line = again["line"][0]
                    rows.refuse("duplicate", f"opening time {again['ts'][0]} ns, as before", again.height)
                    part = part.filter(pl.col("ts") > newest)
                if part.height:
                    newest = part["ts"][-1]
                    parts.append(part)
                told.step(path.name, int(frame["line"][-1]), "lines")
        rows.check()
        if not parts:
            raise ImportRefused(f"{', '.join(p.name for p in files)}: no good candles")
        whole = pl.concat(parts)
        spec, inferred = specification(
            instrument_id, whole.select(PRICES).to_numpy().ravel(), whole["volume"].to_numpy(), exchange_info
        )
        spec, differs = settle_instrument(catalog_path, spec)
        rows.note("instrument_inferred", int(inferred))
        rows.note("instrument_of_catalog", int(differs))
        span = (newest - whole["ts"][0]) // (minutes * 60_000_000_000) + 1
        rows.noted.pop("missing_candles", None)  # counted a batch at a time until here
        rows.note("missing_candles", span - whole.height)
        rows.keep("candle", whole.height)
        reports.append(
            write_candles(
                whole,
                spec,
                minutes,
                catalog_path,
                rows,
                source="binance-klines",
                names=[p.name for p in files],
                replace=replace,
            )
        )
    return reports


def _numbers(frame: pl.DataFrame) -> pl.DataFrame:
    ts = archive_times(frame["time"])
    columns = {name: numbers(frame[name]) for name in (*PRICES, "volume")}
    whole = pl.DataFrame({"ts": ts, **columns, "line": frame["line"]})
    return whole.with_columns(ts=pl.when(pl.col("ts") >= 0).then(pl.col("ts")))


register(
    Importer(
        kind="binance-klines",
        help="""Binance's public archive of candles.

    PATHS are named as the archive names them: BTCUSDT-1m-2024-01.zip, BTCUSDT-5m-2024-01-31.zip, zipped or
    not. Spot and futures look alike: --instrument says which it is.
    """,
        function=import_binance_klines,
        instrument="required",
        allow_truncated=True,
        options=(EXCHANGE_INFO,),
    )
)
