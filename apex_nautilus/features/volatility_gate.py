"""The volatility gate: open while one asset (BTC, as a rule) moves at least as much as usual.

The measure is the population standard deviation of the last 50 simple returns. With a calibrated threshold
the gate is open when the deviation is at or above it. Without one the threshold is the 60th percentile of the
deviations of the same UTC day so far, this one included (nearest rank: the smallest that is not below 60 % of
them), and the gate stays shut before the day's 100th sample.

With python-flint installed the deviation is computed with 512 bits and rounded to float64 once; otherwise in
float64, the sums rounded once (`math.fsum`). Either way it does not depend on the order of the returns, so
that equal windows give equal numbers and ties are ties.
"""

from __future__ import annotations

import math
import warnings
from bisect import insort
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from apex_nautilus.features.registry import FeatureError

__all__ = ["VolatilityGate", "deviation_float64", "deviation_precise", "has_flint", "nearest_rank"]

_DAY_NS: Final = 86_400_000_000_000
_BITS: Final = 512

try:  # the optional extra `precision`
    import flint as _imported
except ImportError:  # pragma: no cover - depends on the installation
    _flint: Any = None
else:
    _flint = _imported

_warned = False


def has_flint() -> bool:
    """Whether python-flint is installed."""
    return _flint is not None


def deviation_float64(prices: Sequence[float]) -> float:
    """Population standard deviation of the simple returns between `prices`, float64 with exact sums."""
    returns = [b / a - 1.0 for a, b in pairwise(prices)]
    mean = math.fsum(returns) / len(returns)
    return math.sqrt(math.fsum((r - mean) ** 2 for r in returns) / len(returns))


def deviation_precise(prices: Sequence[float]) -> float:
    """As `deviation_float64`, with 512 bits and rounded to float64 at the end.

    Raises
    ------
    FeatureError
        When python-flint is not installed.
    """
    if _flint is None:
        raise FeatureError(
            "512-bit deviations need python-flint: install the extra, pip install 'apex_nautilus[precision]'"
        )
    before = _flint.ctx.prec
    _flint.ctx.prec = _BITS
    try:
        exact = [_flint.arb(p) for p in prices]
        returns = [b / a - 1 for a, b in pairwise(exact)]
        n = len(returns)
        total, squares = _flint.arb(0), _flint.arb(0)
        for r in returns:
            total += r
            squares += r * r
        variance = (squares - total * total / n) / n
        # Of equal returns the variance is a ball around 0, whose middle may lie below it.
        return 0.0 if variance.contains(0) else float(variance.sqrt().mid())
    finally:
        _flint.ctx.prec = before


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest entry of a sorted sequence that at least `share` of it do not exceed."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


class VolatilityGate:
    """Decides, sample by sample, whether the market moves enough.

    Parameters
    ----------
    threshold : float, optional
        Calibrated deviation. Without one each day calibrates itself.
    window : int
        Returns in a deviation.
    percentile : float
        Share in (0, 1] of the day's deviations.
    first_sample : int
        The sample of the day from which a gate without calibration may open.
    precise : bool, optional
        True for 512 bits, False for float64. By default 512 bits where python-flint is installed, else
        float64 with one warning a process.

    Attributes
    ----------
    deviation : float
        The latest one; 0 before there is any.
    limit : float
        What it was compared with; infinite while there was nothing to compare with.
    is_open : bool

    Raises
    ------
    FeatureError
        When a setting is out of range, or 512 bits are asked for without python-flint.
    """

    def __init__(
        self,
        threshold: float | None = None,
        *,
        window: int = 50,
        percentile: float = 0.6,
        first_sample: int = 100,
        precise: bool | None = None,
    ) -> None:
        if threshold is not None and not 0.0 <= threshold < math.inf:
            raise FeatureError(
                f"volatility gate: threshold must be finite and not negative, got {threshold!r}"
            )
        if window < 2 or not 0.0 < percentile <= 1.0 or first_sample < 1:
            raise FeatureError(
                f"volatility gate: window {window!r} must be at least 2, percentile {percentile!r} in "
                f"(0, 1], first_sample {first_sample!r} at least 1"
            )
        if precise and not has_flint():
            deviation_precise([])  # says what to install
        if precise is None:
            precise = has_flint()
            if not precise:
                _warn_once()
        self._deviation = deviation_precise if precise else deviation_float64
        self.threshold = threshold
        self.window = window
        self.percentile = percentile
        self.first_sample = first_sample
        self._prices: deque[float] = deque(maxlen=window + 1)
        self._day = -1
        self._sample = 0
        self._ordered: list[float] = []
        self.deviation = 0.0
        self.limit = math.inf
        self.is_open = False

    def update(self, price: float, timestamp_ns: int) -> bool:
        """Take a sample; return whether the gate is open.

        A price that is no number above zero is passed over: the gate stays as it was. The day's samples are
        counted from UTC midnight.
        """
        day = timestamp_ns // _DAY_NS
        if day != self._day:
            self._day, self._sample, self._ordered = day, 0, []
        self._sample += 1
        if not 0.0 < price < math.inf:
            return self.is_open
        self._prices.append(float(price))
        if len(self._prices) <= self.window:
            self.is_open = False
            return False
        self.deviation = self._deviation(list(self._prices))
        if self.threshold is not None:
            self.limit = self.threshold
        else:
            insort(self._ordered, self.deviation)
            ready = self._sample >= self.first_sample
            self.limit = nearest_rank(self._ordered, self.percentile) if ready else math.inf
        self.is_open = self.deviation >= self.limit
        return self.is_open


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "python-flint is not installed: the volatility gate computes in float64 "
            "(pip install 'apex_nautilus[precision]' for 512 bits)",
            RuntimeWarning,
            stacklevel=3,
        )
