"""Price-time priority matching on preallocated arrays.

A book is four arrays (`Book`), and every function here is a compiled kernel on them. Prices are integer
ticks, sizes integer lots; nothing is a float.

Layout
------
orders : ORDER[capacity]
    The pool. A record is one order from the moment it is allocated (it may still be on the wire) to its end.
    Orders of one price hang together in a doubly linked list, oldest first; free records in a singly linked
    list.
levels : LEVEL[n], n a power of two and at least 64
    The price ladder. Price `p` lives at index `p & (n - 1)`, so the ladder is a ring: it follows the price
    wherever it walks without moving a byte, as long as all occupied prices span at most `n - 64` ticks. An
    uncrossed book never holds bids and asks at one price, so both sides share the ladder.
words : uint64[n / 64]
    One bit a level, set where the level holds orders: the next best price is a count of leading or trailing
    zeros.
state : int64[...]
    Best prices, counts and the bounds of what is occupied (the `*` constants below index it).

Adding, cancelling and matching at the touch cost O(1); finding the next best level costs one step per 64
empty ticks.

A kernel that would need more room than there is says so (`fits`, `allocate`) *before* it changes anything.
The caller grows the arrays and calls again: nothing is ever dropped to make room.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import entry, kernel

__all__ = [
    "ALLOW",
    "BUY",
    "CANCELLED",
    "CANCEL_AGGRESSING",
    "CANCEL_BOTH",
    "CANCEL_RESTING",
    "DECREMENT",
    "EXPIRED",
    "FILL",
    "FILLED",
    "FOK",
    "GTC",
    "IOC",
    "LEVEL",
    "NO_ASK",
    "NO_BID",
    "ORDER",
    "POST_ONLY",
    "REJECTED",
    "RESTING",
    "SELL",
    "Book",
    "allocate",
    "cancel",
    "fits",
    "move",
    "new_book",
    "reduce",
    "release",
    "replace",
    "submit",
]

BUY, SELL = 1, -1

# Time in force. A market order is an IOC whose limit is NO_ASK (buy) or NO_BID (sell).
GTC, IOC, FOK, POST_ONLY = 0, 1, 2, 3

# What became of an order. Every order ends in exactly one of FILLED, CANCELLED, EXPIRED, REJECTED, or is
# RESTING.
RESTING, FILLED, CANCELLED, EXPIRED, REJECTED = 1, 2, 3, 4, 5

# Self-trade prevention: what happens when an order meets one of its own owner. The incoming order's mode
# counts. DECREMENT takes the smaller size off both.
ALLOW, CANCEL_RESTING, CANCEL_AGGRESSING, CANCEL_BOTH, DECREMENT = 0, 1, 2, 3, 4

NO_BID = -(1 << 60)
NO_ASK = 1 << 60
MAX_LEVELS = 1 << 24
NIL = -1  # end of a linked list

ORDER = np.dtype(
    [
        ("id", "<i8"),  # given by the caller; -1 while the record is free
        ("price", "<i8"),
        ("size", "<i8"),  # what is left of it
        ("owner", "<i4"),
        ("next", "<i4"),
        ("previous", "<i4"),
        ("side", "i1"),
        ("time_in_force", "u1"),
        ("resting", "u1"),
        ("self_trade", "u1"),
    ],
    align=True,
)
LEVEL = np.dtype([("volume", "<i8"), ("head", "<i4"), ("tail", "<i4"), ("orders", "<i8")], align=True)
# One line a meeting of two orders, in the order they happened. Where self-trade prevention stood in, `size`
# is 0 and `prevented` the lots it took off the resting order (0 where it spared that one).
FILL = np.dtype(
    [
        ("maker_id", "<i8"),
        ("taker_id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("prevented", "<i8"),
        ("maker_owner", "<i4"),
        ("taker_owner", "<i4"),
        ("taker_side", "i1"),
        ("maker_done", "u1"),  # nothing is left of the resting order
    ],
    align=True,
)

# Indices into `state`.
BEST_BID, BEST_ASK = 0, 1
BID_LEVELS, ASK_LEVELS = 2, 3
BID_ORDERS, ASK_ORDERS = 4, 5
LOW, HIGH = 6, 7  # every occupied price lies within; tightened only when the ladder would overflow
FREE_HEAD, FREE_COUNT = 8, 9
PREVENT_SELF_TRADE = 10  # the mode of orders that come without one
NOW_NS = 11  # what time it is, for orders that expire
N_EXPIRING = 12  # of those, how many have come to rest and are not scheduled yet
STATE_SIZE = 16

_ONE = np.uint64(1)
_ZERO = np.uint64(0)


class Book(NamedTuple):
    """The arrays of one order book; see the module's docstring for their layout."""

    orders: np.ndarray
    levels: np.ndarray
    words: np.ndarray
    state: np.ndarray


