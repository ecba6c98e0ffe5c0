"""Does a stored dataset know what comes? Its columns against its own data, and against what follows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from apex_nautilus.data import Dataset
from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.features import batch_book, get
from apex_nautilus.forge._lookahead_core import (
    FEWEST_ROWS,
    Leak,
    LookaheadReport,
    Tally,
    joined,
    moments_of,
    output_values,
    outputs_of,
    start_program,
)
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.genome import Genome, compile_genome

__all__ = ["compare_dataset", "examine_dataset", "peeking_columns", "published_early"]

#: A column this close to what comes after it knows it.
_KNOWS = 0.9
_HORIZONS = (1, 2, 5, 10, 20, 50)


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
    if n < FEWEST_ROWS:
        raise ForgeError(f"{n} rows; at least {FEWEST_ROWS} are needed to say anything")
    program = compile_genome(genome)
    whole = output_values(program, features)
    tally, ts_ns = Tally(), np.asarray(dataset.ts_ns)
    for at in moments_of(n, n // 10, moments, rng):
        until = int(at) + 1
        future = features[until:] * rng.uniform(-3.0, 3.0, size=features[until:].shape)
        for check, some in (
            ("cut", features[:until]),
            ("changed", np.concatenate([features[:until], future])),
        ):
            other = np.ascontiguousarray(output_values(program, np.ascontiguousarray(some))[:until])
            rows = np.arange(until)
            tally.compare(
                check, outputs_of(program), whole[:until], other, rows, ts_ns[:until], int(ts_ns[at])
            )
    start_program(tally, program, features, ts_ns, moments, rng)
    report = tally.report(n, moments, [*genome.features, *outputs_of(program)])
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
            if x.size < 4 * k + FEWEST_ROWS:
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
    tally, ts_ns = Tally(), np.asarray(dataset.ts_ns)
    columns = [dataset.feature_names.index(name) for name in names]
    stored = np.ascontiguousarray(np.asarray(dataset.features)[:, columns])
    n = ts_ns.size
    for at in moments_of(n, n // 2, moments, rng):
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
        part = joined(all_columns, part, events["ts_init_ns"][:before])
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
