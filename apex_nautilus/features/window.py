"""Sums over a trailing window of event time, exact and independent of where the data began.

The window is cut into 64 buckets aligned to the epoch. Its sum is that of the current bucket and the 63
before it, so it reaches back between 63/64 and 64/64 of its length, by a rule that depends on the clock
alone. Terms are integers: adding them when they come and taking them off when their bucket leaves is
exact, and after one full window nothing of the past remains in it.

State: BUCKET_NS (a parameter), then BUCKET_WORDS - 1 words that start at zero.
"""

from __future__ import annotations

from typing import Final

from numba import njit

SECOND_NS: Final = 1_000_000_000
BUCKETS: Final = 64

BUCKET_NS: Final = 0
BUCKET_END_NS: Final = 1  # end of the current bucket; 0 before the first event
BUCKET_INDEX: Final = 2
SUM: Final = 3
RING_AT: Final = 4
BUCKET_WORDS: Final = RING_AT + BUCKETS


def bucket_ns(window_ns: int) -> int:
    """Return the length of a bucket of a window.

    Raises
    ------
    ValueError
        When the window is not a positive multiple of 64 ns.
    """
    if window_ns <= 0 or window_ns % BUCKETS:
        raise ValueError(f"a window must be a positive multiple of {BUCKETS} ns, got {window_ns}")
    return window_ns // BUCKETS


@njit(cache=True)
def advance(state, now):
    """Move the window on so that it ends in the bucket of `now`; returns how many buckets it moved."""
    if now < state[BUCKET_END_NS]:
        return 0
    width = state[BUCKET_NS]
    index = now // width
    moved = BUCKETS
    if state[BUCKET_END_NS] != 0:
        moved = index - state[BUCKET_INDEX]
    state[BUCKET_END_NS] = (index + 1) * width
    if moved >= BUCKETS:
        for k in range(BUCKETS):
            state[RING_AT + k] = 0
        state[SUM] = 0
    else:
        for k in range(state[BUCKET_INDEX] + 1, index + 1):
            slot = RING_AT + (k & (BUCKETS - 1))
            state[SUM] -= state[slot]
            state[slot] = 0
    state[BUCKET_INDEX] = index
    return moved


@njit(cache=True)
def add(state, term):
    """Add a term to the current bucket."""
    state[RING_AT + (state[BUCKET_INDEX] & (BUCKETS - 1))] += term
    state[SUM] += term


__all__ = ["BUCKETS", "BUCKET_WORDS", "SECOND_NS", "SUM", "add", "advance", "bucket_ns"]
