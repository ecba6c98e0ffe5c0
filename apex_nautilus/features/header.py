"""Where a compiled caller finds things in the memory of a `BookFeatures`: offsets in words.

`BookFeatures.memory` is one int64 array; floats lie in it bit for bit. These offsets are what callers outside
this room may read; everything else of the layout may change.
"""

from __future__ import annotations

from apex_nautilus.features.kernel import (
    ASK,
    ASK_COUNT,
    BID,
    BID_COUNT,
    EVALUATIONS,
    FIRST_NS,
    NEXT_BOUNDARY_NS,
    NOW_NS,
    PERIOD_NS,
    PRICE_UNITS,
    ROW_AT,
    ROW_WARM,
    SIZE_UNITS,
    TRADE_COUNT,
)

__all__ = [
    "ASK",
    "ASK_COUNT",
    "BID",
    "BID_COUNT",
    "EVALUATIONS",
    "FIRST_NS",
    "NEXT_BOUNDARY_NS",
    "NOW_NS",
    "PERIOD_NS",
    "PRICE_UNITS",
    "ROW_AT",
    "ROW_WARM",
    "SIZE_UNITS",
    "TRADE_COUNT",
]
