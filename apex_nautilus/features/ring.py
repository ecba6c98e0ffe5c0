"""The last n floats of a series, for windows that are summed anew each time, oldest first.

Every value is stored twice, n words apart, so that the last n always lie side by side and reading them takes
no division. State: COUNT, then 2 n words of float bits; `ring_words` is its size. `push`, then
`item(state, n, k)` for k = 0 (the oldest) to n - 1.
"""

from __future__ import annotations

from typing import Final

from numba import njit

from apex_nautilus.features.kernel import load_float, store_float

COUNT: Final = 0


def ring_words(n: int) -> int:
    """Return the words of state that a ring of n values takes."""
    return 1 + 2 * n


@njit(cache=True)
def push(state, n, value):
    """Append a value; the oldest of n leaves."""
    place = state[COUNT] % n
    store_float(state, 1 + place, value)
    store_float(state, 1 + place + n, value)
    state[COUNT] += 1


@njit(cache=True)
def is_full(state, n):
    """Whether n values have been seen."""
    return state[COUNT] >= n


@njit(cache=True)
def item(state, n, k):
    """The k-th oldest of the last n values; the ring must be full."""
    return load_float(state, 1 + state[COUNT] % n + k)


__all__ = ["is_full", "item", "push", "ring_words"]
