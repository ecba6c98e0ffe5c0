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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from apex_nautilus.data import Dataset
from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.features import BarRows, BookFeatures, BookRows, batch_bars, batch_book, get
from apex_nautilus.features.events import FLAG_LAST, KIND_CLEAR
from apex_nautilus.features.external import ExternalSeries
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.genome import Genome, Program, compile_genome, evaluate_block
from apex_nautilus.risk import InstrumentSpec

__all__ = [
    "Leak",
    "LookaheadReport",
    "compare_dataset",
    "examine_bars",
    "examine_dataset",
    "examine_events",
    "peeking_columns",
    "published_early",
]

Check = Literal["cut", "changed", "start", "column", "publication", "orders"]

Rows = BookRows | BarRows

#: Rows of features out of events or bars, as `batch_book` gives them.
RowsOf = Callable[[np.ndarray], Rows]

_OUTPUTS = ("signal", "confidence", "size")
#: Of a sum that slides: relative to the larger magnitude, or to one.
_START_TOLERANCE = 1e-9
#: A column this close to what comes after it knows it.
_KNOWS = 0.9
_HORIZONS = (1, 2, 5, 10, 20, 50)
_FEWEST_ROWS = 20


class Leak(msgspec.Struct, frozen=True):
    """A past value that moved.

    Attributes
    ----------
    check : which question it failed.
    name : the feature, the column, or the output of the genome ("signal").
    rows : how many of its rows moved, over all moments.
    row, row_ts_ns : the first one.
    moment_ns : the moment after which the data were cut or changed, or before which they began.
    whole, other : the value from all data, and from the others.
    note : more, in words.
    """

    check: Check
    name: str
    rows: int
    row: int
    row_ts_ns: int
    moment_ns: int
    whole: float
    other: float
    note: str = ""


class LookaheadReport(msgspec.Struct, frozen=True):
    """What was examined, and what was found.

    Attributes
    ----------
    rows : rows of the whole.
    moments : how many times each question was asked.
    compared : values compared, by question.
    names : features and outputs that were compared.
    leaks : empty when the past stands.
    """

    rows: int
    moments: int
    compared: dict[str, int]
    names: list[str]
    leaks: list[Leak]


