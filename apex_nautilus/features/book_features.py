"""Features of an order book, live (`BookFeatures`) and over an array of events (`batch_book`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

import numpy as np

from apex_nautilus.features import book_kernels, kernel
from apex_nautilus.features.events import (
    DEPTH,
    EVENT,
    FLAG_LAST,
    KIND_LEVEL,
    KIND_TRADE,
    SIDE_ASK,
    SIDE_BID,
    make_events,
    scale,
)
from apex_nautilus.features.ladder import DEFAULT_CAPACITY, check_capacity
from apex_nautilus.features.registry import FeatureError, FeatureSpec, place_states, resolve

BookClock = Literal["book", "1s"]

_PERIOD_NS: Final = {"book": 0, "1s": 1_000_000_000}
_MAX_CONFLATE_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class BookRows:
    """Rows of features, and the path of touch prices between them.

    Attributes
    ----------
    ts_ns : ndarray of int64, shape (N,)
        Time of a row: `ts_init_ns` of the event that released it.
    features : ndarray of float64, shape (N, F), C order
        Never NaN; a feature that is undefined has its neutral value.
    row_event : ndarray of int64, shape (N,)
        The entry of the path at which a row was released: the book its orders meet.
    warm : ndarray of bool, shape (N,)
        Whether every feature is past its warm-up; once true, true for good.
    path_ts_ns : ndarray of int64, shape (M,)
        Time of each whole, two-sided, uncrossed book.
    path_bid, path_ask : ndarray of float64, shape (M,)
        Its touch.
    path_depth : ndarray of float64, shape (M, 4, depth)
        Its best levels: bid prices, bid sizes, ask prices, ask sizes; NaN and 0 where a side has fewer.
    """

    ts_ns: np.ndarray
    features: np.ndarray
    row_event: np.ndarray
    warm: np.ndarray
    path_ts_ns: np.ndarray
    path_bid: np.ndarray
    path_ask: np.ndarray
    path_depth: np.ndarray

    @staticmethod
    def concatenate(parts: Sequence[BookRows]) -> BookRows:
        """Join consecutive chunks of one machine; `row_event` is shifted to index the joined path.

        Raises
        ------
        FeatureError
            When there is no part.
        """
        if not parts:
            raise FeatureError("there is nothing to concatenate: give at least one BookRows")
        joined = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(BookRows)}
        starts = np.cumsum([0] + [len(p.path_ts_ns) for p in parts[:-1]])
        joined["row_event"] = np.concatenate([p.row_event + s for p, s in zip(parts, starts, strict=True)])
        return BookRows(**joined)


class BookFeatures:
    """Features of one feed, updated event by event.

    Feed it events in order of `ts_init_ns`, with `apply`, or, faster, by filling `buffer` and calling
    `apply_buffer`. When a row closes, read `row`, `row_ts_ns`, `bid` and `ask`. Rules of the clocks:
    `apex_nautilus.features.book_kernels`. The same object runs over arrays of events with `run`; live
    and batch can be mixed, as there is one state.

    Parameters
    ----------
    names : iterable of str
        Book features, in the order of the row's columns.
    price_precision, size_precision : int
        Decimal places of the integers in the events.
    clock : {"book", "1s"}
        When rows close.
    conflate_ms : int
        Least time between two rows of the book clock, milliseconds.
    capacity : int
        Levels held a side, see `apex_nautilus.features.ladder`.
    buffer_size : int
        Records in `buffer`.
    more_columns : int
        Words kept for callers that put values of their own beside the row (external features, say).

    Attributes
    ----------
    specs : tuple of FeatureSpec
        The features.
    memory : ndarray of int64
        The whole state, to be handed to `apply_event` and its siblings inside numba; it must not be copied
        to another process.
    row : ndarray of float64, shape (F,)
        The last row released; a view that changes with the next one. Zeros before the first.
    more : ndarray of float64, shape (more_columns,)
        The caller's own columns, a view of `memory`; `more_at` is where they stand, counted from the row's
        first column.
    buffer : ndarray of EVENT, shape (buffer_size,)
        Records for `apply_buffer`, a view of `memory`.

    Raises
    ------
    FeatureError
        When a name is unknown, repeated or a bar feature, or a setting is out of range.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        price_precision: int,
        size_precision: int,
        clock: BookClock = "book",
        conflate_ms: int = 0,
        capacity: int = DEFAULT_CAPACITY,
        buffer_size: int = 64,
        more_columns: int = 0,
    ) -> None:
        self.specs: tuple[FeatureSpec, ...] = resolve(names, "book")
        if clock not in _PERIOD_NS:
            raise FeatureError(
                f"clock {clock!r} is not one of book features (known: {', '.join(_PERIOD_NS)})"
            )
        if not 0 <= conflate_ms <= _MAX_CONFLATE_MS:
            raise FeatureError(f"conflate_ms must lie in [0, {_MAX_CONFLATE_MS}], got {conflate_ms!r}")
        if conflate_ms and clock != "book":
            raise FeatureError(f"conflate_ms thins the book clock; it cannot be used with clock {clock!r}")
        if buffer_size < 1:
            raise FeatureError(f"buffer_size must be at least 1, got {buffer_size!r}")
        try:
            check_capacity(capacity)
            price_units, size_units = scale(price_precision), scale(size_precision)
        except ValueError as error:
            raise FeatureError(str(error)) from error
        self.clock = clock
        self.conflate_ms = conflate_ms
        self.price_precision = price_precision
        self.size_precision = size_precision

        kernels = [s.kernels for s in self.specs]
        # States are placed from 0 here and moved behind the tables, whose length the hooks decide.
        relative, states_size = place_states(self.specs, 0)
        # A hook is called once a state, however many features share it.
        book_hooks = list(
            dict.fromkeys((k.on_book, at) for k, at in zip(kernels, relative, strict=True) if k.on_book)
        )
        trade_hooks = list(
            dict.fromkeys((k.on_trade, at) for k, at in zip(kernels, relative, strict=True) if k.on_trade)
        )

        # Layout: header, plan, rows, buffer, states, ladder (the largest), more columns.
        n = len(kernels)
        plan_at = kernel.HEADER
        row_at = plan_at + 2 * (n + len(book_hooks) + len(trade_hooks))
        frozen_at = row_at + n
        buffer_at = frozen_at + n
        state_at = buffer_at + book_kernels.WORDS * buffer_size
        ladder_at = state_at + states_size
        more_at = ladder_at + 4 * capacity
        self.memory = memory = np.zeros(more_at + more_columns, dtype=np.int64)

        header = {
            kernel.CAPACITY: capacity,
            kernel.PRICE_UNITS: int(price_units),
            kernel.SIZE_UNITS: int(size_units),
            kernel.PERIOD_NS: _PERIOD_NS[clock],
            kernel.CONFLATE_NS: conflate_ms * 1_000_000,
            kernel.BID_AT: ladder_at,
            kernel.ASK_AT: ladder_at + 2 * capacity,
            kernel.WARMUP_ROWS: max(s.warmup_rows for s in self.specs),
            kernel.WARMUP_NS: max(s.warmup_ns for s in self.specs),
            kernel.WARMUP_TRADES: max(s.warmup_trades for s in self.specs),
            kernel.FEATURE_COUNT: n,
            kernel.BOOK_HOOKS: len(book_hooks),
            kernel.TRADE_HOOKS: len(trade_hooks),
            kernel.PLAN_AT: plan_at,
            kernel.ROW_AT: row_at,
            kernel.FROZEN_AT: frozen_at,
            kernel.BUFFER_AT: buffer_at,
        }
        for slot, value in header.items():
            memory[slot] = value
        plan = [
            (kernel.address_of(k.value, returns_value=True), at)
            for k, at in zip(kernels, relative, strict=True)
        ]
        plan += [(kernel.address_of(hook, returns_value=False), at) for hook, at in book_hooks + trade_hooks]
        memory[plan_at:row_at] = np.array(
            [(call, state_at + at) for call, at in plan], dtype=np.int64
        ).ravel()
        for k, at in zip(kernels, relative, strict=True):
            memory[state_at + at : state_at + at + len(k.parameters)] = k.parameters

        self._floats = memory.view(np.float64)
        self.row = self._floats[row_at : row_at + n]
        self.more = self._floats[more_at:]
        self.more_at = more_at - row_at
        self.buffer = memory[buffer_at:state_at].view(EVENT)
        self._buffer_size = buffer_size
        self._top = np.full((4, DEPTH), np.nan)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of `row`."""
        return tuple(s.name for s in self.specs)

    def apply(self, events: np.ndarray) -> bool:
        """Apply events in order; return whether the last one released a row.

        Parameters
        ----------
        events : ndarray of EVENT, shape (n,)
            One batch or several. Rows released before the last event are overwritten: to keep them, use
            `run`.
        """
        return book_kernels.apply_events(self.memory, events) >= book_kernels.STATUS_ROW

    def apply_buffer(self, n: int) -> bool:
        """Apply the first `n` records of `buffer`; return whether the last one released a row.

        Raises
        ------
        FeatureError
            When `n` is outside [0, buffer_size].
        """
        if not 0 <= n <= self._buffer_size:
            raise FeatureError(f"the buffer holds {self._buffer_size} events, cannot apply {n}")
        return book_kernels.apply_buffer(self.memory, n) >= book_kernels.STATUS_ROW

    def run(self, events: np.ndarray, *, depth: int = 5) -> BookRows:
        """Apply an array of events and keep every row and every entry of the path.

        Call it with one chunk after another when the data do not fit in memory; `BookRows.concatenate`
        of the parts equals one pass over the whole.

        Parameters
        ----------
        events : ndarray of EVENT, shape (n,)
            Any length, ordered by `ts_init_ns`.
        depth : int
            Levels kept in the path, 1 to 10.

        Raises
        ------
        FeatureError
            When `events` is not a one-dimensional array of EVENT, or `depth` is out of range.
        """
        if not (isinstance(events, np.ndarray) and events.dtype == EVENT and events.ndim == 1):
            described = getattr(events, "dtype", type(events).__name__)
            raise FeatureError(f"events must be a one-dimensional array of EVENT, got {described}")
        if not 1 <= depth <= DEPTH:
            raise FeatureError(f"depth must lie in [1, {DEPTH}], got {depth!r}")
        events = np.ascontiguousarray(events)
        n_path = int(np.count_nonzero((events["kind"] != KIND_TRADE) & ((events["flags"] & FLAG_LAST) != 0)))
        n_rows = n_path
        period = int(self.memory[kernel.PERIOD_NS])
        if period and n_path:
            first, last = int(events["ts_init_ns"][0]), int(events["ts_init_ns"].max())
            n_rows = min(n_path, (last - first) // period + 3)  # and one that may wait from the chunk before
        out = BookRows(
            ts_ns=np.empty(n_rows, dtype=np.int64),
            features=np.empty((n_rows, len(self.specs))),
            row_event=np.empty(n_rows, dtype=np.int64),
            warm=np.empty(n_rows, dtype=np.bool_),
            path_ts_ns=np.empty(n_path, dtype=np.int64),
            path_bid=np.empty(n_path),
            path_ask=np.empty(n_path),
            path_depth=np.empty((n_path, 4, depth)),
        )
        rows, path = book_kernels.run(
            self.memory,
            events.ctypes.data,
            len(events),
            out.ts_ns,
            out.features,
            out.row_event,
            out.warm,
            out.path_ts_ns,
            out.path_bid,
            out.path_ask,
            out.path_depth,
        )
        return BookRows(
            ts_ns=out.ts_ns[:rows],
            features=out.features[:rows],
            row_event=out.row_event[:rows],
            warm=out.warm[:rows],
            path_ts_ns=out.path_ts_ns[:path],
            path_bid=out.path_bid[:path],
            path_ask=out.path_ask[:path],
            path_depth=out.path_depth[:path],
        )

    @property
    def row_ts_ns(self) -> int:
        """Time of the last row, 0 before the first."""
        return int(self.memory[kernel.ROW_NS])

    @property
    def row_count(self) -> int:
        """How many rows were released."""
        return int(self.memory[kernel.ROW_COUNT])

    @property
    def is_warm(self) -> bool:
        """Whether every feature was past its warm-up in the last row."""
        return bool(self.memory[kernel.ROW_WARM])

    @property
    def row_age(self) -> tuple[int, int, int]:
        """What the last row had behind it when computed: rows, ns since the first whole book, trades.

        Where several agents share a machine, each can tell from it whether its own features are warm
        (`FeatureSpec.is_warm`), whatever else is computed beside them.
        """
        at = kernel.ROW_AGE_AT
        rows, nanoseconds, trades = self.memory[at : at + kernel.AGES].tolist()
        return rows, nanoseconds, trades

    @property
    def bid(self) -> float:
        """Best bid of the last whole book, 0.0 before the first."""
        return float(self._floats[kernel.BID])

    @property
    def ask(self) -> float:
        """Best ask of the last whole book, 0.0 before the first."""
        return float(self._floats[kernel.ASK])

    @property
    def is_whole(self) -> bool:
        """Whether the book is now whole, two-sided and uncrossed."""
        return bool(self.memory[kernel.BOOK_OK])

    @property
    def path_count(self) -> int:
        """How many whole books there were: it grows by one with each entry of the path."""
        return int(self.memory[kernel.BOOK_COUNT])

    @property
    def levels_dropped(self) -> int:
        """How many levels did not fit into the ladder."""
        return int(self.memory[kernel.LEVELS_DROPPED])

    @property
    def top(self) -> np.ndarray:
        """Ten best levels as they are now: float64 (4, 10): bid prices, bid sizes, ask prices, ask sizes.

        NaN and 0 where a side has fewer. One array, rewritten at each reading.
        """
        book_kernels.top_levels(self.memory, self._top)
        return self._top

    def book_events(self, ts_ns: int) -> np.ndarray:
        """Return the book as it stands, as level changes at a time: they rebuild it in another machine.

        None of them ends a batch, so that they close no row there. Shape (n,), dtype EVENT.
        """
        memory = self.memory
        parts = []
        for side, at, count in (
            (SIDE_BID, memory[kernel.BID_AT], memory[kernel.BID_COUNT]),
            (SIDE_ASK, memory[kernel.ASK_AT], memory[kernel.ASK_COUNT]),
        ):
            pairs = memory[at : at + 2 * count].reshape(-1, 2)
            parts.append(
                make_events(
                    ts_event_ns=ts_ns,
                    ts_init_ns=ts_ns,
                    price=side * pairs[:, 0],
                    size=pairs[:, 1],
                    kind=KIND_LEVEL,
                    side=side,
                )
            )
        return np.concatenate(parts)

    def __reduce__(self) -> str:
        raise TypeError(
            "BookFeatures holds addresses of machine code and cannot be pickled; build it anew from its names"
        )


def batch_book(
    events: np.ndarray,
    names: Iterable[str],
    *,
    price_precision: int,
    size_precision: int,
    clock: BookClock = "book",
    conflate_ms: int = 0,
    depth: int = 5,
    capacity: int = DEFAULT_CAPACITY,
) -> BookRows:
    """Compute features over an array of events, bit for bit what `BookFeatures` gives live.

    Parameters as of `BookFeatures` and `BookFeatures.run`, which continues over more chunks.

    Returns
    -------
    BookRows
    """
    machine = BookFeatures(
        names,
        price_precision=price_precision,
        size_precision=size_precision,
        clock=clock,
        conflate_ms=conflate_ms,
        capacity=capacity,
        buffer_size=1,
    )
    return machine.run(events, depth=depth)


__all__ = ["BookClock", "BookFeatures", "BookRows", "batch_book"]
