"""Market events and bars into a Nautilus ParquetDataCatalog.

Writing is all or nothing: tables go to a staging directory inside the catalog, and only a finished set is
renamed into place. A run that is killed leaves the catalog as it was (or, when killed among the renames,
some of the final files); running it again gives the same files. What new data replace is removed last of
all. One writer at a time: a lock file is held, and released by the system when the process dies.
"""

from __future__ import annotations

import fcntl
import filecmp
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.data.batch_order import order_batches
from apex_nautilus.data.catalog import (
    BARS_FOLDER,
    DELTAS,
    QUOTES,
    TRADES,
    check_path,
    file_span,
    file_time,
    folder_name,
    settle_instrument,
)
from apex_nautilus.data.errors import DataError
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.nautilus_tables import (
    bars_to_table,
    deltas_to_table,
    quotes_table,
    to_nautilus_instrument,
    trades_to_table,
)
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_TRADE
from apex_nautilus.risk import InstrumentSpec
from apex_nautilus.store.atomic import fsync_directory, move, remove

__all__ = ["CatalogWriter", "Written", "to_catalog", "write_bars", "write_events"]

_ROW_GROUP = 20_000
_REPLACE_SLACK_NS = 60_000_000_000
"""How far replaced data may reach beyond the new ones: two recordings of one span seldom end at one event."""


class Written(msgspec.Struct, frozen=True):
    """What one writer put into a catalog.

    `moved` counts events whose receive time was put off by nanoseconds because a trade and a book batch
    shared it: the engine reads both from different files and orders them by time alone. `replaced` names the
    files that were taken out because the new data took their place.
    """

    deltas: int
    trades: int
    bars: int
    batches: int
    moved: int
    files: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    quotes: int = 0


