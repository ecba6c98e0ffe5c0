"""Facts of the flow: how much happens, what order flow explains, what is withdrawn, how long fills take."""

from __future__ import annotations

import numpy as np

from .._first_fill import first_fills
from ..observation import NEAR_BPS, Observation
from .fact import Fact, quartiles, register

_SECOND_NS = 1_000_000_000
_HORIZON_S = 10
_FEWEST = 10


def _sums(observation: Observation, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values added up by whole seconds since the start of the span."""
    seconds = (observation.end_ns - observation.start_ns) // _SECOND_NS
    place = (times - observation.start_ns) // _SECOND_NS
    inside = (place >= 0) & (place < seconds)
    return np.bincount(place[inside], weights=values[inside], minlength=seconds)[:seconds]


def _rates(observation: Observation) -> np.ndarray:
    counted = [
        (observation.path_ns, np.ones(len(observation.path_ns))),
        (observation.order_ns, np.ones(len(observation.order_ns))),
        (observation.order_ns, observation.order[:, 0]),
    ]
    return np.column_stack([_sums(observation, times, values) for times, values in counted])


def _mean(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=0) if len(rows) >= _FEWEST else np.full(rows.shape[1], np.nan)


def flow(touch: np.ndarray) -> np.ndarray:
    """Order flow e_n of each change of the touch, 0 for the first; base units.

    With best bid B of size b and best ask A of size a, primes for the touch before: e = b [B >= B'] -
    b' [B <= B'] - a [A <= A'] + a' [A >= A'] (Cont, Kukanov & Stoikov, J. Financial Econometrics 2014).
    """
    e = np.zeros(len(touch))
    bid, bid_size, ask, ask_size = touch[1:].T
    bid0, bid0_size, ask0, ask0_size = touch[:-1].T
    e[1:] = (
        bid_size * (bid >= bid0)
        - bid0_size * (bid <= bid0)
        - ask_size * (ask <= ask0)
        + ask0_size * (ask >= ask0)
    )
    return e


def _moves(observation: Observation) -> np.ndarray:
    """Rows of a second: order flow in millions of quote units, move of the mid in basis points."""
    e = flow(observation.touch)
    e[observation.restarts] = 0.0
    worth = observation.mid if observation.multiplier == 0.0 else observation.multiplier
    sums = _sums(observation, observation.path_ns, e * worth * 1e-6)
    edges = observation.start_ns + _SECOND_NS * np.arange(len(sums) + 1)
    at = np.searchsorted(observation.path_ns, edges, side="left") - 1
    log_mid = np.log(observation.mid)
    # The first second may begin at the first book, before which nothing was seen.
    moves = 1e4 * np.diff(log_mid[np.maximum(at, 0)])
    return np.column_stack([sums, moves])


def _slope(rows: np.ndarray) -> np.ndarray:
    power, both, _ = _moments(rows)
    return np.array([both / power if power > 0.0 else np.nan])


def _r2(rows: np.ndarray) -> np.ndarray:
    power, both, total = _moments(rows)
    return np.array([both * both / (power * total) if power > 0.0 and total > 0.0 else np.nan])


def _moments(rows: np.ndarray) -> tuple[float, float, float]:
    if len(rows) < _FEWEST:
        return 0.0, 0.0, 0.0
    x, y = (rows - rows.mean(axis=0)).T
    return float(x @ x), float(x @ y), float(y @ y)


def _regression_scores(rows: np.ndarray) -> np.ndarray:
    x, y = (rows - rows.mean(axis=0)).T
    return np.column_stack([x * y, x * x])


def _withdrawn(observation: Observation) -> np.ndarray:
    """Rows of a second: size that left the book, size that traded, size that came."""
    went = np.maximum(-observation.change, 0.0)
    came = np.maximum(observation.change, 0.0)
    return np.column_stack(
        [
            _sums(observation, observation.change_ns, went),
            _sums(observation, observation.order_ns, observation.order[:, 1]),
            _sums(observation, observation.change_ns, came),
        ]
    )


def _withdrawn_share(rows: np.ndarray) -> np.ndarray:
    went, traded, came = rows.sum(axis=0) if len(rows) >= _FEWEST else (0.0, 0.0, 0.0)
    return np.array([max(went - traded, 0.0) / came if came > 0.0 else np.nan])


def _first_fills(observation: Observation) -> np.ndarray:
    """Seconds until the first fill of an order that joins the touch, one a second and side."""
    horizon = _HORIZON_S * _SECOND_NS
    times, _ = observation.grid(_SECOND_NS)
    times = times[times + horizon < observation.end_ns]  # watched to the end of the horizon
    bid, bid_size, ask, ask_size = np.ascontiguousarray(observation.touch.T)
    price, size, side = np.ascontiguousarray(observation.trade.T)
    rows = np.empty((2, len(times)))
    for place, (taker, own, own_size, other) in enumerate(
        ((1, bid, bid_size, ask), (-1, ask, ask_size, bid))
    ):
        first_fills(
            times,
            taker,
            horizon,
            observation.path_ns,
            own,
            own_size,
            other,
            observation.trade_ns,
            price,
            size,
            side,
            rows[place],
        )
    return rows.T.reshape(-1, 1)


register(
    Fact(
        name="activity",
        unit="1/s",
        doc="updates of the book, takers' orders, and quote units traded, a second",
        points=("book updates", "takers' orders", "turnover"),
        rows=_rates,
        statistic=_mean,
        shape="curve",
        scale="log",
    )
)
register(
    Fact(
        name="ofi_slope",
        unit="bps per million",
        doc="move of the mid in a second on order-flow imbalance of a million quote units",
        points=("1 s",),
        rows=_moves,
        statistic=_slope,
        shape="curve",
        scale="log",
        dependence=_regression_scores,
    )
)
register(
    Fact(
        name="ofi_r2",
        unit="",
        doc="share of the variance of the mid's moves of a second that order-flow imbalance explains",
        points=("1 s",),
        rows=_moves,
        statistic=_r2,
        shape="curve",
        dependence=_regression_scores,
    )
)
register(
    Fact(
        name="cancel_to_limit",
        unit="",
        doc=f"size withdrawn untraded over size placed, within {NEAR_BPS:g} bps of the mid",
        points=("share",),
        rows=_withdrawn,
        statistic=_withdrawn_share,
        shape="curve",
    )
)
register(
    Fact(
        name="first_fill",
        unit="s",
        doc=f"wait for the first fill of an order that joins the touch's queue (inf: beyond {_HORIZON_S} s)",
        points=("lower quartile", "median", "upper quartile"),
        rows=_first_fills,
        statistic=quartiles,
        shape="distribution",
        scale="log",
        cap=float(_HORIZON_S),
    )
)
