"""The decision: from a genome's outputs and the book to an order with its bracket, or a reason why there is
none.

One kernel, called alike by the replay, the simulator and the live strategy, so that they cannot come to
different orders on the same numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apex_nautilus.risk.bracket import (
    STOP_VOLATILITY,
    bracket_units_kernel,
    log_return_deviation_kernel,
    stop_distance_kernel,
)
from apex_nautilus.risk.costs import NO_DEPTH, round_trip_cost_kernel, walk_kernel
from apex_nautilus.risk.entry_policy import EXECUTION_AGGRESSIVE
from apex_nautilus.risk.kelly import kelly_kernel, net_reward_risk_kernel, quantity_units_kernel
from apex_nautilus.risk.rules import RULES, SIZING_EVOLVED, calibrate_kernel, sigmoid_kernel

ORDER = 0
NO_SIGNAL = 1
NO_BOOK = 2
SHORT_ON_SPOT = 3
WARMING_UP = 4
STOP_INSIDE_SPREAD = 5
BRACKET_OUT_OF_RANGE = 6
NO_EDGE = 7
BELOW_MINIMUM = 8
RUINED = 9

#: Names of the reason codes, by code.
REASONS = (
    "order",
    "no_signal",
    "no_book",
    "short_on_spot",
    "warming_up",
    "stop_inside_spread",
    "bracket_out_of_range",
    "no_edge",
    "below_minimum",
    "ruined",
)


class Decision(NamedTuple):
    """What to do on one row.

    Attributes
    ----------
    side : int
        +1 buy, -1 sell, 0 no order. Without an order only `p`, `fraction` and `reason` may be set.
    quantity : float
        Base units, a whole number of lots.
    take_profit, stop : float
        Bracket prices on the tick grid.
    p : float
        Calibrated probability that the take-profit is hit first; NaN where the decision ended before it.
    fraction : float
        Share of equity staked before multiplier, caps and rounding.
    reason : int
        `ORDER`, or why there is none; `REASONS` has the names.
    """

    side: int
    quantity: float
    take_profit: float
    stop: float
    p: float
    fraction: float
    reason: int


@njit(cache=True, error_model="numpy")
def ruined_kernel(rules, equity: float, price: float) -> bool:
    """Return whether an agent can never trade again: equity gone, or too little for the smallest order at
    `price`."""
    if not equity > 0.0:
        return True
    lot = rules.lot_units / rules.size_scale
    smallest = max(rules.min_notional, max(rules.venue_min_qty, lot) * price)
    return equity * rules.max_leverage < smallest


@njit(cache=True, error_model="numpy")
def signal_side_kernel(rules, signal: float) -> int:
    """Return the side that `signal` asks for: +1 beyond the entry threshold, -1 beyond its negative, else 0
    (NaN too)."""
    if signal > rules.entry_threshold:
        return 1
    if signal < -rules.entry_threshold:
        return -1
    return 0


@njit(cache=True, error_model="numpy")
def _refuse(p: float, fraction: float, reason: int):
    return Decision(0, 0.0, math.nan, math.nan, p, fraction, reason)


@njit(cache=True, error_model="numpy")
def _size(rules, equity, fraction, touch, loss, multiplier):
    return quantity_units_kernel(
        equity, fraction, rules.stake, loss, touch, multiplier, rules.max_leverage, rules.genome_min_qty,
        rules.genome_max_qty, rules.venue_min_qty, rules.venue_max_qty, rules.min_notional, rules.lot_units,
        rules.size_scale,
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def decide_at_deviation_kernel(
    rules,
    signal: float,
    score: float,
    size_output: float,
    bid: float,
    ask: float,
    book,
    deviation: float,
    equity: float,
    multiplier: float,
):
    """Return the `Decision` on one row, given the deviation that a volatility stop needs (NaN: too early)."""
    side = signal_side_kernel(rules, signal)
    if side == 0:
        return _refuse(math.nan, 0.0, NO_SIGNAL)
    if side < 0 and rules.is_spot != 0:
        return _refuse(math.nan, 0.0, SHORT_ON_SPOT)
    if not (bid > 0.0 and ask > bid and math.isfinite(ask)):
        return _refuse(math.nan, 0.0, NO_BOOK)
    touch = ask if side > 0 else bid
    if ruined_kernel(rules, equity, touch):
        return _refuse(math.nan, 0.0, RUINED)

    spread = ask - bid
    # The bracket hangs on the price that the entry is meant to get. Costs and size stay those of crossing:
    # an entry that rests may have to cross in the end, and the better price must not be bet on.
    anchor = touch
    if rules.execution != EXECUTION_AGGRESSIVE:
        anchor = bid if side > 0 else ask
    distance = stop_distance_kernel(rules.stop_kind, rules.stop_value, deviation, anchor)
    if math.isnan(distance):
        return _refuse(math.nan, 0.0, WARMING_UP)
    if distance <= spread:
        return _refuse(math.nan, 0.0, STOP_INSIDE_SPREAD)
    # Nothing trades at such prices, and they would leave the range of the price grid.
    if not (anchor + rules.reward_risk * distance < 1e15 / rules.price_scale):
        return _refuse(math.nan, 0.0, BRACKET_OUT_OF_RANGE)
    profit_units, stop_units = bracket_units_kernel(
        side, anchor, distance, rules.reward_risk, rules.tick_units, rules.price_scale
    )
    if profit_units <= 0 or stop_units <= 0:
        return _refuse(math.nan, 0.0, BRACKET_OUT_OF_RANGE)

    p = calibrate_kernel(rules, score)
    share = rules.kelly_fraction
    if rules.sizing_mode == SIZING_EVOLVED:
        share = rules.size_low + (rules.size_high - rules.size_low) * sigmoid_kernel(size_output)
    slippage = 0.0
    fraction = 0.0
    units = 0
    # The second pass is for an order that exceeds the touch: it expects to pay its own slippage, in and out.
    for _ in range(2):
        cost = round_trip_cost_kernel(touch, spread, rules.taker_fee, rules.taker_fee, slippage)
        reward_risk = net_reward_risk_kernel(rules.reward_risk * distance, distance, cost)
        fraction = kelly_kernel(p, reward_risk) * share * rules.certainty
        if not fraction > 0.0:
            return _refuse(p, 0.0, NO_EDGE)
        units = _size(rules, equity, fraction, touch, distance + cost, multiplier)
        if units <= 0:
            return _refuse(p, fraction, BELOW_MINIMUM)
        if slippage > 0.0:
            break
        slippage = 2.0 * abs(walk_kernel(book, side, units / rules.size_scale, touch) - touch)
        if not slippage > 0.0:
            break
    return Decision(
        side,
        units / rules.size_scale,
        profit_units / rules.price_scale,
        stop_units / rules.price_scale,
        p,
        fraction,
        ORDER,
    )


@njit(cache=True, error_model="numpy")
def decide_kernel(
    rules,
    signal: float,
    score: float,
    size_output: float,
    bid: float,
    ask: float,
    book,
    mids,
    equity: float,
    multiplier: float,
):
    """Return the `Decision` on one row; see `decide`."""
    deviation = math.nan
    if rules.stop_kind == STOP_VOLATILITY and abs(signal) > rules.entry_threshold:
        deviation = log_return_deviation_kernel(mids, rules.stop_window)
    return decide_at_deviation_kernel(
        rules, signal, score, size_output, bid, ask, book, deviation, equity, multiplier
    )


def decide(
    rules: np.void,
    *,
    signal: float,
    score: float,
    bid: float,
    ask: float,
    equity: float,
    size_output: float = 0.0,
    book: NDArray[np.float64] = NO_DEPTH,
    mids: NDArray[np.float64] | None = None,
    multiplier: float = 1.0,
) -> Decision:
    """Decide on one row, for an agent that is flat and has nothing pending.

    1. Side: ``signal`` beyond +-`entry_threshold`; a short is refused on spot.
    2. Touch: ask for a long, bid for a short; where the entry rests (`execution` not aggressive) the bracket
       hangs on the other one, at which it would rest. Stop distance by basis points or volatility; refused
       where it does not exceed the spread. Bracket prices rounded to the tick away from the entry.
    3. Cost of the round trip: taker fees both ways, the spread, and the slippage of an order beyond the touch
       size. Kelly on the net reward to risk, times `kelly_fraction`, or in mode "evolved" times
       ``lo + (hi - lo) * sigmoid(size_output)``: an evolved size is a share of Kelly's bet and cannot bet
       without an edge. Where the rules have a `certainty` below 1, times that.
    4. Quantity: see `apex_nautilus.risk.quantity`.

    Parameters
    ----------
    rules : numpy.void
        Record of dtype `RULES`, from `trading_rules`.
    signal, score, size_output : float
        Outputs of the genome's trees on this row. NaN trades nothing (a NaN `size_output` too, in mode
        "evolved").
    bid, ask : float
        Touch the entry would meet or rest at.
    equity : float
        Agent's equity in quote units.
    book : (4, K) float64
        Displayed levels: bid prices, bid sizes, ask prices, ask sizes; the first five count.
    mids : (n,) float64
        Mids of the clock rows, this row's last; a volatility stop reads the last ``window + 1``.
    multiplier : float
        Posture times the allocator's multiplier.

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        When `rules` is not a `RULES` record or `book` does not have four rows.
    """
    if getattr(rules, "dtype", None) != RULES:
        raise ValueError("decide: rules must be a record of dtype RULES; make it with trading_rules()")
    if book.ndim != 2 or book.shape[0] != 4:
        raise ValueError(f"decide: book must have shape (4, K), got {book.shape}")
    history = np.zeros(0) if mids is None else np.ascontiguousarray(mids, dtype=np.float64)
    return decide_kernel(
        rules, float(signal), float(score), float(size_output), float(bid), float(ask),
        np.ascontiguousarray(book, dtype=np.float64), history, float(equity), float(multiplier),
    )  # fmt: skip
