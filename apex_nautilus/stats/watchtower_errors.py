"""How often a judge of live agents errs: kills and promotions of simulated agents whose true edge is known.

Agents of a known Sharpe ratio per trade are simulated, and the rules that a Watchtower may use look at each
of them after every trade, as they do live. The result is the share of agents that a rule has killed or
promoted within so many trades: for an agent with an edge the first is an error, for one without the second.

What is simulated (`SHAPES`): a trade's result in units of what was risked.

- ``bracket``: a win of 3 with the probability that gives the asked Sharpe ratio, else a loss of 1. Without an
  edge its skewness is 1.15: an agent earns in few trades what it loses in many.
- ``bracket, timed out``: as before, but three trades in ten end early at a result between -1 and 3.
- ``normal``: of the same deviation; for comparison only, no bracket trades like that.
- ``... in streaks``: the same marginal distributions, with a Gaussian copula of first-order autocorrelation
  `STREAK`, for losses come in streaks and every formula here believes that they do not.

Not simulated: an edge that changes with time, and agents that trade the same market at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from apex_nautilus.stats.psr import expected_maximum_sharpe

__all__ = [
    "BRACKETS",
    "SHAPES",
    "STREAK",
    "ErrorRow",
    "ErrorSettings",
    "choose_decay_threshold",
    "error_table",
    "simulated_trades",
    "windowed_moments",
    "windowed_psr",
]

STREAK = 0.2
"""Autocorrelation of the latent variable of neighbouring trades in the shapes that have streaks."""

_REWARD = 3.0
_TIMED_OUT = 0.3
#: Deviation of a 3:1 bracket without an edge (p = 1/4), 4 sqrt(p q); the other shapes are scaled to it.
_DEVIATION = 4.0 * math.sqrt(0.1875)

SHAPES: dict[str, tuple[str, float]] = {
    "bracket": ("bracket", 0.0),
    "bracket, timed out": ("timed out", 0.0),
    "normal": ("normal", 0.0),
    "bracket in streaks": ("bracket", STREAK),
    "normal in streaks": ("normal", STREAK),
}

BRACKETS = tuple(shape for shape in SHAPES if shape.startswith("bracket"))
"""The shapes that agents of the arena have."""


class ErrorSettings(NamedTuple):
    """What is simulated and which rules look at it.

    Attributes
    ----------
    agents : int
        Simulated agents a shape and Sharpe ratio; a share of s then has a standard error of sqrt(s (1 - s) /
        agents).
    trades : int
        Trades that each may make.
    min_trades, window : int
        As in the Watchtower's limits.
    sharpes : sequence of float
        True Sharpe ratios per trade.
    within : sequence of int
        Trades at which the shares are read.
    decay : sequence of float
        Thresholds of the rule "PSR(0) below".
    promotion : sequence of float
        Thresholds of the rule "DSR above".
    trials : sequence of int
        Numbers of agents that the deflated ratio is told were tried.
    stakes : sequence of float
        Shares of equity at risk in each trade, for the rule "equity below half".
    drawdown : float
        Its limit, a share of the capital.
    shapes : sequence of str
        Names of `SHAPES`.
    """

    agents: int = 4000
    trades: int = 500
    min_trades: int = 30
    window: int = 100
    sharpes: Sequence[float] = (-0.2, -0.1, 0.0, 0.05, 0.1, 0.2, 0.3)
    within: Sequence[int] = (30, 50, 100, 300, 500)
    decay: Sequence[float] = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 0.9)
    promotion: Sequence[float] = (0.95, 0.99, 0.999)
    trials: Sequence[int] = (6, 30, 200)
    stakes: Sequence[float] = (0.01, 0.03, 0.1)
    drawdown: float = 0.5
    shapes: Sequence[str] = tuple(SHAPES)


class ErrorRow(NamedTuple):
    """Shares of simulated agents that a rule has hit.

    Attributes
    ----------
    shape : str
        A name of `SHAPES`.
    sharpe : float
        True Sharpe ratio per trade.
    rule : {"decay psr", "decay dsr", "drawdown", "promote"}
    threshold : float
        Of PSR(0), of DSR, or the stake of a drawdown.
    trials : int
        N of a deflated ratio, 0 where there is none.
    within : tuple of int
        Trades.
    hit : tuple of float
        Share of the agents killed (promoted) within so many trades.
    """

    shape: str
    sharpe: float
    rule: str
    threshold: float
    trials: int
    within: tuple[int, ...]
    hit: tuple[float, ...]


def simulated_trades(
    rng: np.random.Generator, shape: str, sharpe: float, n_agents: int, n_trades: int
) -> NDArray[np.float64]:
    """Results of trades with a known Sharpe ratio, in units of what was risked.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : str
        A name of `SHAPES`.
    sharpe : float
        True mean over true deviation per trade, inside (-0.5, 1).
    n_agents, n_trades : int

    Returns
    -------
    (n_agents, n_trades) float64

    Raises
    ------
    ValueError
        When the shape is unknown or the ratio out of range.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape: {shape!r} is not known (known: {', '.join(SHAPES)})")
    if not -0.5 < sharpe < 1.0:
        raise ValueError(f"sharpe: must be inside (-0.5, 1), got {sharpe!r}")
    kind, streak = SHAPES[shape]
    latent = rng.standard_normal((n_agents, n_trades))
    if streak:
        # AR(1) with a standard normal margin: x_t = rho x_{t-1} + sqrt(1 - rho^2) e_t, x_0 = e_0.
        latent[:, 1:] *= math.sqrt(1.0 - streak * streak)
        for trade in range(1, n_trades):
            latent[:, trade] += streak * latent[:, trade - 1]
    if kind == "normal":
        return _DEVIATION * (sharpe + latent)
    early = rng.random((n_agents, n_trades)) < _TIMED_OUT if kind == "timed out" else None
    p = _win_probability(sharpe, 0.0 if early is None else _TIMED_OUT)
    results = np.where(latent < ndtri(p), _REWARD, -1.0)
    if early is not None:
        # Result of a trade that ends early: uniform over the bracket, tilted so that its mean is the bet's.
        low, high = -1.0, _REWARD
        tilt = 4.0 * p - 1.0 - 0.5 * (low + high)
        uniform = rng.random((n_agents, n_trades))
        results = np.where(early, low + (high - low) * uniform ** _power(tilt, low, high), results)
    return results


