"""Market events and bars out of a Nautilus ParquetDataCatalog, in order of time and in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from nautilus_trader.model.enums import BookAction

from apex_nautilus.data.catalog import (
    BARS_FOLDER,
    DELTAS,
    TRADES,
    bar_types,
    data_files,
    load_instrument,
    readable,
)
from apex_nautilus.data.errors import DataError
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.nautilus_tables import BARS, table_to_bars, table_to_deltas, table_to_trades
from apex_nautilus.features import EVENT, KIND_TRADE
from apex_nautilus.risk import InstrumentSpec

__all__ = ["merge_streams", "read_bars", "read_events"]

_File = tuple[Path, int, int]
"""Path, first and last receive time of a data file."""


def read_events(
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    start: int | None = None,
    end: int | None = None,
    *,
    chunk_rows: int = 200_000,
) -> Iterator[np.ndarray]:
    """Yield the market events of one instrument in time order.

    Parameters
    ----------
    start, end : int, optional
        Receive times in nanoseconds; start is included, end is not. A reading that starts inside the data
        opens with a snapshot of the book as it stood then, stamped `start`.
    chunk_rows : int
        Rows read at a time; bounds the memory. No instant and no batch is split between two chunks.

    Notes
    -----
    Where data written by others hold a trade and a book change of one instant, the trade comes first.

    Yields
    ------
    ndarray of EVENT

    Raises
    ------
    DataError
        When the catalog has no such instrument or no book and trades of it, a file is damaged, or `start`
        is not before `end`.
    """
    if start is not None and end is not None and start >= end:
        raise DataError(f"start {start} is not before end {end}")
    spec = load_instrument(catalog_path, instrument_id)
    files = {folder: data_files(catalog_path, folder, instrument_id) for folder in (TRADES, DELTAS)}
    if not any(files.values()):
        raise DataError(f"{catalog_path}: no book or trades of {instrument_id} are stored")
    group = 0
    if end is not None:
        files = {folder: [f for f in found if f[1] < end] for folder, found in files.items()}
    if start is not None:
        files[TRADES] = [f for f in files[TRADES] if f[2] >= start]
        files[DELTAS], group = _from_last_clear(files[DELTAS], start)
    streams = [
        _chunks(files[TRADES], spec, TRADES, chunk_rows),
        _chunks(files[DELTAS], spec, DELTAS, chunk_rows, group),
    ]
    yield from _between(merge_streams(streams), start, end)


def _between(chunks: Iterable[np.ndarray], start: int | None, end: int | None) -> Iterator[np.ndarray]:
    ladder = Ladder() if start is not None else None
    seen = (0, 0)  # event time and sequence of the last book event before `start`
    for chunk in chunks:
        ts = chunk["ts_init_ns"]
        lo = 0 if ladder is None else int(np.searchsorted(ts, start, side="left"))
        hi = chunk.size if end is None else int(np.searchsorted(ts, end, side="left"))
        if ladder is not None:
            before = chunk[: min(lo, hi)]
            book = before[before["kind"] != KIND_TRADE]
            if book.size:
                ladder.apply(book)
                seen = (int(book["ts_event_ns"][-1]), int(book["sequence"][-1]))
            if lo < chunk.size:
                if len(ladder):
                    yield ladder.snapshot(seen[0], int(start or 0), seen[1])
                ladder = None
        if lo < hi:
            yield chunk[lo:hi]
        if hi < chunk.size:
            return


def _from_last_clear(files: list[_File], start: int) -> tuple[list[_File], int]:
    """Return the files, and the row group of the first, with which a reading that opens at `start` may begin.

    A clear forgets all levels, so what is older than the last one before `start` need not be read. The
    statistics of row groups tell where clears can be.
    """
    for k in reversed(range(len(files))):
        path, first, _ = files[k]
        if first >= start:
            continue
        with readable(path), pq.ParquetFile(path) as file:
            column = file.schema_arrow.get_field_index("action")
            for group in reversed(range(file.metadata.num_row_groups)):
                told = file.metadata.row_group(group).column(column).statistics
                if told is not None and told.has_min_max and told.max < BookAction.CLEAR:
                    continue
                table = file.read_row_group(group, columns=["action", "ts_init"])
                clear = table.column("action").to_numpy() == BookAction.CLEAR
                if (clear & (table.column("ts_init").to_numpy() < start)).any():
                    return files[k:], group
    return files, 0


def _chunks(
    files: list[_File], spec: InstrumentSpec, folder: str, rows: int, first_group: int = 0
) -> Iterator[np.ndarray]:
    convert = table_to_deltas if folder == DELTAS else table_to_trades
    for k, (path, _, _) in enumerate(files):
        with readable(path), pq.ParquetFile(path) as file:
            groups = list(range(0 if k else first_group, file.metadata.num_row_groups))
            for batch in file.iter_batches(batch_size=rows, row_groups=groups):
                if batch.num_rows == 0:
                    continue  # an empty chunk means the end to `merge_streams`
                yield convert(pa.Table.from_batches([batch]), spec)


def merge_streams(streams: list[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Merge time-ordered chunk streams; all events of an instant leave in one chunk."""
    held: list[np.ndarray] = [np.empty(0, dtype=EVENT) for _ in streams]
    alive = [True] * len(streams)
    while any(alive) or any(h.size for h in held):
        starving = [i for i, a in enumerate(alive) if a and held[i].size == 0]
        for i in starving:
            held[i] = next(streams[i], held[i])
            alive[i] = held[i].size > 0
        if any(a and h.size == 0 for a, h in zip(alive, held, strict=True)):
            continue
        limits = [int(h["ts_init_ns"][-1]) for h, a in zip(held, alive, strict=True) if a]
        if limits:
            horizon = min(limits)
            cuts = [int(np.searchsorted(h["ts_init_ns"], horizon, side="left")) for h in held]
        else:
            cuts = [h.size for h in held]
        if not any(cuts) and limits:
            # A chunk that is one instant long: lengthen it.
            for i, a in enumerate(alive):
                if a and int(held[i]["ts_init_ns"][-1]) == horizon:
                    more = next(streams[i], None)
                    alive[i] = more is not None
                    if more is not None:
                        held[i] = np.concatenate([held[i], more])
            continue
        ready = np.concatenate([h[:c] for h, c in zip(held, cuts, strict=True)])
        held = [h[c:] for h, c in zip(held, cuts, strict=True)]
        if ready.size:
            yield ready[np.argsort(ready["ts_init_ns"], kind="stable")]


def read_bars(
    catalog_path: str | os.PathLike[str], bar_type: str, start: int | None = None, end: int | None = None
) -> np.ndarray:
    """Return the `BARS` of a bar type whose close lies in [start, end), times in nanoseconds.

    Raises
    ------
    DataError
        When none are stored (the message lists the bar types of the instrument), or a file is damaged.
    """
    instrument_id = bar_type.rsplit("-", 4)[0]
    spec = load_instrument(catalog_path, instrument_id)
    files = data_files(catalog_path, BARS_FOLDER, bar_type)
    if not files:
        stored = ", ".join(bar_types(catalog_path, instrument_id)) or "none"
        raise DataError(f"{catalog_path}: no bars {bar_type!r}; stored are {stored}")
    parts = [np.empty(0, dtype=BARS)]
    for path, first, last in files:
        if (start is None or last >= start) and (end is None or first < end):
            with readable(path):
                parts.append(table_to_bars(pq.read_table(path), spec))
    bars = np.concatenate(parts)
    lo = 0 if start is None else int(np.searchsorted(bars["ts_ns"], start, side="left"))
    hi = bars.size if end is None else int(np.searchsorted(bars["ts_ns"], end, side="left"))
    return bars[lo:hi]
