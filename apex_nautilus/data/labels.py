"""Triple-barrier labels: what came first after a row, the take-profit, the stop or the end of the holding
time.

One label a row and side, by the rules that trade: the bracket is anchored at the touch, rounded away from
the entry, and watched from the next event of the path; a stop and a time-out leave at the touch, a
take-profit at its price; when an event meets both barriers it is the stop. The barrier kernels are `risk`'s
own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numba import njit

from apex_nautilus.data.errors import DatasetError
from apex_nautilus.risk import (
    InstrumentSpec,
    bar_touch,
    bracket_units_kernel,
    log_return_deviation_kernel,
    stop_distance_kernel,
)
from apex_nautilus.risk.bracket import STOP_BPS, STOP_VOLATILITY

__all__ = ["LABEL", "LABEL_CODES", "Bracket", "label_bars", "label_book"]

LABEL: Final = np.dtype(
    [("outcome", "i1"), ("code", "u1"), ("exit_event", "<i8"), ("net_return", "<f8")], align=True
)
"""`outcome` 1 take-profit first, 0 stop or time-out, -1 no label; `code` an index of `LABEL_CODES`;
`exit_event` the path event of the exit (-1 none); `net_return` profit over entry price, after both fees and
the spread (NaN without exit)."""

LABEL_CODES: Final = ("no_trade", "take_profit", "stop", "time_out", "still_open")
_NO_TRADE, _TAKE_PROFIT, _STOP, _TIME_OUT, _STILL_OPEN = range(5)


@dataclass(frozen=True, slots=True)
class Bracket:
    """The bracket that labels are made for.

    Parameters
    ----------
    stop : {"bps", "volatility"}
    stop_value : float
        Basis points of the touch, or the multiple of the deviation of log returns.
    max_hold_ns : int
    reward_risk : float
    window : int
        Clock rows of a volatility stop.
    """

    stop: Literal["bps", "volatility"]
    stop_value: float
    max_hold_ns: int
    reward_risk: float = 3.0
    window: int = 0

    def __post_init__(self) -> None:
        if self.stop not in ("bps", "volatility"):
            raise DatasetError(f"bracket: stop must be 'bps' or 'volatility', got {self.stop!r}")
        for name in ("stop_value", "reward_risk", "max_hold_ns"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise DatasetError(f"bracket: {name} must be finite and positive, got {value!r}")
        if self.stop == "volatility" and self.window < 1:
            raise DatasetError(f"bracket: a volatility stop needs window >= 1, got {self.window!r}")

    @classmethod
    def of_rules(cls, rules: np.void) -> Bracket:
        """Return the bracket of one `risk.RULES` record."""
        volatility = int(rules["stop_kind"]) == STOP_VOLATILITY
        return cls(
            stop="volatility" if volatility else "bps",
            stop_value=float(rules["stop_value"]),
            max_hold_ns=int(rules["max_hold_ns"]),
            reward_risk=float(rules["reward_risk"]),
            window=int(rules["stop_window"]) if volatility else 0,
        )


@njit(cache=True, error_model="numpy")
def _barriers(side, bid, ask, kind, value, window, mids, reward_risk, tick_units, price_scale):
    """Return (take-profit, stop) of a row's bracket, (nan, nan) where the rules place no order."""
    touch = ask if side > 0 else bid
    deviation = math.nan
    if kind == STOP_VOLATILITY:
        deviation = log_return_deviation_kernel(mids, window)
    distance = stop_distance_kernel(kind, value, deviation, touch)
    if not distance > ask - bid:  # also false for nan: too little history
        return math.nan, math.nan
    profit, stop = bracket_units_kernel(side, touch, distance, reward_risk, tick_units, price_scale)
    if profit <= 0 or stop <= 0:
        return math.nan, math.nan
    return profit / price_scale, stop / price_scale


@njit(cache=True, error_model="numpy")
def _label_book(
    lo, hi, sides, row_event, ts, bid, ask, mid, kind, value, window, max_hold, reward_risk, tick_units,
    price_scale, maker, taker, outcome, code, exit_event, net,
):  # fmt: skip
    for i in range(lo, hi):
        start = row_event[i]
        for column in range(sides):
            side = 1 if column == 0 else -1
            profit, stop = _barriers(
                side, bid[start], ask[start], kind, value, window, mid[max(0, i - window) : i + 1],
                reward_risk, tick_units, price_scale,
            )  # fmt: skip
            if math.isnan(profit):
                continue
            entry = ask[start] if side > 0 else bid[start]
            row = i - lo
            code[row, column] = _STILL_OPEN
            for e in range(start + 1, ts.shape[0]):
                price = bid[e] if side > 0 else ask[e]
                fee = taker
                if side * (price - stop) <= 0.0:
                    code[row, column] = _STOP
                elif side * (price - profit) >= 0.0:
                    code[row, column] = _TAKE_PROFIT
                    price = profit
                    fee = maker
                elif ts[e] >= ts[start] + max_hold:
                    code[row, column] = _TIME_OUT
                else:
                    continue
                outcome[row, column] = 1 if code[row, column] == _TAKE_PROFIT else 0
                exit_event[row, column] = e
                net[row, column] = (side * (price - entry) - taker * entry - fee * price) / entry
                break


