"""Facts of the mid-price: how far it moves, how heavy the tails are, what one move says of the next."""

from __future__ import annotations

import math

import numpy as np

from ..observation import Observation
from .fact import Fact, correlations, lagged, products, register

_STEP_NS = 1_000_000_000
_HORIZONS = (1, 10, 60)
_LAGS = (1, 2, 5, 10, 30)
_TAIL = 0.05
_FEWEST = 10


def _returns(observation: Observation) -> np.ndarray:
    """Log returns of a second, basis points."""
    return 1e4 * np.diff(observation.log_mid(_STEP_NS))


def _squares(observation: Observation) -> np.ndarray:
    log_mid = observation.log_mid(_STEP_NS)
    rows = np.full((max(len(log_mid) - 1, 0), len(_HORIZONS)), np.nan)
    for column, horizon in enumerate(_HORIZONS):
        if horizon < len(log_mid):
            rows[: len(log_mid) - horizon, column] = (1e4 * (log_mid[horizon:] - log_mid[:-horizon])) ** 2
    return rows


def _root_mean(rows: np.ndarray) -> np.ndarray:
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    total = np.where(known, rows, 0.0).sum(axis=0)
    return np.where(count >= _FEWEST, np.sqrt(total / np.maximum(count, 1)), np.nan)


def _hill(rows: np.ndarray) -> np.ndarray:
    """Hill's estimator on the largest twentieth, ten at least (Hill, Annals of Statistics 1975)."""
    x = rows[:, 0]
    k = max(math.ceil(_TAIL * len(x)), _FEWEST)
    if len(x) < 2 * k:
        return np.array([np.nan])
    largest = np.partition(x, len(x) - k - 1)[len(x) - k - 1 :]
    threshold = largest[0]
    if threshold <= 0.0:
        return np.array([np.nan])
    excess = float(np.sum(np.log(largest[1:] / threshold)))
    return np.array([k / excess if excess > 0.0 else np.nan])


register(
    Fact(
        name="volatility",
        unit="bps",
        doc="root mean square of the mid's log return over so many seconds",
        points=tuple(f"{h} s" for h in _HORIZONS),
        rows=_squares,
        statistic=_root_mean,
        shape="curve",
        scale="log",
    )
)
register(
    Fact(
        name="tail_index",
        unit="",
        doc="Hill's tail exponent of absolute returns of a second, largest twentieth",
        points=("1 s",),
        rows=lambda observation: np.abs(_returns(observation))[:, None],
        statistic=_hill,
        shape="curve",
        scale="log",
    )
)
register(
    Fact(
        name="return_autocorrelation",
        unit="",
        doc="correlation of the return of a second with the one so many seconds later",
        points=tuple(f"{lag} s" for lag in _LAGS),
        rows=lambda observation: lagged(_returns(observation), _LAGS),
        statistic=correlations,
        shape="curve",
        dependence=products,
    )
)
register(
    Fact(
        name="volatility_clustering",
        unit="",
        doc="correlation of the absolute return of a second with the one so many seconds later",
        points=tuple(f"{lag} s" for lag in _LAGS),
        rows=lambda observation: lagged(np.abs(_returns(observation)), _LAGS),
        statistic=correlations,
        shape="curve",
        dependence=products,
    )
)
