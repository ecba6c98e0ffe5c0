"""The rebuilt book's touches held against the venue's own tickers, matched by update id."""

from __future__ import annotations

import numpy as np

from apex_nautilus.data.importers.report import TouchCheck

__all__ = ["TouchTracker"]

_HELD = 50_000


class TouchTracker:
    """Pairs touches of a book with tickers: each with the last ticker at or before it, once a newer one came.

    Rows are (update id, bid, bid size, ask, ask size) in integer units. Tickers come with rising ids, and a
    touch older than the first ticker is not compared. At most 50,000 of either wait.
    """

    def __init__(self) -> None:
        self.check = TouchCheck()
        self.last_ticker = -1
        self._touches: list[np.ndarray] = []
        self._tickers: list[np.ndarray] = []

    def add_touches(self, rows: np.ndarray) -> None:
        """Add touches after book updates: int64 (n, 5)."""
        self._touches.append(rows)

    def add_tickers(self, rows: np.ndarray) -> None:
        """Add tickers whose ids are above `last_ticker` and rise: int64 (n, 5)."""
        if len(rows):
            self._tickers.append(rows)
            self.last_ticker = int(rows[-1, 0])

    def compare(self) -> None:
        """Compare what can be compared and forget it."""
        if not self._touches or not self._tickers:
            return
        touches, tickers = np.concatenate(self._touches), np.concatenate(self._tickers)
        ids = tickers[:, 0]
        ripe = touches[:, 0] < ids[-1]
        mine = touches[ripe]
        place = np.searchsorted(ids, mine[:, 0], side="right") - 1
        mine, theirs = mine[place >= 0, 1:], tickers[place[place >= 0], 1:]
        equal = mine == theirs
        self.check.compared += len(mine)
        self.check.equal_prices += int((equal[:, 0] & equal[:, 2]).sum())
        self.check.equal_touches += int(equal.all(axis=1).sum())
        touches = touches[~ripe][-_HELD:]
        oldest = touches[:, 0].min() if len(touches) else ids[-1]
        first = max(int(np.searchsorted(ids, oldest, side="right")) - 1, 0)
        self._touches = [touches] if len(touches) else []
        self._tickers = [tickers[first:][-_HELD:]]
