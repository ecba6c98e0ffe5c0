"""The full book of a recording: a ladder that keeps every level and can be written down whole."""

from __future__ import annotations

import numpy as np
from numba import njit

from apex_nautilus.features import (
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    KIND_TRADE,
    SIDE_ASK,
    SIDE_BID,
    empty_events,
)
from apex_nautilus.features import Ladder as FeatureLadder
from apex_nautilus.features.kernel import ask_price, ask_size, bid_price, bid_size, pointer_to
from apex_nautilus.features.ladder import clear_side, set_level

__all__ = ["Ladder"]


@njit(cache=True)
def _walk(memory, events, touches):
    """Apply events; row i of `touches` is bid, its size, ask, its size after batch i. Return the rows."""
    view = pointer_to(memory)
    row = 0
    for i in range(events.shape[0]):
        event = events[i]
        if event.kind == KIND_TRADE:
            continue
        if event.kind == KIND_CLEAR:
            clear_side(view, np.int64(event.side))
        else:
            set_level(view, np.int64(event.side), event.price, event.size)
        if event.flags & FLAG_LAST:
            touches[row, 0] = bid_price(view, 0)
            touches[row, 1] = bid_size(view, 0)
            touches[row, 2] = ask_price(view, 0)
            touches[row, 3] = ask_size(view, 0)
            row += 1
    return row


class Ladder(FeatureLadder):
    """The ladder of the features, without their limit on levels: writing and checking may lose none."""

    def __init__(self) -> None:
        super().__init__(None)

    def walk(self, events: np.ndarray) -> np.ndarray:
        """Apply whole batches and return the touch after each: int64 (batches, 4) of bid, its size, ask, its
        size.

        Unlike `apply` the touches carry sizes. An empty side has size 0 and price `NO_BID` or
        `NO_ASK`.
        """
        self._reserve(events.size)
        touches = np.empty((int(np.count_nonzero(events["flags"] & FLAG_LAST)), 4), dtype=np.int64)
        rows = _walk(self._memory, np.require(events, EVENT, ["C", "A", "W"]), touches)
        return touches[:rows]

    def mark(self) -> np.ndarray:
        """Return what `reset` needs to come back to the book of now."""
        return self._memory.copy()

    def reset(self, mark: np.ndarray) -> None:
        """Come back to the book of a `mark`."""
        self._memory = mark

    def snapshot(self, ts_event_ns: int, ts_init_ns: int, sequence: int) -> np.ndarray:
        """Return the whole book as one batch: a clear, then every level, best first on each side."""
        bids, asks = self.bids(len(self)), self.asks(len(self))
        events = empty_events(1 + len(self))
        events["ts_event_ns"], events["ts_init_ns"], events["sequence"] = ts_event_ns, ts_init_ns, sequence
        events["kind"] = KIND_LEVEL
        events["kind"][0] = KIND_CLEAR
        events["side"][1 : 1 + len(bids)], events["side"][1 + len(bids) :] = SIDE_BID, SIDE_ASK
        levels = np.concatenate([bids, asks])
        events["price"][1:], events["size"][1:] = levels[:, 0], levels[:, 1]
        events["flags"][-1] = FLAG_LAST
        return events
