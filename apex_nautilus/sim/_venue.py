"""The venue: messages on their way to it, what they do to the book, and what the tape says about that."""

import numpy as np

from ..features import FLAG_LAST, KIND_LEVEL, KIND_TRADE
from . import _world as w
from . import matching as m
from ._jit import kernel
from .draws import next_exponential, next_uniform
from .elementary import exp
from .event_queue import push
from .latency import AHEAD, CANCEL, DATA, ORDER, burst_factor, decayed_rate, draw_ahead, in_order

__all__ = ["ask_cancel", "ask_order", "ask_replace", "delay_factor", "deliver", "send_all", "wake"]

_LEVEL, _TRADE, _LAST = np.int64(KIND_LEVEL), np.int64(KIND_TRADE), np.uint8(FLAG_LAST)
_RETRY_NS = 1_000_000_000  # a cancel that was lost is sent again
_LAPSED = np.int64(255)  # time in force of an order that ran out before it arrived
_NO_QUOTE = np.int64(-1)

# Agents do not send; they write down what they want, and `send_all` sends it. One place that draws delays and
# schedules events, instead of one in each of twenty, makes a kernel that fits the processor's cache.


@kernel
def _wish(world, kind):
    clock = world.clock
    wish = world.outbox[clock[w.N_OUT]]
    clock[w.N_OUT] += 1
    wish.kind = kind
    return wish


@kernel
def wake(world, kind, time_ns, slot, size):
    """Wake `kind` at a time; `slot` and `size` are its own."""
    wish = _wish(world, kind)
    wish.time_ns = time_ns
    wish.slot = slot
    wish.id = 0
    wish.price = 0
    wish.size = size


@kernel
def ask_order(world, agent, side, price, size, time_in_force, life_ns, after, quote):
    """Want an order. It ends after `life_ns` by an event of kind `after`, if `life_ns` is positive."""
    wish = _wish(world, w.ORDER_ARRIVES)
    wish.agent = agent
    wish.side = side
    wish.price = price
    wish.size = size
    wish.time_in_force = time_in_force
    wish.time_ns = life_ns
    wish.after = after
    wish.quote = quote


@kernel
def ask_cancel(world, agent, slot, order_id, again):
    """Want an order cancelled; with `again`, as often as it takes until a message gets through."""
    wish = _wish(world, w.CANCEL_ARRIVES)
    wish.agent = agent
    wish.slot = slot
    wish.id = order_id
    wish.price = 0
    wish.size = 0
    wish.after = again


@kernel
def ask_replace(world, agent, slot, order_id, price, size):
    """Want an order moved."""
    wish = _wish(world, w.REPLACE_ARRIVES)
    wish.agent = agent
    wish.slot = slot
    wish.id = order_id
    wish.price = price
    wish.size = size


@kernel
def delay_factor(world):
    """Count a message towards the rate of messages; by what delays are longer now."""
    p = world.parameters[0]
    if p.burst_coupling <= 0.0:
        return 1.0
    clock = world.clock
    values = world.values
    elapsed_s = (clock[w.NOW_NS] - clock[w.RATE_NS]) * 1e-9
    clock[w.RATE_NS] = clock[w.NOW_NS]
    values[w.RATE] = decayed_rate(values[w.RATE], elapsed_s, p.burst_memory_s) + 1.0 / p.burst_memory_s
    return burst_factor(values[w.RATE], p.burst_coupling, p.burst_rate)


@kernel
def send_all(world):
    """Give everything that is wanted to the network, in the order it was written down.

    What an agent decides on is what it saw, and that was on its way to it for one data delay; deciding on the
    present and adding that delay to the message comes to the same.
    """
    clock = world.clock
    p = world.parameters[0]
    at = 0
    while at < clock[w.N_OUT]:
        wish = world.outbox[at]
        at += 1
        kind = wish.kind
        time_ns = wish.time_ns
        slot = wish.slot
        order_id = wish.id
        if kind <= w.REPLACE_ARRIVES:
            agent = wish.agent
            account = world.accounts[agent]
            turn = account.commands & (AHEAD - 1)
            if turn == 0:
                mu = world.delays[account.kind]
                for way in range(3):
                    draw_ahead(
                        world.keys[agent],
                        account.commands,
                        np.int64(way),
                        mu[way],
                        p.latency_sigma,
                        0.0 if way == DATA else p.loss,
                        world.ahead[agent, way],
                    )
            account.commands += 1
            clock[w.MESSAGES] += 1
            delay = world.ahead[agent, CANCEL if kind == w.CANCEL_ARRIVES else ORDER, turn]
            lost = delay < 0.0
            if kind == w.ORDER_ARRIVES:
                order_id = clock[w.NEXT_ORDER_ID]
                clock[w.NEXT_ORDER_ID] = order_id + 1
                clock[w.SENT] += 1
                if lost:
                    clock[w.LOST] += 1
                    slot = np.int64(0)
                else:
                    slot = m.allocate(
                        world.book, order_id, agent, wish.side, wish.price, wish.size, wish.time_in_force
                    )
                    clock[w.IN_FLIGHT] += 1
                    if time_ns > 0:
                        follow = world.outbox[clock[w.N_OUT]]
                        clock[w.N_OUT] += 1
                        follow.kind = wish.after
                        follow.time_ns = clock[w.NOW_NS] + time_ns
                        follow.slot = slot
                        follow.id = order_id
                        follow.price = 0
                        follow.size = 0
                if wish.quote >= 0:
                    quote = world.quotes[wish.quote]
                    quote.slot = slot
                    quote.id = -1 if lost else order_id
            if lost:
                if kind != w.CANCEL_ARRIVES or wish.after == 0:
                    continue
                kind = w.NOISE_EXPIRE
                time_ns = clock[w.NOW_NS] + _RETRY_NS
            else:
                sent = clock[w.NOW_NS] + np.int64(world.ahead[agent, DATA, turn] + 0.5)
                delay = np.int64(delay * delay_factor(world) + 0.5)
                time_ns = in_order(sent, delay, account.last_arrival_ns)
                account.last_arrival_ns = time_ns
        push(world.queue, time_ns, kind, slot, order_id, wish.price, wish.size)
    clock[w.N_OUT] = 0


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
    turn = clock[w.PUBLISHED] & (AHEAD - 1)
    feed = len(world.ahead) - 1
    if turn == 0:
        mu = world.delays[len(world.delays) - 1, DATA]
        draw_ahead(
            world.keys[feed], clock[w.PUBLISHED], DATA, mu, p.latency_sigma, 0.0, world.ahead[feed, DATA]
        )
    clock[w.PUBLISHED] += 1
    delay = np.int64(world.ahead[feed, DATA, turn] + 0.5)
    received = in_order(clock[w.NOW_NS], delay, clock[w.LAST_RECEIVED_NS] + 1) + 1
    clock[w.LAST_RECEIVED_NS] = received
    return received


