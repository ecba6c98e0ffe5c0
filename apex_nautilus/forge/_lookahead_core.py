"""What the questions of `lookahead` share: what a leak is, how values are compared, which moments tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import msgspec
import numpy as np

from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.features import BarRows, BookRows
from apex_nautilus.features.external import ExternalSeries
from apex_nautilus.genome import Program, evaluate_block

__all__ = [
    "FEWEST_ROWS",
    "START_TOLERANCE",
    "Check",
    "Leak",
    "LookaheadReport",
    "Rows",
    "Tally",
    "compare_start",
    "joined",
    "moments_of",
    "output_values",
    "outputs_of",
    "start_program",
    "with_outputs",
]

Check = Literal["cut", "changed", "start", "column", "publication", "orders"]

Rows = BookRows | BarRows

OUTPUTS = ("signal", "confidence", "size")
#: Of a sum that slides: relative to the larger magnitude, or to one.
START_TOLERANCE = 1e-9
FEWEST_ROWS = 20


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


class Tally:
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


def joined(columns: ExternalColumns, rows: Rows, times: np.ndarray) -> Rows:
    """Rows with the columns from outside, as far as these were published by the last of `times`."""
    if not columns.series or not times.size:
        return rows
    known = {}
    for name, one in columns.series.items():
        n = int(np.searchsorted(one.published_ns, times[-1], side="right"))
        known[name] = ExternalSeries(name, one.published_ns[:n], one.value[:n], one.stale_after_ns)
    return replace(rows, features=ExternalColumns(columns.wanted, known).join(rows.ts_ns, rows.features))


def moments_of(n: int, first: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn without repetition from `first` on, sorted."""
    return np.sort(rng.choice(np.arange(first, n), size=min(wanted, n - first), replace=False))


def outputs_of(program: Program) -> list[str]:
    return list(OUTPUTS[: program.n_outputs])


def output_values(program: Program, features: np.ndarray) -> np.ndarray:
    """(n, outputs) of a program."""
    return np.ascontiguousarray(evaluate_block([program], features)[0][0].T)


def start_program(
    tally: Tally,
    program: Program,
    features: np.ndarray,
    ts_ns: np.ndarray,
    moments: int,
    rng: np.random.Generator,
) -> None:
    """Begun at a later row, a program must say the same from its declared warm-up on, to the bit."""
    features = np.ascontiguousarray(features)
    n = features.shape[0]
    full = output_values(program, features)
    for begin in rng.integers(0, max(1, n - program.warmup - 1), size=moments):
        first = int(begin) + program.warmup
        said = output_values(program, np.ascontiguousarray(features[begin:]))
        tally.compare(
            "start",
            outputs_of(program),
            full[first:],
            said[program.warmup :],
            np.arange(first, n),
            ts_ns[first:],
            int(ts_ns[begin]),
        )


def compare_start(tally: Tally, names: Sequence[str], whole: Rows, part: Rows, moment_ns: int) -> None:
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
        START_TOLERANCE,
    )


def with_outputs(program: Program, features: np.ndarray) -> np.ndarray:
    """(n, features + outputs): what a genome sees and says."""
    features = np.ascontiguousarray(features)
    return np.ascontiguousarray(np.concatenate([features, output_values(program, features)], axis=1))
