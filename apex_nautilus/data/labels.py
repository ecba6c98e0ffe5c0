"""Triple-barrier labels: what came first after a row, the take-profit, the stop or the end of the holding
time.

One label a row and side, by the rules that trade: the bracket is anchored at the touch, rounded away from
the entry, and watched from the next event of the path; a stop and a time-out leave at the touch, a
take-profit at its price; when an event meets both barriers it is the stop. The barrier kernels are `risk`'s
own.

On bars with a cost model an entry, a stop and a time-out slip as in the replay, by the same kernel. A label
is of no agent, so the order's size is assumed: it is worth `LABEL_NOTIONAL` at the touch, in whole lots, one
at least. On a book the touch is taken to hold as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numba import njit

from apex_nautilus.data.errors import DatasetError
from apex_nautilus.risk import (
    InstrumentSpec,
    bar_fill_kernel,
    bracket_units_kernel,
    log_return_deviation_kernel,
    stop_distance_kernel,
)
from apex_nautilus.risk.bracket import STOP_BPS, STOP_VOLATILITY
from apex_nautilus.risk.rounding import floor_units_kernel

__all__ = [
    "LABEL",
    "LABEL_CODES",
    "LABEL_NOTIONAL",
    "Bracket",
    "Slippage",
    "bar_prices",
    "book_prices",
    "label_bars",
    "label_blocks",
    "label_book",
]

LABEL: Final = np.dtype(
    [("outcome", "i1"), ("code", "u1"), ("exit_event", "<i8"), ("net_return", "<f8")], align=True
)
"""`outcome` 1 take-profit first, 0 stop or time-out, -1 no label; `code` an index of `LABEL_CODES`;
`exit_event` the path event of the exit (-1 none); `net_return` profit over entry price, after both fees, the
spread and, with a cost model, slippage (NaN without exit)."""

LABEL_CODES: Final = ("no_trade", "take_profit", "stop", "time_out", "still_open")
_NO_TRADE, _TAKE_PROFIT, _STOP, _TIME_OUT, _STILL_OPEN = range(5)

LABEL_NOTIONAL: Final = 200.0
"""What the order of a label is worth, in the quote currency: an agent's capital, once."""

RUN: Final = 32
"""Path entries whose extremes are kept together: a million entries without a touch are a thousand looks."""

BLOCK_ROWS: Final = 1 << 18
"""Rows labelled at a time."""


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


