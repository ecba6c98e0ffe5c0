"""External features row by row: the live twin of `asof_join`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

import numpy as np

from apex_nautilus.features.external.series import (
    ExternalSeries,
    check_stale_after,
    check_values,
    external_spec,
)
from apex_nautilus.features.registry import FeatureError, FeatureSpec, resolve

__all__ = ["ExternalFeatures"]


class _Column:
    """The publications of one feature and the place up to which they are in force."""

    __slots__ = ("claimed", "limit_ns", "spec", "stale_after_ns", "times", "values")

    def __init__(self, spec: FeatureSpec, stale_after_ns: int | None) -> None:
        self.spec = spec
        self.stale_after_ns = stale_after_ns
        self.limit_ns = spec.stale_after_ns if stale_after_ns is None else stale_after_ns
        self.times: list[int] = []  # when each took effect
        self.claimed: list[int] = []  # its time of publication, earlier where it came late
        self.values: list[float] = []


class ExternalFeatures:
    """Holds what was published and gives the row that was in force at a time.

    Call `publish` as values become known and `row` at each row of the clock, whose times never go back.
    What counts is the latest publication at or before the row: one with a time in the future waits for it;
    of several at one time the last one counts; to publish the same again changes nothing. A publication
    that comes late, when a row after its time has been given, cannot change that row: it takes effect right
    after it, is counted in `late`, and is passed over when a newer one is in force by then. `series` gives
    the publications as they took effect, so `asof_join` of it repeats every row to the last bit, always.

    Parameters
    ----------
    names : iterable of str
        External features, in the order of the row's columns.
    stale_after_ns : mapping of str to int, optional
        Age limits that differ from the features' own.

    Attributes
    ----------
    names : tuple of str
    late : int
        Publications that came after a row later than their time.

    Raises
    ------
    FeatureError
        When a name is unknown, repeated or no external feature, or an age limit is not positive.
    """

    def __init__(self, names: Iterable[str], *, stale_after_ns: Mapping[str, int] | None = None) -> None:
        limits = dict(stale_after_ns or {})
        specs = resolve(names, "external")
        self.names = tuple(spec.name for spec in specs)
        unknown = sorted(set(limits) - set(self.names))
        if unknown:
            raise FeatureError(f"stale_after_ns names {unknown}, which are not among {list(self.names)}")
        for name, limit in limits.items():
            check_stale_after(name, limit)
        self._columns = {spec.name: _Column(spec, limits.get(spec.name)) for spec in specs}
        self._last_row_ns: int | None = None
        self._row = np.array([spec.neutral for spec in specs])
        self.late = 0

    def publish(self, name: str, ts_ns: int, value: float) -> None:
        """Take a value that is known from `ts_ns` on.

        Raises
        ------
        FeatureError
            When `name` is not among `names`, or `value` is not finite or outside the feature's range; nothing
            is changed then.
        """
        column = self._columns.get(name)
        if column is None:
            external_spec(name)
            raise FeatureError(f"{name!r} is not among the features held here: {', '.join(self.names)}")
        value = float(value)
        check_values(column.spec, [value])
        claimed = effective = int(ts_ns)
        if self._last_row_ns is not None and claimed <= self._last_row_ns:
            self.late += 1
            effective = self._last_row_ns + 1
        at = bisect_right(column.times, effective)
        if at and column.claimed[at - 1] > claimed:
            return  # a newer one is in force, or takes effect with it
        if at and column.times[at - 1] == effective:
            column.claimed[at - 1] = claimed
            column.values[at - 1] = value
        else:
            column.times.insert(at, effective)
            column.claimed.insert(at, claimed)
            column.values.insert(at, value)

    def load(self, series: ExternalSeries) -> None:
        """Publish a whole series and take over its age limit; for histories, before the first row.

        Raises
        ------
        FeatureError
            When a row was given already, the feature is not among `names`, or it has publications.
        """
        column = self._columns.get(series.name)
        if column is None or self._last_row_ns is not None or column.times:
            raise FeatureError(
                f"external series {series.name!r}: can be loaded once, before the first row, into features "
                f"that hold it (these hold {', '.join(self.names)})"
            )
        column.times = series.published_ns.tolist()
        column.claimed = series.published_ns.tolist()
        column.values = series.value.tolist()
        column.stale_after_ns = series.stale_after_ns
        column.limit_ns = series.age_limit_ns

    def row(self, ts_ns: int) -> np.ndarray:
        """Return the values in force at `ts_ns`, (F,) float64; a view that changes with the next row.

        Raises
        ------
        FeatureError
            When `ts_ns` is before the last row's time.
        """
        if self._last_row_ns is not None and ts_ns < self._last_row_ns:
            raise FeatureError(f"rows of external features go forward: {ts_ns} is before {self._last_row_ns}")
        self._last_row_ns = int(ts_ns)
        for i, column in enumerate(self._columns.values()):
            at = bisect_right(column.times, ts_ns) - 1
            in_force = at >= 0 and ts_ns - column.times[at] <= column.limit_ns
            self._row[i] = column.values[at] if in_force else column.spec.neutral
        return self._row

    def series(self, name: str) -> ExternalSeries:
        """Return the publications of a feature as they took effect.

        Raises
        ------
        FeatureError
            When `name` is not among `names`.
        """
        if name not in self._columns:
            raise FeatureError(f"{name!r} is not among the features held here: {', '.join(self.names)}")
        column = self._columns[name]
        times, values = np.array(column.times, dtype=np.int64), np.array(column.values, dtype=np.float64)
        return ExternalSeries(name, times, values, column.stale_after_ns)
