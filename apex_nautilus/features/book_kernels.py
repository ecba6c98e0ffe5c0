"""The loop that drives book features: one event in, at most one row out. Live, batch and simulator share it.

Clocks
------
book
    A row at every `FLAG_LAST` level event that leaves the book whole, two-sided and uncrossed (best bid
    below best ask), but not within `conflate_ms` of the row before it.
1s
    Seconds are aligned to the epoch. The first event at or after a boundary B freezes the features before
    it is applied, so they see only what came before B and are evaluated at B; the row is released by the
    next whole book at or after B, at that book's time and prices. If several boundaries went by without an
    event, the last one counts. A second that finds the book not whole (mid-batch, one-sided, crossed) gives
    no row, and a row that still waits from the second before is given up: it would be acted on when the book
    is found again, however long that takes. So no event releases two rows.

An event that is older than its predecessor is taken at the predecessor's time.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from apex_nautilus.features.events import FLAG_LAST, KIND_CLEAR, KIND_TRADE
from apex_nautilus.features.kernel import (
    AGE_AT,
    AGES,
    ASK,
    ASK_COUNT,
    BID,
    BID_COUNT,
    BOOK_COUNT,
    BOOK_HOOKS,
    BOOK_OK,
    BUFFER_AT,
    CONFLATE_NS,
    EVALUATIONS,
    EVENT_COUNT,
    FEATURE_COUNT,
    FIRST_NS,
    FROZEN_AT,
    NEXT_BOUNDARY_NS,
    NOW_NS,
    PENDING,
    PERIOD_NS,
    PLAN_AT,
    PRICE_UNITS,
    ROW_AGE_AT,
    ROW_AT,
    ROW_COUNT,
    ROW_NS,
    ROW_WARM,
    SIZE_UNITS,
    TRADE_COUNT,
    TRADE_HOOKS,
    TRADE_PRICE,
    TRADE_SIDE,
    TRADE_SIZE,
    WARMUP_ROWS,
    ask_price,
    ask_size,
    bid_price,
    bid_size,
    call_hook,
    call_value,
    load_float,
    pointer_at,
    pointer_to,
    shifted,
    store_float,
)
from apex_nautilus.features.ladder import clear_side, set_level

STATUS_PATH: Final = 1
"""Bit of a status: the event left a whole, two-sided, uncrossed book (an entry of the path)."""
STATUS_ROW: Final = 2
"""Bit of a status: the event released a row."""

WORDS: Final = 6  # an EVENT is six 8-byte words; the last holds kind, side and flags in its low bytes


@njit(cache=True)
def _evaluate(view, row_at):
    """Compute all features into the row at an offset, and note how much market it has behind it."""
    plan = view[PLAN_AT]
    for k in range(view[FEATURE_COUNT]):
        state = shifted(view, view[plan + 2 * k + 1])
        store_float(view, row_at + k, call_value(view[plan + 2 * k], view, state))
    view[AGE_AT] = view[EVALUATIONS]
    view[AGE_AT + 1] = view[NOW_NS] - view[FIRST_NS]
    view[AGE_AT + 2] = view[TRADE_COUNT]
    view[EVALUATIONS] += 1


@njit(cache=True)
def apply_to(view, ts_init_ns, price, size, kind, side, flags):
    """Apply one event to the machine at a pointer; see `apply_event`."""
    now = max(ts_init_ns, view[NOW_NS])
    period = view[PERIOD_NS]
    if period > 0 and now >= view[NEXT_BOUNDARY_NS]:
        boundary = now // period * period
        view[NEXT_BOUNDARY_NS] = boundary + period
        view[PENDING] = 0
        if view[BOOK_OK]:
            view[NOW_NS] = boundary
            _evaluate(view, view[FROZEN_AT])
            view[PENDING] = 1
    view[NOW_NS] = now
    view[EVENT_COUNT] += 1

    if kind == KIND_TRADE:
        view[TRADE_COUNT] += 1
        view[TRADE_PRICE] = price
        view[TRADE_SIZE] = size
        view[TRADE_SIDE] = side
        plan = view[PLAN_AT] + 2 * (view[FEATURE_COUNT] + view[BOOK_HOOKS])
        for k in range(view[TRADE_HOOKS]):
            call_hook(view[plan + 2 * k], view, shifted(view, view[plan + 2 * k + 1]))
        return 0

    if kind == KIND_CLEAR:
        clear_side(view, side)
    else:
        set_level(view, side, price, size)
    view[BOOK_OK] = 0
    if (flags & FLAG_LAST) == 0 or view[BID_COUNT] == 0 or view[ASK_COUNT] == 0:
        return 0
    bid = bid_price(view, 0)
    ask = ask_price(view, 0)
    if bid >= ask:
        return 0

    view[BOOK_OK] = 1
    if view[BOOK_COUNT] == 0:
        view[FIRST_NS] = now
    view[BOOK_COUNT] += 1
    store_float(view, BID, bid / view[PRICE_UNITS])
    store_float(view, ASK, ask / view[PRICE_UNITS])
    plan = view[PLAN_AT] + 2 * view[FEATURE_COUNT]
    for k in range(view[BOOK_HOOKS]):
        call_hook(view[plan + 2 * k], view, shifted(view, view[plan + 2 * k + 1]))

    if period == 0:
        if view[ROW_COUNT] > 0 and now - view[ROW_NS] < view[CONFLATE_NS]:
            return STATUS_PATH
        _evaluate(view, view[ROW_AT])
    else:
        if view[PENDING] == 0:
            return STATUS_PATH
        view[PENDING] = 0
        for k in range(view[FEATURE_COUNT]):
            view[view[ROW_AT] + k] = view[view[FROZEN_AT] + k]
    view[ROW_COUNT] += 1
    view[ROW_NS] = now
    warm = 1
    for k in range(AGES):
        view[ROW_AGE_AT + k] = view[AGE_AT + k]
        if view[AGE_AT + k] < view[WARMUP_ROWS + k]:
            warm = 0
    view[ROW_WARM] = warm
    return STATUS_PATH | STATUS_ROW


@njit(cache=True)
def apply_event(memory, ts_init_ns, price, size, kind, side, flags):
    """Apply one event to a machine (for callers inside numba).

    Parameters
    ----------
    memory : int64[::1]
        `BookFeatures.memory`.
    ts_init_ns, price, size, kind, side, flags : int
        The fields of an `EVENT`.

    Returns
    -------
    int
        `STATUS_PATH` | `STATUS_ROW` bits. The row is `BookFeatures.row`, which is a part of `memory`.
    """
    # One specialisation of the loop, whatever integers the caller has.
    return apply_to(
        pointer_to(memory),
        np.int64(ts_init_ns),
        np.int64(price),
        np.int64(size),
        np.int64(kind),
        np.int64(side),
        np.int64(flags),
    )


@njit(cache=True)
def apply_events(memory, events):
    """Apply an array of `EVENT` records to a machine; return the status of the last one (0 for none)."""
    view = pointer_to(memory)
    status = 0
    for i in range(events.shape[0]):
        event = events[i]
        status = apply_to(
            view,
            event.ts_init_ns,
            event.price,
            event.size,
            int(event.kind),
            int(event.side),
            int(event.flags),
        )
    return status


@njit(cache=True)
def _apply_words(view, words):
    packed = words[5]
    side = (packed >> 8) & 0xFF
    if side > 127:
        side -= 256
    return apply_to(view, words[1], words[2], words[3], packed & 0xFF, side, (packed >> 16) & 0xFF)


@njit(cache=True)
def apply_buffer(memory, n):
    """Apply the first `n` records of the machine's own buffer; return the status of the last one."""
    view = pointer_to(memory)
    words = shifted(view, view[BUFFER_AT])
    status = 0
    for i in range(n):
        status = _apply_words(view, shifted(words, WORDS * i))
    return status


