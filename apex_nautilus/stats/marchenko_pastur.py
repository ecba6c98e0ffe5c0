"""Eigenvalues of correlations between series that have nothing to do with each other."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["marchenko_pastur_density", "marchenko_pastur_edges"]


def marchenko_pastur_edges(n_assets: int, n_samples: int, variance: float = 1.0) -> tuple[float, float]:
    """Return the least and the largest eigenvalue of noise, in the limit of large matrices.

    variance (1 -+ sqrt(q))^2 with q = n_assets / n_samples (Marchenko & Pastur 1967). Where q > 1 the matrix
    also has the eigenvalue 0, of weight 1 - 1/q; the edges are those of the others.

    Parameters
    ----------
    n_assets, n_samples : int
        Columns and rows, at least 1.
    variance : float
        Of each series, positive; 1 for correlations.

    Raises
    ------
    ValueError
        When an argument is out of range.
    """
    root = math.sqrt(_ratio(n_assets, n_samples, variance))
    return variance * (1.0 - root) ** 2, variance * (1.0 + root) ** 2


def marchenko_pastur_density(
    x: np.ndarray | float, n_assets: int, n_samples: int, variance: float = 1.0
) -> np.ndarray:
    """Return the density of eigenvalues of noise at `x`, of shape ``np.shape(x)``.

    sqrt((b - x)(x - a)) / (2 pi q variance x) between the edges a and b, 0 outside. Integrates to 1, or to
    1/q where q > 1 and the rest are zeros. NaN stays NaN.

    Raises
    ------
    ValueError
        As `marchenko_pastur_edges`.
    """
    q = _ratio(n_assets, n_samples, variance)
    low, high = marchenko_pastur_edges(n_assets, n_samples, variance)
    x = np.asarray(x, dtype=np.float64)
    outside = (x < low) | (x > high) | (x == 0.0)
    inside = np.where(outside, high, x)
    density = np.sqrt(np.maximum((high - inside) * (inside - low), 0.0)) / (
        2.0 * np.pi * q * variance * inside
    )
    return np.where(np.isnan(x), np.nan, np.where(outside, 0.0, density))


def _ratio(n_assets: int, n_samples: int, variance: float) -> float:
    if n_assets < 1 or n_samples < 1:
        raise ValueError(f"needs at least one asset and one sample, got {n_assets} and {n_samples}")
    if not 0.0 < variance < math.inf:
        raise ValueError(f"variance must be positive and finite, got {variance!r}")
    return n_assets / n_samples
