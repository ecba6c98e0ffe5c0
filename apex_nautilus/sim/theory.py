"""What theory says of a market without intelligence: spread and depth from the rates of its order flow.

Smith, Farmer, Gillemot & Krishnamurthy (*Statistical theory of the continuous double auction*, Quantitative
Finance 3, 2003) let limit orders of one size fall uniformly on all prices on their side of the far touch,
market orders come and every resting order die, each as a Poisson process. Up to units such a market has one
parameter besides the tick, the granularity epsilon; the mean-field solution here is theirs, intervals between
orders being independent of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

__all__ = ["FlowRates", "MeanField", "mean_field"]

_CONVERGED = 1e-6
_BISECTIONS = 200


@dataclass(frozen=True, slots=True)
class FlowRates:
    """The order flow of the model.

    Parameters
    ----------
    limit_rate : alpha, size per unit of price and second that each side's limit orders bring.
    market_rate : mu, size per second of market orders, both sides together.
    cancel_rate : delta, deaths per second of a resting order.
    order_size : sigma, of limit and market orders alike.
    tick : dp, step of prices.

    Raises
    ------
    ValueError
        When a rate is not a positive, finite number.
    """

    limit_rate: float
    market_rate: float
    cancel_rate: float
    order_size: float
    tick: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"{field.name}: {value!r} is not a positive, finite number")

    @property
    def price(self) -> float:
        """p_c = mu / 2 alpha: over so much price a side's limit orders come as fast as market orders take."""
        return self.market_rate / (2.0 * self.limit_rate)

    @property
    def granularity(self) -> float:
        """epsilon = 2 delta sigma / mu: how fast an order at the touch is cancelled rather than taken."""
        return 2.0 * self.cancel_rate * self.order_size / self.market_rate

    @property
    def tick_ratio(self) -> float:
        """dp / p_c: the tick in natural units; the mean field takes it for 0."""
        return self.tick / self.price

    @property
    def far_depth(self) -> float:
        """alpha / delta: size per unit of price far from the touch, where nothing but cancels removes it."""
        return self.limit_rate / self.cancel_rate


@dataclass(frozen=True, slots=True)
class MeanField:
    """The mean-field solution at one granularity, in units of p_c.

    Attributes
    ----------
    granularity : epsilon.
    spread : mean distance between the best orders of both sides.
    gaps : float64 (k,), mean distance from the i-th order of a side to the next, the best being the first;
        they fall to epsilon, the distance of orders far from the touch.
    """

    granularity: float
    spread: float
    gaps: np.ndarray

    def orders_within(self, distance: np.ndarray) -> np.ndarray:
        """Mean number of orders of a side no further than `distance` (units of p_c) behind the best.

        The staircase of mean gaps, joined by lines; beyond the last gap by one order each epsilon.
        """
        reach = np.concatenate([[0.0], np.cumsum(self.gaps)])
        count = 1.0 + np.arange(len(reach))
        distance = np.asarray(distance, np.float64)
        beyond = np.maximum(distance - reach[-1], 0.0) / self.granularity
        return np.interp(distance, reach, count) + beyond


def mean_field(granularity: float) -> MeanField:
    """Solve the independent-interval approximation.

    Let x_0 be the spread and x_k the gap behind the k-th order of a side, in units of p_c, each exponentially
    distributed. Counting what lengthens and shortens them, in units of mu / 2 sigma: the best order goes at
    rate 1 + epsilon, each further one at rate epsilon, and new orders fall into a gap at a rate of its
    length. In the steady state

        (1 + epsilon) x_1 = x_0^2
        (1 + (k+1) epsilon) x_{k+1} = (1 + k epsilon) x_k + x_k^2 - (x_{k-1} - x_k) (x_0 + ... + x_{k-1})

    and far from the touch x_k = epsilon. Too large an x_0 lets the gaps grow without bound, too small a one
    lets them vanish: the spread is found by bisection between the two.

    Parameters
    ----------
    granularity : epsilon, in [1e-3, 100].

    Raises
    ------
    ValueError
        When it is outside.
    """
    if not 1e-3 <= granularity <= 100.0:
        raise ValueError(f"granularity: {granularity!r} is outside [1e-3, 100]")
    low, high = 0.0, 10.0 + 10.0 * granularity
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        grows, _ = _gaps(middle, granularity)
        low, high = (low, middle) if grows else (middle, high)
    spread = 0.5 * (low + high)
    (_, a), (_, b) = _gaps(low, granularity), _gaps(high, granularity)
    # The recurrence is unstable: no spread that a double can hold follows the solution for ever. It is good
    # for as long as the two neighbouring doubles agree.
    n = min(len(a), len(b))
    agree = np.abs(a[:n] - b[:n]) <= _CONVERGED * np.abs(a[:n])
    good = n if agree.all() else int(np.argmin(agree))
    return MeanField(granularity, spread, np.array(a[1 : max(good, 2)]))


def _gaps(spread: float, epsilon: float) -> tuple[bool, np.ndarray]:
    """Follow the recurrence until it is clear whether the gaps blow up (True) or vanish."""
    x = [spread, spread * spread / (1.0 + epsilon)]
    before = spread
    most = int(20.0 / epsilon) + 1000
    for k in range(1, most):
        rise = (1.0 + k * epsilon) * x[k] + x[k] * x[k] - (x[k - 1] - x[k]) * before
        following = rise / (1.0 + (k + 1) * epsilon)
        before += x[k]
        x.append(following)
        if following <= 0.0:
            return False, np.array(x)
        # The solution falls towards epsilon: one that turns up has left it.
        if following > x[k] and x[k] < x[k - 1]:
            return True, np.array(x)
        if following > 10.0 * (spread + epsilon):
            return True, np.array(x)
    return x[-1] > epsilon, np.array(x)
