"""Market events into the rows of a dataset, chunk by chunk."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np

from apex_nautilus.data.dataset import BOOK_CLOCKS, DEPTH, DEPTHS, SCHEMA, Dataset, DatasetCard
from apex_nautilus.data.errors import DatasetError
from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.features import EVENT, KIND_TRADE, BookFeatures, BookRows, get
from apex_nautilus.risk import InstrumentSpec

__all__ = ["BookRowsBuilder", "EventDigest", "dataset_from_events", "definitions_of"]


def dataset_from_events(
    events: np.ndarray,
    instrument: InstrumentSpec,
    clock: str,
    feature_names: tuple[str, ...] | list[str],
    *,
    conflate_ms: int = 0,
    depth: int = DEPTH,
    source: str = "events",
) -> Dataset:
    """Build a dataset in memory from market events (a simulator's tape, say).

    Parameters
    ----------
    events : ndarray of EVENT, ordered by `ts_init_ns`
    clock : {"book", "1s"}
    feature_names : book features, in the order of the columns
    conflate_ms : least time between two rows of the book clock
    depth : levels kept in the path, 5 or 10

    Raises
    ------
    DatasetError
        When the clock is unknown or no row results.
    FeatureError
        When a feature is unknown.
    """
    builder = BookRowsBuilder(instrument, clock, tuple(feature_names), conflate_ms, depth=depth)
    arrays = builder.add(events)
    return Dataset(card=builder.card(source), **arrays)


class BookRowsBuilder:
    """Runs events through the feature machine and collects arrays for a `Dataset`, chunk by chunk.

    Parameters
    ----------
    names : columns in order; those that `external` holds are joined, the others computed.
    depth : levels kept in the path, 5 or 10.
    """

    def __init__(
        self,
        instrument: InstrumentSpec,
        clock: str,
        names: tuple[str, ...],
        conflate_ms: int,
        *,
        depth: int = DEPTH,
        external: ExternalColumns | None = None,
    ):
        if clock not in BOOK_CLOCKS:
            raise DatasetError(f"clock {clock!r} is not one of a book ({', '.join(BOOK_CLOCKS)})")
        if depth not in DEPTHS:
            raise DatasetError(f"a path keeps {' or '.join(map(str, DEPTHS))} levels, not {depth!r}")
        self._instrument, self._clock, self._names, self._conflate_ms = instrument, clock, names, conflate_ms
        self._depth = depth
        self._external = external or ExternalColumns.none(names)
        self._machine = BookFeatures(
            self._external.computed(fallback="imbalance"),
            price_precision=instrument.price_precision,
            size_precision=instrument.size_precision,
            clock=clock,  # pyright: ignore[reportArgumentType]
            conflate_ms=conflate_ms,
        )
        self._digest = EventDigest(EVENT)
        self._path_rows = 0
        self._rows = 0
        self._cold = 0

    @property
    def events(self) -> int:
        """Events read so far."""
        return self._digest.count

    def add(self, events: np.ndarray) -> dict[str, np.ndarray]:
        """Apply a chunk of events and return what it adds to every array."""
        self._digest.update(events)
        out: BookRows = self._machine.run(events, depth=self._depth)
        warm = out.warm
        self._cold += int(np.count_nonzero(~warm))
        at = out.row_event[warm]
        chunk = {
            "ts_ns": out.ts_ns[warm],
            "features": self._external.join(out.ts_ns, out.features)[warm],
            "mid": 0.5 * (out.path_bid[at] + out.path_ask[at]),
            "row_event": at + self._path_rows,
            "path_ts_ns": out.path_ts_ns,
            "path_bid": out.path_bid,
            "path_ask": out.path_ask,
            "path_depth": out.path_depth,
        }
        self._rows += at.size
        self._path_rows += out.path_ts_ns.size
        return chunk

    def card(self, source: str) -> DatasetCard:
        """Return the card of what was added so far.

        Raises
        ------
        DatasetError
            When no row came of it.
        """
        digest = self._digest
        if self._rows == 0:
            raise DatasetError(
                f"{self._instrument.id}: {digest.count} events gave no row of clock {self._clock!r} "
                f"({self._cold} while "
                "features warmed up): is there a book, and is it long enough?"
            )
        terms = (
            self._instrument, self._clock, self._names, self._conflate_ms, self._depth,
            definitions_of(self._names), self._external.digests,
        )  # fmt: skip
        return DatasetCard(
            id=digest.id(*terms),
            instrument=self._instrument,
            clock=self._clock,
            feature_names=self._names,
            external=self._external.names,
            path="book",
            depth=self._depth,
            conflate_ms=self._conflate_ms,
            source=source,
            span_ns=(digest.first_ns or 0, digest.last_ns or 0),
            counts={
                "rows": self._rows,
                "cold_rows": self._cold,
                "path": self._path_rows,
                "levels_dropped": self._machine.levels_dropped,
                "events": digest.count,
                "trades": digest.trades,
            },
        )


class EventDigest:
    """SHA-256 over records given in chunks; the same however they are cut.

    Fields are hashed apart from each other, so that padding between them does not matter.
    """

    def __init__(self, dtype: np.dtype):
        self._hashes = {name: hashlib.sha256() for name in dtype.names or ()}
        self.count = 0
        self.trades = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None

    def update(self, records: np.ndarray) -> None:
        """Add records."""
        if records.size == 0:
            return
        for name, digest in self._hashes.items():
            digest.update(np.ascontiguousarray(records[name]).data)
        times = records["ts_init_ns"] if "ts_init_ns" in self._hashes else records["ts_ns"]
        if self.first_ns is None:
            self.first_ns = int(times[0])
        self.last_ns = int(times[-1])
        self.count += records.size
        if "kind" in self._hashes:
            self.trades += int(np.count_nonzero(records["kind"] == KIND_TRADE))

    def id(self, *terms: object) -> str:
        """Return the hash of the records and of `terms` (anything that JSON can say)."""
        whole = hashlib.sha256(msgspec.json.encode([SCHEMA, *terms]))
        for name, digest in self._hashes.items():
            whole.update(name.encode() + digest.digest())
        return whole.hexdigest()


def definitions_of(names: tuple[str, ...]) -> list[tuple]:
    """What the features are, in words and numbers: part of a dataset's id, so that a changed definition
    gives another dataset."""
    specs = [get(name) for name in names]
    return [
        (
            s.name, s.kind, s.unit, repr(s.low), repr(s.high), s.inputs, s.warmup_rows, s.warmup_ns,
            s.warmup_trades, repr(s.neutral), s.formula, s.kernels.parameters,
        )
        for s in specs
    ]  # fmt: skip
