"""What was published from outside, and the value that was in force at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from apex_nautilus.features.registry import FeatureError, FeatureSpec, get, names

__all__ = ["ExternalSeries", "asof_join", "external_spec"]


def external_spec(name: str) -> FeatureSpec:
    """Return the spec of an external feature.

    Raises
    ------
    FeatureError
        When there is none of that name, or it is computed from the market.
    """
    spec = get(name)
    if spec.kind != "external":
        raise FeatureError(
            f"{name!r} is a {spec.kind} feature: it is computed, not published "
            f"(external features: {', '.join(names('external'))})"
        )
    return spec


@dataclass(frozen=True, slots=True, eq=False)
class ExternalSeries:
    """The publications of one external feature.

    Parameters
    ----------
    name : str
        A registered external feature.
    published_ns : array_like of int64, shape (N,)
        When each value could first be known here, strictly increasing. What lies between the event and
        this time (a day that must end, a venue's delay) is the source's affair: see the importers.
    value : array_like of float64, shape (N,)
        The values, in the unit and range of the feature. NaN is refused: not to publish is how a source
        says nothing.
    stale_after_ns : int, optional
        Age at which a value ceases to count, where this source's pace is not the feature's usual one.

    Raises
    ------
    FeatureError
        When the feature is unknown, the shapes differ, the times do not increase, or a value is not
        finite or out of range; the message names the first such entry.

    Notes
    -----
    `from_publications` takes them in any order.
    """

    name: str
    published_ns: np.ndarray
    value: np.ndarray
    stale_after_ns: int | None = None

    def __post_init__(self) -> None:
        spec = external_spec(self.name)
        times = _int64(self.published_ns, f"external series {self.name!r}: published_ns")
        values = np.array(self.value, dtype=np.float64)
        if times.ndim != 1 or times.shape != values.shape:
            raise FeatureError(
                f"external series {self.name!r}: published_ns and value must be two rows of one length, got "
                f"shapes {times.shape} and {values.shape}"
            )
        backwards = np.flatnonzero(np.diff(times) <= 0)
        if backwards.size:
            at = int(backwards[0]) + 1
            raise FeatureError(
                f"external series {self.name!r}: published_ns[{at}] = {times[at]} is not after "
                f"{times[at - 1]}; use ExternalSeries.from_publications for publications in any order"
            )
        check_values(spec, values)
        check_stale_after(self.name, self.stale_after_ns)
        times.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "published_ns", times)
        object.__setattr__(self, "value", values)

    @classmethod
    def from_publications(
        cls, name: str, published_ns: Any, value: Any, stale_after_ns: int | None = None
    ) -> ExternalSeries:
        """Make a series of publications in any order; of several at one time the last one given holds."""
        times = _int64(published_ns, f"external series {name!r}: published_ns")
        values = np.asarray(value, dtype=np.float64)
        if times.ndim != 1 or times.shape != values.shape:
            return cls(name, times, values, stale_after_ns)  # which refuses them
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        last = np.append(times[1:] != times[:-1], True)[: times.size]
        return cls(name, times[last], values[last], stale_after_ns)

    def __len__(self) -> int:
        return len(self.published_ns)

    @property
    def age_limit_ns(self) -> int:
        """Age at which a value of this series ceases to count."""
        return external_spec(self.name).stale_after_ns if self.stale_after_ns is None else self.stale_after_ns


def asof_join(series: ExternalSeries, ts_ns: Any) -> np.ndarray:
    """Return the value of `series` that was in force at each time.

    In force is the latest one published at or before that time. Before the first publication, and once the
    latest is older than the series allows (`ExternalSeries.age_limit_ns`), it is the feature's neutral value;
    never NaN. A value depends on no later publication.

    Parameters
    ----------
    series : ExternalSeries
    ts_ns : array_like of int64, shape (N,)
        Times of rows, in any order.

    Returns
    -------
    ndarray of float64, shape (N,)
    """
    times = _int64(ts_ns, "asof_join: ts_ns")
    out = np.full(times.shape, external_spec(series.name).neutral)
    if len(series):
        at = np.searchsorted(series.published_ns, times, side="right") - 1
        held = np.maximum(at, 0)
        fresh = (at >= 0) & (times - series.published_ns[held] <= series.age_limit_ns)
        out[fresh] = series.value[held[fresh]]
    return out


def check_values(spec: FeatureSpec, values: np.ndarray | Iterable[float]) -> None:
    """Raise FeatureError when a value is not finite or outside the feature's range."""
    values = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= spec.low) & (values <= spec.high)))
    if wrong.size:
        at = int(wrong[0])
        raise FeatureError(
            f"external feature {spec.name!r}: value {values[at]!r} (entry {at}) is not a finite number in "
            f"[{spec.low:g}, {spec.high:g}] {spec.unit}"
        )


def check_stale_after(name: str, stale_after_ns: int | None) -> None:
    """Raise FeatureError when an age limit is not positive."""
    if stale_after_ns is not None and stale_after_ns <= 0:
        raise FeatureError(
            f"external series {name!r}: stale_after_ns must be positive, got {stale_after_ns!r}"
        )


def _int64(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise FeatureError(f"{what} must be whole nanoseconds, got {array.dtype}")
    return np.array(array, dtype=np.int64)
