"""Sharpe ratio, skewness and raw kurtosis of a return series, all per observation, never annualised."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Moments(NamedTuple):
    """What the probabilistic Sharpe ratio needs to know of a return series.

    Attributes
    ----------
    n : int
        Number of observations.
    mean, deviation : float
        Mean and population standard deviation (ddof 0); NaN for no observation.
    sharpe : float
        mean / deviation per observation; 0.0 where all returns are equal or there are fewer than two.
    skew : float
        Third standardised moment; 0.0 where it is undefined.
    kurtosis : float
        Fourth standardised moment, raw: 3 for normal returns; 3.0 where it is undefined.
    """

    n: int
    mean: float
    deviation: float
    sharpe: float
    skew: float
    kurtosis: float


def moments_from_sums(n: int, s1: float, s2: float, s3: float, s4: float) -> Moments:
    """Return the moments of returns known by their count and their sums of powers 1 to 4.

    Power sums lose digits when the mean is large against the deviation; per-trade and per-mark returns are
    far from that. A variance below 1e-12 of the mean square counts as none.

    Raises
    ------
    ValueError
        When `n` is negative.
    """
    if n < 0:
        raise ValueError(f"moments_from_sums: n must not be negative, got {n!r}")
    if n == 0:
        return Moments(0, math.nan, math.nan, 0.0, 0.0, 3.0)
    mean = s1 / n
    raw2, raw3, raw4 = s2 / n, s3 / n, s4 / n
    variance = raw2 - mean * mean
    if n < 2 or not variance > 1e-12 * raw2:
        return Moments(n, mean, 0.0, 0.0, 0.0, 3.0)
    third = raw3 - 3.0 * mean * raw2 + 2.0 * mean**3
    fourth = raw4 - 4.0 * mean * raw3 + 6.0 * mean**2 * raw2 - 3.0 * mean**4
    deviation = math.sqrt(variance)
    return Moments(n, mean, deviation, mean / deviation, third / deviation**3, fourth / variance**2)


def moments(returns: ArrayLike) -> Moments:
    """Return the moments of a return series.

    Parameters
    ----------
    returns : (n,) array_like
        Returns per observation (a trade, a mark, a day). NaN is refused, not skipped: a gap is not a zero
        return.

    Raises
    ------
    ValueError
        When `returns` is not one-dimensional or holds NaN or infinity.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"moments: returns must be one-dimensional, got shape {values.shape}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"moments: returns must be finite, {np.count_nonzero(~np.isfinite(values))} are not")
    n = values.size
    if n == 0:
        return Moments(0, math.nan, math.nan, 0.0, 0.0, 3.0)
    mean = float(values.mean())
    centred = values - mean
    variance = float(np.mean(centred**2))
    if n < 2 or not variance > 1e-24 * float(np.mean(values**2)):
        return Moments(n, mean, 0.0, 0.0, 0.0, 3.0)
    deviation = math.sqrt(variance)
    skew = float(np.mean(centred**3)) / deviation**3
    kurtosis = float(np.mean(centred**4)) / variance**2
    return Moments(n, mean, deviation, mean / deviation, skew, kurtosis)


def sharpe_ratio(returns: ArrayLike) -> float:
    """Return mean over population standard deviation, per observation; 0.0 for a constant or too short
    series."""
    return moments(returns).sharpe


def annualised(sharpe: float, periods_per_year: float) -> float:
    """Return a per-observation Sharpe ratio times sqrt(periods a year); for display, never for `psr` or
    `dsr`."""
    return sharpe * math.sqrt(periods_per_year)


def per_observation(annual_sharpe: float, periods_per_year: float) -> float:
    """Return an annual Sharpe ratio per observation, the unit that `psr` and `dsr` take."""
    return annual_sharpe / math.sqrt(periods_per_year)
