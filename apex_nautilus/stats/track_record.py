"""Moments of the latest trades, kept up to date trade by trade.

A judge that looks after every fill should not go through a hundred returns each time: sums of powers are
carried along, one return in and one out. Such sums gather rounding errors; they are taken anew from the
returns themselves each time the window has turned over once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from apex_nautilus.stats.sharpe import Moments, moments_from_sums

__all__ = ["TrackRecord"]


class TrackRecord:
    """The last `window` returns of one agent and their moments.

    Parameters
    ----------
    window : int
        Returns that count, at least 2.

    Attributes
    ----------
    trades : int
        Returns ever added, those that left the window included.

    Raises
    ------
    ValueError
        When `window` is below 2.
    """

    __slots__ = ("_moments", "_place", "_sums", "_values", "trades", "window")

    def __init__(self, window: int) -> None:
        if window < 2:
            raise ValueError(f"track record: window must be at least 2, got {window!r}")
        self.window = window
        self.trades = 0
        self._values: list[float] = []
        self._place = 0
        self._sums = (0.0, 0.0, 0.0, 0.0)
        self._moments: Moments | None = None

    def add(self, value: float) -> None:
        """Add the latest return.

        Raises
        ------
        ValueError
            When it is not finite: a return that is not known is not a return of zero.
        """
        if not math.isfinite(value):
            raise ValueError(f"track record: a return must be finite, got {value!r}")
        self.trades += 1
        self._moments = None
        values = self._values
        if len(values) < self.window:
            values.append(value)
            gone = 0.0
        else:
            gone = values[self._place]
            values[self._place] = value
            self._place += 1
            if self._place == self.window:
                self._place = 0
                self._sums = _power_sums(values)
                return
        s1, s2, s3, s4 = self._sums
        squared, gone_squared = value * value, gone * gone
        self._sums = (
            s1 + (value - gone),
            s2 + (squared - gone_squared),
            s3 + (squared * value - gone_squared * gone),
            s4 + (squared * squared - gone_squared * gone_squared),
        )

    def extend(self, values: Iterable[float]) -> None:
        """Add returns in their order."""
        for value in values:
            self.add(value)

    def returns(self) -> list[float]:
        """The returns in the window, oldest first."""
        return self._values[self._place :] + self._values[: self._place]

    def moments(self) -> Moments:
        """Moments of the returns in the window; see `apex_nautilus.stats.moments_from_sums`."""
        if self._moments is None:
            self._moments = moments_from_sums(len(self._values), *self._sums)
        return self._moments


def _power_sums(values: list[float]) -> tuple[float, float, float, float]:
    s1 = s2 = s3 = s4 = 0.0
    for value in values:
        squared = value * value
        s1 += value
        s2 += squared
        s3 += squared * value
        s4 += squared * squared
    return s1, s2, s3, s4
