"""The loop of a market with contenders: one event of the market, or one look of a contender, at a time.

A market without contenders never comes here. What the venue does is the market's own loop (`_loop.advance`),
asked for one event at a time and never for one later than the next thing that some contender hears; what the
event put onto the tape is then on its way to each of them. So at any time a contender knows exactly what has
reached it, and the market does not know that it is being watched.
"""

import numpy as np

from ..risk.order_timeout import NEVER_NS
from . import _contender_records as r
from . import _world as w
from . import matching as m
from ._contender_desk import attend, mark_until
from ._contender_row import equity_seen
from ._jit import apart, entry, kernel, loop
from ._loop import DONE, GROW_HEAP, GROW_ORDERS, PAUSED, advance
from .draws import extend_key
from .event_queue import room
from .latency import DATA, delay_of, in_order

__all__ = ["GROW_PIT", "contest", "equity_now", "mark_all", "subscribe"]

GROW_PIT = 7  # beside the reasons of `_loop`
_ONE = np.int64(1)


@kernel
def _data_due(world, pit, who):
    """Draw when what the venue says now reaches a contender: data is in order and never lost.

    No two batches share an instant, and the instant before is free for their trades, as on the tape.
    """
    c = pit.contenders[who]
    key = extend_key(world.keys[c.agent], c.heard)
    c.heard += 1
    delay = np.int64(delay_of(key, DATA, c.data_mu, c.sigma) + 0.5)
    c.last_heard_ns = in_order(world.clock[w.NOW_NS], delay, c.last_heard_ns + 1) + 1
    return c.last_heard_ns


@kernel
def _post(world, pit, who, due_ns, kind):
    """Put a message into a contender's inbox; the caller has made sure of the room."""
    c = pit.contenders[who]
    message = pit.inbox[who, c.tail & (pit.inbox.shape[1] - 1)]
    c.tail += 1
    c.next_ns = min(c.next_ns, due_ns)
    message.due_ns = due_ns
    message.ts_ns = world.clock[w.NOW_NS]
    message.kind = kind
    return message


@kernel
def _post_batch(world, pit, who, due_ns, at, count):
    message = _post(world, pit, who, due_ns, r.BATCH)
    message.at = at
    message.count = count


@apart
def _answer(world, pit, who, due_ns, n_trades):
    """Tell a contender what became of its order or of its cancellation, and of what rests."""
    c = pit.contenders[who]
    event = world.event[0]
    kind = event.kind
    orders = world.book.orders
    own_arrival = kind == w.ORDER_ARRIVES and orders[event.slot].owner == c.agent
    left = event.size
    for k in range(n_trades, world.clock[w.N_TRADES]):
        line = world.trades[k]
        takes = line.taker == c.agent
        if not takes and line.maker != c.agent:
            continue
        message = _post(world, pit, who, due_ns, r.FILL)
        message.order_id = line.taker_order if takes else line.maker_order
        message.side = line.side if takes else -line.side
        message.price = line.price // world.units[w.TICK_UNITS]
        message.size = line.size // world.units[w.LOT_UNITS]
        message.maker = 0 if takes else 1
        if takes:
            left -= message.size
            message.left = left
        else:
            resting = orders[c.resting_slot]
            message.left = resting.size if resting.id == line.maker_order else 0
    if own_arrival:
        rests = orders[event.slot].id == event.id
        message = _post(world, pit, who, due_ns, r.OPEN if rests else r.CLOSED)
        message.order_id = event.id
        message.count = 0
        if c.resting_id >= 0 and c.resting_id != event.id and orders[c.resting_slot].id != c.resting_id:
            # Its own order stood in the way and was taken off, or has just been reported as filled.
            message = _post(world, pit, who, due_ns, r.CLOSED)
            message.order_id = c.resting_id
            message.count = 0
    elif kind == w.CANCEL_ARRIVES and event.size == c.agent + 1:
        message = _post(world, pit, who, due_ns, r.CLOSED)
        message.order_id = event.id
        message.count = 1


@kernel
def _concerns(world, agent, n_trades):
    """Whether the event at hand is an answer to an agent."""
    event = world.event[0]
    if event.kind == w.ORDER_ARRIVES and world.book.orders[event.slot].owner == agent:
        return True
    if event.kind == w.CANCEL_ARRIVES and event.size == agent + 1:
        return True
    for k in range(n_trades, world.clock[w.N_TRADES]):
        if world.trades[k].taker == agent or world.trades[k].maker == agent:
            return True
    return False


