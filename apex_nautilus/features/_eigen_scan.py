"""One pass over samples of prices: all windows of the eigen scan, from the same returns.

The state is a set of arrays that the caller owns. `run` moves it on by any number of samples, so a batch is
the live scanner called once; the bits cannot differ.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from apex_nautilus.features._eigen_leading import compress, leading
from apex_nautilus.features._eigen_null import null_ceiling
from apex_nautilus.features._eigen_products import (
    REFRESH,
    correlate,
    padded,
    recompute,
    roll,
    roll_sums,
)
from apex_nautilus.features._eigen_values import eigenvalues

__all__ = ["COUNTS", "FLOATS", "INTS", "WINDOWS", "EigenState", "new_state", "run"]

WINDOWS: Final = 4
HISTORY: Final = 750
"""Scans that a velocity is ranked among."""

CONSTANT: Final = 1e-13
"""A standard deviation below this is the rounding of prices: the asset is constant."""

_JUMP: Final = 1e6  # a price a million times the one before is another unit of account, not a return

# ---- settings
N: Final = 0
COVERAGE_AT: Final = 1  # WINDOWS words: samples that must be observed
WINDOW_AT: Final = 5  # WINDOWS words
NULL_EVERY: Final = 9
REGIME_WINDOW: Final = 10
SPECTRUM: Final = 11
SETTINGS: Final = 12

# ---- counters
SAMPLES: Final = 0  # returns so far
PUBLISHED: Final = 1
WARMING: Final = 2
STALE: Final = 3
THIN: Final = 4
RECOMPUTED: Final = 5
LAPACK: Final = 6
MEASURED_AT: Final = 7  # sample of the last measured scan, -1 before
RANKED: Final = 8  # velocities in the history, ever
ITERATIONS: Final = 9
BEGUN: Final = 10  # 1 once a sample of prices came
COUNTERS: Final = 11
COUNTS: Final = {
    "published": PUBLISHED,
    "warming": WARMING,
    "stale": STALE,
    "thin": THIN,
    "recomputations": RECOMPUTED,
    "lapack": LAPACK,
    "iterations": ITERATIONS,
}

# ---- a published scan: floats, four at a time, and integers
LAMBDA: Final = 0
VELOCITY: Final = 4
ROTATION: Final = 8
INSTABILITY: Final = 12
VEL_DIV: Final = 16
COMPOSITE: Final = 17
REGIME: Final = 18
EXCESS: Final = 19
CEILING: Final = 20
FLOATS: Final = 21
NUMBER: Final = 0
SAMPLE: Final = 1  # row of the prices handed in
FRESH: Final = 2
CHANGED: Final = 3
MEMBERS: Final = 4
INTS: Final = 8


class EigenState(NamedTuple):
    """Everything a scanner remembers; W windows, C columns (assets, padded), R rows of history."""

    settings: np.ndarray  # (SETTINGS,) int64
    rates: np.ndarray  # (3,) float64: EMA weight, calm_below, stressed_above
    seed: np.ndarray  # (1,) uint64
    counters: np.ndarray  # (COUNTERS,) int64
    price: np.ndarray  # (C,) last live price, 0 before the first
    ring: np.ndarray  # (R, C) returns
    seen: np.ndarray  # (R, C) bool: observed
    seen_count: np.ndarray  # (W, C) int64
    shift: np.ndarray  # (W, C)
    sums: np.ndarray  # (W, C)
    products: np.ndarray  # (W, C, C)
    largest: np.ndarray  # (W, C)
    age: np.ndarray  # (W,) int64 samples since the recomputation
    vectors: np.ndarray  # (W, C) of the last measured scan
    members: np.ndarray  # (W, C) bool, of the last measured scan
    others: np.ndarray  # (W,) a bound of the other eigenvalues, not always the latest
    values: np.ndarray  # (W,) lambda_max / N of the last measured scan
    smooth: np.ndarray  # (W,) smoothed velocity
    history: np.ndarray  # (W, HISTORY) |velocity|
    null: np.ndarray  # (1,) ceiling
    scratch: np.ndarray  # (2 W + 12, C)
    matrix: np.ndarray  # (C, C)
    chosen: np.ndarray  # (W, C) bool


def new_state(
    n: int,
    windows: tuple[int, ...],
    coverage: tuple[int, ...],
    *,
    alpha: float,
    null_every: int,
    regime_window: int,
    calm_below: float,
    stressed_above: float,
    seed: int,
    spectrum: bool,
) -> EigenState:
    """Return the state of a scanner that has seen nothing."""
    c, rows = padded(n), max(windows)
    settings = np.zeros(SETTINGS, dtype=np.int64)
    settings[N] = n
    settings[COVERAGE_AT : COVERAGE_AT + WINDOWS] = coverage
    settings[WINDOW_AT : WINDOW_AT + WINDOWS] = windows
    settings[NULL_EVERY], settings[REGIME_WINDOW], settings[SPECTRUM] = null_every, regime_window, spectrum
    counters = np.zeros(COUNTERS, dtype=np.int64)
    counters[MEASURED_AT] = -1
    return EigenState(
        settings=settings,
        rates=np.array([alpha, calm_below, stressed_above]),
        seed=np.array([seed], dtype=np.uint64),
        counters=counters,
        price=np.zeros(c),
        ring=np.zeros((rows, c)),
        seen=np.zeros((rows, c), dtype=np.bool_),
        seen_count=np.zeros((WINDOWS, c), dtype=np.int64),
        shift=np.zeros((WINDOWS, c)),
        sums=np.zeros((WINDOWS, c)),
        products=np.zeros((WINDOWS, c, c)),
        largest=np.zeros((WINDOWS, c)),
        age=np.zeros(WINDOWS, dtype=np.int64),
        vectors=np.zeros((WINDOWS, c)),
        members=np.zeros((WINDOWS, c), dtype=np.bool_),
        others=np.zeros(WINDOWS),
        values=np.zeros(WINDOWS),
        smooth=np.zeros(WINDOWS),
        history=np.zeros((WINDOWS, HISTORY)),
        null=np.zeros(1),
        scratch=np.zeros((2 * WINDOWS + 12, c)),
        matrix=np.zeros((c, c)),
        chosen=np.zeros((WINDOWS, c), dtype=np.bool_),
    )


@njit(cache=True)
def _take_returns(state, prices, fresh, returns, live, seen):
    """Turn prices into returns since each asset's last live price; return the number of live assets.

    An asset is live when it is fresh and its price a number above zero. One that is not returns 0 and is not
    observed; the move that it made meanwhile is returned by its next live price.
    """
    count = 0
    for i in range(state.settings[N]):
        price = prices[i]
        returns[i] = 0.0
        seen[i] = live[i] = False
        if fresh[i] and price > 0.0 and price < math.inf:
            count += 1
            live[i] = True
            if state.price[i] > 0.0:
                move = price / state.price[i] - 1.0
                if abs(move) < _JUMP:
                    returns[i] = move
                    seen[i] = True
            state.price[i] = price
    return count


@njit(cache=True)
def _measure(state, k, live, diagonal, vector, u, y, d, lanes):
    """Return the largest eigenvalue of window `k` / members, or 0 where too few assets are members."""
    n, window = state.settings[N], state.settings[WINDOW_AT + k]
    q, s = state.products[k], state.sums[k]
    floor = window * CONSTANT * CONSTANT
    count = 0
    for i in range(n):
        variance = diagonal[i] - s[i] * s[i] / window
        member = live[i] and state.seen_count[k, i] >= state.settings[COVERAGE_AT + k] and variance > floor
        state.chosen[k, i] = member
        d[i] = 1.0 / math.sqrt(variance) if member else 0.0
        count += member
    if count < 2 or 2 * count < n:
        return 0.0
    for j in range(vector.shape[0]):
        vector[j] = state.vectors[k, j]
    value, iterations, state.others[k] = leading(
        q, s, d, window, n, state.chosen[k], state.others[k], vector, u, y, lanes, state.matrix
    )
    if iterations < 0:
        state.counters[LAPACK] += 1
    else:
        state.counters[ITERATIONS] += iterations
    return min(value / count, 1.0)


@njit(cache=True)
def _count(members, n):
    count = 0
    for i in range(n):
        count += members[i]
    return count


@njit(cache=True)
def _rank(history, held, value):
    """The share of the `held` latest values below `value`, ties by half; 0.5 without any."""
    if held == 0:
        return 0.5
    below = equal = 0
    for j in range(held):
        below += history[j] < value
        equal += history[j] == value
    return (below + 0.5 * equal) / held


@njit(cache=True)
def _regime(state, newest, value, out):
    """Write excess, ceiling and regime of the regime window, whose lambda_max / members is `value`."""
    k = state.settings[REGIME_WINDOW]
    window = state.settings[WINDOW_AT + k]
    n = state.settings[N]
    count = _count(state.chosen[k], n)
    number = state.counters[PUBLISHED]
    every = state.settings[NULL_EVERY]
    if every > 0 and (number - 1) % every == 0:
        state.null[0] = null_ceiling(
            state.ring, newest, window, n, state.chosen[k], state.seed[0], np.uint64(number)
        )
    edge = (1.0 + math.sqrt(count / window)) ** 2
    ceiling = max(edge, state.null[0])
    excess = (value * count - ceiling) / (count - ceiling) if ceiling < count else 0.0
    out[EXCESS] = excess
    out[CEILING] = ceiling
    out[REGIME] = -1.0 if excess <= state.rates[1] else (1.0 if excess >= state.rates[2] else 0.0)


@njit(cache=True)
def _publish(state, values, elapsed, vectors, out):
    """Write the numbers that compare a scan with the ones before it."""
    counters = state.counters
    held = min(counters[RANKED], HISTORY)
    place = counters[RANKED] % HISTORY
    composite = 0.0
    for k in range(WINDOWS):
        out[LAMBDA + k] = values[k]
        speed = (values[k] - state.values[k]) / elapsed
        smooth = (
            speed if counters[RANKED] == 0 else state.smooth[k] + state.rates[0] * (speed - state.smooth[k])
        )
        state.smooth[k] = smooth
        out[VELOCITY + k] = smooth
        product = 0.0
        for j in range(vectors.shape[1]):
            product += vectors[k, j] * state.vectors[k, j]
        out[ROTATION + k] = max(1.0 - abs(product), 0.0)
        size = abs(smooth)
        rank = _rank(state.history[k], held, size)
        out[INSTABILITY + k] = rank
        composite += rank
        state.history[k, place] = size
    counters[RANKED] += 1
    out[VEL_DIV] = out[VELOCITY] - out[VELOCITY + WINDOWS - 1]
    out[COMPOSITE] = composite / WINDOWS


@njit(cache=True)
def run(state, prices, fresh, floats, ints, loadings, spectra):
    """Move the state on by the rows of `prices`; return how many scans were published.

    Parameters
    ----------
    prices, fresh : (T, N) float64, bool
    floats, ints : (T, FLOATS) float64, (T, INTS) int64
        A row for each scan published, from the first on.
    loadings : (T or 0, W, N) float64
        Leading eigenvectors, 0 for assets that are no members; written when it has rows.
    spectra : (T or 0, W, N) float64
        All eigenvalues / members, ascending, NaN beyond them; written when the state asks for them.
    """
    settings, counters = state.settings, state.counters
    n, capacity = settings[N], state.ring.shape[0]
    drops, vectors = state.scratch[:WINDOWS], state.scratch[WINDOWS : 2 * WINDOWS]
    at = 2 * WINDOWS
    a, o, d = state.scratch[at], state.scratch[at + 1], state.scratch[at + 2]
    u, y = state.scratch[at + 3], state.scratch[at + 4]
    diagonal, returns = state.scratch[at + 5], state.scratch[at + 6]
    x = state.scratch[at + 7 : at + 11]
    lanes = np.zeros(8)
    observed = np.zeros(n, dtype=np.bool_)
    live = np.zeros(n, dtype=np.bool_)
    values = np.zeros(WINDOWS)
    published = 0
    for t in range(prices.shape[0]):
        count = _take_returns(state, prices[t], fresh[t], returns, live, observed)
        if counters[BEGUN] == 0:
            counters[BEGUN] = 1
            counters[WARMING] += 1
            continue
        newest = counters[SAMPLES]  # the row that this sample's returns take
        counters[SAMPLES] += 1
        samples = newest + 1
        for k in range(WINDOWS):  # before the oldest row is overwritten
            window = settings[WINDOW_AT + k]
            row = (newest - window) % capacity
            for i in range(n):
                leaves = newest >= window and state.seen[row, i]
                state.seen_count[k, i] += np.int64(observed[i]) - np.int64(leaves)
                drops[k, i] = state.ring[row, i]
        row = newest % capacity
        for i in range(n):
            state.ring[row, i] = returns[i]
            state.seen[row, i] = observed[i]
        full = samples >= settings[WINDOW_AT + WINDOWS - 1]
        enough = 2 * count >= n
        thin = False
        for k in range(WINDOWS):
            window = settings[WINDOW_AT + k]
            if samples < window:
                continue
            q = state.products[k]
            anew = True
            if samples > window and state.age[k] < REFRESH:
                for i in range(n):
                    diagonal[i] = q[i, i]
                anew = roll_sums(
                    returns, drops[k], n, state.shift[k], a, o, state.sums[k], diagonal, state.largest[k],
                    window, window * CONSTANT * CONSTANT,
                )  # fmt: skip
                state.age[k] += 1
            if anew:
                recompute(state.ring, newest, window, n, x, state.shift[k], state.sums[k], q)
                state.age[k] = 0
                counters[RECOMPUTED] += 1
                for i in range(n):
                    diagonal[i] = state.largest[k, i] = q[i, i]
            else:
                roll(n, a, o, q)
            if not full or not enough or thin:
                continue
            values[k] = _measure(state, k, live, diagonal, vectors[k], u, y, d, lanes)
            thin = values[k] <= 0.0
            if thin:
                continue
            if anew:  # the bound is wanted now and then, and this is the time for what takes long
                total = correlate(q, state.sums[k], d, window, n, state.matrix, u)
                largest = values[k] * _count(state.chosen[k], n)
                state.others[k] = math.sqrt(max(total - largest * largest, 0.0))
            if settings[SPECTRUM]:
                if not anew:
                    correlate(q, state.sums[k], d, window, n, state.matrix, u)
                members = _count(state.chosen[k], n)
                spectra[published, k, members:] = np.nan
                spectra[published, k, :members] = (
                    eigenvalues(compress(state.matrix, state.chosen[k], members)) / members
                )
        if not full:
            counters[WARMING] += 1
            continue
        if not enough or thin:
            counters[THIN if enough else STALE] += 1
            continue
        if counters[MEASURED_AT] >= 0:
            counters[PUBLISHED] += 1
            out, whole = floats[published], ints[published]
            _publish(state, values, samples - counters[MEASURED_AT], vectors, out)
            _regime(state, newest, values[settings[REGIME_WINDOW]], out)
            whole[NUMBER], whole[SAMPLE], whole[FRESH] = counters[PUBLISHED], t, count
            changed = False
            for k in range(WINDOWS):
                whole[MEMBERS + k] = _count(state.chosen[k], n)
                for i in range(n):
                    changed |= state.chosen[k, i] != state.members[k, i]
            whole[CHANGED] = changed
            if loadings.shape[0]:
                for k in range(WINDOWS):
                    for i in range(n):
                        loadings[published, k, i] = vectors[k, i]
            published += 1
        else:
            counters[WARMING] += 1
        counters[MEASURED_AT] = samples
        for k in range(WINDOWS):
            state.values[k] = values[k]
            for j in range(vectors.shape[1]):
                state.vectors[k, j] = vectors[k, j]
                state.members[k, j] = state.chosen[k, j]
    return published
