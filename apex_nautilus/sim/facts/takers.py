"""Facts of takers' orders: size, pauses, the memory of their signs, what they do to the price."""

from __future__ import annotations

import numpy as np

from ..observation import Observation
from .fact import Fact, correlations, lagged, products, quartiles, register

_QUARTILES = ("lower quartile", "median", "upper quartile")
_SIGN_LAGS = (1, 2, 5, 10, 20, 50)
_IMPACT_S = (0.1, 1.0, 5.0, 10.0, 30.0)
_FEWEST = 10


def _pauses(observation: Observation) -> np.ndarray:
    # Receipt has a finest step, below which two orders look simultaneous; a microsecond stands for it.
    return np.maximum(np.diff(observation.order_ns) * 1e-9, 1e-6)[:, None]


def _signs(observation: Observation) -> np.ndarray:
    side = observation.order[:, 2]
    return lagged(side[side != 0.0], _SIGN_LAGS)


def _impact(observation: Observation) -> np.ndarray:
    """Move of the mid in the order's direction from just before it, by time gone by; basis points."""
    known = observation.order[:, 2] != 0.0
    times, side = observation.order_ns[known], observation.order[known, 2]
    log_mid = np.log(observation.mid)
    before = np.searchsorted(observation.path_ns, times, side="left") - 1
    rows = np.full((len(times), len(_IMPACT_S)), np.nan)
    for column, seconds in enumerate(_IMPACT_S):
        later = times + round(seconds * 1e9)
        after = np.searchsorted(observation.path_ns, later, side="right") - 1
        fine = (before >= 0) & (later < observation.end_ns)
        rows[fine, column] = 1e4 * side[fine] * (log_mid[after[fine]] - log_mid[before[fine]])
    return rows


def _means(rows: np.ndarray) -> np.ndarray:
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    total = np.where(known, rows, 0.0).sum(axis=0)
    return np.where(count >= _FEWEST, total / np.maximum(count, 1), np.nan)


register(
    Fact(
        name="order_worth",
        unit="quote",
        doc="worth of a taker's order: trades of one instant and side are one order",
        points=_QUARTILES,
        rows=lambda observation: observation.order[:, :1],
        statistic=quartiles,
        shape="distribution",
        scale="log",
    )
)
register(
    Fact(
        name="order_pause",
        unit="s",
        doc="time from one taker's order to the next",
        points=_QUARTILES,
        rows=_pauses,
        statistic=quartiles,
        shape="distribution",
        scale="log",
    )
)
register(
    Fact(
        name="sign_memory",
        unit="",
        doc="correlation of the side of a taker's order with that of so many orders later",
        points=tuple(f"{lag} orders" for lag in _SIGN_LAGS),
        rows=_signs,
        statistic=correlations,
        shape="curve",
        dependence=products,
    )
)
register(
    Fact(
        name="impact",
        unit="bps",
        doc="mean move of the mid in the direction of a taker's order, so many seconds after it",
        points=tuple(f"{s:g} s" for s in _IMPACT_S),
        rows=_impact,
        statistic=_means,
        shape="curve",
    )
)
