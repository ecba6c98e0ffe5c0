"""The order book for people: the kernels of `matching` behind a class that grows its own arrays.

`OrderBook` takes one order a call, or a whole array of messages in one compiled run (`process`); both drive
the kernels that the simulated market runs.
"""

from dataclasses import dataclass

import numpy as np

from . import matching as m
from ._jit import entry
from .matching import BUY, CANCELLED, FILL, FILLED, FOK, GTC, IOC, POST_ONLY, REJECTED, RESTING, SELL

__all__ = ["MESSAGE", "MessageAction", "OrderBook", "OrderReport"]

UNKNOWN = 0  # fate of an id that was never submitted


class MessageAction:
    """What a message of `OrderBook.process` asks for."""

    LIMIT, MARKET, CANCEL, REPLACE, REDUCE = 0, 1, 2, 3, 4


MESSAGE = np.dtype(
    [
        # LIMIT and MARKET: a new id, 0 <= id < 2**31 and never used before; else the order meant.
        ("order_id", "<i8"),
        ("price", "<i8"),  # ticks; LIMIT and REPLACE
        ("size", "<i8"),  # lots; the size afterwards for REPLACE and REDUCE
        ("owner", "<i4"),
        ("action", "u1"),
        ("side", "i1"),
        ("time_in_force", "u1"),  # LIMIT only
    ],
    align=True,
)

