"""Probabilistic and deflated Sharpe ratio, and the shortest track record that can prove one.

Bailey & Lopez de Prado, "The Sharpe ratio efficient frontier" (2012) and "The deflated Sharpe ratio" (2014).
Every Sharpe ratio here is per observation and every kurtosis raw (normal 3); the number of trials counts all
that were tried, the refused and the dead included. Passing an annual ratio with a count of days, an excess
kurtosis or the survivors alone each yields a number that looks fine and is wrong.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

EULER_GAMMA = 0.577215664901532860606512090082

_NORMAL = NormalDist()


def _normal_cdf(x: float) -> float:
    # erfc keeps its digits in the lower tail, where 1 + erf cancels.
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _spread(sharpe: float, skew: float, kurtosis: float) -> float:
    """Return 1 - g3 SR + (g4 - 1)/4 SR^2, the variance of the Sharpe estimator times T - 1."""
    if not (math.isfinite(sharpe) and math.isfinite(skew) and math.isfinite(kurtosis)):
        raise ValueError(
            f"psr: sharpe, skew and kurtosis must be finite, got {sharpe!r}, {skew!r}, {kurtosis!r}"
        )
    if kurtosis < 1.0 + skew * skew - 1e-9:
        raise ValueError(
            f"psr: raw kurtosis {kurtosis!r} is impossible with skew {skew!r} (it is at least 1 + skew^2); "
            "add 3 to an excess kurtosis"
        )
    return 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe


def probabilistic_sharpe_ratio(
    sharpe: float, n_observations: int, *, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`.

    PSR(b) = Phi((SR - b) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2)).

    Parameters
    ----------
    sharpe, benchmark : float
        Estimated and compared Sharpe ratio, per observation.
    n_observations : int
        T, the number of returns `sharpe` was estimated from; at least 2.
    skew, kurtosis : float
        Third and fourth standardised moments of the returns; kurtosis raw, 3 for normal.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        When an argument is not finite, T is below 2 or the kurtosis cannot be a raw one.
    """
    if n_observations < 2:
        raise ValueError(f"psr: n_observations must be at least 2, got {n_observations!r}")
    if not math.isfinite(benchmark):
        raise ValueError(f"psr: benchmark must be finite, got {benchmark!r}")
    # With raw kurtosis >= 1 + skew^2 the expression is at least (1 - skew SR / 2)^2, so 0 only in a two-point
    # limit.
    spread = max(_spread(sharpe, skew, kurtosis), 1e-300)
    return _normal_cdf((sharpe - benchmark) * math.sqrt(n_observations - 1) / math.sqrt(spread))


def expected_maximum_sharpe(trial_variance: float, n_trials: int) -> float:
    """Sharpe ratio that the best of `n_trials` skill-less trials is expected to show (SR0).

    SR0 = sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e))), g = 0.5772...

    Parameters
    ----------
    trial_variance : float
        V, variance of the per-observation Sharpe ratios over all trials.
    n_trials : int
        N, all trials ever made, those discarded included. One trial has no selection to correct for: 0.0.

    Raises
    ------
    ValueError
        When V is negative or not finite, or N is below 1.
    """
    if not (math.isfinite(trial_variance) and trial_variance >= 0.0):
        raise ValueError(f"dsr: trial_variance must be finite and not negative, got {trial_variance!r}")
    if n_trials < 1:
        raise ValueError(f"dsr: n_trials must be at least 1, got {n_trials!r}")
    if n_trials == 1:
        return 0.0
    largest = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    next_ = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return math.sqrt(trial_variance) * ((1.0 - EULER_GAMMA) * largest + EULER_GAMMA * next_)


def deflated_sharpe_ratio(
    sharpe: float,
    n_observations: int,
    *,
    trial_variance: float,
    n_trials: int,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """Probability that the true Sharpe ratio exceeds what the best of all trials would show by luck,
    PSR(SR0).

    Parameters
    ----------
    sharpe, n_observations, skew, kurtosis
        As in `probabilistic_sharpe_ratio`; `sharpe` is the selected trial's.
    trial_variance, n_trials
        As in `expected_maximum_sharpe`.

    Raises
    ------
    ValueError
        As the two.
    """
    benchmark = expected_maximum_sharpe(trial_variance, n_trials)
    return probabilistic_sharpe_ratio(
        sharpe, n_observations, benchmark=benchmark, skew=skew, kurtosis=kurtosis
    )


def trial_variance(trial_sharpes: ArrayLike, n_trials: int | None = None) -> float:
    """Variance (ddof 1) of the Sharpe ratios of all trials, for `deflated_sharpe_ratio`.

    Parameters
    ----------
    trial_sharpes : (n,) array_like
        Per-observation Sharpe ratio of every trial.
    n_trials : int, optional
        How many trials were made, where it is known; a shorter `trial_sharpes` is then refused, since the
        survivors' variance is too small.

    Raises
    ------
    ValueError
        When a value is not finite or trials are missing.
    """
    values = np.asarray(trial_sharpes, dtype=np.float64).ravel()
    if not np.all(np.isfinite(values)):
        raise ValueError(
            "trial_variance: trial Sharpe ratios must be finite; a trial without trades counts as 0.0"
        )
    if n_trials is not None and values.size < n_trials:
        raise ValueError(
            f"trial_variance: {values.size} Sharpe ratios for {n_trials} trials; "
            "all trials count, not the survivors alone"
        )
    return float(values.var(ddof=1)) if values.size > 1 else 0.0


def minimum_track_record_length(
    sharpe: float,
    *,
    benchmark: float = 0.0,
    confidence: float = 0.95,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """Number of observations after which PSR(`benchmark`) reaches `confidence`.

    MinTRL = 1 + (1 - g3 SR + (g4 - 1)/4 SR^2) (Z(confidence) / (SR - b))^2.

    Returns
    -------
    float
        In observations, not rounded; infinity where `sharpe` does not exceed `benchmark`.

    Raises
    ------
    ValueError
        When `confidence` is not inside (0.5, 1) or another argument is not finite.
    """
    if not 0.5 < confidence < 1.0:
        raise ValueError(f"mintrl: confidence must be inside (0.5, 1), got {confidence!r}")
    if not math.isfinite(benchmark):
        raise ValueError(f"mintrl: benchmark must be finite, got {benchmark!r}")
    spread = _spread(sharpe, skew, kurtosis)
    if sharpe <= benchmark:
        return math.inf
    return 1.0 + spread * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2
