"""Files of Binance's public archive: comma-separated, zipped or not, on futures with a header line of late.

What a file holds is in its name, which columns it has depends on the market; times are milliseconds, and
microseconds on spot since 2025.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._lines import lines
from apex_nautilus.data.importers.report import RowLedger
from apex_nautilus.data.venues.binance import (
    binance_instrument,
    exchange_info_instrument,
    infer_instrument,
    raw_symbol,
)
from apex_nautilus.risk import InstrumentSpec

__all__ = ["ArchiveName", "archive_rows", "archive_times", "check_symbol", "first_cells", "specification"]

_NAME = re.compile(r"([A-Z0-9]+(?:_PERP|_\d{6})?)-([A-Za-z0-9]+)-\d{4}-\d{2}(?:-\d{2})?\.(?:zip|csv|csv\.gz)")
_BATCH = 50_000
_LARGEST_MS = (2**63 - 1) // 1_000_000
_MICROSECONDS_FROM = 10**14  # as milliseconds that would be the year 5138


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """``BTCUSDT-trades-2024-01-01.zip``: symbol BTCUSDT, what trades."""

    symbol: str
    what: str

    @classmethod
    def of(cls, path: Path, example: str) -> ArchiveName:
        """Read a file's name; raises ImportRefused when it is none of the archive's."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise ImportRefused(f"{path.name}: not a name of Binance's archive, such as {example}")
        return cls(match[1], match[2])


def check_symbol(path: Path, name: ArchiveName, instrument_id: str) -> None:
    """Refuse a file of another symbol than the instrument's."""
    if name.symbol != raw_symbol(instrument_id):
        raise ImportRefused(f"{path.name}: holds {name.symbol}, not {raw_symbol(instrument_id)}")


def _is_header(row: bytes) -> bool:
    return not row[:1].isdigit() and row[:1].isalpha()


def first_cells(path: Path) -> list[str]:
    """Return the cells of the first row that is not a header.

    Raises
    ------
    ImportRefused
        When there is none.
    """
    found = lines(path, RowLedger(1.0), allow_truncated=True)
    for raw in found:
        if raw.strip() and not _is_header(raw):
            return raw.decode("latin-1").strip().split(",")
    raise ImportRefused(f"{path}: holds no rows")


def archive_rows(
    path: Path, columns: Sequence[str], rows: RowLedger, *, allow_truncated: bool = False
) -> Iterator[pl.DataFrame]:
    """Yield batches of all columns as text, with `line`; rows of another width hold nulls.

    Raises
    ------
    ImportRefused
        When the file cannot be read to its end.
    """
    held: list[bytes] = []
    at: list[int] = []
    for raw in lines(path, rows, allow_truncated=allow_truncated):
        if not raw.strip() or (rows.line == 1 and _is_header(raw)):
            continue
        held.append(raw)
        at.append(rows.line)
        if len(held) == _BATCH:
            line = rows.line
            yield _frame(held, at, columns, rows)
            rows.line = line  # whoever took the batch may have pointed at a bad row of it
            held, at = [], []
    if held:
        yield _frame(held, at, columns, rows)


def _frame(held: list[bytes], at: list[int], columns: Sequence[str], rows: RowLedger) -> pl.DataFrame:
    rows.rows += len(held)
    text = pl.Series([raw.strip().decode("utf-8", "replace") for raw in held], dtype=pl.String)
    cells = text.str.split(",")
    whole = cells.list.len() == len(columns)
    return pl.DataFrame(
        {
            **{c: cells.list.get(i, null_on_oob=True).zip_with(whole, pl.Series([None], dtype=pl.String))
               for i, c in enumerate(columns)},
            "line": pl.Series(at, dtype=pl.Int64),
        }
    )  # fmt: skip


def archive_times(column: pl.Series) -> np.ndarray:
    """Return times in nanoseconds, -1 where there is none; each cell tells by its size what it counts in."""
    whole = column.cast(pl.Int64, strict=False).fill_null(-1).to_numpy()
    fine = whole >= _MICROSECONDS_FROM
    most = np.where(fine, _LARGEST_MS * 1000, _LARGEST_MS)
    good = (whole >= 0) & (whole <= most)
    return np.where(good, whole, 0) * np.where(fine, 1_000, 1_000_000) - ~good


def specification(
    instrument_id: str,
    prices: np.ndarray,
    sizes: np.ndarray,
    exchange_info: str | os.PathLike[str] | None,
) -> tuple[InstrumentSpec, bool]:
    """Return the instrument, and whether its steps were read off `prices` and `sizes`.

    The exchange information counts first, then the table where its decimals fit the numbers.
    """
    seen = infer_instrument(instrument_id, prices, sizes)
    if exchange_info is not None:
        told = exchange_info_instrument(exchange_info, instrument_id)
        # Numbers of another time may have more decimals than today's steps; none is rounded away.
        price = max(told.price_precision, seen.price_precision)
        size = max(told.size_precision, seen.size_precision)
        return msgspec.structs.replace(told, price_precision=price, size_precision=size), False
    try:
        known = binance_instrument(instrument_id)
    except DataError:
        return seen, True
    fits = known.price_precision >= seen.price_precision and known.size_precision >= seen.size_precision
    return (known, False) if fits else (seen, True)
