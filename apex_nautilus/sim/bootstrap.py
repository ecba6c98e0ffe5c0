"""Errors of statistics of dependent observations: the stationary bootstrap.

Rows are drawn in blocks of geometric length that begin anywhere and wrap around (Politis & Romano, *The
stationary bootstrap*, JASA 1994). What depends on several moments of a series (a correlation at a lag) keeps
those moments in one row, so that blocks never tear a pair apart. The mean length of a block comes from the
data (Politis & White, Econometric Reviews 2004, with the correction of Patton, Politis & White 2009).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

__all__ = ["block_length", "bootstrap_errors", "stationary_rows"]


def block_length(values: np.ndarray) -> float:
    """Mean length of blocks that minimises the error of the bootstrap's variance of a mean.

    Parameters
    ----------
    values : ndarray (n,) or (n, c); of several columns the longest length counts. NaN counts as the mean.

    Returns
    -------
    float
        In [1, min(3 sqrt(n), n / 3)]; 1 when nothing varies or there are fewer than 8 values.
    """
    values = np.asarray(values, np.float64)
    columns = values.reshape(len(values), -1)
    if len(columns) < 8:
        return 1.0
    return max(_column_length(columns[:, c]) for c in range(columns.shape[1]))


def _column_length(x: np.ndarray) -> float:
    n = len(x)
    known = np.isfinite(x)
    if not known.any():
        return 1.0
    e = np.where(known, x - x[known].mean(), 0.0)
    if not e.any():
        return 1.0
    most = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    quiet = max(5, math.ceil(math.log10(n)))  # K_n: so many small correlations in a row end the dependence
    lags = math.ceil(math.sqrt(n)) + quiet
    size = 1 << (n + lags).bit_length()
    spectrum = np.fft.rfft(e, size)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[: lags + 1] / n
    correlation = covariance[1:] / covariance[0]
    small = np.abs(correlation) < 2.0 * math.sqrt(math.log10(n) / n)
    m = 0
    runs = np.convolve(small, np.ones(quiet, int), "valid")
    calm = np.flatnonzero(runs == quiet)
    if len(calm):
        m = int(calm[0])
    else:
        m = int(np.flatnonzero(~small)[-1]) + 1
    window = min(2 * max(m, 1), lags)
    k = np.arange(1, window + 1)
    # The flat-top window: 1 up to half of the width, then falling to 0.
    weight = np.minimum(1.0, 2.0 * (1.0 - k / window))
    g = 2.0 * float(np.sum(weight * k * covariance[1 : window + 1]))
    long_run = float(covariance[0] + 2.0 * np.sum(weight * covariance[1 : window + 1]))
    if long_run <= 0.0:
        return float(most)
    length = (2.0 * g * g / (2.0 * long_run**2)) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return float(min(max(length, 1.0), most))


def stationary_rows(n: int, length: float, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` row numbers of `n` rows in blocks of a mean length; int64 (n,).

    Raises
    ------
    ValueError
        When `n` is not positive or `length` is below 1.
    """
    if n < 1 or not length >= 1.0:
        raise ValueError(f"n must be positive and length at least 1, got {n} and {length}")
    begins = rng.random(n) < 1.0 / length
    begins[0] = True
    starts = rng.integers(0, n, size=n)
    place = np.arange(n)
    begun = np.maximum.accumulate(np.where(begins, place, 0))
    return (starts[begun] + place - begun) % n


def bootstrap_errors(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    *,
    resamples: int = 200,
    dependence: np.ndarray | None = None,
) -> np.ndarray:
    """Standard errors of a statistic of dependent rows.

    Parameters
    ----------
    rows : ndarray (n, c), in order of time.
    statistic : of such rows, to a vector (k,).
    resamples : how many times rows are drawn; 2 or more.
    dependence : ndarray (n,) or (n, d), what the length of blocks is read off; the rows by default.

    Returns
    -------
    ndarray (k,)
        Standard deviation over the resamples that have a value; NaN where fewer than half of them do.

    Raises
    ------
    ValueError
        When there is no row, or fewer than 2 resamples are asked for.
    """
    if resamples < 2:
        raise ValueError(f"resamples must be 2 or more, got {resamples}")
    length = block_length(rows if dependence is None else dependence)
    drawn = np.array([statistic(rows[stationary_rows(len(rows), length, rng)]) for _ in range(resamples)])
    known = np.isfinite(drawn)
    enough = 2 * known.sum(axis=0) >= resamples
    errors = np.full(drawn.shape[1], np.nan)
    for k in np.flatnonzero(enough):
        errors[k] = drawn[known[:, k], k].std(ddof=1)
    return errors