@kernel
def _hear(world, pit, n_events, n_trades):
    """Send what the event at hand has put onto the tape to every contender, and answers to whom they concern.

    What the venue says at one instant travels together: the answer first, then the public batch.
    """
    clock = world.clock
    at = pit.ring[0]
    count = clock[w.N_EVENTS] - n_events
    mask = len(pit.lines) - 1
    for k in range(count):
        pit.lines[(at + k) & mask] = world.events[n_events + k]
    pit.ring[0] = at + count
    kind = world.event[0].kind
    for who in range(len(pit.contenders)):
        agent = pit.contenders[who].agent
        answer = kind <= w.EXPIRES and _concerns(world, agent, n_trades)
        if count > 0 or answer:
            due_ns = _data_due(world, pit, who)
            if answer:
                _answer(world, pit, who, due_ns, n_trades)
            if count > 0:
                _post_batch(world, pit, who, due_ns, at, count)
        if kind == w.FUNDING:
            _hear_funding(world, pit, who)


@kernel
def _hear_funding(world, pit, who):
    c = pit.contenders[who]
    paid = world.accounts[c.agent].funding - c.funding_seen
    if paid != 0:
        c.funding_seen += paid
        message = _post(world, pit, who, _data_due(world, pit, who), r.FUNDED)
        message.price = paid


@kernel
def _room(pit, most):
    """Whether the arrays hold whatever one event or one message may bring: `most` fills or changed levels."""
    oldest = pit.ring[0]
    for who in range(len(pit.contenders)):
        c = pit.contenders[who]
        if c.tail - c.head + most + 8 > pit.inbox.shape[1] or c.n_trades == pit.trades.shape[1]:
            return False
        if c.records != 0 and (
            c.n_row_lines == pit.rows.shape[1]
            or c.n_heard_lines == pit.heard.shape[1]
            or c.n_sent_lines + r.LARGEST_WAKE > pit.sent.shape[1]
        ):
            return False
    if oldest - pit.ring[1] + 2 * most + 8 <= len(pit.lines):
        return True
    # The oldest line that anybody has still to hear is looked for only when the ring seems full.
    mask = pit.inbox.shape[1] - 1
    for who in range(len(pit.contenders)):
        c = pit.contenders[who]
        for k in range(c.head, c.tail):
            message = pit.inbox[who, k & mask]
            if message.kind == r.BATCH:
                oldest = min(oldest, message.at)
                break
    pit.ring[1] = oldest
    return pit.ring[0] - oldest + 2 * most + 8 <= len(pit.lines)


@loop
def contest(world, pit, until_ns, max_steps):
    """Run market and contenders up to `until_ns` (inclusive); returns why it stopped, as `_loop.advance`."""
    clock = world.clock
    state = world.book.state
    for _ in range(max_steps):
        soonest = NEVER_NS
        who = np.int64(0)
        for k in range(len(pit.contenders)):
            if pit.contenders[k].next_ns < soonest:
                soonest = pit.contenders[k].next_ns
                who = k
        if not _room(pit, state[m.BID_ORDERS] + state[m.ASK_ORDERS]):
            return GROW_PIT
        n_events = clock[w.N_EVENTS]
        n_trades = clock[w.N_TRADES]
        why = advance(world, min(soonest, until_ns), _ONE)
        if why == PAUSED:
            _hear(world, pit, n_events, n_trades)
            continue
        if why != DONE or soonest > until_ns:
            return why
        if room(world.queue) < r.LARGEST_WAKE:
            return GROW_HEAP
        if state[m.FREE_COUNT] < r.LARGEST_WAKE:
            return GROW_ORDERS
        attend(world, pit, who)
    return PAUSED


@entry
def subscribe(world, pit, events):
    """Send a snapshot of the book to every contender: the first thing that it hears."""
    at = pit.ring[0]
    mask = len(pit.lines) - 1
    for k in range(len(events)):
        pit.lines[(at + k) & mask] = events[k]
    pit.ring[0] = at + len(events)
    for who in range(len(pit.contenders)):
        _post_batch(world, pit, who, _data_due(world, pit, who), at, len(events))


@entry
def mark_all(pit, now_ns):
    """Write every contender's equity at the marks up to a time."""
    for who in range(len(pit.contenders)):
        mark_until(pit, who, now_ns)


@entry
def equity_now(pit, who):
    """A contender's equity, an open position at the touch as it is seen."""
    return equity_seen(pit, who)
