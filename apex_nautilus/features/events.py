"""The market event: one record for a level change, a trade, or the emptying of a book.

Every source (a venue's archive, a live feed, the simulator's tape) is turned into a stream of these
records, ordered by `ts_init_ns`; features, replay and simulator read nothing else.

Fields of `EVENT`
-----------------
ts_event_ns : int64
    Exchange time, nanoseconds since the Unix epoch.
ts_init_ns : int64
    Receive time, nanoseconds since the epoch. Streams are ordered by it and every clock reads it.
price, size : int64
    In units of ``10**-precision`` of the instrument: 61800.3 at price precision 1 is 618003. The float
    is ``price / 10**precision``, which is correctly rounded (see `scale`).
sequence : int64
    The venue's sequence number, 0 where it has none.
kind : uint8
    `KIND_CLEAR` empties the book (or one side of it, when `side` is not 0), `KIND_LEVEL` sets a price
    level to an absolute size (0 deletes it), `KIND_TRADE` reports a trade.
side : int8
    Level: +1 bid, -1 ask. Trade: +1 the buyer was the aggressor, -1 the seller, 0 unknown.
flags : uint8
    `FLAG_LAST` marks the last level change of a batch: the book is whole again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

KIND_CLEAR: Final = 0
KIND_LEVEL: Final = 1
KIND_TRADE: Final = 2

FLAG_LAST: Final = 1

SIDE_BID: Final = 1
SIDE_ASK: Final = -1
SIDE_NONE: Final = 0

DEPTH: Final = 10
"""Levels a side that features may read."""

EVENT: Final = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("ts_init_ns", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("sequence", "<i8"),
        ("kind", "u1"),
        ("side", "i1"),
        ("flags", "u1"),
    ],
    align=True,
)

MAX_PRECISION: Final = 18


def scale(precision: int) -> float:
    """Return ``10**precision`` as a float: the number of integer units in 1.0.

    Dividing an integer below 2**53 by it gives the double nearest to the decimal, because both operands
    are exact (powers of ten are exact doubles up to 10**22) and IEEE 754 division rounds once.

    Raises
    ------
    ValueError
        When `precision` is not an integer in [0, 18].
    """
    if isinstance(precision, bool) or not isinstance(precision, int | np.integer):
        raise ValueError(f"precision must be an integer in [0, {MAX_PRECISION}], got {precision!r}")
    if not 0 <= precision <= MAX_PRECISION:
        raise ValueError(f"precision must lie in [0, {MAX_PRECISION}], got {precision}")
    return float(10 ** int(precision))


def empty_events(n: int) -> np.ndarray:
    """Return `n` zeroed `EVENT` records."""
    return np.zeros(n, dtype=EVENT)


def make_events(
    *,
    ts_event_ns: object,
    ts_init_ns: object,
    price: object,
    size: object,
    kind: object,
    side: object,
    flags: object = 0,
    sequence: object = 0,
) -> np.ndarray:
    """Assemble `EVENT` records from columns; scalars are broadcast.

    Parameters
    ----------
    ts_event_ns, ts_init_ns, price, size, kind, side, flags, sequence : array_like of int
        Columns of equal length, or scalars. Units as in the module's description.

    Returns
    -------
    ndarray of EVENT, shape (n,)
    """
    columns = np.broadcast_arrays(
        *(np.asarray(c) for c in (ts_event_ns, ts_init_ns, price, size, kind, side, flags, sequence))
    )
    events = np.zeros(columns[0].size, dtype=EVENT)
    for name, column in zip(
        ("ts_event_ns", "ts_init_ns", "price", "size", "kind", "side", "flags", "sequence"),
        columns,
        strict=True,
    ):
        events[name] = column.ravel()
    return events


__all__ = [
    "DEPTH",
    "EVENT",
    "FLAG_LAST",
    "KIND_CLEAR",
    "KIND_LEVEL",
    "KIND_TRADE",
    "MAX_PRECISION",
    "SIDE_ASK",
    "SIDE_BID",
    "SIDE_NONE",
    "empty_events",
    "make_events",
    "scale",
]
