"""The loop that drives bar features: one closed bar in, one row out. Live and batch share it."""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from apex_nautilus.features.kernel import (
    BAR_CLOSE,
    BAR_HIGH,
    BAR_LOW,
    BAR_OPEN,
    BAR_VOLUME,
    EVENT_COUNT,
    FEATURE_COUNT,
    NOW_NS,
    PLAN_AT,
    ROW_AT,
    ROW_COUNT,
    ROW_WARM,
    WARMUP_ROWS,
    call_value,
    load_float,
    pointer_to,
    shifted,
    store_float,
)

BAR_OK: Final = 0
BAR_NOT_FINITE: Final = 1
BAR_NOT_POSITIVE: Final = 2
BAR_OUTSIDE_RANGE: Final = 3
BAR_NOT_LATER: Final = 4


@njit(cache=True, error_model="numpy")
def apply_bar(memory, ts_ns, open_, high, low, close, volume):
    """Apply a closed bar to a bar machine; return `BAR_OK`, or its fault (then nothing has changed)."""
    view = pointer_to(memory)
    if not math.isfinite(open_ + high + low + close + volume):
        return BAR_NOT_FINITE
    if low <= 0.0 or volume < 0.0:
        return BAR_NOT_POSITIVE
    if high < max(open_, close) or low > min(open_, close):
        return BAR_OUTSIDE_RANGE
    if view[EVENT_COUNT] > 0 and ts_ns <= view[NOW_NS]:
        return BAR_NOT_LATER
    view[EVENT_COUNT] += 1
    view[NOW_NS] = ts_ns
    store_float(view, BAR_OPEN, open_)
    store_float(view, BAR_HIGH, high)
    store_float(view, BAR_LOW, low)
    store_float(view, BAR_CLOSE, close)
    store_float(view, BAR_VOLUME, volume)
    plan = view[PLAN_AT]
    for k in range(view[FEATURE_COUNT]):
        state = shifted(view, view[plan + 2 * k + 1])
        store_float(view, view[ROW_AT] + k, call_value(view[plan + 2 * k], view, state))
    view[ROW_WARM] = 1 if view[ROW_COUNT] >= view[WARMUP_ROWS] else 0
    view[ROW_COUNT] += 1
    return BAR_OK


@njit(cache=True)
def run_bars(memory, ts_ns, open_, high, low, close, volume, features, warm):
    """Apply arrays of bars, writing rows, up to the first bad one; return its place (or n) and its fault."""
    view = pointer_to(memory)
    row_at = view[ROW_AT]
    for i in range(ts_ns.shape[0]):
        code = apply_bar(memory, ts_ns[i], open_[i], high[i], low[i], close[i], volume[i])
        if code != BAR_OK:
            return i, code
        for k in range(features.shape[1]):
            features[i, k] = load_float(view, row_at + k)
        warm[i] = view[ROW_WARM] != 0
    return ts_ns.shape[0], BAR_OK


__all__ = [
    "BAR_NOT_FINITE",
    "BAR_NOT_LATER",
    "BAR_NOT_POSITIVE",
    "BAR_OK",
    "BAR_OUTSIDE_RANGE",
    "apply_bar",
    "run_bars",
]
