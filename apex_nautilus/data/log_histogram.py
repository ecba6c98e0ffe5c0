"""Quantiles of any number of values in a fixed space."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

__all__ = ["LogHistogram"]

_STEP: Final = math.log(1.02)
_SMALLEST: Final = 1e-9
_BINS: Final = 2300  # to 1e-9 * 1.02**2300, above 1e10


class LogHistogram:
    """Counts values in bins that widen by 2 %, apart for each sign: quantiles are right to 1 %.

    Values nearer to zero than 1e-9 count as zero, those beyond 1e10 as 1e10; NaN is passed over. Mean, least
    and most are exact.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2 * _BINS + 1, dtype=np.int64)  # negative, zero, positive
        self.count = 0
        self.least = math.inf
        self.most = -math.inf
        self._sum = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count an array of float64."""
        values = values[~np.isnan(values)]
        if values.size == 0:
            return
        self.count += values.size
        self._sum += float(values.sum())
        self.least = min(self.least, float(values.min()))
        self.most = max(self.most, float(values.max()))
        size = np.abs(values)
        with np.errstate(divide="ignore"):
            place = np.floor(np.log(size / _SMALLEST) / _STEP)
        place = np.where(size < _SMALLEST, 0, np.clip(place, 0, _BINS - 1) + 1)
        places = (_BINS + np.where(values < 0, -place, place)).astype(np.int64)
        self._counts += np.bincount(places, minlength=self._counts.size)

    @property
    def mean(self) -> float:
        """NaN when nothing was counted."""
        return self._sum / self.count if self.count else math.nan

    def quantile(self, share: float) -> float:
        """The value below which `share` of the values lie; NaN when nothing was counted."""
        if not self.count:
            return math.nan
        rank = min(int(share * self.count), self.count - 1)
        bin_ = int(np.searchsorted(np.cumsum(self._counts), rank, side="right")) - _BINS
        if bin_ == 0:
            value = 0.0
        else:
            value = math.copysign(_SMALLEST * math.exp((abs(bin_) - 0.5) * _STEP), bin_)
        return min(max(value, self.least), self.most)

    def count_beyond(self, limit: float) -> int:
        """How many of the counted values are larger than a positive limit, to the bin."""
        first = math.floor(math.log(max(limit, _SMALLEST) / _SMALLEST) / _STEP) + 2
        return int(self._counts[_BINS + min(first, _BINS) :].sum())
