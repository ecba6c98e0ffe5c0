"""Market events and bars into a Nautilus ParquetDataCatalog, and out of it.

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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from nautilus_trader.core.datetime import unix_nanos_to_iso8601
from nautilus_trader.model.enums import BookAction
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.data.batch_order import order_batches
from apex_nautilus.data.errors import DataError
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.nautilus_tables import (
    BARS,
    bars_to_table,
    deltas_to_table,
    from_nautilus_instrument,
    quotes_table,
    table_to_bars,
    table_to_deltas,
    table_to_trades,
    to_nautilus_instrument,
    trades_to_table,
)
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_TRADE
from apex_nautilus.risk import InstrumentSpec
from apex_nautilus.store.atomic import fsync_directory, move, remove

__all__ = [
    "CatalogWriter",
    "Written",
    "bar_types",
    "data_files",
    "instrument_ids",
    "load_instrument",
    "merge_streams",
    "read_bars",
    "read_events",
    "settle_instrument",
    "to_catalog",
    "write_bars",
    "write_events",
]

_DELTAS, _TRADES, _BARS, _QUOTES = "order_book_deltas", "trade_tick", "bar", "quote_tick"
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
        self._pending: dict[str, list[np.ndarray]] = {_DELTAS: [], _TRADES: []}
        self._counts = {_DELTAS: 0, _TRADES: 0, _BARS: 0, _QUOTES: 0}
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
        _check_name(self._catalog)
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
            self._collect(_DELTAS, order_batches(book, touches))
        self._collect(_TRADES, events[is_trade])

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
            build = deltas_to_table if folder == _DELTAS else trades_to_table
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
        self._stage(_BARS, bar_type, table, int(bars["ts_ns"][0]), int(bars["ts_ns"][-1]))
        self._counts[_BARS] += bars.size

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
        self._stage(_QUOTES, self._spec.id, table, int(ts[0]), int(ts[-1]))
        self._counts[_QUOTES] += table.num_rows

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
            deltas=self._counts[_DELTAS],
            trades=self._counts[_TRADES],
            bars=self._counts[_BARS],
            quotes=self._counts[_QUOTES],
            batches=self._batches,
            moved=self._moved,
            files=tuple(str(final.relative_to(self._catalog)) for _, final in self._files),
            replaced=tuple(str(path.relative_to(self._catalog)) for path in replaced),
        )

    def _definition_files(self) -> list[Path]:
        known = {staged for staged, _ in self._files}
        return [path for path in sorted(self._staging.rglob("*.parquet")) if path not in known]

    def _stage(self, folder: str, identifier: str, table: pa.Table, first: int, last: int) -> None:
        name = f"{_file_time(first)}_{_file_time(last)}.parquet"
        relative = Path("data") / folder / _folder_name(identifier) / name
        path = self._staging / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=_ROW_GROUP)
        self._files.append((path, self._catalog / relative))

    def _to_replace(self) -> list[Path]:
        """Return the stored files that the new ones displace; raises DataError when they may not."""
        new = {final: staged for staged, final in self._files}
        found = []
        for directory in sorted({final.parent for final in new}):
            spans = [_span(final) for final in new if final.parent == directory]
            begin, end = min(lo for lo, _ in spans), max(hi for _, hi in spans)
            for old in sorted(directory.glob("*.parquet")):
                first, last = _span(old)
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
                        f"{old}: reaches beyond the new data ({_file_time(begin)} to {_file_time(end)}); "
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


def _folder_name(identifier: str) -> str:
    """The folder of an instrument or a bar type, as Nautilus names it."""
    return identifier.replace("/", "")


def _file_time(ns: int) -> str:
    return unix_nanos_to_iso8601(ns).replace(":", "-").replace(".", "-")


def _span(path: Path) -> tuple[int, int]:
    """Return (first, last) ts_init of a data file, from its name."""
    try:
        first, last = (_parse_file_time(part) for part in path.stem.split("_"))
    except ValueError as e:
        raise DataError(
            f"{path}: the name is not <first>_<last>.parquet as Nautilus writes it; remove the file"
        ) from e
    return first, last


def _parse_file_time(text: str) -> int:
    day, _, clock = text.removesuffix("Z").partition("T")
    hour, minute, second, nanos = clock.split("-")
    seconds = np.datetime64(f"{day}T{hour}:{minute}:{second}", "s").astype(np.int64)
    return int(seconds) * 1_000_000_000 + int(nanos)


# ---- reading


def data_files(
    catalog_path: str | os.PathLike[str], folder: str, identifier: str
) -> list[tuple[Path, int, int]]:
    """Return the files of one kind (`order_book_deltas`, `trade_tick`, `bar`) and identifier as (path,
    first, last), in order of time.

    Raises
    ------
    DataError
        When two of them overlap: a replacement was interrupted, or someone copied files together.
    """
    directory = Path(catalog_path) / "data" / folder / _folder_name(identifier)
    files = sorted(((p, *_span(p)) for p in directory.glob("*.parquet")), key=lambda f: f[1])
    for (earlier, _, end), (later, begin, _) in pairwise(files):
        if begin <= end:
            raise DataError(
                f"{directory}: {earlier.name} and {later.name} overlap in time; finish the import that was "
                "interrupted (run it again), or remove one of them"
            )
    return files


def instrument_ids(catalog_path: str | os.PathLike[str]) -> list[str]:
    """Return the ids of the instruments that the catalog defines, sorted."""
    return sorted(_definitions(catalog_path))


def bar_types(catalog_path: str | os.PathLike[str], instrument_id: str) -> list[str]:
    """Return the bar types stored for an instrument, sorted."""
    directory = Path(catalog_path) / "data" / _BARS
    prefix = f"{_folder_name(instrument_id)}-"
    if not directory.is_dir():
        return []
    lengths = (p.name[len(prefix) :] for p in directory.iterdir() if p.name.startswith(prefix))
    return sorted(f"{instrument_id}-{name}" for name in lengths if name.split("-")[0].isdigit())


def load_instrument(catalog_path: str | os.PathLike[str], instrument_id: str) -> InstrumentSpec:
    """Return the definition of one instrument, the newest where the catalog holds several.

    Raises
    ------
    DataError
        When the catalog does not define it; the message lists those it does.
    """
    known = _definitions(catalog_path)
    if instrument_id not in known:
        raise DataError(
            f"{catalog_path}: no instrument {instrument_id!r}; "
            f"the catalog defines {', '.join(sorted(known)) or 'none'}"
        )
    return from_nautilus_instrument(known[instrument_id])


def settle_instrument(
    catalog_path: str | os.PathLike[str], wanted: InstrumentSpec
) -> tuple[InstrumentSpec, bool]:
    """Return the definition to write new data with, and whether it is another than `wanted`.

    One definition serves all the data of an instrument, and what is stored must stay readable: the definition
    in the catalog stays when it has the decimals the new data need; otherwise `wanted` takes its place,
    with as many decimals as either has.
    """
    if not (Path(catalog_path) / "data").is_dir() or wanted.id not in instrument_ids(catalog_path):
        return wanted, False
    stored = load_instrument(catalog_path, wanted.id)
    price = max(stored.price_precision, wanted.price_precision)
    size = max(stored.size_precision, wanted.size_precision)
    if (price, size) == (stored.price_precision, stored.size_precision):
        return stored, stored != wanted
    settled = msgspec.structs.replace(wanted, price_precision=price, size_precision=size)
    return settled, settled != wanted


@contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell a damaged file by name, whatever reading it raised."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise DataError(f"{path}: cannot be read: {e.strerror}") from e
        raise DataError(f"{path}: damaged, or not as Nautilus writes it: {e}; import it again") from e
    except DataError as e:
        raise DataError(f"{path}: {e}") from e


def _check_name(catalog_path: str | os.PathLike[str]) -> None:
    if set("*?[]") & set(str(Path(catalog_path).absolute())):
        raise DataError(
            f"{catalog_path}: Nautilus takes *, ?, [ and ] in a catalog's path for a pattern and would find "
            "nothing; choose a folder without them"
        )


def _definitions(catalog_path: str | os.PathLike[str]) -> dict[str, Instrument]:
    """Every instrument that the catalog defines; of several definitions of one the newest."""
    _check_name(catalog_path)
    if not (Path(catalog_path) / "data").is_dir():
        raise DataError(
            f"{catalog_path}: not a market catalog (it has no `data` folder); import something first"
        )
    with _readable(f"{catalog_path}: an instrument"):
        instruments = ParquetDataCatalog(str(catalog_path)).instruments()
    return {i.id.value: i for i in sorted(instruments, key=lambda i: i.ts_init)}


_File = tuple[Path, int, int]
"""Path, first and last receive time of a data file."""


def _from_last_clear(files: list[_File], start: int) -> tuple[list[_File], int]:
    """Return the files, and the row group of the first, with which a reading that opens at `start` may begin.

    A clear forgets all levels, so what is older than the last one before `start` need not be read. The
    statistics of row groups tell where clears can be.
    """
    for k in reversed(range(len(files))):
        path, first, _ = files[k]
        if first >= start:
            continue
        with _readable(path), pq.ParquetFile(path) as file:
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
    convert = table_to_deltas if folder == _DELTAS else table_to_trades
    for k, (path, _, _) in enumerate(files):
        with _readable(path), pq.ParquetFile(path) as file:
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
    files = {folder: data_files(catalog_path, folder, instrument_id) for folder in (_TRADES, _DELTAS)}
    if not any(files.values()):
        raise DataError(f"{catalog_path}: no book or trades of {instrument_id} are stored")
    group = 0
    if end is not None:
        files = {folder: [f for f in found if f[1] < end] for folder, found in files.items()}
    if start is not None:
        files[_TRADES] = [f for f in files[_TRADES] if f[2] >= start]
        files[_DELTAS], group = _from_last_clear(files[_DELTAS], start)
    streams = [
        _chunks(files[_TRADES], spec, _TRADES, chunk_rows),
        _chunks(files[_DELTAS], spec, _DELTAS, chunk_rows, group),
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
    files = data_files(catalog_path, _BARS, bar_type)
    if not files:
        stored = ", ".join(bar_types(catalog_path, instrument_id)) or "none"
        raise DataError(f"{catalog_path}: no bars {bar_type!r}; stored are {stored}")
    parts = [np.empty(0, dtype=BARS)]
    for path, first, last in files:
        if (start is None or last >= start) and (end is None or first < end):
            with _readable(path):
                parts.append(table_to_bars(pq.read_table(path), spec))
    bars = np.concatenate(parts)
    lo = 0 if start is None else int(np.searchsorted(bars["ts_ns"], start, side="left"))
    hi = bars.size if end is None else int(np.searchsorted(bars["ts_ns"], end, side="left"))
    return bars[lo:hi]


class Tape(Protocol):
    """What the simulator hands over: `events` is an array of EVENT ordered by receive time."""

    events: Any


def to_catalog(
    tape: Tape, instrument: InstrumentSpec, path: str | os.PathLike[str], *, replace: bool = False
) -> Written:
    """Write a simulated market into a catalog, as if it had been recorded."""
    return write_events(path, instrument, tape.events, replace=replace)