class _Tally:
    """Collects leaks, one a question and name, and counts what was compared."""

    def __init__(self) -> None:
        self.leaks: dict[tuple[str, str], Leak] = {}
        self.compared: dict[str, int] = {}

    def compare(
        self,
        check: Check,
        names: Sequence[str],
        whole: np.ndarray,
        other: np.ndarray,
        rows: np.ndarray,
        ts_ns: np.ndarray,
        moment_ns: int,
        tolerance: float = 0.0,
    ) -> None:
        """Compare (n, k) values; `rows` and `ts_ns` say which rows of the whole they are."""
        self.compared[check] = self.compared.get(check, 0) + whole.size
        if tolerance:
            room = tolerance * np.maximum(1.0, np.maximum(np.abs(whole), np.abs(other)))
            moved = ~(np.abs(whole - other) <= room)
        else:
            moved = whole.view(np.int64) != other.view(np.int64)
        for column in np.flatnonzero(moved.any(axis=0)):
            bad = np.flatnonzero(moved[:, column])
            key = (check, names[column])
            known = self.leaks.get(key)
            if known is not None:
                self.leaks[key] = msgspec.structs.replace(known, rows=known.rows + bad.size)
                continue
            first = int(bad[0])
            self.leaks[key] = Leak(
                check=check,
                name=names[column],
                rows=int(bad.size),
                row=int(rows[first]),
                row_ts_ns=int(ts_ns[first]),
                moment_ns=int(moment_ns),
                whole=float(whole[first, column]),
                other=float(other[first, column]),
            )

    def missing(self, check: Check, n: int, row: int, ts_ns: int, moment_ns: int, note: str) -> None:
        """Rows that are there from all data, but not from those before the moment."""
        key = (check, "rows")
        if n and key not in self.leaks:
            self.leaks[key] = Leak(check, "rows", n, row, ts_ns, moment_ns, float("nan"), float("nan"), note)

    def report(self, rows: int, moments: int, names: Sequence[str]) -> LookaheadReport:
        return LookaheadReport(rows, moments, self.compared, list(names), list(self.leaks.values()))


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
        return _joined(columns, rows, some["ts_init_ns"])

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
        return _joined(columns, rows, some["ts_ns"])

    def starts(rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        for at in rng.integers(0, max(1, bars.size // 2), size=moments):
            yield int(bars["ts_ns"][at]), bars[at:]

    source = _Source(bars, bars["ts_ns"], rows_of or batch, _other_bars, starts)
    return _examine(genome, source, clock, moments, rng)


def _joined(columns: ExternalColumns, rows: Rows, times: np.ndarray) -> Rows:
    """Rows with the columns from outside, as far as these were published by the last of `times`."""
    if not columns.series or not times.size:
        return rows
    known = {}
    for name, one in columns.series.items():
        n = int(np.searchsorted(one.published_ns, times[-1], side="right"))
        known[name] = ExternalSeries(name, one.published_ns[:n], one.value[:n], one.stale_after_ns)
    joined = ExternalColumns(columns.wanted, known).join(rows.ts_ns, rows.features)
    return replace(rows, features=joined)


def _examine(
    genome: Genome, source: _Source, clock: str, moments: int, rng: np.random.Generator
) -> LookaheadReport:
    program = compile_genome(genome)
    whole = source.rows_of(source.records)
    n = whole.ts_ns.size
    if n < _FEWEST_ROWS:
        raise ForgeError(f"{n} rows of clock {clock!r}; at least {_FEWEST_ROWS} are needed to say anything")
    names = [*genome.features, *_outputs(program)]
    table = _with_outputs(program, whole.features)
    tally = _Tally()
    for at in _moments(n, n // 10, moments, rng):
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
            other = _with_outputs(program, part.features[:until])
            tally.compare(check, names, table[:until], other, np.arange(until), whole.ts_ns[:until], moment)
    for moment, some in source.starts(rng):
        _compare_start(tally, genome.features, whole, source.rows_of(some), moment)
    _start_program(tally, program, whole.features, whole.ts_ns, moments, rng)
    return tally.report(n, moments, names)


def _moments(n: int, first: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn without repetition from `first` on, sorted."""
    return np.sort(rng.choice(np.arange(first, n), size=min(wanted, n - first), replace=False))


def _outputs(program: Program) -> list[str]:
    return list(_OUTPUTS[: program.n_outputs])


def _with_outputs(program: Program, features: np.ndarray) -> np.ndarray:
    """(n, features + outputs): what a genome sees and says."""
    features = np.ascontiguousarray(features)
    return np.ascontiguousarray(np.concatenate([features, _said(program, features)], axis=1))


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


def _compare_start(tally: _Tally, names: Sequence[str], whole: Rows, part: Rows, moment_ns: int) -> None:
    """Rows that call themselves warm after a later start, against the whole's of the same time.

    Conflated rows of a book fall elsewhere after another start, and one time may bear several rows: only
    times that bear one row in both are compared.
    """
    times = part.ts_ns[part.warm]
    for rows in (whole, part):
        n = np.searchsorted(rows.ts_ns, times, "right") - np.searchsorted(rows.ts_ns, times, "left")
        times = times[n == 1]
    theirs, ours = np.searchsorted(whole.ts_ns, times), np.searchsorted(part.ts_ns, times)
    tally.compare(
        "start",
        names,
        np.ascontiguousarray(whole.features[theirs]),
        np.ascontiguousarray(part.features[ours]),
        theirs,
        times,
        moment_ns,
        _START_TOLERANCE,
    )


def _start_program(
    tally: _Tally,
    program: Program,
    features: np.ndarray,
    ts_ns: np.ndarray,
    moments: int,
    rng: np.random.Generator,
) -> None:
    """Begun at a later row, a program must say the same from its declared warm-up on, to the bit."""
    features = np.ascontiguousarray(features)
    n = features.shape[0]
    full = _said(program, features)
    for begin in rng.integers(0, max(1, n - program.warmup - 1), size=moments):
        first = int(begin) + program.warmup
        said = _said(program, np.ascontiguousarray(features[begin:]))
        tally.compare(
            "start",
            _outputs(program),
            full[first:],
            said[program.warmup :],
            np.arange(first, n),
            ts_ns[first:],
            int(ts_ns[begin]),
        )


def _said(program: Program, features: np.ndarray) -> np.ndarray:
    """(n, outputs) of a program."""
    return np.ascontiguousarray(evaluate_block([program], features)[0][0].T)


# -- datasets


def examine_dataset(
    genome: Genome, dataset: Dataset, *, moments: int, rng: np.random.Generator
) -> LookaheadReport:
    """Examine a genome on the rows of a dataset, and the columns against what comes after them.

    The dataset's own data are not at hand here: `compare_dataset` asks whether its columns are those of its
    events.

    Raises
    ------
    ForgeError
        When the dataset lacks a feature of the genome, or has too few rows.
    """
    lacking = [name for name in genome.features if name not in dataset.feature_names]
    if lacking:
        raise ForgeError(
            f"the dataset has no column {', '.join(lacking)} (it has {', '.join(dataset.feature_names)})"
        )
    columns = [dataset.feature_names.index(name) for name in genome.features]
    features = np.ascontiguousarray(np.asarray(dataset.features)[:, columns])
    n = features.shape[0]
    if n < _FEWEST_ROWS:
        raise ForgeError(f"{n} rows; at least {_FEWEST_ROWS} are needed to say anything")
    program = compile_genome(genome)
    whole = _said(program, features)
    tally, ts_ns = _Tally(), np.asarray(dataset.ts_ns)
    for at in _moments(n, n // 10, moments, rng):
        until = int(at) + 1
        future = features[until:] * rng.uniform(-3.0, 3.0, size=features[until:].shape)
        for check, some in (
            ("cut", features[:until]),
            ("changed", np.concatenate([features[:until], future])),
        ):
            other = np.ascontiguousarray(_said(program, np.ascontiguousarray(some))[:until])
            rows = np.arange(until)
            tally.compare(check, _outputs(program), whole[:until], other, rows, ts_ns[:until], int(ts_ns[at]))
    _start_program(tally, program, features, ts_ns, moments, rng)
    report = tally.report(n, moments, [*genome.features, *_outputs(program)])
    peeking = peeking_columns(dataset, genome.features)
    compared = report.compared | {"column": n * len(genome.features)}
    return msgspec.structs.replace(report, compared=compared, leaks=[*report.leaks, *peeking])


def peeking_columns(dataset: Dataset, names: Sequence[str]) -> list[Leak]:
    """Columns that know what comes: all but equal to the mid's coming change, or to another column to come.

    The correlation of a column with the change of the mid over the next k rows (k = 1 to 50), and with the
    other columns k rows later, that is above 0.9 and above what the same column shows with the past. No
    honest feature comes near; one that was shifted, centred on its row or joined by the wrong time does.
    """
    features, mid = np.asarray(dataset.features), np.asarray(dataset.mid)
    found = []
    for name in names:
        x = features[:, dataset.feature_names.index(name)]
        for k in _HORIZONS:
            if x.size < 4 * k + _FEWEST_ROWS:
                break
            change = np.log(mid[k:] / mid[:-k])
            ahead, behind = abs(_correlation(x[:-k], change)), abs(_correlation(x[k:], change))
            if ahead > _KNOWS and ahead > behind:
                found.append(
                    Leak(
                        "column", name, int(x.size - k), 0, int(dataset.ts_ns[0]), int(dataset.ts_ns[k]),
                        float(x[0]), float(change[0]),
                        f"correlation {ahead:.3f} with the change of the mid over the next {k} rows",
                    )
                )  # fmt: skip
                break
    return found


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    dx, dy = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((dx @ dx) * (dy @ dy)))
    return float(dx @ dy) / scale if scale > 0.0 else 0.0


def compare_dataset(
    dataset: Dataset,
    events: np.ndarray,
    names: Sequence[str],
    *,
    moments: int,
    rng: np.random.Generator,
    external: ExternalColumns | None = None,
) -> LookaheadReport:
    """Compare the columns of a dataset with what its events give, known only up to each row.

    The features are computed from the events (and joined from the series of `external`) up to drawn
    moments, so a column that was filled in with what came later (a mean over all rows, a shifted join)
    differs.

    Raises
    ------
    FeatureError
        When a column is not a known feature and so cannot be computed.
    ForgeError
        When the dataset is made of bars.
    """
    if dataset.is_bars:
        raise ForgeError("the dataset is made of bars; columns are compared for order books")
    for name in names:
        get(name)
    all_columns = external or ExternalColumns.none(dataset.feature_names)
    tally, ts_ns = _Tally(), np.asarray(dataset.ts_ns)
    columns = [dataset.feature_names.index(name) for name in names]
    stored = np.ascontiguousarray(np.asarray(dataset.features)[:, columns])
    n = ts_ns.size
    for at in _moments(n, n // 2, moments, rng):
        moment = int(ts_ns[at])
        before = int(np.searchsorted(events["ts_init_ns"], moment, side="right"))
        part = batch_book(
            events[:before],
            all_columns.computed("imbalance"),
            price_precision=dataset.instrument.price_precision,
            size_precision=dataset.instrument.size_precision,
            clock=dataset.clock,  # pyright: ignore[reportArgumentType]
            conflate_ms=dataset.card.conflate_ms,
        )
        part = _joined(all_columns, part, events["ts_init_ns"][:before])
        times, values = part.ts_ns[part.warm], part.features[part.warm][:, columns]
        until = int(np.searchsorted(ts_ns, moment, side="right"))
        if times.size != until or not np.array_equal(times, ts_ns[:until]):
            tally.missing(
                "column", abs(times.size - until) or 1, min(times.size, until) - 1, int(ts_ns[until - 1]),
                moment,
                f"{until} rows stored up to the moment, {times.size} from the events: other data, or a leak",
            )  # fmt: skip
            continue
        tally.compare(
            "column", names, stored[:until], np.ascontiguousarray(values), np.arange(until), times, moment
        )
    return tally.report(n, moments, names)


def published_early(name: str, ts_event_ns: np.ndarray, ts_init_ns: np.ndarray) -> Iterator[Leak]:
    """A series from outside whose values are there before what they tell of has happened.

    Parameters
    ----------
    name : str
        Of the series.
    ts_event_ns, ts_init_ns : (n,) int64
        When what it tells of happened (of a day's value, the day's end), and when it was published: what a
        strategy may know first at.
    """
    early = np.flatnonzero(ts_init_ns < ts_event_ns)
    if early.size:
        first = int(early[0])
        by = float((ts_event_ns - ts_init_ns)[early].max()) / 1e9
        yield Leak(
            "publication", name, int(early.size), first, int(ts_event_ns[first]), int(ts_init_ns[first]),
            float(ts_event_ns[first]), float(ts_init_ns[first]),
            f"published up to {by:.3g} s before the event",
        )  # fmt: skip
