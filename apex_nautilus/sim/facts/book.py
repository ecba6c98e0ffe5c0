"""Facts of the book as it stands: spread, imbalance, depth."""

from __future__ import annotations

import numpy as np

from ..observation import Observation
from .fact import Fact, quartiles, register

_STEP_NS = 100_000_000  # read at even times, so that a feed with many updates weighs no more
_LEVELS = (1, 2, 3, 5, 10)
_QUARTILES = ("lower quartile", "median", "upper quartile")


def _spread(observation: Observation) -> np.ndarray:
    bid, _, ask, _ = observation.touch[observation.grid(_STEP_NS)[1]].T
    return (2e4 * (ask - bid) / (ask + bid))[:, None]


def _imbalance(observation: Observation) -> np.ndarray:
    _, bid, _, ask = observation.touch[observation.grid(_STEP_NS)[1]].T
    return ((bid - ask) / (bid + ask))[:, None]


def _mean(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=0) if len(rows) else np.full(rows.shape[1], np.nan)


register(
    Fact(
        name="spread",
        unit="bps",
        doc="ask less bid over the mid, ten times a second",
        points=_QUARTILES,
        rows=_spread,
        statistic=quartiles,
        shape="distribution",
        scale="log",
    )
)
register(
    Fact(
        name="imbalance",
        unit="",
        doc="size at the best bid less that at the best ask, over their sum, ten times a second",
        points=_QUARTILES,
        rows=_imbalance,
        statistic=quartiles,
        shape="distribution",
    )
)
register(
    Fact(
        name="depth",
        unit="quote",
        doc="mean worth of the k-th level, both sides",
        points=tuple(f"level {level}" for level in _LEVELS),
        rows=lambda observation: observation.depth[:, [level - 1 for level in _LEVELS]],
        statistic=_mean,
        shape="curve",
        scale="log",
    )
)
