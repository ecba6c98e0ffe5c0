"""Train, validation and test in time order, purged and embargoed (López de Prado, 2018, ch. 7)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from apex_nautilus.data.errors import DatasetError

__all__ = ["Splits", "time_splits"]


class Splits(NamedTuple):
    """Row ranges (lo, hi), hi not included, in time order and apart from each other."""

    train: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]


def time_splits(
    ts_ns: np.ndarray,
    max_hold_ns: int,
    train: float = 0.6,
    validation: float = 0.2,
    *,
    embargo_ns: int | None = None,
) -> Splits:
    """Cut rows into three consecutive parts that share no information through the trades' holding times.

    Purge: a row whose trade may still be open when the next part's span begins is left out. Embargo: the
    next part then waits for `embargo_ns` more, since features look back.

    Parameters
    ----------
    ts_ns : (N,) int64, not falling
        Times of the rows.
    max_hold_ns : int
        Longest time a trade is held.
    train, validation : float
        Shares of the rows; the test part has the rest.
    embargo_ns : int, optional
        `max_hold_ns` when left out.

    Raises
    ------
    DatasetError
        When a share is out of range or a part would be empty.
    """
    if not (train > 0.0 and validation > 0.0 and train + validation < 1.0):
        raise DatasetError(
            f"train {train} and validation {validation} must be positive shares that leave some for test"
        )
    if max_hold_ns < 0 or (embargo_ns is not None and embargo_ns < 0):
        raise DatasetError(
            f"max_hold_ns and embargo_ns must not be negative, got {max_hold_ns}, {embargo_ns}"
        )
    n = int(ts_ns.shape[0])
    wait = max_hold_ns if embargo_ns is None else embargo_ns
    starts, ends = [0], []
    for cut in (int(n * train), int(n * (train + validation))):
        border = int(ts_ns[min(cut, n - 1)]) if n else 0
        ends.append(int(np.searchsorted(ts_ns, border - max_hold_ns, side="left")))
        starts.append(int(np.searchsorted(ts_ns, border + wait, side="left")))
    ends.append(n)
    for name, lo, hi in zip(Splits._fields, starts, ends, strict=True):
        if lo >= hi:
            span = (int(ts_ns[-1]) - int(ts_ns[0])) / 1e9 if n else 0.0
            raise DatasetError(
                f"the {name} part would be empty: {n} rows over {span:.0f} s, {max_hold_ns / 1e9:.0f} s "
                f"purged and "
                f"{wait / 1e9:.0f} s embargoed at each border. Use more data, a shorter max_hold, or a "
                f"shorter embargo"
            )
    return Splits(*zip(starts, ends, strict=True))
