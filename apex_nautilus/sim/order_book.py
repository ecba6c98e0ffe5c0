"""The order book for people: the kernels of `matching` behind a class that grows its own arrays.

`OrderBook` takes one order a call, or a whole array of messages in one compiled run (`process`); both drive
the kernels that the simulated market runs.
"""

from typing import NamedTuple

import numpy as np

from . import _book_run as r
from . import matching as m
from ._book_run import MESSAGE, REPORT, MessageAction, Reason, ReportKind
from .event_queue import NEVER, SCHEDULED, new_queue
from .matching import (
    ALLOW,
    BUY,
    CANCEL_RESTING,
    CANCELLED,
    DECREMENT,
    FILL,
    FOK,
    GTC,
    IOC,
    POST_ONLY,
    REJECTED,
    RESTING,
    SELL,
)

__all__ = ["MESSAGE", "REPORT", "MessageAction", "OrderBook", "OrderReport", "Reason", "ReportKind"]

UNKNOWN = 0  # fate of an id that was never submitted
_NOBODY_ASKS = np.zeros(0, REPORT)
_NO_FILLS = np.zeros(0, FILL)
_REASONS = tuple(Reason)
_LEFT, _KIND, _REASON = (REPORT.names.index(name) for name in ("left", "kind", "reason"))  # pyright: ignore


class OrderReport(NamedTuple):
    """What became of one order.

    Attributes
    ----------
    order_id : the id the book gave it.
    fate : RESTING, FILLED, CANCELLED (by self-trade prevention), EXPIRED or REJECTED.
    filled : lots traded at once.
    fills : FILL[k], the meetings in order, those that self-trade prevention undid (size 0) among them.
    reason : why, a `Reason`.
    left : lots that rest.
    """

    order_id: int
    fate: int
    filled: int
    fills: np.ndarray
    reason: Reason = Reason.NONE
    left: int = 0


