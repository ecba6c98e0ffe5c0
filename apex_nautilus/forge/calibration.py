"""From a raw confidence score to a probability of winning.

The probability that Kelly's formula needs is that of the take-profit being hit before the stop. It is learnt
from the events of a genome (see `events`): entries it would have made, and how they ended.

Platt's logistic map p = sigmoid(a x + b) (Platt 1999) is fitted by maximum a posteriori. The prior is worth
`prior_events` further events at the average score, which win as often as `prior_rate` says: for the first
fit the rate of a game without an edge, 1 / (1 + reward to risk). With few events p stays near that rate, at
which nothing is staked; it takes evidence to move it.

Two fits are made, on different rows, and neither sees the test part:

- on the **train** part, for fitness alone. It flatters every individual alike, since it is scored on the rows
  that calibrated it.
- on the **validation** part, for the genome that is written. It starts from the train fit: its prior is the
  train slope and the train rate. Validation rows had no part in breeding the trees, so this is where an
  overfitted p is pulled back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["PlattFit", "fit_platt"]

#: Beyond this a slope says that the scores hardly differ; it is then set to zero.
_MAX_SLOPE = 1e6
_ITERATIONS = 60


class PlattFit(NamedTuple):
    """p = sigmoid(a x + b), with what it was learnt from."""

    a: float
    b: float
    events: int
    wins: int

    def probability(self, score: float) -> float:
        """The probability of winning at `score`."""
        return float(1.0 / (1.0 + math.exp(-min(max(self.a * score + self.b, -700.0), 700.0))))


@njit(cache=True)
def _sigmoid(x):
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


@njit(cache=True)
def _softplus(x):
    return x + math.log1p(math.exp(-x)) if x > 0.0 else math.log1p(math.exp(x))


@njit(cache=True)
def _loss(z, wins, a, b, prior_events, prior_rate, slope, penalty):
    total = prior_events * (_softplus(b) - prior_rate * b) + 0.5 * penalty * (a - slope) ** 2
    for i in range(z.size):
        x = a * z[i] + b
        total += _softplus(x) - wins[i] * x
    return total


@njit(cache=True)
def _newton(z, wins, prior_events, prior_rate, slope, penalty):
    """Minimise the negative log posterior in (a, b); convex, so damped Newton steps reach the one minimum."""
    a, b = slope, math.log(prior_rate / (1.0 - prior_rate))
    loss = _loss(z, wins, a, b, prior_events, prior_rate, slope, penalty)
    for _ in range(_ITERATIONS):
        p = _sigmoid(b)
        ga, gb = penalty * (a - slope), prior_events * (p - prior_rate)
        haa, hab, hbb = penalty, 0.0, prior_events * p * (1.0 - p)
        for i in range(z.size):
            p = _sigmoid(a * z[i] + b)
            w = p * (1.0 - p)
            ga += (p - wins[i]) * z[i]
            gb += p - wins[i]
            haa += w * z[i] * z[i]
            hab += w * z[i]
            hbb += w
        determinant = haa * hbb - hab * hab
        if not determinant > 1e-300:
            break
        da, db = (hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant
        step = 1.0
        improved = False
        while step > 1e-6:
            trial = _loss(z, wins, a - step * da, b - step * db, prior_events, prior_rate, slope, penalty)
            if trial <= loss:
                improved = trial < loss - 1e-13 * (1.0 + abs(loss))
                a, b, loss = a - step * da, b - step * db, trial
                break
            step *= 0.5
        if not improved:
            break
    return a, b


def fit_platt(
    scores: NDArray[np.float64],
    wins: NDArray[np.float64],
    *,
    prior_rate: float,
    prior_events: float,
    slope_penalty: float,
    start: PlattFit | None = None,
) -> PlattFit:
    """Fit p = sigmoid(a x + b) to events.

    Minimises sum_i CE(y_i, p(x_i)) + n0 CE(r, p(m)) + penalty/2 (a' - a0')^2, where CE is cross entropy, m
    the mean score, and a' the slope per standard deviation of the scores, so that the unit of the score does
    not matter.

    Parameters
    ----------
    scores : (n,) float64, raw confidence at each event.
    wins : (n,) float64, 1.0 or 0.0.
    prior_rate : r, in (0, 1); replaced by ``start.probability(m)`` when `start` is given.
    prior_events : n0 > 0.
    slope_penalty : pull of the slope towards a0, 0 or the slope of `start`.
    start : an earlier fit on other rows.

    Returns
    -------
    PlattFit; with no events, `start`, or a constant p = r.
    """
    if not 0.0 < prior_rate < 1.0:
        raise ValueError(f"prior_rate is {prior_rate!r}; it must lie between 0 and 1")
    if not (prior_events > 0.0 and slope_penalty >= 0.0):
        raise ValueError("prior_events must be positive and slope_penalty not negative")
    n = int(scores.size)
    if n == 0:
        if start is not None:
            return start._replace(events=0, wins=0)
        return PlattFit(0.0, math.log(prior_rate / (1.0 - prior_rate)), 0, 0)
    mean, deviation = float(np.mean(scores)), float(np.std(scores))
    slope = 0.0
    if start is not None:
        prior_rate = min(max(start.probability(mean), 1e-6), 1.0 - 1e-6)
        slope = start.a * deviation
    if deviation <= 1e-12 * (1.0 + abs(mean)):
        z, deviation, slope, penalty = np.zeros(n), 1.0, 0.0, 1.0
    else:
        z, penalty = (scores - mean) / deviation, slope_penalty
    a, b = _newton(z, np.ascontiguousarray(wins, np.float64), prior_events, prior_rate, slope, penalty)
    if abs(a / deviation) > _MAX_SLOPE or abs(b - a * mean / deviation) > _MAX_SLOPE:
        _, b = _newton(
            np.zeros(n), np.ascontiguousarray(wins, np.float64), prior_events, prior_rate, 0.0, 1.0
        )
        return PlattFit(0.0, float(b), n, int(wins.sum()))
    return PlattFit(float(a / deviation), float(b - a * mean / deviation), n, int(wins.sum()))
