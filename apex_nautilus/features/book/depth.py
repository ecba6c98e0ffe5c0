"""Size on offer near the mid: all levels within 10 basis points, however many there are."""

from __future__ import annotations

from typing import Final

from apex_nautilus.features.kernel import SIZE_UNITS, ask_price, ask_size, bid_price, bid_size
from apex_nautilus.features.registry import FeatureSpec, Kernels, register

_PARTS: Final = 1_000  # 10 bps are a thousandth


# Twice the distance to the mid, 2 |price - mid|, is an integer; twice the mid is bid + ask. A mid below zero
# has no share of itself and no level lies within it.
def _bid_value(view, state):
    twice_mid = bid_price(view, 0) + ask_price(view, 0)
    reach = twice_mid // _PARTS
    total = 0
    level = 0
    size = bid_size(view, 0)
    while size > 0 and twice_mid - 2 * bid_price(view, level) <= reach:
        total += size
        level += 1
        size = bid_size(view, level)
    return total / view[SIZE_UNITS]


def _ask_value(view, state):
    twice_mid = bid_price(view, 0) + ask_price(view, 0)
    reach = twice_mid // _PARTS
    total = 0
    level = 0
    size = ask_size(view, 0)
    while size > 0 and 2 * ask_price(view, level) - twice_mid <= reach:
        total += size
        level += 1
        size = ask_size(view, level)
    return total / view[SIZE_UNITS]


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
