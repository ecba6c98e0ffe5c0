"""Largest fall of an equity curve from its running peak."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def max_drawdown(equity: ArrayLike) -> float:
    """Largest fall from a running peak, as a share of that peak.

    Parameters
    ----------
    equity : (n,) array_like
        Equity at successive marks, finite, the first positive.

    Returns
    -------
    float
        0.0 for a curve that never falls (and for an empty one), 1.0 at zero equity, above 1 below zero.

    Raises
    ------
    ValueError
        When `equity` is not one-dimensional, not finite, or does not begin positive.
    """
    values = np.asarray(equity, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"max_drawdown: equity must be one-dimensional, got shape {values.shape}")
    if values.size == 0:
        return 0.0
    if not np.all(np.isfinite(values)) or values[0] <= 0.0:
        raise ValueError("max_drawdown: equity must be finite and begin positive")
    peaks = np.maximum.accumulate(values)
    return float(np.max((peaks - values) / peaks))