_DONE, _GROW_FILLS, _GROW_ORDERS, _GROW_LEVELS = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What became of one order.

    Attributes
    ----------
    order_id : the id the book gave it.
    fate : RESTING, FILLED, EXPIRED or REJECTED.
    filled : lots traded at once.
    fills : FILL[k], the matches in order, self-trade cancellations (size 0) among them.
    """

    order_id: int
    fate: int
    filled: int
    fills: np.ndarray


@entry
def _run(book, messages, start, slots, fates, fills, n_fills):
    """Apply messages from `start` on; stops before the first one that needs more room, saying which."""
    state = book.state
    for i in range(start, len(messages)):
        message = messages[i]
        action = message.action
        order_id = message.order_id
        if len(fills) - n_fills < state[m.BID_ORDERS] + state[m.ASK_ORDERS]:
            return i, n_fills, _GROW_FILLS
        first = n_fills
        if action <= 1:
            price = message.price
            kind = message.time_in_force
            if action == 1:
                price = m.NO_ASK if message.side > 0 else m.NO_BID
                kind = m.IOC
            elif kind != m.IOC and kind != m.FOK and not m.fits(book, price):  # what may rest needs a place
                return i, n_fills, _GROW_LEVELS
            slot = m.allocate(book, order_id, message.owner, message.side, price, message.size, kind)
            if slot < 0:
                return i, n_fills, _GROW_ORDERS
            fate, n_fills = m.submit(book, slot, fills, n_fills)
            slots[order_id] = slot
            fates[order_id] = fate
        elif fates[order_id] != m.RESTING:
            continue
        elif action == 2:
            m.cancel(book, slots[order_id], order_id)
            fates[order_id] = m.CANCELLED
        elif action == 3:
            if not m.fits(book, message.price):
                return i, n_fills, _GROW_LEVELS
            slot = slots[order_id]
            fate, n_fills = m.replace(book, slot, order_id, message.price, message.size, fills, n_fills)
            if fate != m.REJECTED:
                fates[order_id] = fate
        else:
            m.reduce(book, slots[order_id], order_id, message.size)
        for k in range(first, n_fills):
            if fills[k].maker_done:
                fates[fills[k].maker_id] = m.FILLED if fills[k].size > 0 else m.CANCELLED
    return len(messages), n_fills, _DONE


_PROBLEMS = (
    "action",
    "side",
    "time_in_force",
    "price",
    "size",
    "order_id (used before)",
    "order_id (never submitted)",
)
_BOUND = 1 << 59


@entry
def _id_range(messages):
    """Index of the first id that is none (-1 where all are), and the highest id."""
    highest = np.int64(-1)
    for i in range(len(messages)):
        order_id = messages[i].order_id
        if order_id < 0 or order_id >= 1 << 31:
            return i, highest
        highest = max(highest, order_id)
    return -1, highest


@entry
def _first_bad(messages, seen):
    """Index and problem (1-based in _PROBLEMS, 0 none) of the first bad message; marks ids in `seen`."""
    for i in range(len(messages)):
        message = messages[i]
        action = message.action
        order_id = message.order_id
        if action > 4:
            return i, 1
        if action <= 1:
            if abs(np.int64(message.side)) != 1:
                return i, 2
            if message.time_in_force > m.POST_ONLY:
                return i, 3
        if action in (0, 3) and abs(message.price) > _BOUND:
            return i, 4
        if action != 2 and (message.size < 1 or message.size > _BOUND):
            return i, 5
        if action <= 1:
            if seen[order_id]:
                return i, 6
            seen[order_id] = 1
        elif not seen[order_id]:
            return i, 7
    return 0, 0


def _bad_message(messages: np.ndarray, at: int, problem: str) -> ValueError:
    value = messages[at][problem.split(" ")[0]]
    return ValueError(f"messages[{at}].{problem}: {value} is out of bounds")


class OrderBook:
    """A limit order book with price-time priority.

    Prices are integer ticks and sizes integer lots, both within +-2**59. Order ids are given in sequence from
    0. The arrays grow by themselves; `capacity` and `levels` only set where they start.

    Parameters
    ----------
    capacity : resting orders to make room for.
    levels : width of the price ladder in ticks, a power of two of at least 64.
    prevent_self_trade : when an order would meet one of its own owner, the resting one is cancelled instead.

    Examples
    --------
    >>> book = OrderBook()
    >>> offer = book.limit(SELL, price=101, size=5)
    >>> book.market(BUY, size=2).filled
    2
    >>> book.cancel(offer.order_id)
    3
    """

    def __init__(self, *, capacity: int = 4096, levels: int = 4096, prevent_self_trade: bool = False) -> None:
        self._book = m.new_book(capacity, levels, prevent_self_trade=prevent_self_trade)
        self._slots = np.zeros(1024, np.int32)
        self._fates = np.zeros(1024, np.uint8)
        self._fills = np.zeros(1024, FILL)
        self._next_id = 0
        self._message = np.zeros(1, MESSAGE)

    # ------------------------------------------------------------------ orders

    def limit(
        self, side: int, price: int, size: int, *, owner: int = 0, time_in_force: int = GTC
    ) -> OrderReport:
        """Send a limit order.

        Parameters: side, BUY or SELL; price in ticks; size in lots, positive; time_in_force, GTC, IOC, FOK or
        POST_ONLY. Raises ValueError naming the argument that is out of bounds.
        """
        if time_in_force not in (GTC, IOC, FOK, POST_ONLY):
            raise ValueError(f"time_in_force: {time_in_force!r} is none of GTC, IOC, FOK, POST_ONLY")
        return self._send(MessageAction.LIMIT, side, _in_range("price", price), size, owner, time_in_force)

    def market(self, side: int, size: int, *, owner: int = 0) -> OrderReport:
        """Send a market order: it takes what there is, and what it cannot get expires."""
        return self._send(MessageAction.MARKET, side, 0, size, owner, IOC)

    def cancel(self, order_id: int) -> int:
        """Take an order off the book; returns the lots it still had, 0 when it no longer rests."""
        slot = self._slot_of(order_id)
        if slot < 0:
            return 0
        left = int(m.cancel(self._book, slot, order_id))
        self._fates[order_id] = CANCELLED
        return left

    def reduce(self, order_id: int, size: int) -> bool:
        """Shrink a resting order to `size` lots without losing its place; False when that is not possible."""
        slot = self._slot_of(order_id)
        return slot >= 0 and bool(m.reduce(self._book, slot, order_id, size))

    def replace(self, order_id: int, price: int, size: int) -> OrderReport:
        """Move a resting order; it keeps its place only when just the size shrinks.

        The fate is REJECTED, and nothing changed, when the order does not rest or is post-only and would
        trade.
        """
        _in_range("price", price)
        if _in_range("size", size) < 1:
            raise ValueError(f"size: {size} lots is not positive; to remove an order, cancel it")
        slot = self._slot_of(order_id)
        if slot < 0:
            return OrderReport(order_id, REJECTED, 0, self._fills[:0].copy())
        if not m.fits(self._book, price):
            self._book = m.grow_levels(self._book, price)
        if len(self._fills) < len(self):
            self._fills = np.zeros(2 * len(self), FILL)
        fate, n_fills = m.replace(self._book, slot, order_id, price, size, self._fills, 0)
        fills = self._fills[:n_fills].copy()
        if fate != REJECTED:
            self._fates[order_id] = fate
        done = fills["maker_done"] > 0
        self._fates[fills["maker_id"][done]] = np.where(fills["size"][done] > 0, FILLED, CANCELLED)
        return OrderReport(order_id, int(fate), int(fills["size"].sum()), fills)

    def process(self, messages: np.ndarray) -> np.ndarray:
        """Apply an array of messages in one compiled run; returns all fills, FILL[k].

        A message for an order that no longer rests is ignored, as a venue rejects it.

        Parameters
        ----------
        messages : MESSAGE[n]. New orders bring their own ids, so that a prepared flow can refer to them; an
            id is an index into the book's memory of fates, so keep them dense. Ids must not be reused.

        Raises
        ------
        ValueError naming the first message that is out of bounds, before anything is applied. That an order
        would make the ladder span more than 2**24 ticks is known only when its turn comes: then those before
        it have been applied.
        """
        messages = np.ascontiguousarray(messages, MESSAGE)
        if not len(messages):
            return self._fills[:0].copy()
        outside, highest = _id_range(messages)
        if outside >= 0:
            raise _bad_message(messages, outside, "order_id")
        self._remember(highest + 1)
        at, problem = _first_bad(messages, self._fates.copy())
        if problem:
            raise _bad_message(messages, at, _PROBLEMS[problem - 1])
        self._next_id = max(self._next_id, highest + 1)
        if len(self._fills) < len(messages) // 4:
            self._fills = np.empty(len(messages) // 4, FILL)
        n_fills = self._apply(messages)
        fills, self._fills = self._fills[:n_fills], np.zeros(1024, FILL)  # given away, which saves a copy
        return fills

    # ------------------------------------------------------------------ what is there

    @property
    def best_bid(self) -> int | None:
        """Highest bid in ticks, None when there is none."""
        return int(self._book.state[m.BEST_BID]) if self._book.state[m.BID_LEVELS] else None

    @property
    def best_ask(self) -> int | None:
        """Lowest ask in ticks, None when there is none."""
        return int(self._book.state[m.BEST_ASK]) if self._book.state[m.ASK_LEVELS] else None

    def __len__(self) -> int:
        """Resting orders."""
        return int(self._book.state[m.BID_ORDERS] + self._book.state[m.ASK_ORDERS])

    def levels(self, side: int) -> list[tuple[int, int]]:
        """(price, summed lots) of one side, best first."""
        return [(price, sum(size for _, size in queue)) for price, queue in self.queues(side)]

    def queues(self, side: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """(price, [(order id, lots), oldest first]) of one side, best first."""
        orders, levels = self._book.orders, self._book.levels
        heads = levels["head"][levels["orders"] > 0]
        heads = heads[orders["side"][heads] == side]
        result = []
        for head in heads[np.argsort(-side * orders["price"][heads])]:
            queue, slot = [], int(head)
            while slot >= 0:
                queue.append((int(orders["id"][slot]), int(orders["size"][slot])))
                slot = int(orders["next"][slot])
            result.append((int(orders["price"][head]), queue))
        return result

    def fate(self, order_id: int) -> int:
        """RESTING, FILLED, CANCELLED, EXPIRED or REJECTED. Raises KeyError for an id never submitted."""
        if not 0 <= order_id < len(self._fates) or self._fates[order_id] == UNKNOWN:
            raise KeyError(f"order {order_id} was never submitted to this book")
        return int(self._fates[order_id])

    # ------------------------------------------------------------------ inside

    def _send(self, action: int, side: int, price: int, size: int, owner: int, kind: int) -> OrderReport:
        if side not in (BUY, SELL):
            raise ValueError(f"side: {side!r} is neither BUY (1) nor SELL (-1)")
        if _in_range("size", size) < 1:
            raise ValueError(f"size: {size} lots is not positive")
        order_id = self._next_id
        self._next_id += 1
        self._remember(self._next_id)
        self._message[0] = (order_id, price, size, owner, action, side, kind)
        fills = self._fills[: self._apply(self._message)].copy()
        return OrderReport(order_id, int(self._fates[order_id]), int(fills["size"].sum()), fills)

    def _remember(self, n: int) -> None:
        """Make room for the slots and fates of the first `n` order ids."""
        if n > len(self._fates):
            room = max(n, 2 * len(self._fates)) - len(self._fates)
            self._slots = np.concatenate([self._slots, np.zeros(room, np.int32)])
            self._fates = np.concatenate([self._fates, np.zeros(room, np.uint8)])

    def _apply(self, messages: np.ndarray) -> int:
        at, n_fills = 0, 0
        while True:
            memory = self._slots, self._fates, self._fills
            at, n_fills, needs = _run(self._book, messages, at, *memory, n_fills)
            if needs == _DONE:
                return n_fills
            if needs == _GROW_FILLS:
                self._fills = np.concatenate([self._fills, np.zeros(max(len(self._fills), len(self)), FILL)])
            elif needs == _GROW_ORDERS:
                self._book = m.grow_orders(self._book)
            else:
                self._book = m.grow_levels(self._book, int(messages[at]["price"]))

    def _slot_of(self, order_id: int) -> int:
        if not 0 <= order_id < len(self._fates) or self._fates[order_id] != RESTING:
            return -1
        return int(self._slots[order_id])


def _in_range(name: str, value: int) -> int:
    if not -_BOUND <= value <= _BOUND:
        raise ValueError(f"{name}: {value} is outside +-2**59")
    return int(value)
