"""Entries that rest in the book before they are filled: the replay's side of the policy ``passive``.

One order of the entry is out at a time. At each path event, in this order:

1. The venue fills a resting order whole, at its price, when the opposite touch has reached it.
2. The policy chooses (`risk.entry_policy.passive_choice_kernel`), and is told of a signal that is gone by the
   row at this event, if there is one.
3. Commands reach the venue: on this event's book, or with a latency on the book they find when they arrive.

To re-price is to take the order back and to rest anew when it is known to be gone; to cross is to take it
back and to send a market order then. An order that is filled before its cancellation arrives is a position.
"""

from __future__ import annotations

import math

from apex_nautilus.forge._replay_fills import market_price
from apex_nautilus.forge._replay_jit import kernel
from apex_nautilus.forge._replay_position import open_position
from apex_nautilus.forge._replay_records import (
    REST_ARRIVING,
    REST_CROSSING,
    REST_NONE,
    REST_REFUSED,
    REST_RESTING,
    REST_TAKEN_BACK,
)
from apex_nautilus.risk.entry_policy import CROSS, JOIN, WAIT, passive_choice_kernel


@kernel
def send(state, rest: int, now_ns: int, latency_ns: int) -> None:
    """Send the next command of the entry; `rest` is what is out until it arrives."""
    state.rest = rest
    state.arrives_ns = now_ns + latency_ns


@kernel
def rest_at_touch(market, state, event: int, now_ns: int, latency_ns: int) -> None:
    """Send a post-only order at the near touch of `event`."""
    state.rest_price = market.bid[event] if state.rest_side > 0 else market.ask[event]
    state.priced_ns = now_ns
    send(state, REST_ARRIVING, now_ns, latency_ns)


@kernel
def begin_resting(market, state, side: int, event: int, latency_ns: int) -> None:
    """Start an entry of `side`, decided on the book of `event`."""
    state.rest_side = side
    state.decided_ns = market.ts_ns[event]
    state.next_event = event + 1
    rest_at_touch(market, state, event, market.ts_ns[event], latency_ns)


@kernel
def give_up(state, result) -> None:
    """Nothing was filled and nothing is wanted any more."""
    state.rest = REST_NONE
    result.n_given_up += 1


@kernel
def act(market, state, result, choice: int, event: int, now_ns: int, latency_ns: int) -> None:
    """Carry out a choice other than waiting; what rests is taken back first."""
    if choice == WAIT:
        return
    if state.rest == REST_RESTING:
        state.rest_choice = choice
        send(state, REST_TAKEN_BACK, now_ns, latency_ns)
    elif choice == JOIN:
        rest_at_touch(market, state, event, now_ns, latency_ns)
    elif choice == CROSS:
        send(state, REST_CROSSING, now_ns, latency_ns)
    else:
        give_up(state, result)


@kernel
def is_reached(market, state, event: int) -> bool:
    """Whether the opposite touch has come to the order's price."""
    if state.rest_side > 0:
        return market.ask[event] <= state.rest_price
    return market.bid[event] >= state.rest_price


@kernel
def meet_book(market, rules, state, result, event: int, is_wanted: bool, latency_ns: int) -> None:
    """Let the venue match what rests against the book of `event`, then let the policy choose."""
    if (state.rest == REST_RESTING or state.rest == REST_TAKEN_BACK) and is_reached(market, state, event):
        state.rest = REST_NONE
        result.n_rested += 1
        # The legs are placed on this very book, which may be beyond the stop already.
        open_position(
            market, rules, state, state.rest_side, event, market.ts_ns[event], event, state.rest_price, 0.0,
            rules.maker_fee, latency_ns,
        )  # fmt: skip
        return
    if state.rest != REST_RESTING and state.rest != REST_REFUSED:
        return
    now_ns = market.ts_ns[event]
    resting_price, since_priced_ns = math.nan, 0
    if state.rest == REST_RESTING:
        resting_price, since_priced_ns = state.rest_price, now_ns - state.priced_ns
    choice = passive_choice_kernel(
        state.rest_side, market.bid[event], market.ask[event], resting_price, now_ns - state.decided_ns,
        since_priced_ns, is_wanted, rules.reprice_ns, rules.patience_ns,
    )  # fmt: skip
    act(market, state, result, choice, event, now_ns, latency_ns)


@kernel
def settle(market, rules, state, result, event: int, last_event: int, latency_ns: int) -> None:
    """Let commands arrive that find the book of `event`."""
    while state.rest == REST_ARRIVING or state.rest == REST_TAKEN_BACK or state.rest == REST_CROSSING:
        now_ns = state.arrives_ns
        if latency_ns > 0 and (
            now_ns > market.ts_ns[last_event]
            or (event + 1 < market.ts_ns.shape[0] and market.ts_ns[event + 1] <= now_ns)
        ):
            return
        if state.rest == REST_ARRIVING:
            state.rest = REST_REFUSED if is_reached(market, state, event) else REST_RESTING
        elif state.rest == REST_CROSSING:
            side = state.rest_side
            price = market_price(market, event, side, state.quantity)
            middle = 0.5 * (market.ask[event] + market.bid[event])
            state.rest = REST_NONE
            result.n_crossed += 1
            open_position(
                market, rules, state, side, event, now_ns, event, price, side * (price - middle),
                rules.taker_fee, latency_ns,
            )  # fmt: skip
        elif state.rest_choice == JOIN:
            rest_at_touch(market, state, event, now_ns, latency_ns)
        elif state.rest_choice == CROSS:
            send(state, REST_CROSSING, now_ns, latency_ns)
        else:
            give_up(state, result)


@kernel
def chooses(state) -> bool:
    """Whether the policy is asked: nothing of the entry is on its way."""
    return state.rest == REST_RESTING or state.rest == REST_REFUSED
