"""Steps of prices and sizes, and how many decimals they need."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

__all__ = ["NO_LARGEST_ORDER", "decimals", "step_decimals"]

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


def step_decimals(step: Decimal) -> int:
    """Return the decimals of a step as a venue writes it: 2 for 0.010, 0 for 10."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
