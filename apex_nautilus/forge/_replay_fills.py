"""When and at what price the replay's orders fill. The assumptions are written out in docs/replay.md."""

from __future__ import annotations

from apex_nautilus.forge._replay_jit import kernel
from apex_nautilus.forge._replay_records import EXIT_MAX_HOLD, EXIT_STOP, EXIT_TAKE_PROFIT
from apex_nautilus.risk import bar_fill_kernel, walk_kernel

#: Path events of which the market keeps the extremes: a run of so many without an exit costs one look.
EXTREMES = 16

#: Looks at extremes taken at once.
SCAN = 16


@kernel
def first_at_or_after(times, moment: int, start: int) -> int:
    """Return the first index >= `start` with ``times[index] >= moment``, or ``len(times)``; gallops from
    `start`."""
    n = times.shape[0]
    if start >= n or times[start] >= moment:
        return start
    if times[n - 1] < moment:
        return n
    step = 1
    low = start
    while low + step < n and times[low + step] < moment:
        low += step
        step *= 2
    high = min(low + step, n)
    while high - low > 1:
        middle = (low + high) // 2
        if times[middle] < moment:
            low = middle
        else:
            high = middle
    return high


@kernel
def first_row_at_or_after(row_event, event: int, start: int) -> int:
    """Return the first row >= `start` whose path event is >= `event`, or ``len(row_event)``."""
    # Where every event is a row, as with bars, it is known without a search.
    if start < row_event.shape[0]:
        row = start + (event - row_event[start])
        if start < row < row_event.shape[0] and row_event[row] == event and row_event[row - 1] < event:
            return row
    return first_at_or_after(row_event, event, start)


@kernel
def first_crossing(
    floor_prices, floor_extremes, floor: float, ceiling_prices, ceiling_extremes, ceiling: float, start: int,
    end: int,
) -> int:  # fmt: skip
    """Return the first event in [start, end] with floor price <= floor or ceiling price >= ceiling, or ``end
    + 1``; the extremes are the lowest floor and the highest ceiling prices of `EXTREMES` events each.
    """
    run = start // EXTREMES
    runs = end // EXTREMES + 1
    while True:
        while run + SCAN <= runs:
            # Without a way out of the loop it is done with vector instructions.
            crossed = 0
            for i in range(run, run + SCAN):
                crossed |= (floor_extremes[i] <= floor) | (ceiling_extremes[i] >= ceiling)
            if crossed != 0:
                break
            run += SCAN
        while run < runs and not (floor_extremes[run] <= floor or ceiling_extremes[run] >= ceiling):
            run += 1
        if run >= runs:
            return end + 1
        # The first and the last run may reach beyond [start, end], and have crossed only there.
        for event in range(max(start, run * EXTREMES), min(end + 1, (run + 1) * EXTREMES)):
            if floor_prices[event] <= floor or ceiling_prices[event] >= ceiling:
                return event
        run += 1


@kernel
def find_exit(market, side: int, take_profit: float, stop: float, start: int, end: int, close_event: int):
    """Return (event, kind) of the exit in [start, end], kind 0 where there is none.

    Legs are checked before max_hold, and the stop before the take-profit.
    """
    last = min(end, close_event)
    if side > 0:
        event = first_crossing(
            market.low_bid, market.lowest_bid, stop, market.high_bid, market.highest_bid, take_profit, start,
            last,
        )  # fmt: skip
        if event <= last:
            return event, EXIT_STOP if market.low_bid[event] <= stop else EXIT_TAKE_PROFIT
    else:
        event = first_crossing(
            market.low_ask, market.lowest_ask, take_profit, market.high_ask, market.highest_ask, stop, start,
            last,
        )  # fmt: skip
        if event <= last:
            return event, EXIT_STOP if market.high_ask[event] >= stop else EXIT_TAKE_PROFIT
    if close_event <= end:
        return close_event, EXIT_MAX_HOLD
    return end + 1, 0


@kernel
def market_price(market, event: int, direction: int, quantity: float) -> float:
    """Return the average price of a market order on the book of `event`."""
    touch = market.ask[event] if direction > 0 else market.bid[event]
    return walk_kernel(market.depth[event], direction, quantity, touch)


@kernel
def bar_price(market, rules, event: int, direction: int, quantity: float, base: float) -> float:
    """Return the price of a market order that meets `base` in the bar `event`, slipped by the cost model."""
    if not market.impact > 0.0:
        return base
    return bar_fill_kernel(
        direction, base, quantity, market.impact, market.sigma[event], market.volume[event],
        rules.tick_units, rules.price_scale,
    )  # fmt: skip


@kernel
def exit_price(
    market, rules, event: int, kind: int, rests: bool, side: int, quantity: float, take_profit: float,
    stop: float,
) -> float:  # fmt: skip
    """Return the price at which a position of `side` leaves at `event`; `rests`: by its resting
    take-profit."""
    if rests:
        return take_profit
    if market.is_bars != 0:
        base = market.bid[event] if side > 0 else market.ask[event]
        if kind == EXIT_STOP:
            # Within a bar the stop is met at its own price, unless the bar opened beyond it.
            base = min(stop, market.open_bid[event]) if side > 0 else max(stop, market.open_ask[event])
        return bar_price(market, rules, event, -side, quantity, base)
    return market_price(market, event, -side, quantity)
