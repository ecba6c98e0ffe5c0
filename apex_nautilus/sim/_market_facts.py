"""A few numbers by which one market is told from another."""

from dataclasses import dataclass

import numpy as np

from ..features import FLAG_LAST, batch_book
from .market import Tape

__all__ = ["MarketFacts", "market_facts"]


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """What a tape looks like. NaN where the tape is too short, or has too few trades, to say.

    Attributes
    ----------
    updates_per_s, trades_per_s : book updates and matches.
    turnover_per_s : quote units traded.
    spread_bps : median over book updates.
    move_1s_bps, move_60s_bps : standard deviation of the mid's log return over that time.
    kurtosis_10s : of 10 s returns; 3 for a normal distribution.
    clustering : correlation of |return| of one 10 s interval with the next.
    sign_memory_1, sign_memory_20 : correlation of a trade's side with that of 1 and of 20 trades later.
    flow_next_60s : correlation of order flow imbalance over ten seconds (`ofi_10`) with the next 60 s return.
    """

    updates_per_s: float
    trades_per_s: float
    turnover_per_s: float
    spread_bps: float
    move_1s_bps: float
    move_60s_bps: float
    kurtosis_10s: float
    clustering: float
    sign_memory_1: float
    sign_memory_20: float
    flow_next_60s: float


def market_facts(tape: Tape) -> MarketFacts:
    """Measure a tape."""
    instrument, seconds = tape.instrument, (tape.end_ns - tape.start_ns) / 1e9
    rows = batch_book(
        tape.events,
        ["ofi_10"],
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
        clock="1s",
    )
    bid, ask = np.asarray(rows.path_bid), np.asarray(rows.path_ask)
    log_mid = np.log(0.5 * (bid + ask)[rows.row_event])
    flow = np.asarray(rows.features)[:, 0]
    moves = {h: 1e4 * (log_mid[h:] - log_mid[:-h]) for h in (1, 10, 60)}
    tens = moves[10][::10]
    side = tape.trades["side"].astype(np.float64)
    turnover = np.sum(
        tape.trades["price"]
        / 10.0**instrument.price_precision
        * (tape.trades["size"] / 10.0**instrument.size_precision)
    )
    deviations = tens - tens.mean() if len(tens) else tens
    variance = np.mean(deviations**2) if len(tens) > 3 else 0.0
    return MarketFacts(
        updates_per_s=float(np.sum(tape.events["flags"] & FLAG_LAST) / seconds),
        trades_per_s=len(tape.trades) / seconds,
        turnover_per_s=float(turnover / seconds),
        spread_bps=float(np.median(1e4 * (ask - bid) / (0.5 * (ask + bid)))) if len(bid) else float("nan"),
        move_1s_bps=_deviation(moves[1]),
        move_60s_bps=_deviation(moves[60]),
        kurtosis_10s=float(np.mean(deviations**4) / variance**2) if variance > 0.0 else float("nan"),
        clustering=_correlation(np.abs(tens[:-1]), np.abs(tens[1:])),
        sign_memory_1=_correlation(side[:-1], side[1:]),
        sign_memory_20=_correlation(side[:-20], side[20:]),
        flow_next_60s=_correlation(flow[:-60], moves[60]),
    )


def _deviation(x: np.ndarray) -> float:
    return float(np.std(x)) if len(x) > 1 else float("nan")


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3 or np.std(x) == 0.0 or np.std(y) == 0.0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
