"""Nautilus's market data objects to `EVENT` records, read straight from memory.

Nautilus hands Python one `OrderBookDeltas` object a batch. Asking it for `.deltas` and each delta for
`.order.price` builds about ten Python objects a level, several microseconds a batch: more than the whole
decision. The object is a Cython struct around a Rust vector of plain C records, so one compiled loop can
read all of it in well under a microsecond, without creating an object.

Where the fields sit is not part of Nautilus's public face. It is therefore *measured*, not assumed: at
import, known objects are built and the candidate layouts (128-bit and 64-bit fixed point) are checked field
by field against them. If none fits (another engine version, another compiler), decoding goes through the
public attributes instead: slower, never wrong. `DIRECT` says which way is taken.

Prices come as raw integers scaled to 16 (or 9) decimals; `EVENT` wants units of ``10**-precision``. The
quotient is exact and is computed without 128-bit division: a shift by the power of two and a multiplication
with the inverse of the power of five modulo 2**64.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookAction, OrderSide, RecordFlag
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.objects import FIXED_PRECISION, Price, Quantity
from numba import carray, njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.core import cgutils
from numba.extending import intrinsic

from apex_nautilus.features import (
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    KIND_TRADE,
    apply_event,
    apply_events,
)

__all__ = ["DIRECT", "EventDecoder", "as_pointer"]

_F_LAST: Final = int(RecordFlag.F_LAST)
_UPDATE: Final = int(BookAction.UPDATE)
_DELETE: Final = int(BookAction.DELETE)
_CLEAR: Final = int(BookAction.CLEAR)
_BUY: Final = int(OrderSide.BUY)
_SELL: Final = int(OrderSide.SELL)
_BUYER: Final = int(AggressorSide.BUYER)
_SELLER: Final = int(AggressorSide.SELLER)

_WORD: Final = 8
_BOX_WORDS: Final = 12  # how far into the Rust struct to look for its vector (it is 11 words long)


class Layout(NamedTuple):
    """Byte offsets of the fields that are read. They reach the kernels as one int64 array, in this order."""

    box: int  # OrderBookDeltas object -> pointer to the Rust struct
    vec_ptr: int  # Rust struct -> pointer to the first delta
    vec_len: int  # Rust struct -> number of deltas
    vec_cap: int  # Rust struct -> room of the vector, never below its length
    stride: int  # from one delta to the next
    action: int
    side: int
    price: int
    size: int
    flags: int
    sequence: int
    ts_event: int
    ts_init: int
    trade_price: int  # from here on relative to the TradeTick object
    trade_size: int
    trade_side: int
    trade_ts_event: int
    trade_ts_init: int
    raw_words: int  # 2 for 128-bit raw values, 1 for 64-bit ones


(
    _BOX, _VEC_PTR, _VEC_LEN, _VEC_CAP, _STRIDE, _ACTION, _SIDE, _PRICE, _SIZE, _FLAGS, _SEQUENCE, _TS_EVENT,
    _TS_INIT, _TRADE_PRICE, _TRADE_SIZE, _TRADE_SIDE, _TRADE_TS_EVENT, _TRADE_TS_INIT, _RAW_WORDS,
    _PRICE_SHIFT, _PRICE_INVERSE, _SIZE_SHIFT, _SIZE_INVERSE,
) = range(23)  # fmt: skip


@intrinsic
def as_pointer(typingctx, address):
    """An integer as a pointer that `carray` accepts."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), codegen


@njit(cache=True)
def _word(address):
    return carray(as_pointer(address), 1, np.uint64)[0]


@njit(cache=True)
def _half_word(address):
    return carray(as_pointer(address), 1, np.uint32)[0]


@njit(cache=True)
def _byte(address):
    return carray(as_pointer(address), 1, np.uint8)[0]


@njit(cache=True)
def _units(address, raw_words, shift, inverse):
    """Raw fixed point at `address` divided by 10**shift, exactly, as a signed 64-bit integer.

    raw = units * 2**shift * 5**shift. Shifting right removes the powers of two; multiplying by the inverse
    of 5**shift modulo 2**64 removes the powers of five, because the quotient is known to be whole and to
    fit.
    """
    low = _word(address)
    if shift > 0:
        low = low >> np.uint64(shift)
        if raw_words == 2:
            low = low | (_word(address + 8) << np.uint64(64 - shift))
        elif np.int64(_word(address)) < 0:  # keep the sign of a 64-bit raw value
            low = np.uint64(np.int64(_word(address)) >> np.int64(shift))
    return np.int64(low * inverse)


@njit(cache=True)
def _n_deltas(address, plan):
    """Return (number of deltas, address of the first) of the `OrderBookDeltas` object at `address`."""
    rust = np.int64(_word(address + plan[_BOX]))
    n = np.int64(min(_word(rust + plan[_VEC_LEN]), _word(rust + plan[_VEC_CAP])))
    return n, np.int64(_word(rust + plan[_VEC_PTR]))


