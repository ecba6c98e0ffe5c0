"""The binary interface between a feature's kernels and whoever runs them.

A *machine* is one flat int64 array. It holds everything that a set of features needs: settings, the
price ladder or the latest bar, the state of each feature, the table of kernels to call and the row last
computed. Floats live in the same array, bit for bit (`load_float`, `store_float`). One array means one
argument to unbox when Python calls in (about 70 ns each), one pointer to hand to a kernel, and one
buffer to copy when a state has to be kept.

A *kernel* is a plain Python function of two pointers, ``(view, state)``: `view` is the machine itself,
read through the accessors of this module, `state` is the feature's own slice of it, zero at birth except
for the parameters written at its start. Kernels are compiled to C functions and called through their
addresses, so the loops that drive them are compiled once and never again when a feature is added:

``value(view, state) -> float64``
    The feature now. Called exactly once a row; it may start a new accumulation.
``on_book(view, state)``
    After each batch that leaves a whole, two-sided, uncrossed book.
``on_trade(view, state)``
    After each trade.

Kernels of bars have `value` alone: it is called once a closed bar.

The addresses in a machine belong to the process that built it, so machines are not pickled.
Numba's on-disk cache watches the file of a kernel, not the files it calls: after a change in this module
remove the ``__pycache__`` folders.
"""

from __future__ import annotations

import math
from typing import Any, Final

from llvmlite import ir
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

POINTER: Final = types.CPointer(types.int64)

# ---- header of a book machine -----------------------------------------------------------------------
CAPACITY: Final = 0  # levels a side
PRICE_UNITS: Final = 1  # integer units in a price of 1.0
SIZE_UNITS: Final = 2
PERIOD_NS: Final = 3  # 0: book clock
CONFLATE_NS: Final = 4
NOW_NS: Final = 5  # time at which features are evaluated
FIRST_NS: Final = 6  # time of the first whole book
EVENT_COUNT: Final = 7
BID_AT: Final = 8  # offset of the bid side of the ladder
ASK_AT: Final = 9
BID_COUNT: Final = 10
ASK_COUNT: Final = 11
LEVELS_DROPPED: Final = 12
BOOK_OK: Final = 13  # 1 while the book is whole, two-sided and uncrossed
BOOK_COUNT: Final = 14  # how often it was
BID: Final = 15  # float, best bid of the last whole book
ASK: Final = 16  # float
TRADE_COUNT: Final = 17
TRADE_PRICE: Final = 18  # of the last trade, as are size and side
TRADE_SIZE: Final = 19
TRADE_SIDE: Final = 20
LOG_MID: Final = 21  # memo of `log_mid`
LOG_MID_AT: Final = 22  # the BOOK_COUNT it belongs to
NEXT_BOUNDARY_NS: Final = 23
PENDING: Final = 24  # 1 while a frozen row waits for its book
EVALUATIONS: Final = 25  # rows computed so far
ROW_COUNT: Final = 26  # rows released so far
ROW_NS: Final = 27
ROW_WARM: Final = 28
AGES: Final = 3  # an age is three words: rows, ns and trades
AGE_AT: Final = 29  # age of the row last computed
ROW_AGE_AT: Final = 32  # age of the row last released
WARMUP_ROWS: Final = 35  # the age from which a row is warm, with the two words that follow
WARMUP_NS: Final = 36
WARMUP_TRADES: Final = 37
FEATURE_COUNT: Final = 38
BOOK_HOOKS: Final = 39
TRADE_HOOKS: Final = 40
PLAN_AT: Final = 41  # pairs (address, offset of the state): values, book hooks, trade hooks
ROW_AT: Final = 42
FROZEN_AT: Final = 43
BUFFER_AT: Final = 44

# ---- header of a bar machine: the slots that mean the same, and the bar -----------------------------
BAR_OPEN: Final = 45  # floats
BAR_HIGH: Final = 46
BAR_LOW: Final = 47
BAR_CLOSE: Final = 48
BAR_VOLUME: Final = 49

HEADER: Final = 50

NO_PRICE: Final = 1 << 62
"""Stands for the price of a level that is not there: beyond any real one (negative on the bid side)."""


# ---- memory -------------------------------------------------------------------------------------------
@intrinsic
def pointer_to(typingctx: Any, array: Any) -> Any:
    """Return a pointer to the first element of a C-contiguous int64 array."""
    if not (isinstance(array, types.Array) and array.dtype == types.int64 and array.ndim == 1):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return POINTER(array), codegen


@intrinsic
def pointer_at(typingctx: Any, address: Any) -> Any:
    """Return the pointer with an integer address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(64).as_pointer())

    return POINTER(types.int64), codegen


@intrinsic
def shifted(typingctx: Any, pointer: Any, words: Any) -> Any:
    """Return the pointer moved on by a number of 8-byte words."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return POINTER(POINTER, types.int64), codegen


def _as_double(builder: Any, pointer: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), ir.DoubleType().as_pointer())