@njit(cache=True, error_model="numpy")
def _label_bars(
    lo, hi, sides, row_event, ts, open_, high, low, close, half, mid, kind, value, window, max_hold,
    reward_risk, tick_units, price_scale, maker, taker, outcome, code, exit_event, net,
):  # fmt: skip
    for i in range(lo, hi):
        start = row_event[i]
        if start + 1 >= ts.shape[0]:
            continue
        for column in range(sides):
            side = 1 if column == 0 else -1
            profit, stop = _barriers(
                side, bar_touch(close[start], -1, half[start], price_scale),
                bar_touch(close[start], 1, half[start], price_scale), kind, value, window,
                mid[max(0, i - window) : i + 1], reward_risk, tick_units, price_scale,
            )  # fmt: skip
            if math.isnan(profit):
                continue
            entry = bar_touch(open_[start + 1], side, half[start + 1], price_scale)
            row = i - lo
            code[row, column] = _STILL_OPEN
            for e in range(start + 1, ts.shape[0]):
                worst = bar_touch(low[e] if side > 0 else high[e], -side, half[e], price_scale)
                best = bar_touch(high[e] if side > 0 else low[e], -side, half[e], price_scale)
                fee = taker
                if side * (worst - stop) <= 0.0:
                    code[row, column] = _STOP
                    opened = bar_touch(open_[e], -side, half[e], price_scale)
                    price = (
                        opened if side * (opened - stop) < 0.0 else stop
                    )  # a gap fills where the bar opens
                elif side * (best - profit) >= 0.0:
                    code[row, column] = _TAKE_PROFIT
                    price = profit
                    fee = maker
                elif ts[e] >= ts[start] + max_hold:
                    code[row, column] = _TIME_OUT
                    price = bar_touch(close[e], -side, half[e], price_scale)
                else:
                    continue
                outcome[row, column] = 1 if code[row, column] == _TAKE_PROFIT else 0
                exit_event[row, column] = e
                net[row, column] = (side * (price - entry) - taker * entry - fee * price) / entry
                break


def _empty(n: int) -> np.ndarray:
    labels = np.zeros((n, 2), dtype=LABEL)
    labels["outcome"] = -1
    labels["exit_event"] = -1
    labels["net_return"] = np.nan
    return labels


def _terms(bracket: Bracket, instrument: InstrumentSpec) -> tuple:
    return (
        STOP_VOLATILITY if bracket.stop == "volatility" else STOP_BPS,
        float(bracket.stop_value),
        int(bracket.window),
        int(bracket.max_hold_ns),
        float(bracket.reward_risk),
        instrument.tick_units,
        float(10**instrument.price_precision),
        float(instrument.maker_fee),
        float(instrument.taker_fee),
    )


def _run(kernel, bracket, instrument, rows, row_event, path, mid) -> np.ndarray:
    lo, hi = rows
    columns = {
        "outcome": np.full((hi - lo, 2), -1, dtype=np.int8),
        "code": np.zeros((hi - lo, 2), dtype=np.uint8),
        "exit_event": np.full((hi - lo, 2), -1, dtype=np.int64),
        "net_return": np.full((hi - lo, 2), np.nan),
    }
    sides = 1 if instrument.is_spot else 2  # on spot a short signal only closes
    plain = [np.asarray(a) for a in (row_event, *path, mid)]
    kernel(lo, hi, sides, *plain, *_terms(bracket, instrument), *columns.values())
    labels = _empty(hi - lo)
    for name, column in columns.items():
        labels[name] = column
    return labels


def label_book(
    bracket: Bracket,
    instrument: InstrumentSpec,
    rows: tuple[int, int],
    *,
    row_event: np.ndarray,
    path_ts_ns: np.ndarray,
    path_bid: np.ndarray,
    path_ask: np.ndarray,
    mid: np.ndarray,
) -> np.ndarray:
    """Return labels of rows [lo, hi) on a path of order-book events: `LABEL`, shape (hi - lo, 2), long then
    short."""
    return _run(_label_book, bracket, instrument, rows, row_event, (path_ts_ns, path_bid, path_ask), mid)


def label_bars(
    bracket: Bracket,
    instrument: InstrumentSpec,
    rows: tuple[int, int],
    *,
    row_event: np.ndarray,
    path_ts_ns: np.ndarray,
    path_open: np.ndarray,
    path_high: np.ndarray,
    path_low: np.ndarray,
    path_close: np.ndarray,
    path_half_spread: np.ndarray,
    mid: np.ndarray,
) -> np.ndarray:
    """Return labels of rows [lo, hi) on a path of bars: entry at the next bar's open, a bar over both
    barriers a stop."""
    path = (path_ts_ns, path_open, path_high, path_low, path_close, path_half_spread)
    return _run(_label_bars, bracket, instrument, rows, row_event, path, mid)
