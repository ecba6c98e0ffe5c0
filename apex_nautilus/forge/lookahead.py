"""Does a strategy look into the future? Data cut short, or changed later on, must give the same past.

Four questions, each asked at moments drawn from a seed:

- **cut**: rows and signals computed from the events up to a moment are those computed from all of them;
- **changed**: so they are when everything after the moment is another market;
- **start**: computed from a later start, a row that calls itself warm is the row of the whole;
- **column**: the columns of a stored dataset are those that its data give, and none repeats what comes after.

A moment is a time: of the whole, rows released up to then count, so a row that is stamped too early is found
as well. Comparisons are of bits; only a later start may differ by rounding (sums that slide with time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.features import BookFeatures, batch_bars, batch_book
from apex_nautilus.features.events import FLAG_LAST, KIND_CLEAR
from apex_nautilus.forge._lookahead_core import (
    FEWEST_ROWS,
    Leak,
    LookaheadReport,
    Rows,
    Tally,
    compare_start,
    joined,
    moments_of,
    outputs_of,
    start_program,
    with_outputs,
)
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.genome import Genome, compile_genome
from apex_nautilus.risk import InstrumentSpec

__all__ = ["Leak", "LookaheadReport", "examine_bars", "examine_events"]

#: Rows of features out of events or bars, as `batch_book` gives them.
RowsOf = Callable[[np.ndarray], Rows]


class _Source(NamedTuple):
    """Records in order of time, and how to compute, change and begin them."""

    records: np.ndarray
    times: np.ndarray
    rows_of: RowsOf
    other_future: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    starts: Callable[[np.random.Generator], Iterator[tuple[int, np.ndarray]]]


def examine_events(
    genome: Genome,
    events: np.ndarray,
    instrument: InstrumentSpec,
    *,
    moments: int,
    rng: np.random.Generator,
    clock: str | None = None,
    external: ExternalColumns | None = None,
    rows_of: RowsOf | None = None,
) -> LookaheadReport:
    """Examine a genome and its features on market events: cut, changed and started later.

    Parameters
    ----------
    genome : Genome
    events : ndarray of EVENT, ordered by `ts_init_ns`
    instrument : InstrumentSpec
    moments : int
        Moments drawn for each question, at least 1.
    rng : numpy.random.Generator
        Draws the moments and the other futures.
    clock : {"book", "1s"}, optional
        In place of the genome's own.
    external : ExternalColumns, optional
        Series from outside among the genome's features. Of these, too, only what was published by the last
        event is known.
    rows_of : callable, optional
        Computes rows from events, in place of the features' own batch pass. Its `warm` says which rows count
        when started later.

    Raises
    ------
    ForgeError
        When the genome needs bars, or the events give too few rows.
    """
    clock = clock or genome.clock
    if clock not in ("book", "1s"):
        raise ForgeError(f"clock {clock!r} is made of bars; name one of a book (book, 1s)")

    columns = external or ExternalColumns.none(genome.features)

    def batch(some: np.ndarray) -> Rows:
        rows = batch_book(
            some,
            columns.computed("imbalance"),
            price_precision=instrument.price_precision,
            size_precision=instrument.size_precision,
            clock=clock,  # pyright: ignore[reportArgumentType]
            conflate_ms=genome.conflate_ms if clock == "book" else 0,
        )
        return joined(columns, rows, some["ts_init_ns"])

    def starts(rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        ends = np.flatnonzero(events["flags"] & FLAG_LAST)
        for at in rng.choice(ends[: max(1, ends.size // 2)], size=moments) if ends.size else ():
            book = BookFeatures(
                ("spread_bps",),
                price_precision=instrument.price_precision,
                size_precision=instrument.size_precision,
            )
            book.run(events[: at + 1])
            moment = int(events["ts_init_ns"][at])
            yield moment, np.concatenate([book.book_events(moment), events[at + 1 :]])

    source = _Source(events, events["ts_init_ns"], rows_of or batch, _other_events, starts)
    return _examine(genome, source, clock, moments, rng)


def examine_bars(
    genome: Genome,
    bars: np.ndarray,
    instrument: InstrumentSpec,
    *,
    moments: int,
    rng: np.random.Generator,
    clock: str | None = None,
    external: ExternalColumns | None = None,
    rows_of: RowsOf | None = None,
) -> LookaheadReport:
    """Examine a genome and its features on closed bars; as `examine_events`.

    Parameters
    ----------
    bars : ndarray of BARS, ordered by time of closing, of the clock's length
    clock : {"1m", "5m", "15m"}, optional
        In place of the genome's own.
    """
    clock = clock or genome.clock
    if clock not in ("1m", "5m", "15m"):
        raise ForgeError(f"clock {clock!r} is not one of bars (1m, 5m, 15m)")
    price, size = 10.0**instrument.price_precision, 10.0**instrument.size_precision

    columns = external or ExternalColumns.none(genome.features)

    def batch(some: np.ndarray) -> Rows:
        prices = (some[name] / price for name in ("open", "high", "low", "close"))
        names = columns.computed("bar_return")
        rows = batch_bars(some["ts_ns"], *prices, some["volume"] / size, names, clock)  # pyright: ignore[reportArgumentType]
        return joined(columns, rows, some["ts_ns"])

    def starts(rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        for at in rng.integers(0, max(1, bars.size // 2), size=moments):
            yield int(bars["ts_ns"][at]), bars[at:]

    source = _Source(bars, bars["ts_ns"], rows_of or batch, _other_bars, starts)
    return _examine(genome, source, clock, moments, rng)


def _examine(
    genome: Genome, source: _Source, clock: str, moments: int, rng: np.random.Generator
) -> LookaheadReport:
    program = compile_genome(genome)
    whole = source.rows_of(source.records)
    n = whole.ts_ns.size
    if n < FEWEST_ROWS:
        raise ForgeError(f"{n} rows of clock {clock!r}; at least {FEWEST_ROWS} are needed to say anything")
    names = [*genome.features, *outputs_of(program)]
    table = with_outputs(program, whole.features)
    tally = Tally()
    for at in moments_of(n, n // 10, moments, rng):
        moment = int(whole.ts_ns[at])
        before = int(np.searchsorted(source.times, moment, side="right"))
        until = int(np.searchsorted(whole.ts_ns, moment, side="right"))
        past, future = source.records[:before], source.records[before:]
        for check, some in (
            ("cut", past),
            ("changed", np.concatenate([past, source.other_future(future, rng)])),
        ):
            part = source.rows_of(some)
            kept = int(np.searchsorted(part.ts_ns, moment, side="right"))
            if kept != until or not np.array_equal(part.ts_ns[:kept], whole.ts_ns[:until]):
                first = min(until, kept, until - 1)
                note = f"{until} rows up to the moment from all data, {kept} from the others"
                tally.missing(check, abs(until - kept) or 1, first, int(whole.ts_ns[first]), moment, note)
                continue
            other = with_outputs(program, part.features[:until])
            tally.compare(check, names, table[:until], other, np.arange(until), whole.ts_ns[:until], moment)
    for moment, some in source.starts(rng):
        compare_start(tally, genome.features, whole, source.rows_of(some), moment)
    start_program(tally, program, whole.features, whole.ts_ns, moments, rng)
    return tally.report(n, moments, names)


def _other_events(events: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another market after the moment: prices moved, sizes and sides of trades drawn anew, some batches gone.

    Levels keep their order and batches their ends, so that it is a stream as a venue might send it.
    """
    changed = events.copy()
    if changed.size == 0:
        return changed
    is_level = changed["kind"] != KIND_CLEAR
    shift = int(rng.integers(1, 50)) * int(rng.choice((-1, 1)))
    changed["price"][is_level] = np.maximum(changed["price"][is_level] + shift, 1)
    sized = is_level & (changed["size"] > 0)
    factors = rng.uniform(0.2, 5.0, size=int(sized.sum()))
    changed["size"][sized] = np.maximum((changed["size"][sized] * factors).astype(np.int64), 1)
    ends = np.flatnonzero(changed["flags"] & FLAG_LAST)
    if ends.size > 4:  # a part of the future never comes
        changed = changed[: ends[int(rng.integers(ends.size // 2, ends.size))] + 1]
    return changed


def _other_bars(bars: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other bars after the moment: each moved, its volume drawn anew, some missing at the end."""
    changed = bars[: int(rng.integers(bars.size // 2, bars.size + 1))].copy()
    if changed.size:
        least = int(min(changed[name].min() for name in ("open", "high", "low", "close")))
        shift = rng.integers(-(least // 20), least // 20 + 1, size=changed.size)
        for name in ("open", "high", "low", "close"):
            changed[name] += shift
        changed["volume"] = (changed["volume"] * rng.uniform(0.2, 5.0, size=changed.size)).astype(np.int64)
    return changed
