"""Entries that rest in the book before they are filled: the replay's side of the policy ``passive``.

One order of the entry is out at a time. At each path event, in this order:

1. The venue fills a resting order whole, at its price, when the opposite touch has reached it.
2. The policy is asked (`risk.entry_policy.passive_choice_kernel`), and asked again with what the row at this
   event signals, if there is one.
3. Commands reach the venue: on this event's book, or with a latency on the book they find when they arrive.

What the policy wants is its *wish*. Where an order is out it is taken back first, and the wish is carried out
when it is known to be gone; until then the policy goes on being asked, and its latest wish counts. An order
that is filled before its cancellation arrives is a position.
"""

from __future__ import annotations

import math

from apex_nautilus.forge._replay_fills import market_price
from apex_nautilus.forge._replay_jit import kernel
from apex_nautilus.forge._replay_position import open_position
from apex_nautilus.forge._replay_records import REST_CROSSING, REST_NONE, REST_NOTHING_OUT, REST_ORDER_OUT
from apex_nautilus.risk.entry_policy import (
    CANCEL,
    CROSS,
    JOIN,
    WAIT,
    is_inside_kernel,
    passive_choice_kernel,
)
from apex_nautilus.risk.order_timeout import NEVER_NS


@kernel
def begin_resting(market, state, side: int, event: int, latency_ns: int) -> None:
    """Start an entry of `side`, decided on the book of `event`: its first order leaves at once."""
    state.rest_side = side
    state.decided_ns = market.ts_ns[event]
    state.next_event = event + 1
    rest_at_touch(market, state, event, market.ts_ns[event], latency_ns)


@kernel
def rest_at_touch(market, state, event: int, now_ns: int, latency_ns: int) -> None:
    """Send a post-only order at the near touch of `event`."""
    state.rest = REST_ORDER_OUT
    state.rest_price = market.bid[event] if state.rest_side > 0 else market.ask[event]
    state.priced_ns = market.ts_ns[event]
    state.wish = WAIT
    state.is_in_book = 0
    state.arrives_ns = now_ns + latency_ns
    state.cancel_ns = NEVER_NS


@kernel
def carry_out(market, state, result, event: int, now_ns: int, latency_ns: int) -> None:
    """Nothing is out: do what is wished, seeing the book of `event`."""
    wish = state.wish
    state.wish = WAIT
    state.rest = REST_NOTHING_OUT
    state.cancel_ns = NEVER_NS
    if wish == JOIN:
        rest_at_touch(market, state, event, now_ns, latency_ns)
    elif wish == CROSS:
        state.rest = REST_CROSSING
        state.arrives_ns = now_ns + latency_ns
    elif wish == CANCEL:
        state.rest = REST_NONE
        result.n_given_up += 1


@kernel
def ask_policy(market, rules, state, result, event: int, is_wanted: bool, latency_ns: int) -> None:
    """Ask the policy what it wishes on the book of `event`, and take a step towards it; `is_wanted` is what
    the latest row signals."""
    if state.rest == REST_NONE or state.rest == REST_CROSSING:
        return
    now_ns = market.ts_ns[event]
    is_out = state.rest == REST_ORDER_OUT
    if state.wish != CANCEL:
        bid, ask = market.bid[event], market.ask[event]
        choice = passive_choice_kernel(
            state.rest_side, bid, ask, state.rest_price if is_out else math.nan, now_ns - state.decided_ns,
            now_ns - state.priced_ns if is_out else 0,
            is_wanted and is_inside_kernel(bid, ask, state.take_profit, state.stop), rules.reprice_ns,
            rules.patience_ns,
        )  # fmt: skip
        if choice != WAIT:
            state.wish = choice
    if state.wish == WAIT:
        return
    if not is_out:
        carry_out(market, state, result, event, now_ns, latency_ns)
    elif state.cancel_ns == NEVER_NS:
        state.cancel_ns = now_ns + latency_ns


@kernel
def is_reached(market, state, event: int) -> bool:
    """Whether the opposite touch has come to the order's price."""
    if state.rest_side > 0:
        return market.ask[event] <= state.rest_price
    return market.bid[event] >= state.rest_price


@kernel
def match(market, rules, state, result, event: int, latency_ns: int) -> None:
    """Let the venue match what rests against the book of `event`."""
    if state.rest == REST_ORDER_OUT and state.is_in_book != 0 and is_reached(market, state, event):
        state.rest = REST_NONE
        result.n_rested += 1
        # Unlike the decision's, the book of the fill may be beyond a leg: they are checked on it.
        open_position(
            market, rules, state, state.rest_side, event, market.ts_ns[event], event, state.rest_price, 0.0,
            rules.maker_fee, latency_ns,
        )  # fmt: skip


@kernel
def settle(market, rules, state, result, event: int, last_event: int, latency_ns: int) -> None:
    """Let the commands arrive that find the book of `event`."""
    while state.rest == REST_ORDER_OUT or state.rest == REST_CROSSING:
        inserts = state.rest == REST_CROSSING or state.is_in_book == 0
        now_ns = state.arrives_ns if inserts else state.cancel_ns
        if now_ns == NEVER_NS:
            return
        if latency_ns > 0 and (
            now_ns > market.ts_ns[last_event]
            or (event + 1 < market.ts_ns.shape[0] and market.ts_ns[event + 1] <= now_ns)
        ):
            return
        if state.rest == REST_CROSSING:
            side = state.rest_side
            price = market_price(market, event, side, state.quantity)
            middle = 0.5 * (market.ask[event] + market.bid[event])
            state.rest = REST_NONE
            result.n_crossed += 1
            open_position(
                market, rules, state, side, event, now_ns, event, price, side * (price - middle),
                rules.taker_fee, latency_ns,
            )  # fmt: skip
        elif inserts and not is_reached(market, state, event):
            state.is_in_book = 1
        else:
            # Taken back, or refused by the venue because it would have traded.
            carry_out(market, state, result, event, now_ns, latency_ns)
