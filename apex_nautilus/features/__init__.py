"""What a strategy sees: numeric features of an order book, of bars, and of what is published outside.

In: market events (`EVENT` records: level changes and trades in integer units), or closed bars. Out: rows
of float64, one column a feature, at the ticks of a clock, and the path of touch prices between them.

One definition serves every speed. A feature is a pair of numba kernels over a small state, registered with
its name, unit, range, warm-up and formula; `BookFeatures` and `BarFeatures` run it event by event, live or
inside the simulator's loop, `batch_book` and `batch_bars` over arrays. All give the same bits. A new feature
is one new module under `features/book/` or `features/bars/`. What comes from outside, at its own times, is in
`features.external`; `features.eigen` scans a whole market for its leading mode.
"""

from __future__ import annotations

from apex_nautilus.features import header
from apex_nautilus.features.bar_features import BarFeatures, BarRows, batch_bars
from apex_nautilus.features.bar_kernels import BAR_OK, apply_bar
from apex_nautilus.features.book_features import BookFeatures, BookRows, batch_book
from apex_nautilus.features.book_kernels import (
    STATUS_PATH,
    STATUS_ROW,
    apply_buffer,
    apply_event,
    apply_events,
    top_levels,
)
from apex_nautilus.features.events import (
    DEPTH,
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    KIND_TRADE,
    SIDE_ASK,
    SIDE_BID,
    empty_events,
    make_events,
    scale,
)
from apex_nautilus.features.ladder import NO_ASK, NO_BID, Ladder
from apex_nautilus.features.registry import FeatureError, FeatureSpec, get, names

__all__ = [
    "BAR_OK",
    "DEPTH",
    "EVENT",
    "FLAG_LAST",
    "KIND_CLEAR",
    "KIND_LEVEL",
    "KIND_TRADE",
    "NO_ASK",
    "NO_BID",
    "SIDE_ASK",
    "SIDE_BID",
    "STATUS_PATH",
    "STATUS_ROW",
    "BarFeatures",
    "BarRows",
    "BookFeatures",
    "BookRows",
    "FeatureError",
    "FeatureSpec",
    "Ladder",
    "apply_bar",
    "apply_buffer",
    "apply_event",
    "apply_events",
    "batch_bars",
    "batch_book",
    "empty_events",
    "get",
    "header",
    "make_events",
    "names",
    "scale",
    "top_levels",
]
