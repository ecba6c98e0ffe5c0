"""Recorded market data out of a Nautilus catalog, one object a book batch.

A catalog stores single level changes, and a venue that is given single changes matches after each of them,
in the middle of a batch. Given whole batches it matches once, on the book as it really stood, and the run
is several times faster. So deltas are gathered into one `OrderBookDeltas` a batch here, before they reach
the engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nautilus_trader.core.data import Data
from nautilus_trader.core.nautilus_pyo3 import DataBackendSession
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, TradeTick, capsule_to_list
from nautilus_trader.model.enums import BookAction, RecordFlag
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.persistence.catalog import ParquetDataCatalog

__all__ = ["MarketDataError", "batches", "data_span"]

_LAST = int(RecordFlag.F_LAST)


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
    grouper = _Grouper(start_ns)
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

    def __init__(self, start_ns: int | None) -> None:
        self._start_ns = start_ns
        self._open: dict[InstrumentId, list[OrderBookDelta]] = {}
        self._books: dict[InstrumentId, dict[tuple[int, int], OrderBookDelta]] = {}  # before the start only

    def group(self, data: list[Data]) -> list[Data]:
        ready: list[Data] = []
        start_ns = self._start_ns
        for item in data:
            if start_ns is not None:
                if item.ts_init < start_ns:
                    if type(item) is OrderBookDelta:
                        self._remember(item)
                    continue
                ready.extend(self._snapshots(start_ns))
                self._start_ns = start_ns = None
            if type(item) is OrderBookDelta:
                instrument_id = item.instrument_id
                batch = self._open.setdefault(instrument_id, [])
                batch.append(item)
                if item.flags & _LAST:
                    ready.append(OrderBookDeltas(instrument_id, batch))
                    self._open[instrument_id] = []
            else:
                ready.append(item)
        return ready

    def _remember(self, delta: OrderBookDelta) -> None:
        book = self._books.setdefault(delta.instrument_id, {})
        if delta.action == BookAction.CLEAR:
            book.clear()
            return
        key = (int(delta.order.side), delta.order.price.raw)
        if delta.action == BookAction.DELETE:
            book.pop(key, None)
        else:
            book[key] = delta

    def _snapshots(self, start_ns: int) -> Iterator[OrderBookDeltas]:
        for instrument_id, book in self._books.items():
            levels = [book[key] for key in sorted(book)]
            if not levels:
                continue
            deltas = [OrderBookDelta.clear(instrument_id, levels[-1].sequence, levels[-1].ts_event, start_ns)]
            for i, level in enumerate(levels):
                order = BookOrder(level.order.side, level.order.price, level.order.size, 0)
                flags = _LAST if i == len(levels) - 1 else 0
                deltas.append(
                    OrderBookDelta(
                        instrument_id, BookAction.ADD, order, flags, level.sequence, level.ts_event, start_ns
                    )
                )
            yield OrderBookDeltas(instrument_id, deltas)
        self._books.clear()

    def finish(self) -> None:
        unfinished = [str(i) for i, batch in self._open.items() if batch]
        if unfinished:
            raise MarketDataError(
                f"the book of {', '.join(unfinished)} ends inside a batch; its last delta lacks F_LAST"
            )
