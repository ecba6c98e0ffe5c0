"""How a contender's commands leave: each takes its time, and some are lost."""

import math

import numpy as np

from ..risk.order_timeout import sent_kernel
from . import _contender_records as r
from . import _world as w
from . import matching as m
from ._jit import apart, kernel
from ._venue import delay_factor
from .draws import extend_key
from .event_queue import push
from .latency import CANCEL, ORDER, delay_of, in_order, loss_of

__all__ = ["GTC", "IOC", "POST_ONLY", "send_cancel", "send_market", "send_resting"]

# Typed, because numba compiles a kernel anew for every literal number it is called with.
GTC, IOC, POST_ONLY = np.int64(m.GTC), np.int64(m.IOC), np.int64(m.POST_ONLY)
_NO_ASK, _NO_BID = np.int64(m.NO_ASK), np.int64(m.NO_BID)


@kernel
def note_sent(world, pit, who, arrives_ns, command, order_id, kind):
    c = pit.contenders[who]
    if c.records == 0:
        return
    line = pit.sent[who, c.n_sent_lines]
    c.n_sent_lines += 1
    line.ts_ns = world.clock[w.NOW_NS]
    line.arrives_ns = arrives_ns
    line.command = command
    line.order_id = order_id
    line.kind = kind


@kernel
def travel(world, pit, who, direction, mu):
    """Count a command and draw its journey; returns its number and when it arrives, -1 when it is lost."""
    c = pit.contenders[who]
    account = world.accounts[c.agent]
    command = account.commands
    account.commands += 1
    world.clock[w.MESSAGES] += 1
    key = extend_key(world.keys[c.agent], command)
    if loss_of(key, direction, c.loss):
        c.lost += 1
        return command, np.int64(-1)
    delay = np.int64(delay_of(key, direction, mu, c.sigma) * delay_factor(world) + 0.5)
    account.last_arrival_ns = in_order(world.clock[w.NOW_NS], delay, account.last_arrival_ns)
    return command, account.last_arrival_ns


@apart
def send_order(world, pit, who, side, price, size, time_in_force):
    """Send an order and return its id; its slot in the pool is left in `working_slot` or `resting_slot`."""
    c = pit.contenders[who]
    clock = world.clock
    command, arrives_ns = travel(world, pit, who, ORDER, c.order_mu)
    order_id = clock[w.NEXT_ORDER_ID]
    clock[w.NEXT_ORDER_ID] = order_id + 1
    clock[w.SENT] += 1
    c.orders += 1
    slot = np.int64(0)
    if arrives_ns < 0:
        clock[w.LOST] += 1
    else:
        slot = m.allocate(world.book, order_id, c.agent, side, price, size, time_in_force)
        clock[w.IN_FLIGHT] += 1
        push(world.queue, arrives_ns, w.ORDER_ARRIVES, slot, order_id, price, size)
    if time_in_force == IOC:
        c.working_slot = slot
    else:
        c.resting_slot = slot
    note_sent(world, pit, who, arrives_ns, command, order_id, r.AN_ORDER)
    return order_id


@kernel
def send_market(world, pit, who, side, units):
    """Send an immediate-or-cancel order without a limit and wait for its answer."""
    c = pit.contenders[who]
    lots = np.int64(units // pit.rules[who].lot_units)
    limit = _NO_ASK if side > 0 else _NO_BID
    order_id = send_order(world, pit, who, side, limit, lots, IOC)
    sent_kernel(pit.pending[who, r.WORKING], order_id, world.clock[w.NOW_NS], c.timeout_ns)


@kernel
def send_resting(world, pit, who, side, price, units, time_in_force):
    """Send a limit order that is to rest and wait for its answer; there is at most one of these."""
    c = pit.contenders[who]
    rules = pit.rules[who]
    ticks = np.int64(math.floor(price * rules.price_scale + 0.5)) // rules.tick_units
    c.resting_id = send_order(world, pit, who, side, ticks, units // rules.lot_units, time_in_force)
    sent_kernel(pit.pending[who, r.RESTING], c.resting_id, world.clock[w.NOW_NS], c.timeout_ns)


@apart
def send_cancel(world, pit, who, waits, order_id, slot):
    """Ask for an order to be taken off, or at least what became of it, and wait for the answer."""
    c = pit.contenders[who]
    command, arrives_ns = travel(world, pit, who, CANCEL, c.cancel_mu)
    if arrives_ns >= 0:
        # Whoever reads the event at the venue tells by its size whom to answer; see `_contest._hear`.
        push(world.queue, arrives_ns, w.CANCEL_ARRIVES, slot, order_id, np.int64(0), c.agent + 1)
    sent_kernel(pit.pending[who, waits], order_id, world.clock[w.NOW_NS], c.timeout_ns)
    note_sent(world, pit, who, arrives_ns, command, order_id, r.A_CANCEL)
