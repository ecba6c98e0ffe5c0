"""How a contender gets into a position: at once, or by an order that rests until it is filled or given up.

One order of an entry is out at a time. A resting one is followed by the policy ``passive``
(`risk.entry_policy`): at every whole book and every row that the contender hears it says what it wishes.
Where an order is out, its cancellation goes first, and the wish is carried out when the venue's answer says
that it is gone; until then the latest wish counts, and only giving up is final. What was filled in the
meantime is never asked for again, so an entry never exceeds what was decided, whatever is lost on the way.
"""

import math

from ..features import header
from ..risk import signal_side_kernel
from ..risk.entry_policy import (
    CANCEL,
    CROSS,
    EXECUTION_AGGRESSIVE,
    JOIN,
    WAIT,
    is_inside_kernel,
    passive_choice_kernel,
)
from . import _contender_records as r
from . import _world as w
from ._contender_orders import POST_ONLY, send_cancel, send_market, send_resting
from ._jit import apart, kernel

__all__ = ["begin_entry", "cross", "go_on_entering", "is_wanted", "wish_now"]


@apart
def begin_entry(world, pit, who, units):
    """Send the first order of an entry of `units`."""
    c = pit.contenders[who]
    c.wanted_units = units
    c.wish = WAIT
    c.is_crossing = 0
    c.decided_ns = world.clock[w.NOW_NS]
    if pit.rules[who].execution == EXECUTION_AGGRESSIVE:
        cross(world, pit, who)
    else:
        _rest(world, pit, who)


@apart
def cross(world, pit, who):
    """Send a market order for what is missing; its end is the entry's."""
    c = pit.contenders[who]
    c.is_crossing = 1
    send_market(world, pit, who, c.side, c.wanted_units - c.entry_units)


@apart
def _rest(world, pit, who):
    """Send a post-only order for what is missing at the near touch, as it is seen."""
    c = pit.contenders[who]
    near = pit.floats[c.memory_at + (header.BID if c.side > 0 else header.ASK)]
    if math.isnan(near) or _too_small(pit, who, near):
        return
    c.entry_limit = near
    c.priced_ns = world.clock[w.NOW_NS]
    send_resting(world, pit, who, c.side, near, c.wanted_units - c.entry_units, POST_ONLY)


@kernel
def _too_small(pit, who, price):
    """Whether what is left of an entry that was filled in part is no order of its own."""
    c = pit.contenders[who]
    rules = pit.rules[who]
    size = (c.wanted_units - c.entry_units) / rules.size_scale
    return c.entry_units > 0 and (size < rules.venue_min_qty or size * price < rules.min_notional)


@kernel
def is_wanted(pit, who):
    """Whether the row evaluated last signals the side of the entry, the touch that is seen lies inside the
    bracket, and it was not given up."""
    c = pit.contenders[who]
    bid = pit.floats[c.memory_at + header.BID]
    ask = pit.floats[c.memory_at + header.ASK]
    return (
        c.wish != CANCEL
        and signal_side_kernel(pit.rules[who], pit.outputs[who, 0]) == c.side
        and is_inside_kernel(bid, ask, c.take_profit, c.stop)
    )


@apart
def wish_now(pit, who, now_ns):
    """Ask the policy of an entry that rests; returns whether there is anything to be done."""
    c = pit.contenders[who]
    rules = pit.rules[who]
    if c.is_crossing != 0:
        return False
    bid = pit.floats[c.memory_at + header.BID]
    ask = pit.floats[c.memory_at + header.ASK]
    is_out = c.resting_id >= 0
    if c.wish != CANCEL:
        choice = passive_choice_kernel(
            c.side,
            bid,
            ask,
            c.entry_limit if is_out else math.nan,
            now_ns - c.decided_ns,
            now_ns - c.priced_ns if is_out else 0,
            is_wanted(pit, who),
            rules.reprice_ns,
            rules.patience_ns,
        )
        if choice == CROSS and _too_small(pit, who, ask if c.side > 0 else bid):
            choice = CANCEL
        if choice == JOIN and _too_small(pit, who, bid if c.side > 0 else ask):
            choice = WAIT
        if choice != WAIT:
            c.wish = choice
    return c.wish != WAIT


@apart
def go_on_entering(world, pit, who):
    """Take the next step of an entry whose market order, if there was one, is answered.

    Returns how it ended, or `GOES_ON`.
    """
    c = pit.contenders[who]
    if c.is_crossing != 0:
        return r.CROSSED
    if c.resting_id >= 0:
        if c.wish != WAIT and pit.pending[who, r.CANCELLING].order_id < 0:
            send_cancel(world, pit, who, r.CANCELLING, c.resting_id, c.resting_slot)
        return r.GOES_ON
    if c.entry_units >= c.wanted_units:
        return r.RESTED
    # Without a wish the venue refused the order, or it was lost: the policy is asked at the next book.
    wish = c.wish
    c.wish = WAIT
    if wish == CANCEL:
        return r.GIVEN_UP
    if wish == CROSS:
        cross(world, pit, who)
    elif wish == JOIN:
        _rest(world, pit, who)
    return r.GOES_ON
