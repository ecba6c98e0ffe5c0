"""A simulated market as LOBSTER files, for the tools that read those.

LOBSTER (https://lobsterdata.com) tells a day of NASDAQ in two files without headers, line by line: what
happened to an order, and how the book looked afterwards.

message
    seconds after midnight with nine decimals; type; order id; size; price times 10,000; direction of the
    order at rest, 1 bid and -1 ask. Types written here: 1 a limit order came to rest, 2 part of it was
    cancelled, 3 it was removed, 4 it was traded against. A simulated market has no hidden orders (5) and no
    halts (7).
orderbook
    ask price, ask size, bid price, bid size, best level first; a level that is not there is 9999999999 or
    -9999999999 with size 0.

Beyond the format: the message file begins with the orders that rest when the tape begins, each a type 1 at
that instant, so that the book can be rebuilt from nothing; events of every depth are written, those below the
levels of the orderbook file too; sizes count units of the instrument's size precision; an order that moves is
removed and comes to rest anew under its old id; midnight is that (UTC) before the tape's start, and a tape
that runs past the next one goes on counting.
"""

from __future__ import annotations

import os
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from apex_nautilus.data.errors import DataError
from apex_nautilus.features import KIND_CLEAR
from apex_nautilus.sim import Tape
from apex_nautilus.store import move

__all__ = ["LobsterFiles", "to_lobster"]

_DAY_NS = 86_400_000_000_000
_SECOND_NS = 1_000_000_000
_DECIMALS = 4
_NO_PRICE = 9_999_999_999
_SUBMITTED = 1
_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class LobsterFiles:
    """What was written.

    Attributes
    ----------
    message, orderbook : the two files.
    rows : lines in each.
    levels : of the orderbook file, a side.
    """

    message: Path
    orderbook: Path
    rows: int
    levels: int


class _Side:
    """One side of the book: sizes by price, and its best levels as text, kept until they change."""

    def __init__(self, sign: int, levels: int) -> None:
        self._sign = sign
        self._n = levels
        self._prices: list[int] = []  # signed so that the best comes first
        self._sizes: dict[int, int] = {}
        self._cells: list[str] | None = None

    def change(self, price: int, by: int) -> bool:
        """Add to the size at a price; False when that would make it negative."""
        key = -self._sign * price
        before = self._sizes.get(key, 0)
        after = before + by
        if after < 0:
            return False
        if before == 0:
            insort(self._prices, key)
        at = bisect_left(self._prices, key)
        if after == 0:
            del self._prices[at]
            del self._sizes[key]
        else:
            self._sizes[key] = after
        if at < self._n:
            self._cells = None
        return True

    def cells(self) -> list[str]:
        """`price,size` of each level shown, best first."""
        if self._cells is None:
            shown = self._prices[: self._n]
            self._cells = [f"{-self._sign * key},{self._sizes[key]}" for key in shown]
            self._cells += [f"{-self._sign * _NO_PRICE},0"] * (self._n - len(shown))
        return self._cells


def _lines(tape: Tape, levels: int, scale: int, midnight_ns: int) -> Iterator[tuple[str, str]]:
    """(message, orderbook) lines in order. Raises DataError when an order leaves that never came."""
    sides = {1: _Side(1, levels), -1: _Side(-1, levels)}
    bids, asks = sides[1], sides[-1]
    names = ("ts_ns", "order_id", "price", "size", "kind", "side")
    for at in range(0, len(tape.orders), _AT_ONCE):
        part = tape.orders[at : at + _AT_ONCE]
        rows = zip(*(part[name].tolist() for name in names), strict=True)
        for i, (ts_ns, order_id, price, size, kind, side) in enumerate(rows):
            price *= scale
            if not sides[side].change(price, size if kind == _SUBMITTED else -size):
                raise DataError(
                    f"orders[{at + i}]: more leaves the price {price / 10**_DECIMALS} than rests there; "
                    "give the tape as the market made it"
                )
            seconds, ns = divmod(ts_ns - midnight_ns, _SECOND_NS)
            book = ",".join(
                [cell for level in zip(asks.cells(), bids.cells(), strict=True) for cell in level]
            )
            yield f"{seconds}.{ns:09d},{kind},{order_id},{size},{price},{side}\n", f"{book}\n"