@njit(cache=True)
def _read_delta(record, plan):
    """Return (ts_event, ts_init, price, size, sequence, kind, side, flags) of the delta at `record`."""
    action = _half_word(record + plan[_ACTION])
    book_side = _half_word(record + plan[_SIDE])
    side = 1 if book_side == _BUY else (-1 if book_side == _SELL else 0)
    flags = FLAG_LAST if _byte(record + plan[_FLAGS]) & _F_LAST else 0
    kind, price, size = KIND_CLEAR, np.int64(0), np.int64(0)
    if action != _CLEAR:
        kind = KIND_LEVEL
        words = plan[_RAW_WORDS]
        price = _units(record + plan[_PRICE], words, plan[_PRICE_SHIFT], np.uint64(plan[_PRICE_INVERSE]))
        if action != _DELETE:
            size = _units(record + plan[_SIZE], words, plan[_SIZE_SHIFT], np.uint64(plan[_SIZE_INVERSE]))
    return (
        np.int64(_word(record + plan[_TS_EVENT])),
        np.int64(_word(record + plan[_TS_INIT])),
        price,
        size,
        np.int64(_word(record + plan[_SEQUENCE])),
        kind,
        side,
        flags,
    )


@njit(cache=True)
def _read_deltas(address, plan, out):
    """Decode the `OrderBookDeltas` object at `address` into `out`; return the number of deltas it holds.

    `plan` is a `Layout` followed by shift and inverse of price and size. Nothing is written when `out` is
    too short: the caller grows it and asks again.
    """
    n, record = _n_deltas(address, plan)
    if n > out.shape[0]:
        return n
    for i in range(n):
        event = out[i]
        ts_event, ts_init, price, size, sequence, kind, side, flags = _read_delta(record, plan)
        event.ts_event_ns = ts_event
        event.ts_init_ns = ts_init
        event.price = price
        event.size = size
        event.sequence = sequence
        event.kind = np.uint8(kind)
        event.side = np.int8(side)
        event.flags = np.uint8(flags)
        record += plan[_STRIDE]
    return n


@njit(cache=True)
def _feed_deltas(address, plan, memory):
    """Apply the `OrderBookDeltas` object at `address` to a feature machine; return the status of its last
    event.

    The events never exist as an array: each delta goes from Nautilus's memory into the ladder.
    """
    n, record = _n_deltas(address, plan)
    status = 0
    for _ in range(n):
        _, ts_init, price, size, _, kind, side, flags = _read_delta(record, plan)
        status = apply_event(memory, ts_init, price, size, kind, side, flags)
        record += plan[_STRIDE]
    return status


@njit(cache=True)
def _trade_at(address, plan):
    """Return (ts_event, ts_init, price, size, side) of the `TradeTick` object at `address`."""
    aggressor = _byte(address + plan[_TRADE_SIDE])
    words = plan[_RAW_WORDS]
    return (
        np.int64(_word(address + plan[_TRADE_TS_EVENT])),
        np.int64(_word(address + plan[_TRADE_TS_INIT])),
        _units(address + plan[_TRADE_PRICE], words, plan[_PRICE_SHIFT], np.uint64(plan[_PRICE_INVERSE])),
        _units(address + plan[_TRADE_SIZE], words, plan[_SIZE_SHIFT], np.uint64(plan[_SIZE_INVERSE])),
        1 if aggressor == _BUYER else (-1 if aggressor == _SELLER else 0),
    )


@njit(cache=True)
def _read_trade(address, plan, out):
    """Decode the `TradeTick` object at `address` into ``out[0]``."""
    ts_event, ts_init, price, size, side = _trade_at(address, plan)
    event = out[0]
    event.ts_event_ns = ts_event
    event.ts_init_ns = ts_init
    event.price = price
    event.size = size
    event.sequence = 0
    event.kind = np.uint8(KIND_TRADE)
    event.side = np.int8(side)
    event.flags = np.uint8(0)


@njit(cache=True)
def _feed_trade(address, plan, memory):
    """Apply the `TradeTick` object at `address` to a feature machine."""
    _, ts_init, price, size, side = _trade_at(address, plan)
    apply_event(memory, ts_init, price, size, KIND_TRADE, side, 0)


def _inverse_of_five(power: int) -> int:
    return pow(5**power, -1, 2**64)


def _plan(layout: Layout, price_precision: int, size_precision: int) -> np.ndarray:
    """What the kernels need to know, as one array: passing one argument is what keeps the call cheap."""
    price_shift, size_shift = FIXED_PRECISION - price_precision, FIXED_PRECISION - size_precision
    scales = [price_shift, _inverse_of_five(price_shift), size_shift, _inverse_of_five(size_shift)]
    return np.array([value % 2**64 for value in (*layout, *scales)], dtype=np.uint64).view(np.int64)


