"""Steps of prices and sizes, read off recorded numbers."""

from __future__ import annotations

import numpy as np

__all__ = ["NO_LARGEST_ORDER", "decimals"]

NO_LARGEST_ORDER = 1e9
"""Largest order where the venue's is not known: beyond what any book holds."""


def decimals(values: np.ndarray, most: int = 8) -> int:
    """Return the fewest decimals, at most `most`, that hold all finite `values`."""
    values = values[np.isfinite(values)]
    for places in range(most):
        scaled = values * 10.0**places
        if np.all(np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.maximum(1.0, np.abs(scaled))):
            return places
    return most
