"""The venue: messages on their way to it, what they do to the book, and what the tape says about that."""

import math

import numpy as np

from ..features import FLAG_LAST, KIND_LEVEL, KIND_TRADE
from . import _world as w
from . import matching as m
from ._jit import kernel
from .draws import next_exponential, next_uniform
from .event_queue import push
from .latency import CANCEL, DATA, ORDER, delay_ns, in_order, is_lost

__all__ = ["deliver", "send_cancel", "send_order", "send_replace"]

_LEVEL, _TRADE, _LAST = np.int64(KIND_LEVEL), np.int64(KIND_TRADE), np.uint8(FLAG_LAST)
_FEED = np.int64(-1)  # the venue's own key for the delays of its data feed


@kernel
def _arrival(world, agent, direction):
    """When a message sent now arrives, -1 when it is lost.

    What an agent decides on is what it saw, and that was on its way to it for one data delay; deciding on the
    present and adding that delay to the message comes to the same.
    """
    account = world.accounts[agent]
    command = account.commands
    account.commands = command + 1
    world.clock[w.MESSAGES] += 1
    p = world.parameters[0]
    seed = world.seed[0]
    if is_lost(seed, agent, command, direction, p.loss):
        return -1
    sent = world.clock[w.NOW_NS] + delay_ns(seed, agent, command, DATA, p.latency_mu, p.latency_sigma)
    delay = delay_ns(seed, agent, command, direction, p.latency_mu, p.latency_sigma)
    arrival = in_order(sent, delay, account.last_arrival_ns)
    account.last_arrival_ns = arrival
    return arrival


@kernel
def send_order(world, agent, side, price, size, time_in_force):
    """Send an order; returns (slot, id), slot -1 when it was lost on the way."""
    clock = world.clock
    order_id = clock[w.NEXT_ORDER_ID]
    clock[w.NEXT_ORDER_ID] = order_id + 1
    clock[w.SENT] += 1
    arrival = _arrival(world, agent, ORDER)
    if arrival < 0:
        clock[w.LOST] += 1
        return -1, order_id
    slot = m.allocate(world.book, order_id, agent, side, price, size, time_in_force)
    push(world.heap, world.queue, arrival, w.ORDER_ARRIVES, slot, order_id, price, size)
    clock[w.IN_FLIGHT] += 1
    return slot, order_id


@kernel
def send_cancel(world, agent, slot, order_id):
    """Ask to cancel; returns False when the message was lost."""
    arrival = _arrival(world, agent, CANCEL)
    if arrival >= 0:
        push(world.heap, world.queue, arrival, w.CANCEL_ARRIVES, slot, order_id, w.NONE, w.NONE)
    return arrival >= 0


@kernel
def send_replace(world, agent, slot, order_id, price, size):
    """Ask to move an order; returns False when the message was lost."""
    arrival = _arrival(world, agent, ORDER)
    if arrival >= 0:
        push(world.heap, world.queue, arrival, w.REPLACE_ARRIVES, slot, order_id, price, size)
    return arrival >= 0


@kernel
def _write_event(world, received_ns, kind, side, price, size):
    clock = world.clock
    line = world.events[clock[w.N_EVENTS]]
    clock[w.N_EVENTS] += 1
    line.ts_event_ns = clock[w.NOW_NS]
    line.ts_init_ns = received_ns
    line.price = price * world.units[w.TICK_UNITS]
    line.size = size * world.units[w.LOT_UNITS]
    line.sequence = clock[w.BATCH]
    line.kind = kind
    line.side = side
    line.flags = 0


@kernel
def _volume(book, side, price):
    """What rests at a price on one side; 0 when the price is the other side's by now."""
    if side > 0:
        present = price <= book.state[m.BEST_BID]
    else:
        present = price >= book.state[m.BEST_ASK]
    return book.levels[price & (len(book.levels) - 1)].volume if present else 0


@kernel
def _write_level(world, received_ns, side, price):
    _write_event(world, received_ns, _LEVEL, side, price, _volume(world.book, side, price))


@kernel
def _begin_batch(world):
    """Draw when the next batch of the feed is received: data is in order too, and never lost.

    Returns the time of the batch's levels; its trades are received one nanosecond before. No two batches
    share an instant, so that levels and trades stored apart can be put together again.
    """
    clock = world.clock
    p = world.parameters[0]
    clock[w.BATCH] += 1
    delay = delay_ns(world.seed[0], _FEED, clock[w.BATCH], DATA, p.latency_mu, p.latency_sigma)
    received = in_order(clock[w.NOW_NS], delay, clock[w.LAST_RECEIVED_NS] + 1) + 1
    clock[w.LAST_RECEIVED_NS] = received
    return received


@kernel
def _end_batch(world):
    world.events[world.clock[w.N_EVENTS] - 1].flags = _LAST
    state = world.book.state
    if state[m.BID_LEVELS] > 0 and state[m.ASK_LEVELS] > 0:
        world.values[w.MID] = 0.5 * (state[m.BEST_BID] + state[m.BEST_ASK])


