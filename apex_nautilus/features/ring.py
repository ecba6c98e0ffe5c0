"""The last n floats of a series, for windows that are summed anew each time, oldest first.

State: COUNT, then n words of float bits. `push` then `item(state, n, k)` for k = 0 (the oldest) to n - 1.
"""

from __future__ import annotations

from typing import Final

from numba import njit

from apex_nautilus.features.kernel import load_float, store_float

COUNT: Final = 0


@njit(cache=True)
def push(state, n, value):
    """Append a value; the oldest of n leaves."""
    store_float(state, 1 + state[COUNT] % n, value)
    state[COUNT] += 1


@njit(cache=True)
def is_full(state, n):
    """Whether n values have been seen."""
    return state[COUNT] >= n


@njit(cache=True)
def item(state, n, k):
    """The k-th oldest of the last n values; the ring must be full."""
    return load_float(state, 1 + (state[COUNT] + k) % n)


__all__ = ["is_full", "item", "push"]
