"""Is a simulated market like the real one? Fact by fact, against how far the real one is from itself.

After LOB-Bench (Nagy et al., *LOB-Bench: Benchmarking Generative AI for Finance*, 2025): of each fact the
distributions are compared by Wasserstein-1 and L1. Both markets are cut into windows of one length; the
distances of the real windows from each other say what distance means nothing. A fact passes when the mean
distance of the candidate's windows from the real ones is no larger than 95 % of those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from .facts import Fact, facts
from .observation import Observation

__all__ = ["FactRealism", "RealismError", "Verdict", "realism", "total_variation", "wasserstein"]

_RANGE = 0.95
_FEWEST_WINDOWS = 4
_MOST_BINS = 200


class RealismError(ValueError):
    """There are too few windows to say how much the real market differs from itself."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One candidate at one fact.

    Attributes
    ----------
    wasserstein, l1 : mean distances from the real windows; NaN where the windows are too short to say (`l1`
        also where the fact is a curve).
    passes : whether `wasserstein` lies within the limit; None where that cannot be said.
    """

    wasserstein: float
    l1: float
    passes: bool | None


@dataclass(frozen=True, slots=True)
class FactRealism:
    """One line of the table.

    Attributes
    ----------
    fact : what is compared.
    wasserstein_limit, l1_limit : 95 % of the distances between real windows lie below.
    verdicts : by candidate.
    """

    fact: Fact
    wasserstein_limit: float
    l1_limit: float
    verdicts: dict[str, Verdict]


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples: the area between their distribution functions.

    Parameters
    ----------
    x, y : float64 (n,), (m,), finite, sorted.

    Returns
    -------
    float
        In the samples' unit; NaN where one is empty.
    """
    if not len(x) or not len(y):
        return math.nan
    every = np.sort(np.concatenate([x, y]))
    below_x = np.searchsorted(x, every[:-1], side="right") / len(x)
    below_y = np.searchsorted(y, every[:-1], side="right") / len(y)
    return float(np.sum(np.abs(below_x - below_y) * np.diff(every)))


def total_variation(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> float:
    """Half the L1 distance of two histograms, in [0, 1].

    Parameters
    ----------
    x, y : float64 (n,), (m,), sorted.
    edges : float64 (b,), rising, between b + 1 bins of which the first and last are open.
    """
    if not len(x) or not len(y):
        return math.nan
    shares = [
        np.diff(np.searchsorted(z, edges, side="right"), prepend=0, append=len(z)) / len(z) for z in (x, y)
    ]
    return float(0.5 * np.sum(np.abs(shares[0] - shares[1])))


def realism(
    real: Sequence[Observation], candidates: Mapping[str, Sequence[Observation]]
) -> list[FactRealism]:
    """Compare candidates with a real market.

    Parameters
    ----------
    real : windows of the real market, of one length (`Observation.windows`); 4 or more.
    candidates : windows of the same length, by name.

    Returns
    -------
    list of FactRealism
        In the order of `facts()`. Distributions are compared in standard deviations of the real values (of
        their logarithm, where the fact's scale is "log"); curves by the mean difference of their points (of
        logarithms, likewise), which for single numbers is what Wasserstein-1 is.

    Raises
    ------
    RealismError
        When there are fewer than 4 real windows, a candidate has none, or lengths differ.
    """
    if len(real) < _FEWEST_WINDOWS:
        raise RealismError(
            f"{len(real)} windows of the real market are too few to compare it with itself, "
            f"{_FEWEST_WINDOWS} are needed; take shorter windows or a longer recording"
        )
    lengths = {w.end_ns - w.start_ns for windows in (real, *candidates.values()) for w in windows}
    for name, windows in candidates.items():
        if not windows:
            raise RealismError(f"{name}: no whole window; simulate longer")
    if len(lengths) > 1:
        raise RealismError(f"windows must be of one length, got {sorted(n / 1e9 for n in lengths)} s")
    return [_compare(fact, real, candidates) for fact in facts().values()]


def _compare(
    fact: Fact, real: Sequence[Observation], candidates: Mapping[str, Sequence[Observation]]
) -> FactRealism:
    distances = _Curves(fact) if fact.shape == "curve" else _Distributions(fact, real)
    own = [distances.read(window) for window in real]
    limits = _columns([distances.between(a, b) for a, b in combinations(own, 2)])
    limit, l1_limit = (float(np.quantile(c, _RANGE)) if len(c) else math.nan for c in limits)
    verdicts = {}
    for name, windows in candidates.items():
        theirs = [distances.read(window) for window in windows]
        means = [
            float(c.mean()) if len(c) else math.nan
            for c in _columns([distances.between(a, b) for a, b in product(own, theirs)])
        ]
        known = not (math.isnan(means[0]) or math.isnan(limit))
        verdicts[name] = Verdict(means[0], means[1], means[0] <= limit if known else None)
    return FactRealism(fact, limit, l1_limit, verdicts)


def _columns(pairs: list[tuple[float, float]]) -> list[np.ndarray]:
    """The distances that are known, Wasserstein's and L1's."""
    return [column[~np.isnan(column)] for column in np.array(pairs, np.float64).reshape(-1, 2).T]


class _Distributions:
    """Distances of samples."""

    def __init__(self, fact: Fact, real: Sequence[Observation]) -> None:
        self._fact = fact
        self._unit, self._edges = 1.0, np.zeros(0)
        pooled = np.concatenate([self.read(window) for window in real])
        if len(pooled):
            deviation = float(pooled.std())
            self._unit = deviation if deviation > 0.0 else 1.0
            self._edges = _bins(np.sort(pooled))

    def read(self, window: Observation) -> np.ndarray:
        x = self._fact.rows(window)[:, 0]
        x = np.minimum(x[~np.isnan(x)], self._fact.cap)
        if self._fact.scale == "log":
            x = np.log(x[x > 0.0])
        return np.sort(x)

    def between(self, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        return wasserstein(a, b) / self._unit, total_variation(a, b, self._edges)


class _Curves:
    """Distances of statistics."""

    def __init__(self, fact: Fact) -> None:
        self._fact = fact

    def read(self, window: Observation) -> np.ndarray:
        values = self._fact.statistic(self._fact.rows(window))
        if self._fact.scale == "log":
            with np.errstate(divide="ignore", invalid="ignore"):
                # What should be positive and is not is as far from the real market as can be.
                return np.where(values > 0.0, np.log(values), np.where(np.isnan(values), np.nan, -np.inf))
        return values

    def between(self, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        known = ~(np.isnan(a) | np.isnan(b))
        if not known.any():
            return math.nan, math.nan
        equal = a[known] == b[known]  # two infinities are no distance apart
        with np.errstate(invalid="ignore"):
            gaps = np.where(equal, 0.0, np.abs(a[known] - b[known]))
        return float(gaps.mean()), math.nan


def _bins(pooled: np.ndarray) -> np.ndarray:
    """Inner edges of a histogram by the rule of Freedman & Diaconis (1981); of a few values, one each."""
    values = np.unique(pooled)
    if len(values) <= 20:
        return 0.5 * (values[1:] + values[:-1])
    low, first, third, high = np.quantile(pooled, [0.005, 0.25, 0.75, 0.995])
    width = 2.0 * (third - first) / len(pooled) ** (1.0 / 3.0)
    bins = min(math.ceil((high - low) / width), _MOST_BINS) if width > 0.0 else math.isqrt(len(values))
    return np.linspace(low, high, max(bins, 1) + 1)
