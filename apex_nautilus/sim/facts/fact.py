"""What a stylised fact is: rows read off an observation, and a statistic of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..observation import Observation

__all__ = ["REGISTRY", "Fact", "correlations", "lagged", "products", "quartiles", "register"]

REGISTRY: dict[str, Fact] = {}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing by which markets are told apart.

    Attributes
    ----------
    name, unit, doc : as tables show them.
    points : labels of the statistic's numbers.
    rows : from an observation to its data, float64 (n, c), in order of time. What belongs together is in one
        row: the bootstrap draws rows. NaN marks what is not known.
    statistic : of such rows, to float64 (len(points),); NaN where the rows are too few to say.
    shape : "distribution", the rows are values whose distribution counts; or "curve", the statistic counts.
    scale : "log" where proportions matter and values are positive, else "linear".
    cap : values of a distribution beyond it count as it when distributions are compared.
    dependence : of rows, to the series off which the length of the bootstrap's blocks is read; the rows
        themselves by default.
    """

    name: str
    unit: str
    doc: str
    points: tuple[str, ...]
    rows: Callable[[Observation], np.ndarray]
    statistic: Callable[[np.ndarray], np.ndarray]
    shape: Literal["distribution", "curve"]
    scale: Literal["linear", "log"] = "linear"
    cap: float = math.inf
    dependence: Callable[[np.ndarray], np.ndarray] | None = None


def register(fact: Fact) -> Fact:
    """Add a fact.

    Raises
    ------
    ValueError
        When the name is taken.
    """
    if fact.name in REGISTRY:
        raise ValueError(f"fact {fact.name!r} is registered already")
    REGISTRY[fact.name] = fact
    return fact


def quartiles(rows: np.ndarray) -> np.ndarray:
    """Lower quartile, median and upper quartile of the first column; infinite values count as largest."""
    x = rows[:, 0]
    x = x[~np.isnan(x)]
    if len(x) < 4:
        return np.full(3, np.nan)
    # Order statistics without interpolation, which infinite waits would turn into NaN.
    return np.quantile(x, [0.25, 0.5, 0.75], method="inverted_cdf")


def lagged(x: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
    """Rows (x_t, x_{t+lag}, ...), NaN beyond the end; float64 (n, 1 + len(lags))."""
    rows = np.full((len(x), 1 + len(lags)), np.nan)
    rows[:, 0] = x
    for column, lag in enumerate(lags, start=1):
        if lag < len(x):
            rows[:-lag, column] = x[lag:]
    return rows


def correlations(rows: np.ndarray) -> np.ndarray:
    """Correlation of the first column with each other one over the rows that have both.

    NaN where fewer than 10 rows have both or one does not vary.
    """
    out = np.full(rows.shape[1] - 1, np.nan)
    for column in range(1, rows.shape[1]):
        both = np.isfinite(rows[:, 0]) & np.isfinite(rows[:, column])
        if both.sum() < 10:
            continue
        x, y = rows[both, 0], rows[both, column]
        x, y = x - x.mean(), y - y.mean()
        power = np.sqrt(np.sum(x * x) * np.sum(y * y))
        if power > 0.0:
            out[column - 1] = np.sum(x * y) / power
    return out


def products(rows: np.ndarray) -> np.ndarray:
    """What a correlation adds up: the first column, about its mean, times the others."""
    with np.errstate(invalid="ignore"):
        centred = rows - np.nan_to_num(np.nanmean(rows[:, :1]))
    return np.nan_to_num(centred[:, :1] * centred[:, 1:])