@kernel
def _settle(world, n_fills):
    """Book the fills on both sides' accounts and on the tape; returns the lots traded."""
    clock = world.clock
    units = world.units
    total = 0
    for k in range(n_fills):
        fill = world.fills[k]
        size = fill.size
        if fill.maker_done:
            clock[w.FILLED_ if size > 0 else w.CANCELLED_] += 1
        if size == 0:
            continue
        total += size
        side = np.int64(fill.taker_side)
        value = fill.price * size
        taker = world.accounts[fill.taker_owner]
        maker = world.accounts[fill.maker_owner]
        taker.inventory += side * size
        maker.inventory -= side * size
        taker.cash -= side * value
        maker.cash += side * value
        taker.fees += value * units[w.TAKER_FEE]
        maker.fees += value * units[w.MAKER_FEE]
        if side > 0:
            taker.bought += size
            maker.sold += size
        else:
            taker.sold += size
            maker.bought += size
        line = world.trades[clock[w.N_TRADES]]
        clock[w.N_TRADES] += 1
        line.ts_ns = clock[w.NOW_NS]
        line.price = fill.price * units[w.TICK_UNITS]
        line.size = size * units[w.LOT_UNITS]
        line.taker_order = fill.taker_id
        line.maker_order = fill.maker_id
        line.taker = fill.taker_owner
        line.maker = fill.maker_owner
        line.side = fill.taker_side
    clock[w.VOLUME] += total
    return total


@kernel
def _publish(world, received, side, n_fills, left_at, left, rests_at, rests):
    """Write one batch: per price a trade, then the levels that changed.

    `left_at` is the price an order has left (where `left`), `rests_at` the one it rests at now (where
    `rests`). Readers that match after every level must not see a touch that never was. So the side that was
    traded against comes before the one where the rest now lies (bids before asks where there is no rest),
    from its deepest level up to the old touch; and where an order has moved, a level that is gone goes last,
    one that remains by its depth.
    """
    fills = world.fills
    at = 0
    while at < n_fills:
        price = fills[at].price
        size = 0
        while at < n_fills and fills[at].price == price:
            size += fills[at].size
            at += 1
        if size > 0:
            _write_event(world, received - 1, _TRADE, side, price, size)
    if left and not rests and side > 0:
        _write_level(world, received, side, left_at)
    at = n_fills - 1
    while at >= 0:
        price = fills[at].price
        _write_level(world, received, -side, price)
        while at >= 0 and fills[at].price == price:
            at -= 1
    if left and not rests and side < 0:
        _write_level(world, received, side, left_at)
    if rests and not left:
        _write_level(world, received, side, rests_at)
    elif rests:
        gone = _volume(world.book, side, left_at) == 0
        new_first = gone or (rests_at - left_at) * side < 0
        _write_level(world, received, side, rests_at if new_first else left_at)
        _write_level(world, received, side, left_at if new_first else rests_at)


@kernel
def _excite(world, side):
    """A trade gives birth to a Poisson number of market orders, each after an exponential delay."""
    p = world.parameters[0]
    limit = math.exp(-p.excitation_ratio)
    product = next_uniform(world.stream)
    while product > limit:
        product *= next_uniform(world.stream)
        delay = np.int64(next_exponential(world.stream, p.excitation_decay_s) * 1e9)
        born = side if next_uniform(world.stream) < p.excitation_same_side else -side
        push(world.heap, world.queue, world.clock[w.NOW_NS] + delay, w.EXCITED, w.NONE, w.NONE, w.NONE, born)


@kernel
def _count(world, fate):
    clock = world.clock
    if fate == m.FILLED:
        clock[w.FILLED_] += 1
    elif fate == m.EXPIRED:
        clock[w.EXPIRED_] += 1
    elif fate == m.REJECTED:
        clock[w.REJECTED_] += 1


@kernel
def deliver(world):
    """Let the message at hand (`world.event`) reach the venue."""
    book = world.book
    event = world.event[0]
    slot = np.int64(event.slot)
    order_id = event.id
    order = book.orders[slot]
    side = np.int64(order.side)
    price = order.price
    if event.kind == w.ORDER_ARRIVES:
        world.clock[w.IN_FLIGHT] -= 1
        fate, n_fills = m.submit(book, slot, world.fills, 0)
        _count(world, fate)
        if n_fills == 0 and fate != m.RESTING:
            return
        received = _begin_batch(world)
        _publish(world, received, side, n_fills, price, False, price, fate == m.RESTING)
    else:
        # A message for an order that is gone changes nothing, and so the feed says nothing.
        if order.id != order_id or order.resting == 0:
            return
        n_fills = 0
        if event.kind == w.CANCEL_ARRIVES:
            m.cancel(book, slot, order_id)
            world.clock[w.CANCELLED_] += 1
            received = _begin_batch(world)
            _write_level(world, received, side, price)
        else:
            size_before = order.size
            target = event.price
            if target == price and event.size == size_before:
                return
            fate, n_fills = m.replace(book, slot, order_id, target, event.size, world.fills, 0)
            if fate == m.REJECTED:
                return
            _count(world, fate)
            received = _begin_batch(world)
            _publish(world, received, side, n_fills, price, target != price, target, fate == m.RESTING)
    _end_batch(world)
    if n_fills > 0 and _settle(world, n_fills) > 0:
        _excite(world, side)