def new_book(capacity: int, n_levels: int, *, prevent_self_trade: int = ALLOW) -> Book:
    """Return an empty book of `capacity` orders and a ladder of `n_levels` prices.

    Raises ValueError when `n_levels` is not a power of two of at least 64, or `capacity` is not positive.
    """
    if n_levels < 64 or n_levels & (n_levels - 1):
        raise ValueError(f"n_levels: {n_levels} is not a power of two of at least 64")
    if capacity < 1:
        raise ValueError(f"capacity: {capacity} is not positive")
    orders = np.zeros(capacity, ORDER)
    orders["id"] = -1
    orders["next"] = np.arange(1, capacity + 1)
    orders["next"][-1] = NIL
    levels = np.zeros(n_levels, LEVEL)
    levels["head"] = levels["tail"] = NIL
    state = np.zeros(STATE_SIZE, np.int64)
    state[BEST_BID], state[BEST_ASK] = NO_BID, NO_ASK
    state[FREE_COUNT] = capacity
    state[PREVENT_SELF_TRADE] = int(prevent_self_trade)
    state[NOW_NS] = np.iinfo(np.int64).min
    return Book(orders, levels, np.zeros(n_levels // 64, np.uint64), state)


def grow_orders(book: Book) -> Book:
    """Return the same book with a pool of twice the capacity; slots keep their numbers."""
    old = len(book.orders)
    fresh = new_book(2 * old, 64).orders
    fresh[:old] = book.orders
    # The new records go to the front of the free list, the old free list hangs behind them.
    fresh["next"][-1] = book.state[FREE_HEAD] if book.state[FREE_COUNT] else NIL
    book.state[FREE_HEAD] = old
    book.state[FREE_COUNT] += old
    return book._replace(orders=fresh)


def grow_levels(book: Book, price: int) -> Book:
    """Return the same book with a ladder wide enough for `price`; nothing is lost or reordered.

    Raises ValueError when that would take more than MAX_LEVELS ticks.
    """
    state = book.state
    low, high = min(int(state[LOW]), price), max(int(state[HIGH]), price)
    n = 2 * len(book.levels)
    while (high >> 6) - (low >> 6) >= n // 64:
        n *= 2
    if n > MAX_LEVELS:
        raise ValueError(
            f"price: {price} and what rests would span {low} to {high}, more than {MAX_LEVELS} ticks; "
            "use a coarser tick"
        )
    fresh = new_book(1, n)
    for index in np.flatnonzero(book.levels["orders"]):
        level = book.levels[index]
        at = int(book.orders["price"][level["head"]])
        fresh.levels[at & (n - 1)] = level
        fresh.words[(at >> 6) & (n // 64 - 1)] |= np.uint64(1) << np.uint64(at & 63)
    return book._replace(levels=fresh.levels, words=fresh.words)


@intrinsic
def _leading_zeros(typing_context, word):
    """Zeros above the highest set bit of a non-zero uint64 (one instruction)."""

    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), generate


@intrinsic
def _trailing_zeros(typing_context, word):
    """Zeros below the lowest set bit of a non-zero uint64 (one instruction)."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), generate


@kernel
def _occupied_below(words, price):
    """Highest occupied price below `price`. There must be one: the caller has counted."""
    mask = len(words) - 1
    word = price >> 6
    bits = words[word & mask] & ((_ONE << np.uint64(price & 63)) - _ONE)
    while bits == _ZERO:
        word -= 1
        bits = words[word & mask]
    return (word << 6) + 63 - _leading_zeros(bits)


@kernel
def _occupied_above(words, price):
    """Lowest occupied price above `price`. There must be one: the caller has counted."""
    mask = len(words) - 1
    # The price above starts the scan, since a shift by 64 bits is undefined.
    price += 1
    word = price >> 6
    bits = words[word & mask] & ~((_ONE << np.uint64(price & 63)) - _ONE)
    while bits == _ZERO:
        word += 1
        bits = words[word & mask]
    return (word << 6) + _trailing_zeros(bits)


@entry
def fits(book, price):
    """True when an order at `price` has a place on the ladder beside all that rests.

    May tighten the recorded bounds, which nobody can observe; otherwise changes nothing.
    """
    state = book.state
    n_words = len(book.words)
    if state[BID_LEVELS] + state[ASK_LEVELS] == 0:
        state[LOW] = price
        state[HIGH] = price
        return True
    low = min(state[LOW], price)
    high = max(state[HIGH], price)
    if (high >> 6) - (low >> 6) < n_words:
        return True
    state[LOW] = _occupied_above(book.words, state[LOW] - 1)
    state[HIGH] = _occupied_below(book.words, state[HIGH] + 1)
    low = min(state[LOW], price)
    high = max(state[HIGH], price)
    return (high >> 6) - (low >> 6) < n_words


@entry
def allocate(book, order_id, owner, side, price, size, time_in_force):
    """Take a record from the pool for a new order; returns its slot, -1 when the pool is exhausted.

    The order does not rest yet: hand the slot to `submit` when it reaches the venue, or to `release` if it
    never does.
    """
    state = book.state
    if state[FREE_COUNT] == 0:
        return NIL
    slot = state[FREE_HEAD]
    order = book.orders[slot]
    state[FREE_HEAD] = order.next
    state[FREE_COUNT] -= 1
    order.id = order_id
    order.price = price
    order.size = size
    order.owner = owner
    order.side = side
    order.time_in_force = time_in_force
    order.self_trade = state[PREVENT_SELF_TRADE]
    order.resting = 0
    return slot


@entry
def release(book, slot):
    """Give the record of an order that does not rest back to the pool."""
    order = book.orders[slot]
    order.id = -1
    order.resting = 0
    order.next = book.state[FREE_HEAD]
    book.state[FREE_HEAD] = slot
    book.state[FREE_COUNT] += 1


@kernel
def _vacate(book, price, side):
    """Clear the bit of a level whose last order left, and find the next best price if it was the best."""
    state = book.state
    words = book.words
    words[(price >> 6) & (len(words) - 1)] &= ~(_ONE << np.uint64(price & 63))
    if side > 0:
        state[BID_LEVELS] -= 1
        if price == state[BEST_BID]:
            state[BEST_BID] = _occupied_below(words, price) if state[BID_LEVELS] > 0 else NO_BID
    else:
        state[ASK_LEVELS] -= 1
        if price == state[BEST_ASK]:
            state[BEST_ASK] = _occupied_above(words, price) if state[ASK_LEVELS] > 0 else NO_ASK


@kernel
def _unlink(book, slot):
    """Take a resting order off its level, wherever it stands in the queue."""
    order = book.orders[slot]
    level = book.levels[order.price & (len(book.levels) - 1)]
    before = order.previous
    after = order.next
    if before == NIL:
        level.head = after
    else:
        book.orders[before].next = after
    if after == NIL:
        level.tail = before
    else:
        book.orders[after].previous = before
    level.volume -= order.size
    level.orders -= 1
    order.resting = 0
    book.state[BID_ORDERS if order.side > 0 else ASK_ORDERS] -= 1
    if level.orders == 0:
        _vacate(book, order.price, np.int64(order.side))


@kernel
def _rest(book, slot):
    """Append an order to the queue of its price."""
    order = book.orders[slot]
    price = order.price
    state = book.state
    level = book.levels[price & (len(book.levels) - 1)]
    order.resting = 1
    order.next = NIL
    order.previous = level.tail
    level.volume += order.size
    level.orders += 1
    if level.tail != NIL:
        book.orders[level.tail].next = slot
        level.tail = slot
    else:
        level.head = slot
        level.tail = slot
        words = book.words
        words[(price >> 6) & (len(words) - 1)] |= _ONE << np.uint64(price & 63)
        state[LOW] = min(state[LOW], price)
        state[HIGH] = max(state[HIGH], price)
        if order.side > 0:
            state[BID_LEVELS] += 1
            state[BEST_BID] = max(state[BEST_BID], price)
        else:
            state[ASK_LEVELS] += 1
            state[BEST_ASK] = min(state[BEST_ASK], price)
    state[BID_ORDERS if order.side > 0 else ASK_ORDERS] += 1


@kernel
def _available(book, side, limit, size, owner, self_trade):
    """Up to `size` lots that an order could take at once: what fill-or-kill asks before it starts.

    Own orders are passed over where meeting one would only cancel that one; in the other modes the order
    would end or shrink there, so nothing behind counts.
    """
    state = book.state
    left = state[ASK_LEVELS] if side > 0 else state[BID_LEVELS]
    price = state[BEST_ASK] if side > 0 else state[BEST_BID]
    found = 0
    while left > 0 and (limit - price) * side >= 0 and found < size:
        level = book.levels[price & (len(book.levels) - 1)]
        if self_trade == ALLOW:
            found += level.volume
        else:
            slot = np.int64(level.head)
            while slot != NIL:
                if book.orders[slot].owner != owner:
                    found += book.orders[slot].size
                elif self_trade != CANCEL_RESTING:
                    return min(found, size)
                slot = np.int64(book.orders[slot].next)
        left -= 1
        if left > 0:
            price = _occupied_above(book.words, price) if side > 0 else _occupied_below(book.words, price)
    return min(found, size)


@kernel
def _match(book, slot, fills, n_fills):
    """Trade an incoming order against the other side, best price first, oldest order first.

    Returns the new number of fills, and True where self-trade prevention took the last of the order.
    """
    orders = book.orders
    state = book.state
    taker = orders[slot]
    side = np.int64(taker.side)
    limit = taker.price
    size = taker.size
    self_trade = taker.self_trade
    stopped = False
    mask = len(book.levels) - 1
    resting = ASK_ORDERS if side > 0 else BID_ORDERS
    while size > 0:
        # An empty side's best price is NO_ASK or NO_BID, which a market order's limit equals: count, don't
        # compare.
        if state[resting] == 0:
            break
        price = state[BEST_ASK] if side > 0 else state[BEST_BID]
        if (limit - price) * side < 0:
            break
        level = book.levels[price & mask]
        at = np.int64(level.head)
        while at != NIL and size > 0:
            maker = orders[at]
            fill = fills[n_fills]
            n_fills += 1
            fill.maker_id = maker.id
            fill.taker_id = taker.id
            fill.maker_owner = maker.owner
            fill.taker_owner = taker.owner
            fill.taker_side = side
            fill.price = price
            traded = min(size, maker.size)
            if self_trade != ALLOW and maker.owner == taker.owner:
                gone = maker.size
                if self_trade == CANCEL_AGGRESSING:
                    gone = 0
                elif self_trade == DECREMENT:
                    gone = traded
                fill.size = 0
                fill.prevented = gone
                level.volume -= gone
                maker.size -= gone
                if self_trade != CANCEL_RESTING:
                    size = size - gone if self_trade == DECREMENT else 0
                    stopped = size == 0
            else:
                fill.size = traded
                fill.prevented = 0
                size -= traded
                maker.size -= traded
                level.volume -= traded
            fill.maker_done = maker.size == 0
            if maker.size > 0:
                break
            after = maker.next
            release(book, at)
            level.orders -= 1
            state[resting] -= 1
            at = np.int64(after)
        level.head = at
        if at == NIL:
            level.tail = NIL
            _vacate(book, price, -side)
        else:
            orders[at].previous = NIL
    taker.size = size
    return n_fills, stopped


@kernel
def _crosses(book, side, price):
    """True when an order would trade at once."""
    return price >= book.state[BEST_ASK] if side > 0 else price <= book.state[BEST_BID]


@entry
def submit(book, slot, fills, n_fills):
    """Let an allocated order meet the book; returns its fate and the new number of fills.

    Parameters
    ----------
    slot : record from `allocate`. It is released here unless the order rests.
    fills : FILL[:] with room for every resting order of the other side beyond `n_fills`.

    Returns
    -------
    fate, n_fills : RESTING, FILLED, EXPIRED (what an IOC or a market order could not get), REJECTED (a
        post-only that would trade, a fill-or-kill that cannot be filled whole), or CANCELLED (self-trade
        prevention took the last of it). `fits` must have been true for its price.
    """
    order = book.orders[slot]
    side = np.int64(order.side)
    kind = order.time_in_force
    crosses = _crosses(book, side, order.price)
    if kind == POST_ONLY:
        if crosses:
            release(book, slot)
            return REJECTED, n_fills
    elif kind == FOK:
        owner = np.int64(order.owner)
        if _available(book, side, order.price, order.size, owner, order.self_trade) < order.size:
            release(book, slot)
            return REJECTED, n_fills
    if crosses:
        n_fills, stopped = _match(book, slot, fills, n_fills)
        if order.size == 0:
            release(book, slot)
            return CANCELLED if stopped else FILLED, n_fills
    if kind in (IOC, FOK):
        release(book, slot)
        return EXPIRED, n_fills
    _rest(book, slot)
    return RESTING, n_fills


@entry
def cancel(book, slot, order_id):
    """Take an order off the book; returns the lots it still had, 0 when it no longer rests there."""
    order = book.orders[slot]
    if order.id != order_id or order.resting == 0:
        return 0
    left = order.size
    _unlink(book, slot)
    release(book, slot)
    return left


@entry
def reduce(book, slot, order_id, size):
    """Shrink a resting order to `size` lots where it stands in the queue; returns True when done.

    False when no such order rests there, or `size` is not between 0 and what is left of it (both exclusive).
    """
    order = book.orders[slot]
    if order.id != order_id or order.resting == 0 or size <= 0 or size >= order.size:
        return False
    book.levels[order.price & (len(book.levels) - 1)].volume -= order.size - size
    order.size = size
    return True


@entry
def move(book, slot, price, size):
    """First half of `replace`: REJECTED or RESTING when that was all, 0 when `submit` must follow.

    For an order that rests (the caller has looked).
    """
    order = book.orders[slot]
    if size <= 0:
        return REJECTED
    if order.time_in_force == POST_ONLY and _crosses(book, np.int64(order.side), price):
        return REJECTED
    if price == order.price and size <= order.size:
        book.levels[price & (len(book.levels) - 1)].volume -= order.size - size
        order.size = size
        return RESTING
    _unlink(book, slot)
    order.price = price
    order.size = size
    return 0


@entry
def replace(book, slot, order_id, price, size, fills, n_fills):
    """Change price or size of a resting order; returns its fate and the new number of fills.

    A smaller size at the same price keeps its place in the queue. Anything else goes to the back of the new
    price's queue, or trades at once if that price crosses. REJECTED (and nothing changed) when no such order
    rests there, or when it is post-only and would trade. `fits` must have been true for the new price.
    """
    order = book.orders[slot]
    if order.id != order_id or order.resting == 0:
        return REJECTED, n_fills
    fate = move(book, slot, price, size)
    if fate != 0:
        return fate, n_fills
    return submit(book, slot, fills, n_fills)
