"""Price ladder: the two sides of an order book as sorted arrays of integer prices with their sizes.

Layout: a side is a run of pairs ``(key, size)`` in a machine's array, with ``key = side * price`` (bids
+price, asks -price), sorted so that the best level is the *last* pair. Changes near the touch, which are
nearly all of them, then shift a handful of pairs; a level far away (a bid of 1000.00 on bitcoin) costs one
pair like any other, as nothing is indexed by price.

A side holds at most `capacity` levels. When a new level does not fit, the level farthest from the touch
is given up, which may be the new one itself, and `LEVELS_DROPPED` counts it: the book near the touch
stays right, and what was lost can matter only once the price has walked through all that is left.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from apex_nautilus.features.events import (
    DEPTH,
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_TRADE,
    SIDE_ASK,
    SIDE_BID,
)
from apex_nautilus.features.kernel import (
    ASK_AT,
    ASK_COUNT,
    BID_AT,
    BID_COUNT,
    CAPACITY,
    HEADER,
    LEVELS_DROPPED,
    NO_PRICE,
    ask_price,
    ask_size,
    bid_price,
    bid_size,
    move_words,
    pointer_to,
)

DEFAULT_CAPACITY: Final = 32_768

NO_BID: Final = -NO_PRICE
"""Best bid of an empty side, in units."""
NO_ASK: Final = NO_PRICE
"""Best ask of an empty side, in units."""

_NEAR: Final = 16  # levels searched one by one from the touch before bisecting


@njit(cache=True)
def set_level(view, side, price, size):
    """Set a level to an absolute size; 0 or less deletes it, deleting what is not there does nothing.

    Parameters: view, pointer to a machine; side, > 0 bid, else ask; price and size in integer units.
    """
    if side > 0:
        at = view[BID_AT]
        count_slot = BID_COUNT
        key = price
    else:
        at = view[ASK_AT]
        count_slot = ASK_COUNT
        key = -price
    n = view[count_slot]

    # `place`: the number of keys <= key.
    place = n
    stop = n - _NEAR if n > _NEAR else 0
    while place > stop and view[at + 2 * (place - 1)] > key:
        place -= 1
    if place == stop and place > 0 and view[at + 2 * (place - 1)] > key:
        low = 0
        high = place
        while low < high:
            middle = (low + high) >> 1
            if view[at + 2 * middle] <= key:
                low = middle + 1
            else:
                high = middle
        place = low

    if place > 0 and view[at + 2 * (place - 1)] == key:
        if size > 0:
            view[at + 2 * place - 1] = size
        else:
            move_words(view, at + 2 * (place - 1), at + 2 * place, 2 * (n - place))
            view[count_slot] = n - 1
        return
    if size <= 0:
        return
    if n == view[CAPACITY]:
        view[LEVELS_DROPPED] += 1
        if place == 0:
            return
        move_words(view, at, at + 2, 2 * (place - 1))
        place -= 1
    else:
        move_words(view, at + 2 * (place + 1), at + 2 * place, 2 * (n - place))
        view[count_slot] = n + 1
    view[at + 2 * place] = key
    view[at + 2 * place + 1] = size


@njit(cache=True)
def clear_side(view, side):
    """Empty the bid side (side > 0), the ask side (side < 0) or both (0)."""
    if side >= 0:
        view[BID_COUNT] = 0
    if side <= 0:
        view[ASK_COUNT] = 0


@njit(cache=True)
def _set_level(memory, side, price, size):
    set_level(pointer_to(memory), side, price, size)


@njit(cache=True)
def _levels(memory, side, limit):
    view = pointer_to(memory)
    n = min(view[BID_COUNT] if side > 0 else view[ASK_COUNT], limit)
    out = np.empty((n, 2), dtype=np.int64)
    for i in range(n):
        if side > 0:
            out[i, 0] = bid_price(view, i)
            out[i, 1] = bid_size(view, i)
        else:
            out[i, 0] = ask_price(view, i)
            out[i, 1] = ask_size(view, i)
    return out


@njit(cache=True)
def _apply(memory, events, touches):
    """Apply events; row i of `touches` is bid, ask before and bid, ask after batch i. Return the rows."""
    view = pointer_to(memory)
    row = 0
    begun = False
    for i in range(events.shape[0]):
        event = events[i]
        if event.kind == KIND_TRADE:
            continue
        side = np.int64(event.side)
        if not begun:
            touches[row, 0] = bid_price(view, 0)
            touches[row, 1] = ask_price(view, 0)
            begun = True
        if event.kind == KIND_CLEAR:
            clear_side(view, side)
            if side >= 0:
                touches[row, 0] = NO_BID
            if side <= 0:
                touches[row, 1] = NO_ASK
        else:
            set_level(view, side, event.price, event.size)
        touches[row, 2] = bid_price(view, 0)
        touches[row, 3] = ask_price(view, 0)
        if event.flags & FLAG_LAST:
            row += 1
            begun = False
    return row + 1 if begun else row


class Ladder:
    """A price ladder by itself, in integer units. Its levels may cross: that is the caller's business.

    Parameters
    ----------
    capacity : int or None
        Levels held a side; beyond it the level farthest from the touch is given up (`levels_dropped`). With
        None the ladder grows and gives up nothing.

    Raises
    ------
    ValueError
        When `capacity` is below 10, the depth that features may read.
    """

    def __init__(self, capacity: int | None = DEFAULT_CAPACITY) -> None:
        self._grows = capacity is None
        capacity = 1024 if capacity is None else capacity
        check_capacity(capacity)
        self._memory = _empty_memory(capacity)

    def _reserve(self, extra: int) -> None:
        """Make room for so many more levels on either side."""
        old = self._memory
        need = int(max(old[BID_COUNT], old[ASK_COUNT])) + extra
        if not self._grows or need <= old[CAPACITY]:
            return
        self._memory = _empty_memory(max(need, 2 * int(old[CAPACITY])))
        for start, count in ((BID_AT, BID_COUNT), (ASK_AT, ASK_COUNT)):
            n, to = 2 * int(old[count]), int(self._memory[start])
            self._memory[to : to + n] = old[old[start] : old[start] + n]
            self._memory[count] = old[count]

    def apply(self, events: np.ndarray) -> np.ndarray:
        """Apply market events and return the touches around each batch of level changes.

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
        rows = _apply(self._memory, np.require(events, EVENT, ["C", "A", "W"]), touches)
        return touches[:rows]

    def set(self, side: int, price: int, size: int) -> None:
        """Set the level at `price` of a side (+1 bid, -1 ask) to `size`; 0 deletes it."""
        if side not in (SIDE_BID, SIDE_ASK):
            raise ValueError(f"side must be +1 (bid) or -1 (ask), got {side!r}")
        self._reserve(1)
        _set_level(self._memory, side, price, size)

    def clear(self, side: int = 0) -> None:
        """Empty one side (+1 bid, -1 ask) or, by default, both."""
        if side >= 0:
            self._memory[BID_COUNT] = 0
        if side <= 0:
            self._memory[ASK_COUNT] = 0

    def bids(self, limit: int = DEPTH) -> np.ndarray:
        """Return up to `limit` bid levels, best first: int64 (n, 2), price and size."""
        return _levels(self._memory, SIDE_BID, limit)

    def asks(self, limit: int = DEPTH) -> np.ndarray:
        """Return up to `limit` ask levels, best first: int64 (n, 2), price and size."""
        return _levels(self._memory, SIDE_ASK, limit)

    @property
    def bid(self) -> tuple[int, int]:
        """Best bid as (price, size); (`NO_BID`, 0) when there is none."""
        best = self.bids(1)
        return (int(best[0, 0]), int(best[0, 1])) if len(best) else (NO_BID, 0)

    @property
    def ask(self) -> tuple[int, int]:
        """Best ask as (price, size); (`NO_ASK`, 0) when there is none."""
        best = self.asks(1)
        return (int(best[0, 0]), int(best[0, 1])) if len(best) else (NO_ASK, 0)

    @property
    def levels_dropped(self) -> int:
        """How many levels did not fit."""
        return int(self._memory[LEVELS_DROPPED])

    def __len__(self) -> int:
        return int(self._memory[BID_COUNT] + self._memory[ASK_COUNT])


def _empty_memory(capacity: int) -> np.ndarray:
    memory = np.zeros(HEADER + 4 * capacity, dtype=np.int64)
    memory[CAPACITY] = capacity
    memory[BID_AT] = HEADER
    memory[ASK_AT] = HEADER + 2 * capacity
    return memory


def check_capacity(capacity: int) -> None:
    """Raise ValueError when a ladder of this capacity could not serve the features."""
    if not DEPTH <= capacity <= 1 << 24:
        raise ValueError(f"capacity must lie in [{DEPTH}, {1 << 24}] levels a side, got {capacity!r}")


__all__ = ["DEFAULT_CAPACITY", "NO_ASK", "NO_BID", "Ladder", "check_capacity", "clear_side", "set_level"]