def _read_deltas_slowly(deltas, price_precision: int, size_precision: int, out: np.ndarray) -> int:
    """As `_read_deltas`, through the public attributes."""
    items = deltas.deltas
    if len(items) > len(out):
        return len(items)
    price_unit = 10 ** (FIXED_PRECISION - price_precision)
    size_unit = 10 ** (FIXED_PRECISION - size_precision)
    for i, delta in enumerate(items):
        order = delta.order
        side = 1 if order.side == OrderSide.BUY else (-1 if order.side == OrderSide.SELL else 0)
        clear = delta.action == BookAction.CLEAR
        size = 0 if clear or delta.action == BookAction.DELETE else order.size.raw // size_unit
        out[i] = (
            delta.ts_event,
            delta.ts_init,
            0 if clear else order.price.raw // price_unit,
            size,
            delta.sequence,
            KIND_CLEAR if clear else KIND_LEVEL,
            side,
            FLAG_LAST if delta.flags & _F_LAST else 0,
        )
    return len(items)


def _read_trade_slowly(tick, price_precision: int, size_precision: int, out: np.ndarray) -> None:
    """As `_read_trade`, through the public attributes."""
    side = {AggressorSide.BUYER: 1, AggressorSide.SELLER: -1}.get(tick.aggressor_side, 0)
    out[0] = (
        tick.ts_event,
        tick.ts_init,
        tick.price.raw // 10 ** (FIXED_PRECISION - price_precision),
        tick.size.raw // 10 ** (FIXED_PRECISION - size_precision),
        0,
        KIND_TRADE,
        side,
        0,
    )


def _samples() -> tuple[list[OrderBookDeltas], list[TradeTick]]:
    """Objects with distinctive field values, of every action and side."""
    instrument = InstrumentId.from_str("LAYOUT-PROBE.APEX")

    def delta(
        action: BookAction, side: OrderSide, price: str, size: str, flags: int, n: int
    ) -> OrderBookDelta:
        order = BookOrder(side, Price.from_str(price), Quantity.from_str(size), 7_000 + n)
        return OrderBookDelta(instrument, action, order, flags, 11_000 + n, 10**18 + n, 2 * 10**18 + n)

    first = [
        delta(BookAction.UPDATE, OrderSide.SELL, "98765432.17", "7.125", 0, 1),
        delta(BookAction.ADD, OrderSide.BUY, "0.01", "90071992.541", 0, 2),
        delta(BookAction.DELETE, OrderSide.SELL, "61800.30", "0.000", _F_LAST, 3),
    ]
    second = [
        OrderBookDelta.clear(instrument, 5, 3 * 10**18, 3 * 10**18 + 9),
        delta(BookAction.ADD, OrderSide.BUY, "12345.67", "0.001", _F_LAST, 4),
    ]
    third = [delta(BookAction.UPDATE, OrderSide.BUY, "-17.25", "3.000", _F_LAST, 5)]
    trades = [
        TradeTick(
            instrument,
            Price.from_str("61800.31"),
            Quantity.from_str("1.234"),
            side,
            TradeId(name),
            10**18,
            10**18 + 5,
        )
        for side, name in (
            (AggressorSide.BUYER, "a"),
            (AggressorSide.SELLER, "a-trade-id-of-thirty-six-characters0"),
            (AggressorSide.NO_AGGRESSOR, "0"),
        )
    ]
    return [OrderBookDeltas(instrument, batch) for batch in (first, second, third)], trades


def _vector_offsets(batches: list[OrderBookDeltas], box: int) -> tuple[int, int, int] | None:
    """Find pointer and length of the vector inside the Rust struct of known batches.

    A Rust vector is three words (capacity, pointer, length) in an order that the compiler chooses. The
    length is the word that equals the number of deltas in every sample; the pointer is the neighbouring
    word that is aligned and not small.
    """
    lengths = [len(batch.deltas) for batch in batches]
    words = [
        [int(_word(int(_word(id(batch) + box)) + _WORD * i)) for i in range(_BOX_WORDS)] for batch in batches
    ]
    counting = [i for i in range(_BOX_WORDS) if all(w[i] == n for w, n in zip(words, lengths, strict=True))]
    if not counting or max(counting) > 2:  # the vector, with the strictest alignment, comes first
        return None
    pointers = [i for i in range(3) if all(w[i] > 1 << 16 and w[i] % 16 == 0 for w in words)]
    if len(pointers) != 1:
        return None
    # Capacity and length are equal in objects made here and cannot be told apart; the length is the
    # smaller, always.
    others = [i for i in range(3) if i != pointers[0]]
    if any(i not in counting for i in others):
        return None
    return tuple(_WORD * i for i in (pointers[0], *others))


