"""Long series for small pictures: of each stretch of rows, the lowest and the highest."""

from __future__ import annotations

import numpy as np

__all__ = ["MinMaxThinner"]


class MinMaxThinner:
    """Thin columns as they come, in little memory, without losing a peak.

    Rows go into stretches of equal number. Of each column a stretch keeps its lowest and its highest value
    with their times. When there are too many stretches, neighbours are joined and the stretches become
    twice as long, so that a million rows and ten million leave the same few points.

    Parameters
    ----------
    columns : int
    stretches : int
        At most twice as many are kept, and at least as many of a series that is long enough.
    """

    def __init__(self, columns: int, stretches: int) -> None:
        if columns < 1 or stretches < 1:
            raise ValueError(f"columns and stretches must be at least 1, got {columns} and {stretches}")
        self.rows = 0
        self.rows_each = 1
        self._most = 2 * stretches
        # Of each stretch and column: time and value of the lowest, time and value of the highest.
        self._times = np.empty((0, columns, 2), dtype=np.int64)
        self._values = np.empty((0, columns, 2))
        self._pending_times = np.empty(0, dtype=np.int64)
        self._pending_values = np.empty((0, columns))

    def add(self, ts_ns: np.ndarray, values: np.ndarray) -> None:
        """Add rows in order of time: ts_ns, int64 (n,), and values, float64 (n, columns), never NaN."""
        self.rows += len(ts_ns)
        times = np.concatenate([self._pending_times, ts_ns])
        rows = np.concatenate([self._pending_values, values])
        whole = len(times) // self.rows_each * self.rows_each
        self._pending_times, self._pending_values = times[whole:], rows[whole:]
        extremes = _extremes(times[:whole], rows[:whole], self.rows_each)
        self._times = np.concatenate([self._times, extremes[0]])
        self._values = np.concatenate([self._values, extremes[1]])
        while len(self._times) > self._most:
            self._times, self._values = _join(self._times, self._values)
            self.rows_each *= 2

    def points(self, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Return times (int64) and values of a column in order of time, the rows that still wait included."""
        times, values = self._times[:, column], self._values[:, column]
        if len(self._pending_times):
            rest = _extremes(self._pending_times, self._pending_values, len(self._pending_times))
            times = np.concatenate([times, rest[0][:, column]])
            values = np.concatenate([values, rest[1][:, column]])
        order = np.argsort(times, axis=1, kind="stable")
        times = np.take_along_axis(times, order, axis=1).ravel()
        values = np.take_along_axis(values, order, axis=1).ravel()
        # A stretch of one row, or of one value, is one point.
        fresh = np.ones(len(times), dtype=bool)
        fresh[1:] = (times[1:] != times[:-1]) | (values[1:] != values[:-1])
        return times[fresh], values[fresh]


def _extremes(times: np.ndarray, values: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of the lowest and the highest of each `each` rows: (n, columns, 2) both."""
    stretches = values.reshape(-1, each, values.shape[1])
    places = np.stack([stretches.argmin(axis=1), stretches.argmax(axis=1)], axis=2)
    first_row = each * np.arange(len(stretches))[:, None, None]
    column = np.arange(values.shape[1])[None, :, None]
    return times[first_row + places], values[first_row + places, column]


def _join(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make one stretch of two neighbours; a last one without a partner stays."""
    pairs = len(times) // 2
    joined = []
    for array in (times, values):
        two = array[: 2 * pairs].reshape(pairs, 2, *array.shape[1:])
        joined.append(np.moveaxis(two, 1, 2))  # pair, column, which of the two, lowest or highest
    which = np.stack([joined[1][..., 0].argmin(axis=2), joined[1][..., 1].argmax(axis=2)], axis=2)
    out = []
    for array, left in zip(joined, (times, values), strict=True):
        kept = np.stack(
            [np.take_along_axis(array[..., k], which[..., k : k + 1], axis=2)[..., 0] for k in range(2)],
            axis=2,
        )
        out.append(np.concatenate([kept, left[2 * pairs :]]))
    return out[0], out[1]
