"""Columns of a comma-separated file, batch by batch, with the line each row stands on.

Every cell is read as text and made a number here, so that a bad cell costs its row and not the file.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers._lines import lines
from apex_nautilus.data.importers.report import RowLedger

__all__ = ["TIME_UNITS", "columns_of", "numbers", "read_table", "times"]

TIME_UNITS = ("auto", "s", "ms", "us", "ns", "iso")
_FACTORS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_LARGEST_NS = 9_200_000_000_000_000_000
_BATCH = 50_000
_BATCH_BYTES = 1 << 25


def columns_of(path: Path) -> list[str]:
    """Return the names in a file's header line.

    Raises
    ------
    ImportRefused
        When there is no readable header.
    """
    rows = RowLedger(1.0)
    found = lines(path, rows, allow_truncated=True)
    try:
        head = next(found, b"").decode("utf-8-sig").strip()
    except UnicodeDecodeError as e:
        raise ImportRefused(f"{path}: the header is not text: {e}") from e
    finally:
        found.close()  # pyright: ignore[reportAttributeAccessIssue]
    if not head and rows.noted.get("truncated_file"):
        raise ImportRefused(f"{path}: the file is truncated within its header; fetch it again")
    if not head:
        raise ImportRefused(f"{path}: is empty, it lacks even a header")
    return [name.strip() for name in next(csv.reader([head]), [])]


def read_table(
    path: Path, columns: Sequence[str], rows: RowLedger, *, allow_truncated: bool = False
) -> Iterator[pl.DataFrame]:
    """Yield batches of the named columns as text, with `line`; `rows.rows` counts what was read.

    A row with too few cells holds nulls; blank lines are passed over.

    Raises
    ------
    ImportRefused
        When the header lacks a column or the file cannot be read.
    """
    header = columns_of(path)
    missing = [c for c in columns if c not in header]
    if missing:
        raise ImportRefused(
            f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"its header is {','.join(header)[:300]}"
        )
    places = [header.index(c) for c in columns]
    source = lines(path, rows, allow_truncated=allow_truncated)
    next(source, None)
    held: list[bytes] = []
    numbers_of: list[int] = []
    size = 0
    for raw in source:
        if not raw.strip():
            continue
        held.append(raw.rstrip(b"\r"))
        numbers_of.append(rows.line)
        size += len(raw)
        if len(held) >= _BATCH or size >= _BATCH_BYTES:
            yield _batch(held, numbers_of, places, columns, len(header), rows)
            held, numbers_of, size = [], [], 0
    if held:
        yield _batch(held, numbers_of, places, columns, len(header), rows)


def _batch(
    held: list[bytes],
    line: list[int],
    places: list[int],
    columns: Sequence[str],
    width: int,
    rows: RowLedger,
) -> pl.DataFrame:
    rows.rows += len(held)
    frame = None
    with contextlib.suppress(pl.exceptions.PolarsError, ValueError):
        frame = pl.read_csv(
            b"\n".join(held) + b"\n",
            has_header=False,
            new_columns=[f"c{i}" for i in range(width)],
            schema={f"c{i}": pl.String for i in range(width)},
            truncate_ragged_lines=True,
            encoding="utf8",
        ).select(pl.nth(places))
    if frame is None or frame.height != len(held):
        frame = _one_by_one(held, places)  # quotes or bytes that upset the fast reader
    frame.columns = list(columns)
    return frame.with_columns(line=pl.Series(line, dtype=pl.Int64))


def _one_by_one(held: list[bytes], places: list[int]) -> pl.DataFrame:
    cells: list[list[str | None]] = []
    for raw in held:
        try:
            row = next(islice(csv.reader(io.StringIO(raw.decode("utf-8"), newline="")), 1), [])
        except (UnicodeDecodeError, csv.Error):
            row = []
        cells.append([row[p] if p < len(row) else None for p in places])
    names = [str(i) for i in range(len(places))]
    return pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String), orient="row")


def numbers(column: pl.Series) -> np.ndarray:
    """Return a column of text as doubles; NaN where there is no number."""
    return column.str.strip_chars().cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def times(column: pl.Series, unit: str) -> np.ndarray:
    """Return a column of text as nanoseconds since the epoch; -1 where it is no time after 1970.

    Parameters
    ----------
    unit : {"auto", "s", "ms", "us", "ns", "iso"}
        Of numbers; "iso" for dates and times (UTC where they name no zone); "auto" goes by the first cell:
        a number of 10 digits is seconds, of 13 milliseconds, of 16 microseconds, of 19 nanoseconds.
    """
    column = column.str.strip_chars()
    if unit == "auto":
        unit = _unit_of(next((c for c in column if c), ""))
    if unit == "iso":
        return _iso(column)
    whole = column.cast(pl.Int64, strict=False)
    factor = _FACTORS[unit]
    most = _LARGEST_NS // factor
    exact = whole.is_not_null() & (whole >= 0) & (whole <= most)
    ns = np.where(exact.to_numpy(), whole.fill_null(0).to_numpy(), 0).astype(np.int64)
    out = np.where(exact.to_numpy(), ns * np.where(exact.to_numpy(), factor, 1), -1)
    rest = whole.is_null().to_numpy()
    if rest.any():  # 1585526399.8512: digits are moved, not multiplied, so that none is lost
        out[rest] = [_decimal(c, factor) for c in column.filter(pl.Series(rest))]
    return out


def _unit_of(cell: str) -> str:
    whole = cell.partition(".")[0]
    if not whole.isdecimal():
        return "iso"
    return next((unit for most, unit in ((11, "s"), (14, "ms"), (17, "us")) if len(whole) <= most), "ns")


def _decimal(cell: str | None, factor: int) -> int:
    whole, dot, part = (cell or "").partition(".")
    digits = len(str(factor)) - 1
    if not whole.isdecimal() or (dot and not part.isdecimal()) or len(whole) > 19 - digits:
        return -1
    ns = int(whole) * factor + int(part[:digits].ljust(digits, "0") or 0)
    return ns if ns <= _LARGEST_NS else -1


def _iso(column: pl.Series) -> np.ndarray:
    text = column.str.replace(" ", "T", literal=True)
    zoned = text.str.contains(r"(Z|[+-]\d{2}:?\d{2})$")
    text = text.zip_with(zoned.fill_null(False), text + "Z")
    try:
        found = text.str.to_datetime("%+", time_unit="ns", time_zone="UTC", strict=False)
        ns = found.dt.epoch("ns").fill_null(-1).to_numpy().copy()
    except (pl.exceptions.PolarsError, OverflowError):
        return np.full(len(column), -1, dtype=np.int64)
    ns[ns < 0] = -1
    return ns
