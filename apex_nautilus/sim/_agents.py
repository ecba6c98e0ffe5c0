"""What each kind of agent does when it wakes. All of them send messages; none touches the book."""

import math

import numpy as np

from . import _world as w
from . import matching as m
from ._jit import kernel
from ._venue import ask_cancel, ask_order, ask_replace, wake
from .draws import next_below, next_exponential, next_normal, next_uniform
from .elementary import exp, expm1, log

__all__ = [
    "again",
    "executor",
    "funding",
    "informed",
    "maker",
    "noise_expire",
    "noise_limit",
    "noise_market",
    "random_side",
    "start",
    "trend",
    "value",
]

_SECOND = 1e9
_NO_QUOTE = np.int64(-1)
_GTC, _IOC = np.int64(m.GTC), np.int64(m.IOC)
_VALUE_STEP_NS = 100_000_000  # the value moves ten times a second
_FARTHEST = 0.02  # a limit order rests no further than this from the touch
_LARGEST = 1000.0  # an order is at most this many times the median


@kernel
def _schedule(world, delay_s, kind, index):
    """Wake `kind` after a delay; never when it is infinite (a rate of zero)."""
    if delay_s < 1e9:
        time_ns = world.clock[w.NOW_NS] + np.int64(delay_s * _SECOND) + 1
        wake(world, kind, time_ns, index, w.NONE)


@kernel
def again(world, rate, kind):
    """The next event of a Poisson process."""
    if rate > 0.0:
        _schedule(world, next_exponential(world.stream, 1.0 / rate), kind, w.NONE)


@kernel
def _one_of(world, kind):
    """A random agent of a kind: superposed Poisson processes, one schedule for all of them."""
    start = world.first[kind]
    return start + next_below(world.stream, world.first[kind + 1] - start)


@kernel
def random_side(world):
    return 1 if next_uniform(world.stream) < 0.5 else -1


@kernel
def _lots(world, usd):
    """A worth in quote units as lots at the present mid, at least one."""
    return max(1, np.int64(usd / (world.values[w.MID] * world.values[w.TICK_LOT])))


@kernel
def _random_size(world, scale):
    p = world.parameters[0]
    factor = min(exp(p.size_sigma * next_normal(world.stream)), _LARGEST)
    return _lots(world, p.size_usd * scale * factor)


@kernel
def _touch(world, side):
    """Best price an order of `side` would trade at; the last mid where that side is empty."""
    state = world.book.state
    if side > 0 and state[m.ASK_LEVELS] > 0:
        return np.float64(state[m.BEST_ASK])
    if side < 0 and state[m.BID_LEVELS] > 0:
        return np.float64(state[m.BEST_BID])
    return world.values[w.MID]


@kernel
def _take(world, agent, side, size, limit):
    """Send an order that trades up to `limit` (ticks, a float) at once and leaves nothing behind."""
    price = np.int64(math.floor(limit)) if side > 0 else np.int64(math.ceil(limit))
    ask_order(world, agent, side, price, size, _IOC, w.NONE, w.NONE, _NO_QUOTE)


@kernel
def noise_limit(world):
    """Place one order at a random distance from the far touch, to live for an exponential time."""
    p = world.parameters[0]
    side = random_side(world)
    agent = _one_of(world, w.NOISE_)
    touch = _touch(world, side)
    draw = next_uniform(world.stream)
    patience = 1.0
    if p.limit_uniform_bps > 0.0:
        depth = draw * p.limit_uniform_bps * 1e-4 * touch
    else:
        scale = p.limit_depth_bps * 1e-4 * touch
        # Lomax, which is Pareto from 0: scale (u^(-1 / tail) - 1).
        depth = scale * expm1(log(draw) * (-1.0 / p.limit_depth_tail))
        depth = min(depth, _FARTHEST * touch)
        # Orders far from the touch are left alone longer, ten times at most.
        patience = min(1.0 + depth / scale, 10.0)
    ticks = 1.0 + math.floor(depth)
    price = np.int64(math.ceil(touch) - ticks if side > 0 else math.floor(touch) + ticks)
    life = next_exponential(world.stream, p.limit_lifetime_s * patience)
    life_ns = max(np.int64(life * _SECOND), 1)
    after = w.NOISE_EXPIRE
    if p.limit_expiry > 0.0 and next_uniform(world.stream) < p.limit_expiry:
        after = w.EXPIRES
    size = _random_size(world, 1.0)
    ask_order(world, agent, side, price, size, _GTC, life_ns, after, _NO_QUOTE)
    again(world, p.limit_rate, w.NOISE_LIMIT)


