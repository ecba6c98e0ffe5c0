"""What a strategy sees: numeric features of an order book and of bars."""

from __future__ import annotations

from apex_nautilus.features.events import (
    DEPTH,
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    KIND_TRADE,
    empty_events,
    make_events,
    scale,
)

__all__ = [
    "DEPTH",
    "EVENT",
    "FLAG_LAST",
    "KIND_CLEAR",
    "KIND_LEVEL",
    "KIND_TRADE",
    "empty_events",
    "make_events",
    "scale",
]
