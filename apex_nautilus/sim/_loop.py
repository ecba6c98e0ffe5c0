"""The loop of a market: the next event, again and again."""

import numpy as np

from . import _agents as agents
from . import _world as w
from . import matching as m
from ._jit import loop
from ._venue import deliver, send_all
from .event_queue import peek, pop, room

__all__ = ["DONE", "FLUSH", "GROW_FILLS", "GROW_HEAP", "GROW_LADDER", "GROW_ORDERS", "PAUSED", "advance"]

# Why the loop stopped.
DONE, PAUSED, GROW_LADDER, GROW_ORDERS, GROW_HEAP, GROW_FILLS, FLUSH = 0, 1, 2, 3, 4, 5, 6


@loop
def advance(world, until_ns, max_steps):
    """Run events up to `until_ns` (inclusive); returns why it stopped, always between two events."""
    clock = world.clock
    book = world.book
    state = book.state
    per_wake = len(world.outbox)
    for _ in range(max_steps):
        time_ns, place = peek(world.queue)
        if time_ns > until_ns:
            clock[w.NOW_NS] = until_ns
            return DONE
        if room(world.queue) < per_wake:
            return GROW_HEAP
        if state[m.FREE_COUNT] < per_wake:
            return GROW_ORDERS
        resting = state[m.BID_ORDERS] + state[m.ASK_ORDERS]
        if len(world.fills) < resting:
            return GROW_FILLS
        levels = state[m.BID_LEVELS] + state[m.ASK_LEVELS]
        if (
            len(world.events) - clock[w.N_EVENTS] < 2 * levels + 4
            or len(world.trades) - clock[w.N_TRADES] < resting
            or clock[w.N_SAMPLES] == len(world.samples)
            or (len(world.log) > 0 and len(world.log) - clock[w.N_LOG] < resting + 2)
        ):
            return FLUSH
        next_event = world.queue.records[place]
        kind = next_event.kind
        if kind == w.ORDER_ARRIVES or kind == w.REPLACE_ARRIVES:
            rests = kind == w.REPLACE_ARRIVES or book.orders[next_event.slot].time_in_force == m.GTC
            if rests and not m.fits(book, next_event.price):
                return GROW_LADDER
        pop(world.queue, place, world.event)
        clock[w.NOW_NS] = time_ns
        clock[w.STEPS] += 1
        # One long branch, because numba optimises every kernel again in each of its callers.
        if kind <= w.EXPIRES:
            deliver(world)
        elif kind == w.NOISE_LIMIT:
            agents.noise_limit(world)
        elif kind == w.NOISE_EXPIRE:
            agents.noise_expire(world)
        elif kind == w.NOISE_MARKET:
            agents.noise_market(world, agents.random_side(world))
            agents.again(world, world.parameters[0].market_rate, w.NOISE_MARKET)
        elif kind == w.EXCITED:
            agents.noise_market(world, world.event[0].size)
        elif kind == w.MAKER:
            agents.maker(world, np.int64(world.event[0].slot))
        elif kind == w.INFORMED:
            agents.informed(world)
        elif kind == w.EXECUTOR:
            agents.executor(world, np.int64(world.event[0].slot))
        elif kind == w.MOMENTUM:
            agents.trend(world, w.MOMENTUM, w.MOMENTUM_, world.parameters[0].momentum_rate, w.BUY)
        elif kind == w.REVERSION:
            agents.trend(world, w.REVERSION, w.REVERSION_, world.parameters[0].reversion_rate, w.SELL)
        elif kind == w.VALUE:
            agents.value(world)
        elif kind == w.FUNDING:
            agents.funding(world)
        else:
            agents.start(world)
        if clock[w.N_OUT] > 0:
            send_all(world)
    return PAUSED