@kernel
def noise_expire(world):
    """Cancel an order at the end of its life, again and again until the cancel gets through."""
    event = world.event[0]
    slot = np.int64(event.slot)
    order = world.book.orders[slot]
    if order.id == event.id:
        ask_cancel(world, np.int64(order.owner), slot, event.id, 1)


@kernel
def noise_market(world, side):
    p = world.parameters[0]
    limit = _touch(world, side) * (1.0 + side * p.protection_bps * 1e-4)
    _take(world, _one_of(world, w.NOISE_), side, _random_size(world, 1.0), limit)


@kernel
def maker(world, index):
    """Learn a little of the value, then move the quotes that have drifted from where they should be."""
    p = world.parameters[0]
    book = world.book
    clock = world.clock
    maker = world.makers[index]
    n = len(world.makers)
    rank = index / (n - 1) - 0.5 if n > 1 else 0.0  # makers differ: from quick and tight to slow and wide
    learning_s = p.maker_learning_s * (1.0 + rank)
    elapsed_s = (clock[w.NOW_NS] - maker.seen_ns) / _SECOND
    maker.seen_ns = clock[w.NOW_NS]
    maker.value += (world.values[w.VALUE_TICKS] - maker.value) * -expm1(-elapsed_s / learning_s)

    agent = world.first[w.MAKERS_] + index
    limit = _lots(world, p.maker_inventory_usd)
    load = world.accounts[agent].inventory / limit
    bps = 1e-4 * maker.value
    centre = maker.value - p.maker_skew_bps * bps * load
    half = p.maker_half_spread_bps * bps * (1.0 + 0.5 * (rank + 0.5))
    size = _lots(world, p.maker_size_usd)
    levels = np.int64(p.maker_levels)
    for level in range(levels):
        distance = half + level * p.maker_step_bps * bps
        for s in range(2):
            side = 1 - 2 * s
            place = 2 * (index * levels + level) + s
            quote = world.quotes[place]
            order = book.orders[quote.slot]
            alive = quote.id >= 0 and order.id == quote.id
            if load * side >= 1.0:
                if alive and order.resting:
                    ask_cancel(world, agent, quote.slot, quote.id, w.NONE)
                continue
            target = centre - side * distance
            price = np.int64(math.floor(target) if side > 0 else math.ceil(target))
            if not alive:
                ask_order(world, agent, side, price, size, _GTC, w.NONE, w.NONE, place)
            elif order.resting and (
                abs(price - order.price) > p.maker_tolerance * half or 2 * order.size < size
            ):
                ask_replace(world, agent, quote.slot, quote.id, price, size)
    _schedule(world, p.maker_refresh_s * (0.5 + next_uniform(world.stream)), w.MAKER, index)


@kernel
def informed(world):
    """Compare the touch with the value as seen through noise; take what is mispriced."""
    p = world.parameters[0]
    agent = _one_of(world, w.INFORMED_)
    error = p.informed_noise_bps * 1e-4 * next_normal(world.stream)
    value = world.values[w.VALUE_TICKS] * exp(error)
    edge = p.informed_threshold_bps * 1e-4
    size = _random_size(world, p.informed_size)
    if value * (1.0 - edge) > _touch(world, w.BUY):
        _take(world, agent, w.BUY, size, value * (1.0 - edge))
    elif value * (1.0 + edge) < _touch(world, w.SELL):
        _take(world, agent, w.SELL, size, value * (1.0 + edge))
    again(world, p.informed_rate, w.INFORMED)


@kernel
def executor(world, index):
    """Send the next child of a large order; when it is done, rest, then begin another."""
    p = world.parameters[0]
    parent = world.parents[index]
    if parent.left <= 0:
        # Waking from rest: a new large order of Pareto size.
        size = p.executor_size_usd * exp(log(next_uniform(world.stream)) * (-1.0 / p.executor_tail))
        parent.left = _lots(world, min(size, _LARGEST * p.executor_size_usd))
        parent.side = random_side(world)
        if next_uniform(world.stream) < p.executor_skill:
            parent.side = 1 if world.values[w.VALUE_TICKS] > world.values[w.MID] else -1
    side = parent.side
    size = min(_random_size(world, 1.0), parent.left)
    limit = _touch(world, side) * (1.0 + side * p.executor_slippage_bps * 1e-4)
    _take(world, world.first[w.EXECUTORS_] + index, side, size, limit)
    # Counted as done whether or not all of it traded: an executor keeps to its schedule.
    parent.left -= size
    pause = p.executor_child_s if parent.left > 0 else p.executor_idle_s
    _schedule(world, next_exponential(world.stream, pause), w.EXECUTOR, index)


