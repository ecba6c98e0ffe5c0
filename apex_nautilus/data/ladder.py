"""The full book of a recording: a ladder that keeps every level and can be written down whole."""

from __future__ import annotations

import numpy as np

from apex_nautilus.features import (
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    SIDE_ASK,
    SIDE_BID,
    empty_events,
)
from apex_nautilus.features import Ladder as FeatureLadder

__all__ = ["Ladder"]


class Ladder(FeatureLadder):
    """The ladder of the features, without their limit on levels: writing and checking may lose none."""

    def __init__(self) -> None:
        super().__init__(None)

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