def _win_probability(sharpe: float, timed_out: float) -> float:
    """p at which a 3:1 bracket has this Sharpe ratio, when a share of its trades end early with its mean."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = 0.5 * (low + high)
        mean = 4.0 * p - 1.0
        variance = 16.0 * p * (1.0 - p)
        if timed_out:
            k = _power(mean - 1.0, -1.0, _REWARD)
            # u^k has mean 1/(k+1) and second moment 1/(2k+1).
            early = 16.0 * (1.0 / (2.0 * k + 1.0) - 1.0 / (k + 1.0) ** 2)
            variance = (1.0 - timed_out) * variance + timed_out * early
        if mean < sharpe * math.sqrt(max(variance, 1e-300)):
            low = p
        else:
            high = p
    return 0.5 * (low + high)


def _power(tilt: float, low: float, high: float) -> float:
    """k such that low + (high - low) u^k, u uniform, has the middle plus `tilt` as its mean."""
    mean = min(max(0.5 + tilt / (high - low), 1e-6), 1.0 - 1e-6)
    return 1.0 / mean - 1.0


def windowed_moments(
    returns: NDArray[np.float64], min_trades: int, window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sharpe ratio, skewness and raw kurtosis over the last `window` trades, after each trade.

    Parameters
    ----------
    returns : (a, n) float64
        One agent a row, in trade order; of the order of 1 (the sums of powers lose digits otherwise).
    min_trades, window : int

    Returns
    -------
    sharpe, skew, kurtosis : (a, n - min_trades + 1) float64
        After trade ``min_trades``, ``min_trades + 1``, ...; 0, 0 and 3 where all returns are equal.
    count : (n - min_trades + 1,) int64
        Trades in the window.
    """
    _, n = returns.shape
    ends = np.arange(min_trades, n + 1)
    starts = np.maximum(ends - window, 0)
    count = ends - starts
    powers, sums = returns.copy(), []
    for _ in range(4):
        total = np.concatenate([np.zeros((len(returns), 1)), np.cumsum(powers, axis=1)], axis=1)
        sums.append((total[:, ends] - total[:, starts]) / count)
        powers *= returns
    m1, r2, r3, r4 = sums
    variance = r2 - m1 * m1
    flat = ~(variance > 1e-12 * r2)
    variance = np.where(flat, 1.0, variance)
    skew = np.where(flat, 0.0, (r3 - 3.0 * m1 * r2 + 2.0 * m1**3) / variance**1.5)
    kurtosis = np.where(flat, 3.0, (r4 - 4.0 * m1 * r3 + 6.0 * m1**2 * r2 - 3.0 * m1**4) / variance**2)
    return np.where(flat, 0.0, m1 / np.sqrt(variance)), skew, kurtosis, count


def windowed_psr(
    moments: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
    benchmark: float = 0.0,
) -> NDArray[np.float64]:
    """PSR(`benchmark`) of what `windowed_moments` returned, (a, m) float64."""
    sharpe, skew, kurtosis, count = moments
    spread = np.maximum(1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe, 1e-300)
    return ndtr((sharpe - benchmark) * np.sqrt(count - 1.0) / np.sqrt(spread))


