"""What a round trip costs, and what a market order pays when it walks the displayed book.

A book is a ``(4, K)`` float64 array: bid prices, bid sizes, ask prices, ask sizes, best level first; an
absent level has size 0 (its price is not read).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Levels that a market order may walk; the remainder fills at the last of them.
WALK_LEVELS = 5

#: A book without displayed levels: every order fills at the touch.
NO_DEPTH: NDArray[np.float64] = np.zeros((4, 0))


@njit(cache=True, error_model="numpy")
def walk_kernel(book, direction: int, size: float, touch: float) -> float:
    """Return the average price at which a market order of `size` fills; `touch` where no level is displayed.

    Buys (direction +1) walk the asks, sells (-1) the bids, at most `WALK_LEVELS`; what they do not hold fills
    at the last level met. A fill within the first level returns its price untouched.
    """
    row = 2 if direction > 0 else 0
    levels = min(book.shape[1], WALK_LEVELS)
    left = size
    paid = 0.0
    price = touch
    for level in range(levels):
        available = book[row + 1, level]
        if not available > 0.0:
            continue
        price = book[row, level]
        if available >= left:
            if left == size:
                return price
            return (paid + left * price) / size
        paid += available * price
        left -= available
    if left == size:
        return price
    return (paid + left * price) / size


@njit(cache=True, error_model="numpy")
def round_trip_cost_kernel(
    touch: float, spread: float, entry_fee: float, exit_fee: float, slippage: float
) -> float:
    """Return touch * (entry fee + exit fee) + spread + slippage, in price units for one base unit."""
    return touch * (entry_fee + exit_fee) + spread + slippage


def walk(book: NDArray[np.float64], direction: int, size: float, touch: float) -> float:
    """Average fill price of a market order against the displayed book.

    Parameters
    ----------
    book : (4, K) float64
        Bid prices, bid sizes, ask prices, ask sizes, best first; `NO_DEPTH` for none.
    direction : int
        +1 buys, -1 sells.
    size : float
        Order size in base units, positive.
    touch : float
        Price where the book displays no level.

    Raises
    ------
    ValueError
        When `book` does not have four rows, `direction` is not +-1 or `size` is not positive.
    """
    levels = np.ascontiguousarray(book, dtype=np.float64)
    if levels.ndim != 2 or levels.shape[0] != 4:
        raise ValueError(f"walk: book must have shape (4, K), got {levels.shape}")
    if direction not in (1, -1):
        raise ValueError(f"walk: direction must be +1 or -1, got {direction!r}")
    if not (math.isfinite(size) and size > 0.0):
        raise ValueError(f"walk: size must be finite and positive, got {size!r}")
    return walk_kernel(levels, direction, float(size), float(touch))


def round_trip_cost(
    touch: float, spread: float, *, entry_fee: float, exit_fee: float, slippage: float = 0.0
) -> float:
    """Cost of entering and leaving one base unit, in price units: both fees, two half-spreads, expected
    slippage.

    Parameters
    ----------
    touch : float
        Entry price, positive.
    spread : float
        Ask minus bid, not negative.
    entry_fee, exit_fee : float
        Shares of the notional.
    slippage : float
        Expected slippage of the round trip beyond the touch, price units.

    Raises
    ------
    ValueError
        When `touch` is not positive, or `spread` or `slippage` is negative or NaN.
    """
    if not (math.isfinite(touch) and touch > 0.0):
        raise ValueError(f"round_trip_cost: touch must be finite and positive, got {touch!r}")
    if not spread >= 0.0 or not slippage >= 0.0:
        raise ValueError(
            f"round_trip_cost: spread and slippage must not be negative, got {spread!r}, {slippage!r}"
        )
    return round_trip_cost_kernel(float(touch), float(spread), entry_fee, exit_fee, float(slippage))
