"""Rounding to a venue's steps, in whole units, so that no float noise decides a price or a size.

A price or size lives on a grid of `step` units of ``1 / scale`` (``scale = 10**precision``). The kernels
return whole units; the float is ``units / scale``, one correctly rounded division.
"""

from __future__ import annotations

import math

from numba import njit

#: Share of a step within which a value counts as lying on the grid: the noise of three or four float
#: operations on prices up to 1e9 steps stays below it, and no venue would see the difference.
GRID_TOLERANCE = 1e-6


@njit(cache=True, error_model="numpy")
def floor_units_kernel(value: float, step: int, scale: float) -> int:
    """Return the largest multiple of `step` units whose float is not above `value`; 0 for values below one
    step.

    Exact: the product ``value * scale`` may round across a step, so the neighbours are compared as floats.
    """
    if not value > 0.0:
        return 0
    steps = math.floor(value * scale / step)
    if ((steps + 1) * step) / scale <= value:
        steps += 1
    elif steps > 0 and (steps * step) / scale > value:
        steps -= 1
    return steps * step


@njit(cache=True, error_model="numpy")
def round_price_kernel(value: float, upward: bool, step: int, scale: float) -> int:
    """Return `value` as units on the price grid, rounded up or down, except that a value within
    `GRID_TOLERANCE` of a step lies on that step (``touch + 3 * distance`` must not move a whole tick for a
    last-bit error).
    """
    position = value * scale / step
    nearest = math.floor(position + 0.5)
    if abs(position - nearest) <= GRID_TOLERANCE:
        return int(nearest) * step
    if upward:
        return math.ceil(position) * step
    return math.floor(position) * step
