"""Size on offer near the mid: all levels within 10 basis points, however many there are."""

from __future__ import annotations

from typing import Final

from numba import njit

from apex_nautilus.features.kernel import (
    ASK_AT,
    ASK_COUNT,
    BID_AT,
    BID_COUNT,
    SIZE_UNITS,
    ask_price,
    bid_price,
)
from apex_nautilus.features.registry import FeatureSpec, Kernels, register

_PARTS: Final = 1_000  # 10 bps are a thousandth


@njit(cache=True)
def _size_from(view, at, count, twice_key):
    """Sum of the sizes of a side's levels with 2 key >= `twice_key`; key is the price, of asks less zero.

    The levels lie as (key, size) with the keys rising, see `apex_nautilus.features.ladder`: where they begin
    to count is found by bisection, and the sum runs straight through memory.
    """
    low = 0
    high = count
    while low < high:
        middle = (low + high) >> 1
        if 2 * view[at + 2 * middle] >= twice_key:
            high = middle
        else:
            low = middle + 1
    total = 0
    for level in range(low, count):
        total += view[at + 2 * level + 1]
    return total


# Twice the mid is bid + ask, so that all is integers. A mid below zero has no share of itself: its reach is
# negative, and no level lies within it.
def _bid_value(view, state):
    twice_mid = bid_price(view, 0) + ask_price(view, 0)
    within = _size_from(view, view[BID_AT], view[BID_COUNT], twice_mid - twice_mid // _PARTS)
    return within / view[SIZE_UNITS]


def _ask_value(view, state):
    twice_mid = bid_price(view, 0) + ask_price(view, 0)
    within = _size_from(view, view[ASK_AT], view[ASK_COUNT], -twice_mid - twice_mid // _PARTS)
    return within / view[SIZE_UNITS]


for _side, _value, _distance in (
    ("bid", _bid_value, "mid - price"),
    ("ask", _ask_value, "price - mid"),
):
    register(
        FeatureSpec(
            name=f"depth_{_side}_10bps",
            kind="book",
            unit="base currency",
            low=0.0,
            high=float("inf"),
            inputs=("levels",),
            formula=f"sum of the {_side} sizes with {_distance} <= mid / 1000, over all levels of the book",
            source="depth near the mid, Degryse, de Jong & van Kervel 2015",
            kernels=Kernels(value=_value),
        )
    )