@kernel
def trend(world, kind, group, rate, sign):
    """Follow (`sign` 1) or oppose (-1) the difference between a fast and a slow average of the mid."""
    p = world.parameters[0]
    values = world.values
    gap = log(values[w.FAST] / values[w.SLOW]) * 1e4
    if abs(gap) > p.trend_threshold_bps:
        side = sign if gap > 0.0 else -sign
        limit = _touch(world, side) * (1.0 + side * p.protection_bps * 1e-4)
        _take(world, _one_of(world, group), side, _random_size(world, 1.0), limit)
    again(world, rate, kind)


@kernel
def value(world):
    """Move the fundamental value by one step (exact Ornstein-Uhlenbeck), and with it the averages."""
    p = world.parameters[0]
    values = world.values
    step_s = _VALUE_STEP_NS / _SECOND
    keep = exp(-step_s / p.value_reversion_s)
    deviation = p.value_volatility_bps * 1e-4 * math.sqrt(0.5 * p.value_reversion_s * (1.0 - keep * keep))
    shock = deviation * next_normal(world.stream)
    if next_uniform(world.stream) < p.jump_rate * step_s / 3600.0:
        shock += p.jump_bps * 1e-4 * next_normal(world.stream)
    before = values[w.LOG_VALUE]
    values[w.LOG_VALUE] = keep * before + shock
    values[w.VALUE_TICKS] *= exp(values[w.LOG_VALUE] - before)
    values[w.FAST] += (values[w.MID] - values[w.FAST]) * min(1.0, 5.0 * step_s / p.trend_horizon_s)
    values[w.SLOW] += (values[w.MID] - values[w.SLOW]) * min(1.0, step_s / p.trend_horizon_s)
    clock = world.clock
    sample = world.samples[clock[w.N_SAMPLES]]
    clock[w.N_SAMPLES] += 1
    sample.ts_ns = clock[w.NOW_NS]
    sample.value = values[w.VALUE_TICKS] * values[w.TICK]
    wake(world, w.VALUE, clock[w.NOW_NS] + _VALUE_STEP_NS, w.NONE, w.NONE)


@kernel
def funding(world):
    """Let longs pay shorts their share of what the positions are worth at the mid."""
    p = world.parameters[0]
    due = np.int64(world.values[w.MID] * p.funding_rate * w.FEE_SCALE)  # a lot, in ticks and 1e-8
    for agent in range(len(world.accounts)):
        world.accounts[agent].funding += due * world.accounts[agent].inventory
    _schedule(world, p.funding_interval_s, w.FUNDING, w.NONE)


@kernel
def start(world):
    """Schedule everybody's first awakening."""
    p = world.parameters[0]
    wake(world, w.VALUE, world.clock[w.NOW_NS], w.NONE, w.NONE)
    if p.funding_rate != 0.0:
        _schedule(world, p.funding_interval_s, w.FUNDING, w.NONE)
    for index in range(len(world.makers)):
        _schedule(world, p.maker_refresh_s * next_uniform(world.stream), w.MAKER, index)
    again(world, p.limit_rate, w.NOISE_LIMIT)
    again(world, p.market_rate, w.NOISE_MARKET)
    if world.first[w.INFORMED_ + 1] > world.first[w.INFORMED_]:
        again(world, p.informed_rate, w.INFORMED)
    for index in range(len(world.parents)):
        _schedule(world, next_exponential(world.stream, p.executor_idle_s), w.EXECUTOR, index)
    if world.first[w.MOMENTUM_ + 1] > world.first[w.MOMENTUM_]:
        again(world, p.momentum_rate, w.MOMENTUM)
    if world.first[w.REVERSION_ + 1] > world.first[w.REVERSION_]:
        again(world, p.reversion_rate, w.REVERSION)
