"""Recorded market data out of a Nautilus catalog, one object a book batch.

A catalog stores single level changes, and a venue that is given single changes matches after each of them,
in the middle of a batch. Given whole batches it matches once, on the book as it really stood, and the run
is several times faster. So deltas are gathered into one `OrderBookDeltas` a batch here, before they reach
the engine.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np
from nautilus_trader.core.data import Data
from nautilus_trader.core.nautilus_pyo3 import DataBackendSession
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, TradeTick, capsule_to_list
from nautilus_trader.model.enums import BookAction, OrderSide, RecordFlag
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import FIXED_PRECISION, Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.engine.decode import EventDecoder
from apex_nautilus.features import KIND_CLEAR

__all__ = ["MarketDataError", "batches", "data_span", "quote_of"]

_LAST = int(RecordFlag.F_LAST)
_ts_init = attrgetter("ts_init")


class MarketDataError(ValueError):
    """The catalog lacks what a run needs; the message says what and how to get it."""


def _catalog(path: str | os.PathLike[str]) -> ParquetDataCatalog:
    if not (Path(path) / "data").is_dir():
        raise MarketDataError(
            f"{path}: not a market catalog (it has no `data` folder); import data into it first"
        )
    return ParquetDataCatalog(str(path))


def data_span(catalog_path: str | os.PathLike[str], instrument_id: str) -> tuple[int, int]:
    """Return (first, last) receive time of the book of an instrument, nanoseconds.

    Raises
    ------
    MarketDataError
        When the catalog has no such instrument or no book of it.
    """
    catalog = _catalog(catalog_path)
    defined = sorted(i.id.value for i in catalog.instruments())
    if instrument_id not in defined:
        raise MarketDataError(
            f"{catalog_path}: no instrument {instrument_id!r}; "
            f"the catalog defines {', '.join(defined) or 'none'}"
        )
    spans = catalog.get_intervals(OrderBookDelta, instrument_id)
    if not spans:
        raise MarketDataError(f"{catalog_path}: no order book of {instrument_id} is stored; import one first")
    return spans[0][0], spans[-1][1]


def quote_of(catalog_path: str | os.PathLike[str], instrument_id: str) -> str:
    """Return the code of the currency that an instrument of the catalog is quoted in.

    Raises
    ------
    MarketDataError
        When the catalog does not define it.
    """
    for instrument in _catalog(catalog_path).instruments(instrument_ids=[instrument_id]):
        return instrument.quote_currency.code
    raise MarketDataError(f"{catalog_path}: no instrument {instrument_id!r}")


def batches(
    catalog_path: str | os.PathLike[str],
    instrument_ids: Sequence[str],
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    chunk_size: int = 100_000,
) -> Iterator[list[Data]]:
    """Yield book batches and trades of several instruments in time order, in lists.

    Parameters
    ----------
    catalog_path : path of the ParquetDataCatalog.
    instrument_ids : what to read.
    start_ns, end_ns : int, optional
        Receive times; start is included, end is not. A reading that starts inside the data opens with a
        snapshot of each book as it stood then, stamped `start_ns`.
    chunk_size : int
        Records read at a time; bounds the memory.

    Yields
    ------
    list of OrderBookDeltas and TradeTick
        Ordered by `ts_init`; no batch is split.

    Raises
    ------
    MarketDataError
        When an instrument or its book is missing, or its data end inside a batch.
    """
    catalog = _catalog(catalog_path)
    for instrument_id in instrument_ids:
        data_span(catalog_path, instrument_id)
    session = DataBackendSession(chunk_size=chunk_size)
    for data_cls in (OrderBookDelta, TradeTick):
        # Never with start or end: the filtered query sorts again, by time alone, and shuffles a batch.
        session = catalog.backend_session(
            data_cls=data_cls, identifiers=list(instrument_ids), session=session
        )
    defined = catalog.instruments(instrument_ids=list(instrument_ids))
    grouper = _Grouper(start_ns, {i.id: (i.price_precision, i.size_precision) for i in defined})
    for chunk in session.to_query_result():
        data = capsule_to_list(chunk)
        ended = end_ns is not None and data[-1].ts_init >= end_ns
        if ended:
            data = [item for item in data if item.ts_init < end_ns]
        ready = grouper.group(data)
        if ready:
            yield ready
        if ended:
            break
    grouper.finish()


class _Grouper:
    """Gathers single deltas into batches, and the book before the start into a snapshot."""

    def __init__(self, start_ns: int | None, precisions: Mapping[InstrumentId, tuple[int, int]]) -> None:
        self._start_ns = start_ns
        self._precisions = precisions
        self._open: dict[InstrumentId, list[OrderBookDelta]] = {}
        self._books: dict[InstrumentId, np.ndarray] = {}  # before the start only: the levels that stand

    def group(self, data: list[Data]) -> list[Data]:
        ready: list[Data] = []
        start_ns = self._start_ns
        if start_ns is not None:
            begin = bisect_left(data, start_ns, key=_ts_init)
            self._remember(data[:begin])
            if begin == len(data):
                return ready
            data = data[begin:]
            ready.extend(self._snapshots(start_ns))
            self._start_ns = None
        open_batches = self._open
        for item in data:
            if type(item) is not OrderBookDelta:
                ready.append(item)
                continue
            instrument_id = item.instrument_id
            batch = open_batches.get(instrument_id)
            if batch is None:
                batch = open_batches[instrument_id] = []
            batch.append(item)
            if item.flags & _LAST:
                ready.append(OrderBookDeltas(instrument_id, batch))
                open_batches[instrument_id] = []
        return ready

    def _remember(self, data: list[Data]) -> None:
        changes: dict[InstrumentId, list[OrderBookDelta]] = {}
        for item in data:
            if type(item) is OrderBookDelta:
                changes.setdefault(item.instrument_id, []).append(item)
        for instrument_id, deltas in changes.items():
            decoder = EventDecoder(*self._precisions[instrument_id])
            events = decoder.deltas(OrderBookDeltas(instrument_id, deltas))
            if instrument_id in self._books:
                events = np.concatenate([self._books[instrument_id], events])
            self._books[instrument_id] = _standing(events)

    def _snapshots(self, start_ns: int) -> Iterator[OrderBookDeltas]:
        for instrument_id, levels in self._books.items():
            if not levels.size:
                continue
            price_precision, size_precision = self._precisions[instrument_id]
            ts_event, sequence = int(levels["ts_event_ns"].max()), int(levels["sequence"].max())
            deltas = [OrderBookDelta.clear(instrument_id, sequence, ts_event, start_ns)]
            for i, level in enumerate(levels.tolist()):
                ts, _, price, size, number, _, side, _ = level
                order = BookOrder(
                    OrderSide.BUY if side > 0 else OrderSide.SELL,
                    Price.from_raw(price * 10 ** (FIXED_PRECISION - price_precision), price_precision),
                    Quantity.from_raw(size * 10 ** (FIXED_PRECISION - size_precision), size_precision),
                    0,
                )
                flags = _LAST if i == len(levels) - 1 else 0
                deltas.append(
                    OrderBookDelta(instrument_id, BookAction.ADD, order, flags, number, ts, start_ns)
                )
            yield OrderBookDeltas(instrument_id, deltas)
        self._books.clear()

    def finish(self) -> None:
        unfinished = [str(i) for i, batch in self._open.items() if batch]
        if unfinished:
            raise MarketDataError(
                f"the book of {', '.join(unfinished)} ends inside a batch; its last delta lacks F_LAST"
            )


def _standing(events: np.ndarray) -> np.ndarray:
    """The levels that a book holds after `events`, ordered by side and price: of each the last change."""
    clears = np.flatnonzero(events["kind"] == KIND_CLEAR)
    if clears.size:
        events = events[clears[-1] + 1 :]
    backwards = events[::-1]
    keys = np.stack([backwards["side"], backwards["price"]], axis=1)
    _, last = np.unique(keys, axis=0, return_index=True)
    levels = backwards[last]
    return levels[levels["size"] > 0].copy()
