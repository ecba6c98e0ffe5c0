"""Trades out of tables of any columns: what `csv` and the venues' own trade archives share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers._book import to_units
from apex_nautilus.data.importers._rows import Rows, TradeFile, combine, merge_trades, to_events
from apex_nautilus.data.importers._table import numbers, read_table, times
from apex_nautilus.data.importers._write import publish
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.risk import InstrumentSpec

__all__ = ["TradeColumns", "ids", "import_trades", "sides", "survey_decimals"]

_IDS = 10**18  # what a trade id of the catalog can hold
_HASH = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Which column is what; None where there is none.

    `buy` and `sell` are the cells of `side`, in lower case, that say what the aggressor did.
    """

    time: str
    price: str
    size: str
    side: str | None = None
    number: str | None = None
    receive: str | None = None
    symbol: str | None = None
    unit: str = "auto"
    buy: tuple[str, ...] = ("buy", "b", "bid")
    sell: tuple[str, ...] = ("sell", "s", "ask", "a")

    def names(self) -> list[str]:
        """Return the columns that are there."""
        every = (self.time, self.price, self.size, self.side, self.number, self.receive, self.symbol)
        return list(dict.fromkeys(c for c in every if c is not None))


def sides(column: pl.Series, buy: Sequence[str], sell: Sequence[str]) -> np.ndarray:
    """Return +1, -1, or 2 for a cell that is neither; 0 for an empty one."""
    words = dict.fromkeys(buy, 1) | dict.fromkeys(sell, -1) | {"": 0}
    text = column.fill_null("").str.strip_chars().str.to_lowercase()
    return text.replace_strict(words, default=2, return_dtype=pl.Int8).to_numpy()


def ids(column: pl.Series) -> np.ndarray:
    """Return ids as numbers below 10^18, 0 where there is none: digits as they are, other texts mixed."""
    text = column.fill_null("").str.strip_chars()
    whole = text.str.contains(r"^\d{1,18}(\.0)?$")
    plain = text.str.strip_suffix(".0").cast(pl.Int64, strict=False).fill_null(0)
    if whole.all():
        return plain.to_numpy()
    mixed = [_mix(t) for t in text]
    return np.where(whole.to_numpy(), plain.to_numpy(), np.array(mixed, dtype=np.int64))


def _mix(text: str) -> int:
    if not text:
        return 0
    digits = text.replace("-", "")
    try:
        value = int(digits, 16 if not digits.isdecimal() else 10)
    except ValueError:
        value = int.from_bytes(text.encode(), "big") * _HASH
    return value % _IDS


def survey_decimals(
    files: Sequence[Path], price: Sequence[str], size: str, allow_truncated: bool
) -> tuple[int, int]:
    """Return the decimals that prices and sizes use, all but a hundredth of them: a few odd numbers do not
    make an instrument's grid finer."""
    prices, sizes = _Decimals(), _Decimals()
    for path in files:
        for frame in read_table(path, [*price, size], RowLedger(1.0), allow_truncated=allow_truncated):
            for name in price:
                prices.see(numbers(frame[name]))
            sizes.see(numbers(frame[size]))
    return prices.places, sizes.places


class _Decimals:
    """Counts how many numbers would need more than so many decimals."""

    _MOST = 8
    _ODD = 0.01

    def __init__(self) -> None:
        self._finer = np.zeros(self._MOST + 1, dtype=np.int64)
        self._total = 0

    def see(self, values: np.ndarray) -> None:
        values = values[np.abs(values) < 1e15]  # false for NaN too
        self._total += values.size
        for places in range(self._MOST + 1):
            off = to_units(values, 10.0**places)[1]
            self._finer[places] += int(off.sum())
            values = values[off]

    @property
    def places(self) -> int:
        fits = self._finer <= self._ODD * self._total
        return int(np.argmax(fits)) if fits.any() else self._MOST


def _rows(frame: pl.DataFrame, columns: TradeColumns) -> Rows:
    n = frame.height
    ts = times(frame[columns.time], columns.unit)
    return Rows(
        ts_event=ts,
        receive=times(frame[columns.receive], columns.unit) if columns.receive else ts,
        price=numbers(frame[columns.price]),
        size=numbers(frame[columns.size]),
        side=sides(frame[columns.side], columns.buy, columns.sell) if columns.side else np.zeros(n, np.int8),
        number=ids(frame[columns.number]) if columns.number else np.zeros(n, np.int64),
        line=frame["line"].to_numpy(),
    )


def _read(
    path: Path,
    columns: TradeColumns,
    spec: InstrumentSpec,
    symbol: str,
    allow_truncated: bool,
    rows: RowLedger,
) -> Iterator[np.ndarray]:
    newest = 0
    last = 0
    for frame in read_table(path, columns.names(), rows, allow_truncated=allow_truncated):
        if columns.symbol is not None:
            other = frame.filter(pl.col(columns.symbol).fill_null("") != symbol)
            if other.height:
                rows.line = other["line"][0]
                rows.refuse("wrong_symbol", f"{other[columns.symbol][0]!s:.40}, not {symbol}", other.height)
                frame = frame.filter(pl.col(columns.symbol) == symbol)
        events = to_events(spec, rows, _rows(frame, columns), newest, levels=False)
        if events.size:
            if events["sequence"][0] and events["sequence"][0] == last:
                rows.refuse("duplicate", f"trade {last}")
                events = events[1:]
            newest = int(events["ts_init_ns"][-1]) if events.size else newest
            last = int(events["sequence"][-1]) if events.size else last
        rows.keep("trade", events.size)
        if events.size:
            yield events


def import_trades(
    files: Sequence[Path],
    catalog_path: str | os.PathLike[str],
    instrument: InstrumentSpec,
    columns: Callable[[Path], TradeColumns],
    *,
    symbol: str,
    source: str,
    max_bad_share: float,
    allow_truncated: bool,
    replace: bool,
    inferred: bool = False,
) -> ImportReport:
    """Import tables of trades, merged by time, each trade id once; all of them, or nothing.

    Raises
    ------
    ImportRefused
        When there is no trade, a file is damaged, or too many rows are bad.
    DataError
        When the catalog holds other data over the span.
    """
    spec, differs = settle_instrument(catalog_path, instrument)
    once = RowLedger(max_bad_share)
    once.note("instrument_inferred", inferred)
    once.note("instrument_of_catalog", differs)
    parts: list[TradeFile] = []
    for path in files:
        read = partial(_read, path, columns(path), spec, symbol, allow_truncated)
        peek = read(RowLedger(1.0))
        first = next(peek, None)
        peek.close()  # pyright: ignore[reportAttributeAccessIssue]
        first_ns = 0 if first is None else int(first["ts_init_ns"][0])
        parts.append(TradeFile(first_ns, read, RowLedger(1.0)))
    span: list[int] = []

    def chunks() -> Iterator[np.ndarray]:
        for events in merge_trades(parts, once):
            span[:] = [span[0] if span else int(events["ts_init_ns"][0]), int(events["ts_init_ns"][-1])]
            yield events

    names = [p.name for p in files]

    def report() -> ImportReport:
        rows = combine([once, *(p.rows for p in parts)], max_bad_share)
        rows.check()
        if not span:
            raise ImportRefused(f"{', '.join(names)}: no trade in {rows.rows} rows")
        repeated = rows.noted.get("repeated_trade", 0)
        rows.kept["trade"] -= repeated
        return rows.report(
            source=source,
            instrument_id=spec.id,
            paths=names,
            first_ns=span[0],
            last_ns=span[1],
        )

    return publish(catalog_path, spec, chunks(), report, replace=replace)
