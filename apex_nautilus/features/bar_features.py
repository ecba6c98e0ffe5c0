"""Features of closed bars, live (`BarFeatures`) and over arrays (`batch_bars`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from apex_nautilus.features import bar_kernels, kernel
from apex_nautilus.features.registry import FeatureError, FeatureSpec, place_states, resolve

BarClock = Literal["1m", "5m", "15m"]

_PERIOD_NS: Final = {"1m": 60_000_000_000, "5m": 300_000_000_000, "15m": 900_000_000_000}

_FAULTS: Final = {
    bar_kernels.BAR_NOT_FINITE: "a value is NaN or infinite",
    bar_kernels.BAR_NOT_POSITIVE: "a price is not positive or the volume is negative",
    bar_kernels.BAR_OUTSIDE_RANGE: "open or close lies outside [low, high]",
    bar_kernels.BAR_NOT_LATER: "it does not close later than the bar before",
}


@dataclass(frozen=True, slots=True)
class BarRows:
    """Rows of bar features.

    Attributes
    ----------
    ts_ns : ndarray of int64, shape (N,)
        Closing times of the bars.
    features : ndarray of float64, shape (N, F), C order
        Never NaN; a feature that is undefined has its neutral value.
    warm : ndarray of bool, shape (N,)
        Whether every feature is past its warm-up; once true, true for good.
    """

    ts_ns: np.ndarray
    features: np.ndarray
    warm: np.ndarray


class BarFeatures:
    """Features of one series of bars, updated bar by bar.

    Parameters
    ----------
    names : iterable of str
        Bar features, in the order of the row's columns.
    clock : {"1m", "5m", "15m"}
        The timeframe of the bars.
    more_columns : int
        Words kept for callers that put values of their own beside the row (external features, say).

    Attributes
    ----------
    specs : tuple of FeatureSpec
        The features.
    memory : ndarray of int64
        The whole state, for `apply_bar` inside numba.
    row : ndarray of float64, shape (F,)
        The last row; a view that changes with the next bar. Zeros before the first.
    more : ndarray of float64, shape (more_columns,)
        The caller's own columns, a view of `memory`; `more_at` is where they stand, counted from the row's
        first column.

    Raises
    ------
    FeatureError
        When a name is unknown, repeated or a book feature, or the clock is unknown.
    """

    def __init__(self, names: Iterable[str], clock: BarClock, *, more_columns: int = 0) -> None:
        self.specs: tuple[FeatureSpec, ...] = resolve(names, "bar")
        if clock not in _PERIOD_NS:
            raise FeatureError(f"clock {clock!r} is not one of bar features (known: {', '.join(_PERIOD_NS)})")
        self.clock = clock
        kernels = [s.kernels for s in self.specs]
        n = len(kernels)
        plan_at = kernel.HEADER
        row_at = plan_at + 2 * n
        state_of, end = place_states(self.specs, row_at + n)
        self.memory = memory = np.zeros(end + more_columns, dtype=np.int64)
        memory[kernel.PERIOD_NS] = _PERIOD_NS[clock]
        # Market time is counted in bars, so that a gap in the series does not pass for history.
        period = _PERIOD_NS[clock]
        memory[kernel.WARMUP_ROWS] = max(max(s.warmup_rows, -(-s.warmup_ns // period)) for s in self.specs)
        memory[kernel.FEATURE_COUNT] = n
        memory[kernel.PLAN_AT] = plan_at
        memory[kernel.ROW_AT] = row_at
        for i, (k, at) in enumerate(zip(kernels, state_of, strict=True)):
            memory[plan_at + 2 * i] = kernel.address_of(k.value, returns_value=True)
            memory[plan_at + 2 * i + 1] = at
            memory[at : at + len(k.parameters)] = k.parameters
        floats = memory.view(np.float64)
        self.row = floats[row_at : row_at + n]
        self.more = floats[end:]
        self.more_at = end - row_at

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of `row`."""
        return tuple(s.name for s in self.specs)

    def apply(
        self,
        ts_ns: int,
        open: float,  # noqa: A002
        high: float,
        low: float,
        close: float,
        volume: float,
    ) -> bool:
        """Apply a closed bar and compute its row; return True, as every bar closes one.

        Parameters
        ----------
        ts_ns : int
            Closing time, nanoseconds since the epoch, later than that of the bar before.
        open, high, low, close : float
            Prices, positive.
        volume : float
            Volume, not negative.

        Raises
        ------
        FeatureError
            When the bar is not one; it is not applied then.
        """
        code = bar_kernels.apply_bar(self.memory, ts_ns, open, high, low, close, volume)
        if code != bar_kernels.BAR_OK:
            raise FeatureError(
                f"bar closing at {ts_ns} refused: {_FAULTS[code]} "
                f"(open {open}, high {high}, low {low}, close {close}, volume {volume})"
            )
        return True

    def run(
        self,
        ts_ns: ArrayLike,
        open: ArrayLike,  # noqa: A002
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
    ) -> BarRows:
        """Apply arrays of bars, one chunk after another if need be, and keep every row.

        Parameters as of `apply`, arrays of shape (n,).

        Raises
        ------
        FeatureError
            When the lengths differ or a bar is refused; bars before it have been applied.
        """
        times = np.ascontiguousarray(ts_ns, dtype=np.int64)
        columns = [np.ascontiguousarray(c, dtype=np.float64) for c in (open, high, low, close, volume)]
        if times.ndim != 1 or any(c.shape != times.shape for c in columns):
            shapes = ", ".join(str(c.shape) for c in (times, *columns))
            raise FeatureError(f"the columns of bars must be one-dimensional and equally long, got {shapes}")
        # Numba tells read-only arrays from writable ones by type; a memory-mapped column may be either.
        times, *columns = (c if c.flags.writeable else c.copy() for c in (times, *columns))
        features = np.empty((len(times), len(self.specs)))
        warm = np.empty(len(times), dtype=np.bool_)
        place, code = bar_kernels.run_bars(self.memory, times, *columns, features, warm)
        if code != bar_kernels.BAR_OK:
            raise FeatureError(f"bar {place}, closing at {int(times[place])}, refused: {_FAULTS[code]}")
        return BarRows(ts_ns=times, features=features, warm=warm)

    @property
    def row_ts_ns(self) -> int:
        """Closing time of the last bar, 0 before the first."""
        return int(self.memory[kernel.NOW_NS])

    @property
    def row_count(self) -> int:
        """How many rows there were."""
        return int(self.memory[kernel.ROW_COUNT])

    @property
    def is_warm(self) -> bool:
        """Whether every feature was past its warm-up in the last row."""
        return bool(self.memory[kernel.ROW_WARM])

    def __reduce__(self) -> str:
        raise TypeError(
            "BarFeatures holds addresses of machine code and cannot be pickled; build it anew from its names"
        )


def batch_bars(
    ts_ns: ArrayLike,
    open: ArrayLike,  # noqa: A002
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    volume: ArrayLike,
    names: Iterable[str],
    clock: BarClock,
) -> BarRows:
    """Compute features over arrays of bars, bit for bit what `BarFeatures` gives live.

    Parameters as of `BarFeatures` and `BarFeatures.run`, which continues over more chunks.

    Returns
    -------
    BarRows
    """
    return BarFeatures(names, clock).run(ts_ns, open, high, low, close, volume)


__all__ = ["BarClock", "BarFeatures", "BarRows", "batch_bars"]