class CatalogWriter:
    """Stages the data of one instrument and publishes it in one go.

    Life cycle: enter the context, `append` events (and `append_bars`) in time order, `commit`. Leaving
    without a commit discards everything.

    Parameters
    ----------
    catalog_path : path of the ParquetDataCatalog, made when missing.
    instrument : whose data it is; its definition is written too.
    replace : take the place of stored files that overlap the new data, instead of refusing. A stored file
        that reaches more than a minute beyond the new data is refused even so: the rest of it would be lost.
    rows_per_file : rows collected before a file is written; bounds the memory.

    Raises
    ------
    DataError
        When another writer holds the catalog, events go back in time, a batch mixes receive times, holds a
        trade or never ends, or the span overlaps stored data.
    """

    def __init__(
        self,
        catalog_path: str | os.PathLike[str],
        instrument: InstrumentSpec,
        *,
        replace: bool = False,
        rows_per_file: int = 500_000,
    ):
        self._catalog = Path(catalog_path)
        self._spec = instrument
        self._replace = replace
        self._rows_per_file = rows_per_file
        self._staging = self._catalog / ".staging"
        self._pending: dict[str, list[np.ndarray]] = {DELTAS: [], TRADES: []}
        self._counts = {DELTAS: 0, TRADES: 0, BARS_FOLDER: 0, QUOTES: 0}
        self._files: list[tuple[Path, Path]] = []  # (staged, final)
        self._ladder = Ladder()
        self._open = np.empty(0, dtype=EVENT)  # events of a batch whose end has not come yet
        self._newest = 0  # receive time of the last event as it came
        self._last_ts = np.iinfo(np.int64).min  # and as it was stored
        self._last_is_trade = False
        self._last_quote = -1
        self._batches = 0
        self._moved = 0
        self._lock: int | None = None

    def __enter__(self) -> CatalogWriter:
        check_path(self._catalog)
        self._catalog.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._catalog / ".writer.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise DataError(
                f"{self._catalog}: another process is writing to this catalog; wait for it to end"
            ) from None
        self._lock = lock
        try:
            shutil.rmtree(self._staging, ignore_errors=True)  # what a killed run left behind
            self._staging.mkdir()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, events: np.ndarray) -> None:
        """Add events, ordered by `ts_init_ns`; an unfinished batch at the end waits for the next call."""
        self._require_entered()
        if events.dtype != EVENT:
            raise DataError(f"{self._spec.id}: events must be an array of EVENT, got {events.dtype}")
        if self._open.size:
            events = np.concatenate([self._open, events])
        is_trade = events["kind"] == KIND_TRADE
        ends = np.flatnonzero(is_trade | ((events["flags"] & FLAG_LAST) != 0))
        whole = int(ends[-1]) + 1 if ends.size else 0
        self._open = events[whole:].copy()
        if whole:
            self._take(events[:whole].copy(), is_trade[:whole])

    def _take(self, events: np.ndarray, is_trade: np.ndarray) -> None:
        ts = events["ts_init_ns"]
        backwards = np.diff(ts, prepend=self._newest) < 0
        if backwards.any() or (events["ts_event_ns"] < 0).any():
            if ts[0] < 0 or not backwards.any():
                raise DataError(f"{self._spec.id}: an event before 1970 cannot be stored")
            raise DataError(
                f"{self._spec.id}: events go back in time at ts_init {ts[int(np.argmax(backwards))]}; "
                "sort them by ts_init_ns first"
            )
        self._newest = int(ts[-1])
        book = events[~is_trade]
        last = (book["flags"] & FLAG_LAST) != 0
        inside = ~last[:-1]
        if (np.diff(book["ts_init_ns"])[inside] != 0).any():
            raise DataError(
                f"{self._spec.id}: a batch of level changes holds more than one ts_init_ns; give it one"
            )
        if (is_trade[1:] & ~is_trade[:-1] & ((events["flags"][:-1] & FLAG_LAST) == 0)).any():
            raise DataError(
                f"{self._spec.id}: a trade stands inside a batch of level changes; put it before the batch"
            )
        # Smallest times that never fall and rise where a trade meets a book batch: with c the count of
        # changes of kind, t'[i] - c[i] is the running maximum of t - c.
        kinds = np.concatenate([[self._last_is_trade], is_trade])
        changes = np.cumsum(kinds[1:] != kinds[:-1])
        start = np.int64(self._last_ts)
        spaced = np.maximum(np.maximum.accumulate(ts - changes), start) + changes
        self._moved += int((spaced != ts).sum())
        events["ts_init_ns"] = spaced
        self._last_ts, self._last_is_trade = int(spaced[-1]), bool(is_trade[-1])

        book = events[~is_trade]
        if book.size:
            touches = self._ladder.apply(book)
            self._batches += touches.shape[0]
            self._collect(DELTAS, order_batches(book, touches))
        self._collect(TRADES, events[is_trade])

    def _collect(self, folder: str, events: np.ndarray) -> None:
        if events.size:
            self._pending[folder].append(events)
            if sum(p.size for p in self._pending[folder]) >= self._rows_per_file:
                self._flush(folder, final=False)

    def _flush(self, folder: str, *, final: bool) -> None:
        if not self._pending[folder]:
            return
        events = np.concatenate(self._pending[folder])
        # Files of one kind may not share an instant: the last one waits for the next file.
        ts = events["ts_init_ns"]
        cut = events.size if final else int(np.searchsorted(ts, ts[-1], side="left"))
        self._pending[folder] = [events[cut:]] if cut < events.size else []
        if cut:
            build = deltas_to_table if folder == DELTAS else trades_to_table
            self._stage(folder, self._spec.id, build(events[:cut], self._spec), int(ts[0]), int(ts[cut - 1]))
            self._counts[folder] += cut

    def append_bars(self, bars: np.ndarray, bar_type: str) -> None:
        """Add `BARS` of one Nautilus bar type (``<instrument>-5-MINUTE-LAST-EXTERNAL``), all at once.

        Raises
        ------
        DataError
            When the times do not rise or the bar type is another instrument's.
        """
        self._require_entered()
        if not bar_type.startswith(f"{self._spec.id}-"):
            raise DataError(f"bar type {bar_type!r} is not one of {self._spec.id}")
        if bars.size == 0:
            return
        if (np.diff(bars["ts_ns"]) <= 0).any():
            raise DataError(f"{bar_type}: the times of the bars do not rise")
        table = bars_to_table(bars, bar_type, self._spec)
        self._stage(BARS_FOLDER, bar_type, table, int(bars["ts_ns"][0]), int(bars["ts_ns"][-1]))
        self._counts[BARS_FOLDER] += bars.size

    def append_quotes(self, table: pa.Table) -> None:
        """Add Nautilus's own table of QuoteTick, in time order; a file is made of each call.

        Nothing in this package reads quotes: they are for those who do, as they were heard.

        Raises
        ------
        DataError
            When the columns are not those of this Nautilus, or the times fall, also from call to call (one
            instant may not lie in two files).
        """
        self._require_entered()
        if table.num_rows == 0:
            return
        table = quotes_table(table, self._spec)
        ts = table.column("ts_init").to_numpy().astype(np.int64)
        if (np.diff(ts) < 0).any() or ts[0] <= self._last_quote:
            raise DataError(f"{self._spec.id}: the times of the quotes fall; sort them by ts_init first")
        self._last_quote = int(ts[-1])
        self._stage(QUOTES, self._spec.id, table, int(ts[0]), int(ts[-1]))
        self._counts[QUOTES] += table.num_rows

    def commit(self) -> Written:
        """Publish what was staged and return its counts."""
        self._require_entered()
        if self._open.size:
            raise DataError(
                f"{self._spec.id}: the events end inside a batch; flag its last level with FLAG_LAST"
            )
        for folder in self._pending:
            self._flush(folder, final=True)
        replaced = self._to_replace()
        settled, _ = settle_instrument(self._catalog, self._spec)
        if (settled.price_precision, settled.size_precision) != (
            self._spec.price_precision,
            self._spec.size_precision,
        ):
            raise DataError(
                f"{self._spec.id}: the catalog holds data with {settled.price_precision} price and "
                f"{settled.size_precision} size decimals, the new definition has fewer and could not read "
                f"them; "
                "write with the catalog's own definition (`settle_instrument`)"
            )
        definition = ParquetDataCatalog(str(self._staging))
        definition.write_data([to_nautilus_instrument(self._spec)])
        staged = [
            (path, self._catalog / path.relative_to(self._staging)) for path in self._definition_files()
        ]
        for source, final in staged + self._files:
            final.parent.mkdir(parents=True, exist_ok=True)
            move(source, final)
        for path in replaced:
            remove(path)
        # New folders last only when the folders they are in have been flushed.
        for folder in {p for _, final in staged + self._files for p in final.parent.parents}:
            if folder.is_relative_to(self._catalog):
                fsync_directory(folder)
        return Written(
            deltas=self._counts[DELTAS],
            trades=self._counts[TRADES],
            bars=self._counts[BARS_FOLDER],
            quotes=self._counts[QUOTES],
            batches=self._batches,
            moved=self._moved,
            files=tuple(str(final.relative_to(self._catalog)) for _, final in self._files),
            replaced=tuple(str(path.relative_to(self._catalog)) for path in replaced),
        )

    def _definition_files(self) -> list[Path]:
        known = {staged for staged, _ in self._files}
        return [path for path in sorted(self._staging.rglob("*.parquet")) if path not in known]

    def _stage(self, folder: str, identifier: str, table: pa.Table, first: int, last: int) -> None:
        name = f"{file_time(first)}_{file_time(last)}.parquet"
        relative = Path("data") / folder / folder_name(identifier) / name
        path = self._staging / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=_ROW_GROUP)
        self._files.append((path, self._catalog / relative))

    def _to_replace(self) -> list[Path]:
        """Return the stored files that the new ones displace; raises DataError when they may not."""
        new = {final: staged for staged, final in self._files}
        found = []
        for directory in sorted({final.parent for final in new}):
            spans = [file_span(final) for final in new if final.parent == directory]
            begin, end = min(lo for lo, _ in spans), max(hi for _, hi in spans)
            for old in sorted(directory.glob("*.parquet")):
                first, last = file_span(old)
                if all(last < lo or first > hi for lo, hi in spans):
                    continue
                if old in new and filecmp.cmp(old, new[old], shallow=False):
                    continue  # the same import again
                if not self._replace:
                    raise DataError(
                        f"{old}: the catalog already holds {directory.name} over a part of this span; "
                        "import into another catalog, or ask to replace"
                    )
                if first < begin - _REPLACE_SLACK_NS or last > end + _REPLACE_SLACK_NS:
                    raise DataError(
                        f"{old}: reaches beyond the new data ({file_time(begin)} to {file_time(end)}); "
                        "what lies beyond would be lost. Import into another catalog, or remove the file"
                    )
                if old not in new:
                    found.append(old)
        return found

    def _require_entered(self) -> None:
        if self._lock is None:
            raise DataError(
                "CatalogWriter is used outside its context; write `with CatalogWriter(...) as writer:`"
            )