@kernel
def _end_batch(world):
    world.events[world.clock[w.N_EVENTS] - 1].flags = _LAST
    state = world.book.state
    clock = world.clock
    since = clock[w.ONE_SIDED_SINCE]
    if state[m.BID_LEVELS] > 0 and state[m.ASK_LEVELS] > 0:
        world.values[w.MID] = 0.5 * (state[m.BEST_BID] + state[m.BEST_ASK])
        if since >= 0:
            clock[w.ONE_SIDED_NS] += clock[w.NOW_NS] - since
            clock[w.ONE_SIDED_SINCE] = -1
    elif since < 0:
        clock[w.ONE_SIDED_SINCE] = clock[w.NOW_NS]


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
def _log(world, kind, order_id, owner, side, price, size):
    """Write down what happened to one order at rest, where that is asked for."""
    if len(world.log) == 0:
        return
    clock = world.clock
    line = world.log[clock[w.N_LOG]]
    clock[w.N_LOG] += 1
    line.ts_ns = clock[w.NOW_NS]
    line.order_id = order_id
    line.price = price * world.units[w.TICK_UNITS]
    line.size = size * world.units[w.LOT_UNITS]
    line.owner = owner
    line.kind = kind
    line.side = side


@kernel
def _log_fills(world, n_fills):
    """Write down whom an incoming order met."""
    if len(world.log) == 0:
        return
    for k in range(n_fills):
        fill = world.fills[k]
        side = -np.int64(fill.taker_side)
        traded = fill.size > 0
        kind = w.EXECUTED if traded else w.DELETED
        size = fill.size if traded else fill.prevented
        _log(world, kind, fill.maker_id, fill.maker_owner, side, fill.price, size)


@kernel
def _excite(world, side):
    """A trade gives birth to a Poisson number of market orders, each after an exponential delay."""
    p = world.parameters[0]
    limit = exp(-p.excitation_ratio)
    product = next_uniform(world.stream)
    for _ in range(w.MOST_BIRTHS):
        if product <= limit:
            return
        product *= next_uniform(world.stream)
        delay = np.int64(next_exponential(world.stream, p.excitation_decay_s) * 1e9)
        born = side if next_uniform(world.stream) < p.excitation_same_side else -side
        wake(world, w.EXCITED, world.clock[w.NOW_NS] + delay, 0, born)


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
    """Let the message at hand (`world.event`) reach the venue, or an order there run out."""
    book = world.book
    clock = world.clock
    event = world.event[0]
    slot = np.int64(event.slot)
    kind = event.kind
    order = book.orders[slot]
    side = np.int64(order.side)
    price = order.price
    target = price
    moved = False
    if kind == w.ORDER_ARRIVES:
        clock[w.IN_FLIGHT] -= 1
        if order.time_in_force == _LAPSED:
            m.release(book, slot)
            clock[w.EXPIRED_] += 1
            return
    else:
        # A message for an order that is gone changes nothing, and so the feed says nothing.
        if order.id != event.id:
            return
        if order.resting == 0:
            if kind == w.EXPIRES:
                order.time_in_force = _LAPSED
            return
        size = order.size
        if kind == w.CANCEL_ARRIVES or kind == w.EXPIRES:
            _log(world, w.DELETED, event.id, order.owner, side, price, size)
            m.cancel(book, slot, event.id)
            clock[w.CANCELLED_ if kind == w.CANCEL_ARRIVES else w.EXPIRED_] += 1
            received = _begin_batch(world)
            _write_level(world, received, side, price)
            _end_batch(world)
            return
        target = event.price
        if target == price and event.size == order.size:
            return
        fate = m.move(book, slot, target, event.size)
        if fate == m.REJECTED:
            return
        moved = target != price
        if fate == m.RESTING:
            _log(world, w.REDUCED, event.id, order.owner, side, price, size - order.size)
            received = _begin_batch(world)
            _write_level(world, received, side, price)
            _end_batch(world)
            return
        _log(world, w.DELETED, event.id, order.owner, side, price, size)
    fate, n_fills = m.submit(book, slot, world.fills, 0)
    _count(world, fate)
    _log_fills(world, n_fills)
    if fate == m.RESTING:
        _log(world, w.SUBMITTED, order.id, order.owner, side, target, order.size)
    if n_fills == 0 and fate != m.RESTING and kind == w.ORDER_ARRIVES:
        return
    received = _begin_batch(world)
    _publish(world, received, side, n_fills, price, moved, target, fate == m.RESTING)
    _end_batch(world)
    if n_fills > 0 and _settle(world, n_fills) > 0:
        _excite(world, side)