def error_table(rng: np.random.Generator, settings: ErrorSettings | None = None) -> list[ErrorRow]:
    """Simulate agents of every shape and true ratio, and let every rule look at them after each trade.

    The deflated ratio is told V, the variance of the ratios of skill-less agents of the same shape over a
    full window, and N from `ErrorSettings.trials`.

    Parameters
    ----------
    rng : numpy.random.Generator
        Each shape draws from a child of it: the same seed gives the same rows whichever shapes are asked for.
    settings : ErrorSettings, optional

    Returns
    -------
    list of ErrorRow
    """
    s = settings or ErrorSettings()
    if not s.min_trades <= min(s.within) <= max(s.within) <= s.trades:
        raise ValueError(
            f"within: must lie between min_trades {s.min_trades} and trades {s.trades}, got {s.within}"
        )
    rows: list[ErrorRow] = []
    for shape, own in zip(SHAPES, rng.spawn(len(SHAPES)), strict=True):
        if shape not in s.shapes:
            continue
        null = simulated_trades(own, shape, 0.0, s.agents, s.window)
        variance = float(np.var(windowed_moments(null, s.window, s.window)[0][:, 0], ddof=1))
        for sharpe in s.sharpes:
            trades = simulated_trades(own, shape, sharpe, s.agents, s.trades)
            rows += _rows_of(shape, sharpe, trades, variance, s)
    return rows


def _rows_of(
    shape: str, sharpe: float, trades: NDArray[np.float64], variance: float, s: ErrorSettings
) -> list[ErrorRow]:
    moments = windowed_moments(trades, s.min_trades, s.window)
    places = np.asarray(s.within) - s.min_trades
    rows = []

    def add(rule: str, threshold: float, trials: int, worst: NDArray[np.float64]) -> None:
        hit = (worst[:, places] < threshold).mean(axis=0)
        rows.append(ErrorRow(shape, sharpe, rule, threshold, trials, tuple(s.within), tuple(map(float, hit))))

    # The lowest value seen so far says for every threshold at once whether it was crossed by then.
    lowest = np.minimum.accumulate(windowed_psr(moments), axis=1)
    for threshold in s.decay:
        add("decay psr", threshold, 0, lowest)
    for n in s.trials:
        deflated = windowed_psr(moments, expected_maximum_sharpe(variance, n))
        lowest = np.minimum.accumulate(deflated, axis=1)
        for threshold in s.decay:
            add("decay dsr", threshold, n, lowest)
        highest = np.maximum.accumulate(deflated, axis=1)
        for threshold in s.promotion:
            hit = (highest[:, places] > threshold).mean(axis=0)
            rows.append(
                ErrorRow(shape, sharpe, "promote", threshold, n, tuple(s.within), tuple(map(float, hit)))
            )
    for stake in s.stakes:
        # A normal trade can lose more than all; the logarithm is of what is left.
        left = np.cumsum(np.log(np.maximum(1.0 + stake * trades, 1e-9)), axis=1)
        poorest = np.minimum.accumulate(left, axis=1)[:, s.min_trades - 1 :]
        hit = (poorest[:, places] < math.log(max(1.0 - s.drawdown, 1e-9))).mean(axis=0)
        rows.append(ErrorRow(shape, sharpe, "drawdown", stake, 0, tuple(s.within), tuple(map(float, hit))))
    return rows


def choose_decay_threshold(
    rows: Sequence[ErrorRow],
    *,
    sharpe: float = 0.1,
    within: int = 300,
    tolerance: float = 0.05,
    shapes: Sequence[str] = BRACKETS,
) -> float:
    """The largest threshold of PSR(0) that spares winners: in the worst of `shapes` at most `tolerance` of
    the agents with this true ratio are killed within so many trades.

    The larger a threshold, the sooner it ends losers; so the largest that keeps the promise to winners.

    Raises
    ------
    ValueError
        When no row has this ratio and number of trades, or every threshold kills more.
    """
    worst: dict[float, float] = {}
    for row in rows:
        if row.shape not in shapes:
            continue
        if row.rule == "decay psr" and row.sharpe == sharpe and within in row.within:
            hit = row.hit[row.within.index(within)]
            worst[row.threshold] = max(hit, worst.get(row.threshold, 0.0))
    if not worst:
        raise ValueError(f"error table: no row of decay with Sharpe ratio {sharpe} and {within} trades")
    kept = [threshold for threshold, hit in worst.items() if hit <= tolerance]
    if not kept:
        raise ValueError(
            f"error table: every threshold kills more than {tolerance:g} of the agents with Sharpe ratio "
            f"{sharpe} within {within} trades; the mildest, {min(worst):g}, kills {worst[min(worst)]:.3f}"
        )
    return max(kept)