def write_events(
    catalog_path: str | os.PathLike[str],
    instrument: InstrumentSpec,
    events: np.ndarray | Iterable[np.ndarray],
    *,
    replace: bool = False,
) -> Written:
    """Write market events (one array, or chunks of a stream) of one instrument; see `CatalogWriter` for the
    terms."""
    with CatalogWriter(catalog_path, instrument, replace=replace) as writer:
        for chunk in [events] if isinstance(events, np.ndarray) else events:
            writer.append(chunk)
        return writer.commit()


def write_bars(
    catalog_path: str | os.PathLike[str],
    instrument: InstrumentSpec,
    bars: np.ndarray,
    bar_type: str,
    *,
    replace: bool = False,
) -> Written:
    """Write `BARS` of one instrument under a Nautilus bar type."""
    with CatalogWriter(catalog_path, instrument, replace=replace) as writer:
        writer.append_bars(bars, bar_type)
        return writer.commit()


class Tape(Protocol):
    """What the simulator hands over: `events` is an array of EVENT ordered by receive time."""

    events: Any


def to_catalog(
    tape: Tape, instrument: InstrumentSpec, path: str | os.PathLike[str], *, replace: bool = False
) -> Written:
    """Write a simulated market into a catalog, as if it had been recorded."""
    return write_events(path, instrument, tape.events, replace=replace)
