"""Where the take-profit and the stop go: stop distance, bracket prices, and the window of mids they need."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apex_nautilus.risk.rounding import round_price_kernel

STOP_BPS = 0
STOP_VOLATILITY = 1


@njit(cache=True, error_model="numpy")
def return_deviation_kernel(log_returns, end: int, window: int) -> float:
    """Return the population deviation of ``log_returns[end - window : end]``; NaN with too little history.

    Summed from oldest to newest, in two passes, so that the result depends on those returns alone.
    """
    start = end - window
    if window < 1 or start < 0:
        return math.nan
    total = 0.0
    for i in range(start, end):
        total += log_returns[i]
    mean = total / window
    squares = 0.0
    for i in range(start, end):
        off = log_returns[i] - mean
        squares += off * off
    return math.sqrt(squares / window)


@njit(cache=True, error_model="numpy")
def log_returns_kernel(mids, out) -> None:
    """Write the log return from each mid to the next into `out`, one shorter than `mids`."""
    for i in range(mids.shape[0] - 1):
        out[i] = math.log(mids[i + 1] / mids[i])


@njit(cache=True, error_model="numpy")
def log_return_deviation_kernel(mids, window: int) -> float:
    """Return the population deviation of the last `window` log returns of `mids`; NaN with too few mids.

    Bit for bit `return_deviation_kernel` on the returns of those mids.
    """
    last = mids.shape[0] - 1
    start = last - window
    if window < 1 or start < 0:
        return math.nan
    total = 0.0
    for i in range(start, last):
        total += math.log(mids[i + 1] / mids[i])
    mean = total / window
    squares = 0.0
    for i in range(start, last):
        off = math.log(mids[i + 1] / mids[i]) - mean
        squares += off * off
    return math.sqrt(squares / window)


@njit(cache=True, error_model="numpy")
def stop_distance_kernel(kind: int, value: float, deviation: float, touch: float) -> float:
    """Return the stop distance in price units; NaN where a volatility stop has no deviation."""
    if kind == STOP_VOLATILITY:
        return value * deviation * touch
    return touch * value / 1e4


@njit(cache=True, error_model="numpy")
def bracket_units_kernel(
    side: int, touch: float, distance: float, reward_risk: float, tick_units: int, price_scale: float
) -> tuple[int, int]:
    """Return (take-profit, stop) in price units, both rounded to the tick away from the entry."""
    profit = touch + side * reward_risk * distance
    stop = touch - side * distance
    return (
        round_price_kernel(profit, side > 0, tick_units, price_scale),
        round_price_kernel(stop, side < 0, tick_units, price_scale),
    )


def stop_distance(
    kind: str, value: float, touch: float, mids: NDArray[np.float64] | None = None, window: int = 0
) -> float:
    """Distance from the touch to the stop, in price units.

    Parameters
    ----------
    kind : {"bps", "volatility"}
        ``touch * value / 1e4``, or ``value * std * touch`` with the population deviation of the log returns
        of the mid over the last `window` clock rows.
    value : float
        Basis points, or the multiple of the deviation; positive.
    touch : float
        Price at which the entry would meet the book.
    mids : (n,) float64, optional
        Mids of the clock rows, the current one last; needed by "volatility", which reads the last ``window +
        1``.
    window : int
        Clock rows of a volatility stop.

    Returns
    -------
    float
        NaN where a volatility stop has fewer than ``window + 1`` mids, or one of them is not positive.

    Raises
    ------
    ValueError
        When the kind is unknown, or `value` or `touch` is not positive, or `window` is below 1 for
        "volatility".
    """
    if kind not in ("bps", "volatility"):
        raise ValueError(f"stop_distance: kind must be 'bps' or 'volatility', got {kind!r}")
    if not (math.isfinite(value) and value > 0.0 and math.isfinite(touch) and touch > 0.0):
        raise ValueError(
            f"stop_distance: value and touch must be finite and positive, got {value!r}, {touch!r}"
        )
    if kind == "bps":
        return stop_distance_kernel(STOP_BPS, float(value), math.nan, float(touch))
    if window < 1:
        raise ValueError(f"stop_distance: a volatility stop needs window >= 1, got {window!r}")
    history = np.zeros(0) if mids is None else np.ascontiguousarray(mids, dtype=np.float64)
    if history.size and not np.all(history[-(window + 1) :] > 0.0):
        return math.nan
    deviation = log_return_deviation_kernel(history, window)
    return stop_distance_kernel(STOP_VOLATILITY, float(value), deviation, float(touch))


def bracket_prices(
    side: int, touch: float, distance: float, reward_risk: float, tick_units: int, price_precision: int
) -> tuple[float, float]:
    """Take-profit and stop of a bracket anchored at the touch, rounded to the tick away from the entry.

    Take-profit ``touch + side * reward_risk * distance``, stop ``touch - side * distance``.

    Parameters
    ----------
    side : int
        +1 long, -1 short.
    touch, distance : float
        Entry touch and stop distance, price units, positive.
    reward_risk : float
        b > 0.
    tick_units, price_precision : int
        The price grid: steps of ``tick_units * 10**-price_precision``.

    Returns
    -------
    (float, float)
        Take-profit and stop. A price that is not positive cannot be traded; `decide` refuses it.

    Raises
    ------
    ValueError
        When `side` is not +-1 or another argument is not finite and positive.
    """
    if side not in (1, -1):
        raise ValueError(f"bracket_prices: side must be +1 or -1, got {side!r}")
    for name, value in (("touch", touch), ("distance", distance), ("reward_risk", reward_risk)):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"bracket_prices: {name} must be finite and positive, got {value!r}")
    if tick_units < 1:
        raise ValueError(f"bracket_prices: tick_units must be at least 1, got {tick_units!r}")
    scale = float(10**price_precision)
    profit, stop = bracket_units_kernel(
        side, float(touch), float(distance), float(reward_risk), tick_units, scale
    )
    return profit / scale, stop / scale


class MidWindow:
    """The last `length` mids as one contiguous array, for decisions taken row by row.

    Each mid is written twice, `length` apart, so that the window is always a slice and nothing is shifted.

    Parameters
    ----------
    length : int
        Mids to keep; a volatility stop over ``window`` rows needs ``window + 1``.

    Raises
    ------
    ValueError
        When `length` is below 1.
    """

    __slots__ = ("_buffer", "_count", "_length")

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"MidWindow: length must be at least 1, got {length!r}")
        self._length = length
        self._buffer = np.zeros(2 * length)
        self._count = 0

    def push(self, mid: float) -> None:
        """Add the mid of one clock row."""
        place = self._count % self._length
        self._buffer[place] = mid
        self._buffer[place + self._length] = mid
        self._count += 1

    @property
    def values(self) -> NDArray[np.float64]:
        """The mids held, oldest first, as a view that the next `push` overwrites."""
        if self._count < self._length:
            return self._buffer[: self._count]
        start = self._count % self._length
        return self._buffer[start : start + self._length]

    def __len__(self) -> int:
        return min(self._count, self._length)
