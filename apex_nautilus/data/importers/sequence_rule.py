"""Binance's rule for joining a REST snapshot with the stream of depth diffs, as a state machine on update
ids.

Each diff covers the update ids U..u; on futures it names the last id of the diff before it, pu. Ids are
global on futures, so consecutive diffs are tied by pu, on spot by U = previous u + 1. With L the snapshot's
lastUpdateId:

futures
    drop diffs with u < L; the first one applied has U <= L <= u; then pu equals the previous u.
spot
    drop diffs with u <= L; the first one applied has U <= L + 1 <= u; then U equals the previous u + 1.

On futures L may lie in the gap between two diffs (pu <= L < U). Nothing happened to the book in that gap,
so such a diff joins as well.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import numpy as np

__all__ = ["DiffIds", "SequenceRule", "Verdict"]


class DiffIds(NamedTuple):
    """Update ids of one diff; `pu` is None on spot."""

    U: int
    u: int
    pu: int | None


class Verdict(Enum):
    """What to do with a diff on a book in step."""

    APPLY = "apply"
    OLD = "old"  # covered by the snapshot
    DUPLICATE = "duplicate"
    BREAK = "break"


class SequenceRule:
    """Tracks which diff may come next.

    Parameters
    ----------
    futures : bool
        The futures rule (USDT- and coin-margined), else the spot rule.
    """

    def __init__(self, futures: bool):
        self._futures = futures
        self._snapshot: int | None = None
        self._last: int | None = None

    @property
    def in_step(self) -> bool:
        """Whether there is a book to apply diffs to."""
        return self._snapshot is not None

    @property
    def streaming(self) -> bool:
        """Whether a diff has been applied since the snapshot, so that the next one must follow it."""
        return self._last is not None

    @property
    def last_id(self) -> int | None:
        """Newest update id the book contains."""
        return self._last if self._last is not None else self._snapshot

    def lose(self) -> None:
        """Forget the book; only a snapshot mends that."""
        self._snapshot = self._last = None

    def follows(self, earlier: DiffIds, later: DiffIds) -> bool:
        """Whether `later` is the very next diff after `earlier`."""
        return later.pu == earlier.u if self._futures else earlier.u + 1 == later.U

    def is_old(self, diff: DiffIds, snapshot_id: int) -> bool:
        """Whether the snapshot already contains the whole diff."""
        return diff.u < snapshot_id if self._futures else diff.u <= snapshot_id

    def joins(self, diff: DiffIds, snapshot_id: int) -> bool:
        """Whether `diff` may be the first applied after the snapshot."""
        if self._futures:
            begin = diff.U if diff.pu is None else min(diff.U, diff.pu)
            return begin <= snapshot_id <= diff.u
        return diff.U <= snapshot_id + 1 <= diff.u

    def snapshot(self, snapshot_id: int) -> None:
        """Begin a book from a snapshot."""
        self._snapshot, self._last = snapshot_id, None

    def judge(self, diff: DiffIds) -> Verdict:
        """Judge the next diff on a book in step, and take it as applied when the verdict is APPLY."""
        if self._snapshot is None:
            raise ValueError("no snapshot yet: there is no book to apply a diff to")
        if self._last is None:
            if self.is_old(diff, self._snapshot):
                return Verdict.OLD
            if not self.joins(diff, self._snapshot):
                return Verdict.BREAK
        else:
            if diff.u <= self._last:
                return Verdict.DUPLICATE
            follows = diff.pu == self._last if self._futures else self._last + 1 == diff.U
            if not follows:
                return Verdict.BREAK
        self._last = diff.u
        return Verdict.APPLY

    def follows_all(self, ids: np.ndarray) -> bool:
        """Whether `judge` would say APPLY to each of these diffs, one after the other.

        Parameters
        ----------
        ids : ndarray of int64, shape (n, 3)
            U, u and pu of diffs (any pu on spot). Asked only while `streaming`.
        """
        if self._last is None:
            raise ValueError("no diff has been applied since the snapshot: judge the next one by itself")
        first, last, before = ids[:, 0], ids[:, 1], ids[:, 2]
        forerunner = np.concatenate([[self._last], last[:-1]])[: len(ids)]
        tied = before == forerunner if self._futures else first == forerunner + 1
        return bool((tied & (last > forerunner) & (first <= last)).all())

    def take_all(self, ids: np.ndarray) -> None:
        """Take diffs that `follows_all` has passed as applied."""
        if len(ids):
            self._last = int(ids[-1, 1])