class OrderBook:
    """A limit order book with price-time priority.

    Prices are integer ticks and sizes integer lots, both within +-2**59. Order ids are given in sequence from
    0. The arrays grow by themselves; `capacity` and `levels` only set where they start.

    Time is what the caller says it is: `expire(now_ns)` moves the clock forward and ends the orders whose
    time has come. Nothing expires on its own.

    Parameters
    ----------
    capacity : resting orders to make room for.
    levels : width of the price ladder in ticks, a power of two of at least 64.
    prevent_self_trade : what happens when an order would meet one of its own owner: ALLOW (False) lets them
        trade; CANCEL_RESTING (True) takes the resting one off and goes on; CANCEL_AGGRESSING ends the
        incoming one; CANCEL_BOTH does both; DECREMENT takes the smaller size off both, without a trade. An
        order may bring a mode of its own. A fill-or-kill is rejected when in the last three modes it would
        meet an own order before it is filled.

    Examples
    --------
    >>> book = OrderBook()
    >>> offer = book.limit(SELL, price=101, size=5)
    >>> book.market(BUY, size=2).filled
    2
    >>> book.cancel(offer.order_id)
    3
    """

    def __init__(
        self, *, capacity: int = 4096, levels: int = 4096, prevent_self_trade: bool | int = ALLOW
    ) -> None:
        mode = _mode("prevent_self_trade", prevent_self_trade)
        self._book = m.new_book(capacity, levels, prevent_self_trade=mode)
        self._queue = new_queue(64)
        self._slots = np.zeros(1024, np.int32)
        self._fates = np.zeros(1024, np.uint8)
        self._fills = np.zeros(1024, FILL)
        self._reports = np.zeros(64, REPORT)
        self._expiring = np.zeros(64, r.EXPIRING)
        self._next_id = 0
        self._message = np.zeros(1, MESSAGE)
        self._event = np.zeros(1, SCHEDULED)

    # ------------------------------------------------------------------ orders

    def limit(
        self,
        side: int,
        price: int,
        size: int,
        *,
        owner: int = 0,
        time_in_force: int = GTC,
        expires_ns: int = 0,
        self_trade: int = ALLOW,
    ) -> OrderReport:
        """Send a limit order.

        Parameters
        ----------
        side : BUY or SELL.
        price : ticks.
        size : lots, positive.
        owner : whose it is, an int32; self-trade prevention compares owners.
        time_in_force : GTC, IOC, FOK or POST_ONLY.
        expires_ns : of a GTC or POST_ONLY order, the time at which it ends; 0 is never. One that comes at
            that time or later expires on arrival.
        self_trade : mode of self-trade prevention, ALLOW for the book's own.

        Raises
        ------
        ValueError naming the argument that is out of bounds.
        """
        if time_in_force not in (GTC, IOC, FOK, POST_ONLY):
            raise ValueError(f"time_in_force: {time_in_force!r} is none of GTC, IOC, FOK, POST_ONLY")
        if expires_ns and time_in_force in (IOC, FOK):
            raise ValueError(f"expires_ns: {expires_ns} for an IOC or FOK order, which never rests")
        if not 0 <= expires_ns < NEVER:
            raise ValueError(f"expires_ns: {expires_ns} is outside [0, 2**63 - 1); 0 is never")
        _in_range("price", price)
        return self._order(
            MessageAction.LIMIT, side, price, size, expires_ns, owner, time_in_force, self_trade
        )

    def market(self, side: int, size: int, *, owner: int = 0, self_trade: int = ALLOW) -> OrderReport:
        """Send a market order: it takes what there is, and what it cannot get expires."""
        return self._order(MessageAction.MARKET, side, 0, size, 0, owner, IOC, self_trade)

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

        An order that expires still does, at its time. The fate is REJECTED, and nothing changed, when the
        order does not rest (`Reason.NOT_RESTING`) or is post-only and would trade (`Reason.WOULD_TRADE`).
        """
        _in_range("price", price)
        if _in_range("size", size) < 1:
            raise ValueError(f"size: {size} lots is not positive; to remove an order, cancel it")
        if self._slot_of(order_id) < 0:
            return OrderReport(order_id, REJECTED, 0, _NO_FILLS, Reason.NOT_RESTING)
        return self._send((order_id, price, size, 0, 0, MessageAction.REPLACE, 0, 0, 0))

    def expire(self, now_ns: int) -> np.ndarray:
        """Say what time it is; orders whose time has come end, earliest first.

        Returns
        -------
        REPORT[k] : one line an order, in the order in which they ended.

        Raises
        ------
        ValueError when time would run backwards.
        """
        if not self._book.state[m.NOW_NS] <= now_ns < NEVER:
            raise ValueError(f"now_ns: {now_ns} is before {self.now_ns}, the time already reached")
        return self._reports[: self._let_expire(now_ns, 0, 0, told=True)].copy()

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
        return self._process(messages, told=False)[0]

    def process_reported(self, messages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Like `process`, and say everything that happened to any order, in order: (FILL[k], REPORT[r])."""
        return self._process(messages, told=True)

    # ------------------------------------------------------------------ what is there

    @property
    def now_ns(self) -> int | None:
        """The time last told by `expire`, None before."""
        now_ns = int(self._book.state[m.NOW_NS])
        return now_ns if now_ns > np.iinfo(np.int64).min else None

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

    def _order(
        self, action: int, side: int, price: int, size: int, expires: int, owner: int, kind: int, mode: int
    ) -> OrderReport:
        if side not in (BUY, SELL):
            raise ValueError(f"side: {side!r} is neither BUY (1) nor SELL (-1)")
        if _in_range("size", size) < 1:
            raise ValueError(f"size: {size} lots is not positive")
        if not -(1 << 31) <= owner < 1 << 31:
            raise ValueError(f"owner: {owner} does not fit 32 bits")
        if mode != ALLOW:
            mode = _mode("self_trade", mode)
        order_id = self._next_id
        self._next_id += 1
        self._remember(self._next_id)
        return self._send((order_id, price, size, expires, owner, action, side, kind, mode))

    def _send(self, message: tuple) -> OrderReport:
        self._message[0] = message
        n_fills, n_reports = self._apply(self._message, told=True)
        order_id = message[0]
        fills, filled = _NO_FILLS, 0
        if n_fills:
            fills = self._fills[:n_fills].copy()
            filled = int(fills["size"].sum())
        last = self._reports.item(n_reports - 1)
        fate = REJECTED if last[_KIND] == ReportKind.REFUSED else self._fates.item(order_id)
        return OrderReport(order_id, fate, filled, fills, _REASONS[last[_REASON]], last[_LEFT])

    def _process(self, messages: np.ndarray, *, told: bool) -> tuple[np.ndarray, np.ndarray]:
        messages = np.ascontiguousarray(messages, MESSAGE)
        if not len(messages):
            return _NO_FILLS, _NOBODY_ASKS
        highest = r.highest_id(messages)
        self._remember(highest + 1)
        r.check_messages(messages, self._fates.copy(), int(self._book.state[m.NOW_NS]))
        self._next_id = max(self._next_id, highest + 1)
        if len(self._fills) < len(messages) // 4:
            self._fills = np.empty(len(messages) // 4, FILL)
        n_fills, n_reports = self._apply(messages, told=told)
        fills, self._fills = self._fills[:n_fills], np.zeros(1024, FILL)  # given away, which saves a copy
        reports = self._reports[:n_reports].copy() if told else _NOBODY_ASKS
        return fills, reports

    def _remember(self, n: int) -> None:
        """Make room for the slots and fates of the first `n` order ids."""
        if n > len(self._fates):
            room = max(n, 2 * len(self._fates)) - len(self._fates)
            self._slots = np.concatenate([self._slots, np.zeros(room, np.int32)])
            self._fates = np.concatenate([self._fates, np.zeros(room, np.uint8)])

    def _apply(self, messages: np.ndarray, *, told: bool) -> tuple[int, int]:
        """Apply messages that have been checked; returns the numbers of fills and of reports."""
        at, n_fills, n_reports = 0, 0, 0
        while True:
            reports = self._reports if told else _NOBODY_ASKS
            memory = self._slots, self._fates, self._fills
            at, n_fills, n_reports, why = r.run_messages(
                self._book, messages, at, *memory, n_fills, reports, n_reports, self._expiring
            )
            if self._book.state[m.N_EXPIRING]:
                self._queue = r.schedule(self._book, self._queue, self._expiring, self._fates)
            if why == r.DONE:
                return n_fills, n_reports
            if why == r.GROW_FILLS:
                self._fills = np.concatenate([self._fills, np.zeros(max(len(self._fills), len(self)), FILL)])
            elif why == r.GROW_ORDERS:
                self._book = m.grow_orders(self._book)
            elif why == r.GROW_LEVELS:
                self._book = m.grow_levels(self._book, int(messages[at]["price"]))
            elif why == r.GROW_REPORTS:
                self._grow_reports(2 * len(self) + 2)
            elif why == r.SCHEDULE:
                self._expiring = np.zeros(2 * len(self._expiring), r.EXPIRING)
            else:
                n_reports = self._let_expire(int(messages[at]["time_ns"]), at, n_reports, told=told)
                at += 1

    def _let_expire(self, now_ns: int, at: int, n_reports: int, *, told: bool) -> int:
        while True:
            reports = self._reports if told else _NOBODY_ASKS
            n_reports, done = r.expire_due(
                self._book, self._queue, self._event, now_ns, at, self._fates, reports, n_reports
            )
            if done:
                return n_reports
            self._grow_reports(0)

    def _grow_reports(self, least: int) -> None:
        more = max(len(self._reports), least)
        self._reports = np.concatenate([self._reports, np.zeros(more, REPORT)])

    def _slot_of(self, order_id: int) -> int:
        if not 0 <= order_id < len(self._fates) or self._fates[order_id] != RESTING:
            return -1
        return int(self._slots[order_id])


def _in_range(name: str, value: int) -> int:
    if not -r.BOUND <= value <= r.BOUND:
        raise ValueError(f"{name}: {value} is outside +-2**59")
    return int(value)


def _mode(name: str, value: bool | int) -> int:
    if value not in range(DECREMENT + 1):
        raise ValueError(
            f"{name}: {value!r} is none of ALLOW, CANCEL_RESTING, CANCEL_AGGRESSING, CANCEL_BOTH, DECREMENT"
        )
    return CANCEL_RESTING if value is True else int(value)