class Slippage(NamedTuple):
    """The cost model of a path of bars, as labels use it.

    Attributes
    ----------
    impact : float
        `risk.BarCosts.impact`.
    sigma, volume : (M,) float64
        Of each bar; see `risk.BarCostTracker`.
    notional : float
        What an order is worth at the touch, in the quote currency, positive.
    """

    impact: float
    sigma: np.ndarray
    volume: np.ndarray
    notional: float = LABEL_NOTIONAL

    def between(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Sigma and volume of path entries [first, last)."""
        return np.array(self.sigma[first:last]), np.array(self.volume[first:last])


_NO_SLIPPAGE: Final = Slippage(0.0, np.zeros(0), np.zeros(0))


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
def _extremes(low, high, run, lows, highs):
    """Lowest and highest of each `run` entries; NaN reaches no barrier and is passed over."""
    for block in range(lows.shape[0]):
        least, most = math.inf, -math.inf
        for e in range(block * run, min((block + 1) * run, low.shape[0])):
            if low[e] < least:
                least = low[e]
            if high[e] > most:
                most = high[e]
        lows[block], highs[block] = least, most


@njit(cache=True, error_model="numpy")
def _first_touch(low, high, lows, highs, far_lows, far_highs, lower, upper, begin, end):
    """Return the first entry of [begin, end] at or beyond a barrier, or -1; most are passed `RUN`, or
    `RUN` squared, at a look."""
    e = begin
    while e <= end:
        if e % (RUN * RUN) == 0:
            far = e // (RUN * RUN)
            if far_lows[far] > lower and far_highs[far] < upper:
                e += RUN * RUN
                continue
        if e % RUN == 0:
            near = e // RUN
            if lows[near] > lower and highs[near] < upper:
                e += RUN
                continue
        if low[e] <= lower or high[e] >= upper:
            return e
        e += 1
    return -1


@njit(cache=True, error_model="numpy")
def _label(
    at, ts, prices, near, far, bars, mid, first_mid, sides, kind, value, window, max_hold, reward_risk,
    tick_units, price_scale, maker, taker, lot_units, size_scale, impact, notional, sigma, volume, outcome,
    code, exit_event, net,
):  # fmt: skip
    """Label rows that stand at the path entries `at`.

    `prices` holds open, high, low and close of the bid, then of the ask; of a book all four are the touch.
    `near` and `far` hold the lowest bid, highest bid, lowest ask and highest ask of `RUN` and of `RUN`
    squared entries. `mid` begins `first_mid` rows before the first row.
    """
    n = ts.shape[0]
    latest = 0
    for i in range(at.shape[0]):
        start = at[i]
        if bars and start + 1 >= n:
            continue
        # The entry at which the time is over; rows rise in time, so it only ever moves on.
        latest = max(latest, start + 1)
        while latest < n and ts[latest] < ts[start] + max_hold:
            latest += 1
        end = min(latest, n - 1)
        bid, ask = prices[3, start], prices[7, start]
        here = i + first_mid
        for column in range(sides):
            side = 1 if column == 0 else -1
            profit, stop = _barriers(
                side, bid, ask, kind, value, window, mid[max(0, here - window) : here + 1], reward_risk,
                tick_units, price_scale,
            )  # fmt: skip
            if math.isnan(profit):
                continue
            # A long is bought at the ask and leaves at the bid, a short the other way round.
            into, out = (4, 0) if side > 0 else (0, 4)
            entry = prices[into, start + 1] if bars else prices[into + 3, start]
            slips = bars and impact > 0.0
            quantity = 0.0
            if slips:
                lots = floor_units_kernel(notional / (ask if side > 0 else bid), lot_units, size_scale)
                quantity = max(lots, lot_units) / size_scale
                entry = bar_fill_kernel(
                    side,
                    entry,
                    quantity,
                    impact,
                    sigma[start + 1],
                    volume[start + 1],
                    tick_units,
                    price_scale,
                )
            code[i, column] = _STILL_OPEN
            lows = 0 if side > 0 else 2
            e = _first_touch(
                prices[out + 2], prices[out + 1], near[lows], near[lows + 1], far[lows], far[lows + 1],
                stop if side > 0 else profit, profit if side > 0 else stop, start + 1, end,
            )  # fmt: skip
            fee = taker
            if e < 0:
                if latest >= n:
                    continue
                e = latest
                code[i, column] = _TIME_OUT
                price = prices[out + 3, e]
            elif side * ((prices[out + 2, e] if side > 0 else prices[out + 1, e]) - stop) <= 0.0:
                code[i, column] = _STOP
                price = prices[out, e]
                if bars and side * (price - stop) >= 0.0:
                    price = stop  # met inside the bar; a gap fills where the bar opens
            else:
                code[i, column] = _TAKE_PROFIT
                price = profit
                fee = maker
            if slips and code[i, column] != _TAKE_PROFIT:
                price = bar_fill_kernel(
                    -side, price, quantity, impact, sigma[e], volume[e], tick_units, price_scale
                )
            outcome[i, column] = 1 if code[i, column] == _TAKE_PROFIT else 0
            exit_event[i, column] = e
            net[i, column] = (side * (price - entry) - taker * entry - fee * price) / entry


def _terms(bracket: Bracket, instrument: InstrumentSpec) -> tuple:
    return (
        1 if instrument.is_spot else 2,  # on spot a short signal only closes
        STOP_VOLATILITY if bracket.stop == "volatility" else STOP_BPS,
        float(bracket.stop_value),
        int(bracket.window),
        int(bracket.max_hold_ns),
        float(bracket.reward_risk),
        instrument.tick_units,
        float(10**instrument.price_precision),
        float(instrument.maker_fee),
        float(instrument.taker_fee),
        instrument.lot_units,
        float(10**instrument.size_precision),
    )


def _over_runs(prices: np.ndarray, run: int) -> np.ndarray:
    """Lowest bid, highest bid, lowest ask, highest ask of each `run` entries: (4, ceil(M / run))."""
    out = np.empty((4, -(-prices.shape[1] // run)))
    _extremes(prices[2], prices[1], run, out[0], out[1])
    _extremes(prices[6], prices[5], run, out[2], out[3])
    return out


def label_blocks(
    bracket: Bracket,
    instrument: InstrumentSpec,
    rows: tuple[int, int],
    *,
    row_event: np.ndarray,
    path_ts_ns: np.ndarray,
    mid: np.ndarray,
    prices: Callable[[int, int], np.ndarray],
    bars: bool,
    slippage: Slippage | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[np.ndarray]:
    """Yield labels of rows [lo, hi), `block_rows` at a time.

    In memory at once are a block, and the path from its first row to the end of its last row's holding time.

    Parameters
    ----------
    row_event, mid : (N,) of the dataset
    path_ts_ns : (M,)
    prices : function of (first, last)
        Open, high, low, close of the bid, then of the ask, over path entries [first, last): float64 (8, n).
    bars : whether the path is made of bars, and the entry therefore at the next one's open
    slippage : the cost model of a path of bars; nothing slips when left out

    Yields
    ------
    LABEL records of shape (n, 2), long then short
    """
    lo, hi = rows
    slip = _NO_SLIPPAGE if slippage is None else slippage
    for first in range(lo, hi, block_rows):
        last = min(first + block_rows, hi)
        at = np.array(row_event[first:last], dtype=np.int64)
        begin, over = int(at[0]), int(path_ts_ns[at[-1]]) + bracket.max_hold_ns
        # One entry past the end of the holding time, and at least the one after the last row.
        stop = max(int(np.searchsorted(path_ts_ns, over, side="left")), int(at[-1]) + 1) + 1
        stop = min(stop, path_ts_ns.shape[0])
        window = prices(begin, stop)
        near = _over_runs(window, RUN)
        back = min(bracket.window, first)
        outcome = np.full((last - first, 2), -1, dtype=np.int8)
        code = np.zeros((last - first, 2), dtype=np.uint8)
        exit_event = np.full((last - first, 2), -1, dtype=np.int64)
        net = np.full((last - first, 2), np.nan)
        _label(
            at - begin, np.array(path_ts_ns[begin:stop], dtype=np.int64), window, near,
            _over_runs(window, RUN * RUN), bars, np.array(mid[first - back : last], dtype=np.float64), back,
            *_terms(bracket, instrument), float(slip.impact), float(slip.notional),
            *slip.between(begin, stop), outcome, code, exit_event, net,
        )  # fmt: skip
        exit_event[exit_event >= 0] += begin
        labels = np.zeros((last - first, 2), dtype=LABEL)
        labels["outcome"], labels["code"] = outcome, code
        labels["exit_event"], labels["net_return"] = exit_event, net
        yield labels


def _all(bracket, instrument, rows, row_event, path_ts_ns, mid, prices, bars, slippage=None) -> np.ndarray:
    blocks = label_blocks(
        bracket, instrument, rows, row_event=row_event, path_ts_ns=path_ts_ns, mid=mid, prices=prices,
        bars=bars, slippage=slippage,
    )  # fmt: skip
    return np.concatenate([np.zeros((0, 2), dtype=LABEL), *blocks])


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
    prices = book_prices(path_bid, path_ask)
    return _all(bracket, instrument, rows, row_event, path_ts_ns, mid, prices, False)


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
    slippage: Slippage | None = None,
) -> np.ndarray:
    """Return labels of rows [lo, hi) on a path of bars: entry at the next bar's open, a bar over both
    barriers a stop; with `slippage` an order pays for its size."""
    prices = bar_prices(
        path_open, path_high, path_low, path_close, path_half_spread, instrument.price_precision
    )
    return _all(bracket, instrument, rows, row_event, path_ts_ns, mid, prices, True, slippage)


def book_prices(bid: np.ndarray, ask: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """Return the `prices` of `label_blocks` for a path of order-book events."""

    def prices(first: int, last: int) -> np.ndarray:
        return np.repeat([bid[first:last], ask[first:last]], 4, axis=0)

    return prices


def bar_prices(
    open_: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    half_spread: np.ndarray,
    price_precision: int,
) -> Callable[[int, int], np.ndarray]:
    """Return the `prices` of `label_blocks` for a path of bars, half the spread taken off and put on.

    They are rounded as `risk.bar_touch` does.
    """
    scale = float(10**price_precision)

    def prices(first: int, last: int) -> np.ndarray:
        bars = np.array([a[first:last] for a in (open_, high, low, close)])
        half = half_spread[first:last]
        touches = np.concatenate([bars - half, bars + half])
        return np.maximum(np.rint(touches * scale), 1.0) / scale

    return prices