def _write(tape: Tape, levels: int, scale: int, midnight_ns: int, message: TextIO, orderbook: TextIO) -> int:
    rows = 0
    for event, book in _lines(tape, levels, scale, midnight_ns):
        message.write(event)
        orderbook.write(book)
        rows += 1
    return rows


def to_lobster(
    tape: Tape,
    directory: str | os.PathLike[str],
    *,
    levels: int = 10,
    ticker: str | None = None,
    replace: bool = False,
) -> LobsterFiles:
    """Write a simulated market as a LOBSTER message file and orderbook file.

    Parameters
    ----------
    tape : the first tape of a ``Market(..., record_orders=True)``.
    directory : where; made if missing. The files are called as LOBSTER calls them, ``TICKER_DATE_START_END_
        message_LEVELS.csv``, times in milliseconds after midnight.
    levels : of the orderbook file, a side; 1 to 1000.
    ticker : what is traded; by default the instrument's id up to the venue.
    replace : write over files of the same name.

    Returns
    -------
    LobsterFiles

    Raises
    ------
    DataError
        The tape was made without `record_orders`, or is not a market's first, or its prices have more than
        the format's four decimals; the files are there already and `replace` is not set; `levels` or `ticker`
        is out of bounds.
    """
    if not 1 <= levels <= 1000:
        raise DataError(f"levels: {levels} is outside [1, 1000]")
    spec = tape.instrument
    name = spec.id.rpartition(".")[0] or spec.id if ticker is None else ticker
    if not name or "/" in name or "_" in name or name.startswith("."):
        raise DataError(
            f"ticker: {name!r} is empty, begins with '.' or holds '/' or '_', which part file names"
        )
    if spec.price_precision > _DECIMALS:
        raise DataError(
            f"{spec.id}: prices of {spec.price_precision} decimals; LOBSTER files hold {_DECIMALS}"
        )
    if not len(tape.orders):
        raise DataError(f"{spec.id}: the tape tells nothing of orders; run Market(..., record_orders=True)")
    if not len(tape.events) or tape.events["kind"][0] != KIND_CLEAR:
        raise DataError(
            f"{spec.id}: the tape begins in the middle of a book; write the first tape of its market"
        )
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    midnight_ns = tape.start_ns // _DAY_NS * _DAY_NS
    day = datetime.fromtimestamp(midnight_ns // _SECOND_NS, UTC).strftime("%Y-%m-%d")
    span = "_".join(str((ns - midnight_ns) // 1_000_000) for ns in (tape.start_ns, tape.end_ns))
    paths = [folder / f"{name}_{day}_{span}_{kind}_{levels}.csv" for kind in ("message", "orderbook")]
    for path in paths:
        if path.exists() and not replace:
            raise DataError(f"{path}: is there already; choose another folder, or replace it")
    unfinished = [path.with_name(f".{path.name}.{os.getpid()}.0.tmp") for path in paths]
    try:
        with (
            open(unfinished[0], "w", encoding="ascii") as message,
            open(unfinished[1], "w", encoding="ascii") as orderbook,
        ):
            scale = 10 ** (_DECIMALS - spec.price_precision)
            rows = _write(tape, levels, scale, midnight_ns, message, orderbook)
        for temporary, path in zip(unfinished, paths, strict=True):
            move(temporary, path)
    except BaseException:
        for temporary in unfinished:
            temporary.unlink(missing_ok=True)
        raise
    return LobsterFiles(paths[0], paths[1], rows, levels)
