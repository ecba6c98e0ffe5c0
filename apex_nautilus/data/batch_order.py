"""The order of level changes inside a batch, such that no prefix of it shows a touch that never was.

Nautilus matches resting orders after every single level change. A batch that removes the old best before it
adds the new one exposes, for a moment, a deep level: a stop resting there fires at a price the market never
had. The order used here keeps the touch of every prefix equal to the old or the new touch, side by side:

1. the side that makes room goes first (asks when the new bid reaches the old ask, else bids), so that no
   prefix is crossed;
2. within a side, first the levels that do not better the old touch, then those that do, best first: the
   touch jumps from the old to the new in one step;
3. then the deletions, deepest first: when the old touch goes, at the last step, everything behind it is in
   place.

A clear comes first of all: after it the book is empty, and levels enter best first.
"""

from __future__ import annotations

import numpy as np

from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_TRADE

__all__ = ["order_batches"]


def order_batches(events: np.ndarray, touches: np.ndarray) -> np.ndarray:
    """Return book `events` with each batch in the safe order; the end of a batch stays flagged on its last
    event.

    Parameters
    ----------
    events : ndarray of EVENT
        Book events only (no trades), batches one after the other, each ended by `FLAG_LAST`.
    touches : ndarray of int64, shape (batches, 4)
        As `Ladder.apply` returned them for these very events.

    Returns
    -------
    ndarray of EVENT
        A new array. Where one batch sets the same level twice the later setting is kept, so it may be
        shorter.
    """
    n = events.size
    if n == 0:
        return events.copy()
    if (events["kind"] == KIND_TRADE).any():
        raise ValueError("order_batches takes book events only; take the trades out first")
    last = (events["flags"] & FLAG_LAST) != 0
    batch = np.concatenate([[0], np.cumsum(last[:-1])])
    if touches.shape[0] != batch[-1] + 1:
        raise ValueError(f"{batch[-1] + 1} batches but {touches.shape[0]} rows of touches")
    is_bid = events["side"] > 0
    clear = events["kind"] == KIND_CLEAR
    toward = np.where(is_bid, events["price"], -events["price"])  # grows toward the other side
    toward[clear] = 0
    old_touch = np.where(is_bid, touches[batch, 0], -touches[batch, 1])
    asks_first = touches[batch, 2] >= touches[batch, 1]

    keep = _last_setting(batch, is_bid, clear, toward)
    deletes = events["size"] == 0
    betters = toward > old_touch
    stage = np.where(deletes, 2, np.where(betters, 1, 0))
    within = np.where(betters & ~deletes, -toward, toward)
    rank = np.where(clear, 0, 1 + 3 * (is_bid == asks_first) + stage)

    order = np.lexsort((within, rank, batch))
    keep = _after_clear(events, batch, clear, keep)
    if keep is not None:
        order = order[keep[order]]
    out = events[order]
    out["flags"] &= np.uint8(0xFF ^ FLAG_LAST)
    ends = np.flatnonzero(np.diff(batch[order], append=-1))
    out["flags"][ends[: int(last.sum())]] |= FLAG_LAST
    return out


def _last_setting(batch, is_bid, clear, toward):
    """Return a mask that drops settings overridden within their batch, or None when there are none."""
    order = np.lexsort((toward, clear, is_bid, batch))
    b, s, c, p = batch[order], is_bid[order], clear[order], toward[order]
    same = (b[1:] == b[:-1]) & (s[1:] == s[:-1]) & (c[1:] == c[:-1]) & (p[1:] == p[:-1]) & ~c[1:]
    if not same.any():
        return None
    keep = np.ones(batch.size, dtype=bool)
    keep[order[:-1][same]] = False  # lexsort is stable: the earlier of two equals comes first
    return keep


def _after_clear(events, batch, clear, keep):
    """Drop what a later clear of the same batch and side wipes out, so that the clear can go first."""
    late = np.flatnonzero(clear[1:] & (batch[1:] == batch[:-1])) + 1
    if late.size == 0:
        return keep
    keep = np.ones(batch.size, dtype=bool) if keep is None else keep
    for i in late:
        first = np.searchsorted(batch, batch[i])
        side = events["side"][i]
        keep[first:i] &= (side != 0) & (events["side"][first:i] != side)
    return keep