@intrinsic
def load_float(typingctx: Any, pointer: Any, index: Any) -> Any:
    """Return the float64 whose bits are stored at `pointer[index]`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_as_double(builder, args[0], args[1]))

    return types.float64(POINTER, types.int64), codegen


@intrinsic
def store_float(typingctx: Any, pointer: Any, index: Any, value: Any) -> Any:
    """Store the bits of a float64 at `pointer[index]`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _as_double(builder, args[0], args[1]))
        return context.get_dummy_value()

    return types.void(POINTER, types.int64, types.float64), codegen


@intrinsic
def move_words(typingctx: Any, pointer: Any, to: Any, start: Any, count: Any) -> Any:
    """Move `count` words of an array from offset `start` to offset `to`; the ranges may overlap."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, to_, start_, count_ = args
        cgutils.raw_memmove(builder, builder.gep(base, [to_]), builder.gep(base, [start_]), count_, 8)
        return context.get_dummy_value()

    return types.void(POINTER, types.int64, types.int64, types.int64), codegen


# ---- calls ----------------------------------------------------------------------------------------------
VALUE_SIGNATURE: Final = types.float64(POINTER, POINTER)
HOOK_SIGNATURE: Final = types.void(POINTER, POINTER)


def _call(builder: Any, result: Any, args: Any) -> Any:
    address, view, state = args
    kernel = builder.inttoptr(address, ir.FunctionType(result, [view.type, state.type]).as_pointer())
    return builder.call(kernel, [view, state])


@intrinsic
def call_value(typingctx: Any, address: Any, view: Any, state: Any) -> Any:
    """Call the `value` kernel at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, ir.DoubleType(), args)

    return types.float64(types.int64, POINTER, POINTER), codegen


@intrinsic
def call_hook(typingctx: Any, address: Any, view: Any, state: Any) -> Any:
    """Call the `on_book` or `on_trade` kernel at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, ir.VoidType(), args)
        return context.get_dummy_value()

    return types.void(types.int64, POINTER, POINTER), codegen


_compiled: dict[Any, Any] = {}


def address_of(kernel: Any, *, returns_value: bool) -> int:
    """Return the address of a kernel's machine code, compiling it at first use (cached on disk)."""
    key = (kernel, returns_value)
    compiled = _compiled.get(key)
    if compiled is None:
        signature = VALUE_SIGNATURE if returns_value else HOOK_SIGNATURE
        compiled = cfunc(signature, cache=True, error_model="numpy")(kernel)
        _compiled[key] = compiled  # keeps the code alive for as long as a machine may call it
    return int(compiled.address)


# ---- accessors for the kernels of book features -----------------------------------------------------
@njit(cache=True)
def bid_price(view, level):
    """Price of a bid level in integer units, 0 the best; ``-NO_PRICE`` where there is none."""
    n = view[BID_COUNT]
    if level >= n:
        return -NO_PRICE
    return view[view[BID_AT] + 2 * (n - 1 - level)]


@njit(cache=True)
def bid_size(view, level):
    """Size of a bid level in integer units, 0 where there is none."""
    n = view[BID_COUNT]
    if level >= n:
        return 0
    return view[view[BID_AT] + 2 * (n - 1 - level) + 1]


@njit(cache=True)
def ask_price(view, level):
    """Price of an ask level in integer units, 0 the best; ``NO_PRICE`` where there is none."""
    n = view[ASK_COUNT]
    if level >= n:
        return NO_PRICE
    return -view[view[ASK_AT] + 2 * (n - 1 - level)]


@njit(cache=True)
def ask_size(view, level):
    """Size of an ask level in integer units, 0 where there is none."""
    n = view[ASK_COUNT]
    if level >= n:
        return 0
    return view[view[ASK_AT] + 2 * (n - 1 - level) + 1]


@njit(cache=True, error_model="numpy")
def log_mid(view):
    """Log of the mid price in units of 1e-9, up to a constant, as an integer.

    Integers make sums of its changes exact, whatever their order; the step of 1e-9 is a hundred-thousandth
    of a basis point. The logarithm is taken once a book, however many features ask.
    """
    if view[LOG_MID_AT] != view[BOOK_COUNT]:
        view[LOG_MID_AT] = view[BOOK_COUNT]
        twice_mid = bid_price(view, 0) + ask_price(view, 0)
        # A spread of contracts may have a mid below zero; it has no logarithm and counts as not moving.
        if twice_mid > 0:
            view[LOG_MID] = math.floor(math.log(float(twice_mid)) * 1e9 + 0.5)
    return view[LOG_MID]


# ---- accessors for the kernels of bar features -------------------------------------------------------
@njit(cache=True)
def bar_open(view):
    """Open of the bar that has just closed."""
    return load_float(view, BAR_OPEN)


@njit(cache=True)
def bar_high(view):
    """High of the bar that has just closed."""
    return load_float(view, BAR_HIGH)


@njit(cache=True)
def bar_low(view):
    """Low of the bar that has just closed."""
    return load_float(view, BAR_LOW)


@njit(cache=True)
def bar_close(view):
    """Close of the bar that has just closed."""
    return load_float(view, BAR_CLOSE)


@njit(cache=True)
def bar_volume(view):
    """Volume of the bar that has just closed."""
    return load_float(view, BAR_VOLUME)