@njit(cache=True)
def top_levels(memory, top):
    """Write the best levels into `top`, float64 (4, depth): bid prices, bid sizes, ask prices, ask sizes.

    Where a side has fewer levels, its prices are NaN and its sizes 0.
    """
    _top_levels(pointer_to(memory), top)


@njit(cache=True)
def _top_levels(view, top):
    prices = view[PRICE_UNITS]
    sizes = view[SIZE_UNITS]
    for level in range(top.shape[1]):
        if level < view[BID_COUNT]:
            top[0, level] = bid_price(view, level) / prices
        else:
            top[0, level] = np.nan
        top[1, level] = bid_size(view, level) / sizes
        if level < view[ASK_COUNT]:
            top[2, level] = ask_price(view, level) / prices
        else:
            top[2, level] = np.nan
        top[3, level] = ask_size(view, level) / sizes


@njit(cache=True)
def run(memory, address, n, ts_ns, features, row_event, warm, path_ts_ns, path_bid, path_ask, path_depth):
    """Apply the `n` records at an address, writing rows and path; return how many of each there are."""
    view = pointer_to(memory)
    words = pointer_at(address)
    n_rows = 0
    n_path = 0
    row_at = view[ROW_AT]
    for i in range(n):
        status = _apply_words(view, shifted(words, WORDS * i))
        if status == 0:
            continue
        path_ts_ns[n_path] = view[NOW_NS]
        path_bid[n_path] = load_float(view, BID)
        path_ask[n_path] = load_float(view, ASK)
        _top_levels(view, path_depth[n_path])
        if status & STATUS_ROW:
            ts_ns[n_rows] = view[ROW_NS]
            for k in range(features.shape[1]):
                features[n_rows, k] = load_float(view, row_at + k)
            row_event[n_rows] = n_path
            warm[n_rows] = view[ROW_WARM] != 0
            n_rows += 1
        n_path += 1
    return n_rows, n_path


__all__ = [
    "STATUS_PATH",
    "STATUS_ROW",
    "apply_buffer",
    "apply_event",
    "apply_events",
    "apply_to",
    "run",
    "top_levels",
]
