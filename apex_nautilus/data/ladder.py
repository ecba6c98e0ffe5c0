"""A full-depth book of price levels, enough to know the touch before and after every batch.

Each side is a pair of arrays sorted so that the best level is last: bids by price, asks by negated price.
Most changes are near the touch, so an insertion moves few elements.

Unlike the ladder that features run on, whose memory is fixed, this one holds every level that a recording
has, and tells the touch around whole batches: it serves writing and checking, not decisions.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE

__all__ = ["NO_ASK", "NO_BID", "Ladder"]

NO_BID: Final = -(2**62)
NO_ASK: Final = 2**62


@njit(cache=True)
def _set_level(keys, sizes, n, key, size):
    """Set one level of a side (0 deletes it) and return the side's new length."""
    lo, hi = 0, n
    while lo < hi:
        mid = (lo + hi) >> 1
        if keys[mid] < key:
            lo = mid + 1
        else:
            hi = mid
    found = lo < n and keys[lo] == key
    if size > 0:
        if not found:
            for j in range(n, lo, -1):
                keys[j] = keys[j - 1]
                sizes[j] = sizes[j - 1]
            keys[lo] = key
            n += 1
        sizes[lo] = size
    elif found:
        for j in range(lo, n - 1):
            keys[j] = keys[j + 1]
            sizes[j] = sizes[j + 1]
        n -= 1
    return n


@njit(cache=True)
def _apply(bid_keys, bid_sizes, ask_keys, ask_sizes, counts, kind, side, price, size, flags, touches):
    """Apply events; row i of `touches` (4 columns) is bid, ask before and bid, ask after batch i. Returns
    the rows."""
    row = 0
    begun = False
    n_bid, n_ask = counts[0], counts[1]
    for i in range(kind.size):
        if kind[i] == KIND_TRADE:
            continue
        if not begun:
            touches[row, 0] = bid_keys[n_bid - 1] if n_bid else NO_BID
            touches[row, 1] = -ask_keys[n_ask - 1] if n_ask else NO_ASK
            begun = True
        if kind[i] == KIND_LEVEL:
            if side[i] > 0:
                n_bid = _set_level(bid_keys, bid_sizes, n_bid, price[i], size[i])
            else:
                n_ask = _set_level(ask_keys, ask_sizes, n_ask, -price[i], size[i])
        else:
            if side[i] >= 0:
                n_bid = 0
                touches[row, 0] = NO_BID
            if side[i] <= 0:
                n_ask = 0
                touches[row, 1] = NO_ASK
        if flags[i] & FLAG_LAST:
            touches[row, 2] = bid_keys[n_bid - 1] if n_bid else NO_BID
            touches[row, 3] = -ask_keys[n_ask - 1] if n_ask else NO_ASK
            row += 1
            begun = False
    if begun:  # a batch without its end: its state so far
        touches[row, 2] = bid_keys[n_bid - 1] if n_bid else NO_BID
        touches[row, 3] = -ask_keys[n_ask - 1] if n_ask else NO_ASK
        row += 1
    counts[0], counts[1] = n_bid, n_ask
    return row


class Ladder:
    """The book of one instrument in integer units; applies `EVENT` batches and tells the touch around each.

    Levels may cross: what to do about a crossed book is the caller's decision.
    """

    def __init__(self, capacity: int = 4096):
        self._counts = np.zeros(2, dtype=np.int64)
        self._keys = [np.empty(capacity, dtype=np.int64) for _ in range(2)]
        self._sizes = [np.empty(capacity, dtype=np.int64) for _ in range(2)]

    def _reserve(self, extra: int) -> None:
        for i in range(2):
            need = int(self._counts[i]) + extra + 1
            if need > self._keys[i].size:
                grow = max(need, 2 * self._keys[i].size) - self._keys[i].size
                self._keys[i] = np.concatenate([self._keys[i], np.empty(grow, dtype=np.int64)])
                self._sizes[i] = np.concatenate([self._sizes[i], np.empty(grow, dtype=np.int64)])

    def clear(self) -> None:
        """Empty both sides."""
        self._counts[:] = 0

    def apply(self, events: np.ndarray) -> np.ndarray:
        """Apply `events` and return the touches around each batch.

        Parameters
        ----------
        events : ndarray of EVENT
            Trades are passed over. A batch ends at `FLAG_LAST`; a last one without it counts as ended.

        Returns
        -------
        ndarray of int64, shape (batches, 4)
            Bid and ask before, bid and ask after the batch; `NO_BID` and `NO_ASK` where a side is empty. A
            batch that clears a side has that side empty before.
        """
        self._reserve(events.size)
        touches = np.empty((events.size + 1, 4), dtype=np.int64)
        rows = _apply(
            self._keys[0], self._sizes[0], self._keys[1], self._sizes[1], self._counts,
            events["kind"], events["side"], events["price"], events["size"], events["flags"], touches,
        )  # fmt: skip
        return touches[:rows]

    @property
    def bid(self) -> tuple[int, int]:
        """Best bid as (price, size) in units; (NO_BID, 0) when empty."""
        n = self._counts[0]
        return (int(self._keys[0][n - 1]), int(self._sizes[0][n - 1])) if n else (NO_BID, 0)

    @property
    def ask(self) -> tuple[int, int]:
        """Best ask as (price, size) in units; (NO_ASK, 0) when empty."""
        n = self._counts[1]
        return (-int(self._keys[1][n - 1]), int(self._sizes[1][n - 1])) if n else (NO_ASK, 0)

    def __len__(self) -> int:
        return int(self._counts.sum())

    def snapshot(self, ts_event_ns: int, ts_init_ns: int, sequence: int) -> np.ndarray:
        """Return the whole book as one batch: a clear, then every level, best first on each side."""
        n_bid, n_ask = (int(c) for c in self._counts)
        events = np.zeros(1 + n_bid + n_ask, dtype=EVENT)
        events["ts_event_ns"], events["ts_init_ns"], events["sequence"] = ts_event_ns, ts_init_ns, sequence
        events["kind"] = KIND_LEVEL
        events["kind"][0] = KIND_CLEAR
        bids, asks = slice(1, 1 + n_bid), slice(1 + n_bid, None)
        events["side"][bids], events["side"][asks] = 1, -1
        events["price"][bids] = self._keys[0][:n_bid][::-1]
        events["size"][bids] = self._sizes[0][:n_bid][::-1]
        events["price"][asks] = -self._keys[1][:n_ask][::-1]
        events["size"][asks] = self._sizes[1][:n_ask][::-1]
        events["flags"][-1] = FLAG_LAST
        return events