def _candidates() -> list[Layout]:
    head = object.__basicsize__ + _WORD  # PyObject header and Cython's table of methods
    found = []
    vector = _vector_offsets(_samples()[0], head)
    if vector is None:
        return found
    if FIXED_PRECISION == 16:
        trade = -(-head // 16) * 16
        found.append(
            Layout(
                box=head, vec_ptr=vector[0], vec_len=vector[1], vec_cap=vector[2], stride=160,
                action=16, side=32, price=48, size=80, flags=128, sequence=136, ts_event=144, ts_init=152,
                trade_price=trade + 16, trade_size=trade + 48, trade_side=trade + 80,
                trade_ts_event=trade + 128, trade_ts_init=trade + 136, raw_words=2,
            )
        )  # fmt: skip
    else:
        found.append(
            Layout(
                box=head, vec_ptr=vector[0], vec_len=vector[1], vec_cap=vector[2], stride=104,
                action=16, side=24, price=32, size=48, flags=72, sequence=80, ts_event=88, ts_init=96,
                trade_price=head + 16, trade_size=head + 32, trade_side=head + 48,
                trade_ts_event=head + 96, trade_ts_init=head + 104, raw_words=1,
            )
        )  # fmt: skip
    return found


def _fits(layout: Layout) -> bool:
    """Whether `layout` reads every sample as the public attributes do."""
    batches, trades = _samples()
    plan = _plan(layout, 2, 3)
    ours, theirs = np.zeros(8, EVENT), np.zeros(8, EVENT)
    for batch in batches:
        n = _read_deltas(id(batch), plan, ours)
        if n != _read_deltas_slowly(batch, 2, 3, theirs) or (ours[:n] != theirs[:n]).any():
            return False
    for trade in trades:
        _read_trade(id(trade), plan, ours)
        _read_trade_slowly(trade, 2, 3, theirs)
        if ours[0] != theirs[0]:
            return False
    return True


def _find_layout() -> Layout | None:
    return next((layout for layout in _candidates() if _fits(layout)), None)


_LAYOUT: Final = _find_layout()

DIRECT: Final[bool] = _LAYOUT is not None
"""Whether objects are read from memory (True) or through their attributes."""


class EventDecoder:
    """Decodes the book deltas and trades of one instrument into a reused buffer of `EVENT`.

    Parameters
    ----------
    price_precision, size_precision : int
        Decimal places of the instrument; units of the events.
    direct : bool, optional
        Read from memory. Default: where the layout is known (`DIRECT`).

    Notes
    -----
    The returned arrays are views of one buffer and are overwritten by the next call.
    """

    def __init__(self, price_precision: int, size_precision: int, *, direct: bool = DIRECT) -> None:
        if direct and _LAYOUT is None:
            raise ValueError("this Nautilus build cannot be read from memory; use direct=False")
        for name, value in (("price_precision", price_precision), ("size_precision", size_precision)):
            if not 0 <= value <= FIXED_PRECISION:
                raise ValueError(f"{name} must lie in [0, {FIXED_PRECISION}], got {value}")
        self._direct = direct
        self._price_precision = price_precision
        self._size_precision = size_precision
        self._plan = _plan(_LAYOUT, price_precision, size_precision) if direct else None
        self._buffer = np.zeros(64, EVENT)
        self._trade = np.zeros(1, EVENT)

    def deltas(self, deltas: OrderBookDeltas) -> np.ndarray:
        """Return the events of one `OrderBookDeltas`, shape (n,)."""
        while True:
            if self._direct:
                n = _read_deltas(id(deltas), self._plan, self._buffer)
            else:
                n = _read_deltas_slowly(deltas, self._price_precision, self._size_precision, self._buffer)
            if n <= len(self._buffer):
                return self._buffer[:n]
            self._buffer = np.zeros(2 * n, EVENT)

    def trade(self, tick: TradeTick) -> np.ndarray:
        """Return the event of one `TradeTick`, shape (1,)."""
        if self._direct:
            _read_trade(id(tick), self._plan, self._trade)
        else:
            _read_trade_slowly(tick, self._price_precision, self._size_precision, self._trade)
        return self._trade

    def feed_deltas(self, deltas: OrderBookDeltas, memory: np.ndarray) -> int:
        """Apply a batch to the feature machine of `memory` (`BookFeatures.memory`).

        Returns
        -------
        int
            `STATUS_PATH` | `STATUS_ROW` bits of its last event.
        """
        if self._direct:
            return _feed_deltas(id(deltas), self._plan, memory)
        return apply_events(memory, self.deltas(deltas))

    def feed_trade(self, tick: TradeTick, memory: np.ndarray) -> None:
        """Apply a trade to the feature machine of `memory`."""
        if self._direct:
            _feed_trade(id(tick), self._plan, memory)
        else:
            apply_events(memory, self.trade(tick))
