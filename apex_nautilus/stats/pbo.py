"""Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

Bailey, Borwein, Lopez de Prado & Zhu, "The probability of backtest overfitting" (2016).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def probability_of_backtest_overfitting(returns: ArrayLike, n_splits: int = 16) -> float:
    """Share of splits in which the best strategy in sample is below the median out of sample.

    The rows are cut into `n_splits` stretches; every choice of half of them is one in-sample set, the rest
    its out-of-sample set. The measure is the Sharpe ratio.

    Parameters
    ----------
    returns : (T, N) array_like
        Returns of N strategies at the same T marks, finite, N >= 2. All strategies tried, not the survivors.
    n_splits : int
        S, even, 2 to 20; T >= 2 S. Rows beyond the last whole stretch are dropped from the front (the
        oldest).

    Returns
    -------
    float
        In [0, 1]: near 0.5 on noise, near 0 on a real edge. A strategy at the median counts as half below.

    Raises
    ------
    ValueError
        When shapes or `n_splits` do not allow it, or a return is not finite.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"pbo: returns must have shape (marks, strategies >= 2), got {values.shape}")
    if n_splits % 2 or not 2 <= n_splits <= 20:
        raise ValueError(f"pbo: n_splits must be even and in 2..20, got {n_splits!r}")
    if values.shape[0] < 2 * n_splits:
        raise ValueError(
            f"pbo: {values.shape[0]} marks are too few for {n_splits} splits (need {2 * n_splits})"
        )
    if not np.all(np.isfinite(values)):
        raise ValueError("pbo: returns must be finite")
    length = values.shape[0] // n_splits
    stretches = values[values.shape[0] - length * n_splits :].reshape(n_splits, length, -1)
    sums = stretches.sum(axis=1)
    squares = (stretches**2).sum(axis=1)
    half = n_splits // 2
    below = 0.0
    chosen = np.array(list(combinations(range(n_splits), half)))
    # A few thousand splits at a time keep memory at (splits x strategies), whatever S.
    for start in range(0, len(chosen), 2048):
        member = np.zeros((min(2048, len(chosen) - start), n_splits))
        np.put_along_axis(member, chosen[start : start + 2048], 1.0, axis=1)
        inside = _sharpe(member @ sums, member @ squares, half * length)
        outside = _sharpe((1.0 - member) @ sums, (1.0 - member) @ squares, half * length)
        best = np.argmax(inside, axis=1)
        picked = np.take_along_axis(outside, best[:, None], axis=1)
        lower = (outside < picked).sum(axis=1)
        tied = (outside == picked).sum(axis=1) - 1
        rank = lower + 0.5 * tied + 1.0
        omega = rank / (values.shape[1] + 1)
        below += np.count_nonzero(omega < 0.5) + 0.5 * np.count_nonzero(omega == 0.5)
    return below / len(chosen)


def _sharpe(sums: NDArray[np.float64], squares: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    mean = sums / n
    variance = squares / n - mean**2
    flat = variance <= 1e-12 * (squares / n)
    return np.where(flat, 0.0, mean / np.sqrt(np.where(flat, 1.0, variance)))
