"""Messages through a book in one compiled run, and a report of everything they caused.

`OrderBook` owns the arrays; the kernels here stop before a message that needs more room than there is and say
what must grow.
"""

from enum import IntEnum

import numpy as np

from . import matching as m
from ._jit import entry, kernel
from .event_queue import NEVER, SCHEDULED, Queue, grown, new_queue, peek, pop, push, room

__all__ = [
    "MESSAGE",
    "REPORT",
    "MessageAction",
    "Reason",
    "ReportKind",
    "check_messages",
    "expire_due",
    "run_messages",
    "schedule",
]


class MessageAction(IntEnum):
    """What a message asks for."""

    LIMIT = 0
    MARKET = 1
    CANCEL = 2
    REPLACE = 3
    REDUCE = 4
    EXPIRE = 5


class ReportKind(IntEnum):
    """What a report says of an order; the first five are the fates."""

    RESTING = m.RESTING
    FILLED = m.FILLED
    CANCELLED = m.CANCELLED
    EXPIRED = m.EXPIRED
    REJECTED = m.REJECTED
    TRADED = 6
    PREVENTED = 7
    REPLACED = 8
    REDUCED = 9
    REFUSED = 10


class Reason(IntEnum):
    """Why a report says what it says."""

    NONE = 0
    NOT_RESTING = 1  # REFUSED: the order is not, or no longer, on the book
    NOT_SMALLER = 2  # REFUSED: a reduction to as much as there is, or more
    WOULD_TRADE = 3  # REJECTED or REFUSED: post-only
    CANNOT_FILL = 4  # REJECTED: fill-or-kill
    UNMATCHED = 5  # EXPIRED: what a market order or an IOC could not get
    TOO_LATE = 6  # EXPIRED: its time had passed when it came
    LAPSED = 7  # EXPIRED: its time passed while it rested
    OWN_ORDER = 8  # CANCELLED or PREVENTED: self-trade prevention


MESSAGE = np.dtype(
    [
        # LIMIT and MARKET: a new id, 0 <= id < 2**31 and never used before; EXPIRE: 0; else the order meant.
        ("order_id", "<i8"),
        ("price", "<i8"),  # ticks; LIMIT and REPLACE
        ("size", "<i8"),  # lots; the size afterwards for REPLACE and REDUCE
        ("time_ns", "<i8"),  # LIMIT that may rest: when it expires, 0 never; EXPIRE: what time it is now
        ("owner", "<i4"),
        ("action", "u1"),
        ("side", "i1"),
        ("time_in_force", "u1"),  # LIMIT only
        ("self_trade", "u1"),  # LIMIT and MARKET: mode of self-trade prevention, 0 the book's own
    ],
    align=True,
)

# One line an order and event. Summed over an order's lines: size sent + sizes of REPLACED = sizes of TRADED,
# PREVENTED, REDUCED, CANCELLED, EXPIRED and REJECTED + what rests.
REPORT = np.dtype(
    [
        ("message", "<i8"),  # index of the message that caused it
        ("order_id", "<i8"),
        ("other_id", "<i8"),  # TRADED and PREVENTED: the other order; else -1
        ("price", "<i8"),  # TRADED and PREVENTED: where; else the order's own (0 for market orders)
        # Lots traded, taken off, or ended untraded; REPLACED: by how much it grew (negative: shrank).
        ("size", "<i8"),
        ("left", "<i8"),  # lots of the order still alive after this
        ("kind", "u1"),
        ("reason", "u1"),
    ],
    align=True,
)

# Orders with an expiry that have come to rest in a run; scheduled after it. Handing the queue's four arrays
# over with every call of one message would cost more than its matching.
EXPIRING = np.dtype([("time_ns", "<i8"), ("order_id", "<i8"), ("slot", "<i8")])

DONE, GROW_FILLS, GROW_ORDERS, GROW_LEVELS, GROW_REPORTS, SCHEDULE, TELL_TIME = 0, 1, 2, 3, 4, 5, 6

_TRADED, _PREVENTED = int(ReportKind.TRADED), int(ReportKind.PREVENTED)
_REPLACED, _REDUCED = int(ReportKind.REPLACED), int(ReportKind.REDUCED)
_REFUSED = int(ReportKind.REFUSED)
_NONE, _NOT_RESTING, _NOT_SMALLER = int(Reason.NONE), int(Reason.NOT_RESTING), int(Reason.NOT_SMALLER)
_WOULD_TRADE, _CANNOT_FILL = int(Reason.WOULD_TRADE), int(Reason.CANNOT_FILL)
_UNMATCHED, _TOO_LATE, _LAPSED = int(Reason.UNMATCHED), int(Reason.TOO_LATE), int(Reason.LAPSED)
_OWN_ORDER = int(Reason.OWN_ORDER)
_LIMIT, _MARKET, _CANCEL = int(MessageAction.LIMIT), int(MessageAction.MARKET), int(MessageAction.CANCEL)
_REPLACE, _EXPIRE = int(MessageAction.REPLACE), int(MessageAction.EXPIRE)
_GTC, _IOC, _FOK, _POST_ONLY = m.GTC, m.IOC, m.FOK, m.POST_ONLY
_MOST_WAITING = 1 << 22  # what an event queue can number

# Lots and ticks stay well inside int64, whatever is added to them.
BOUND = 1 << 59


@kernel
def _report(reports, n, message, kind, reason, order_id, other_id, price, size, left):
    line = reports[n]
    line.message = message
    line.order_id = order_id
    line.other_id = other_id
    line.price = price
    line.size = size
    line.left = left
    line.kind = kind
    line.reason = reason
    return n + 1


@entry
def run_messages(book, messages, start, slots, fates, fills, n_fills, reports, n_reports, expiring):
    """Apply messages from `start` on.

    Parameters
    ----------
    slots, fates : by order id; the record of each order and what became of it.
    reports : REPORT[:], of no length where nobody wants any.
    expiring : EXPIRING[:], filled up to `state[N_EXPIRING]`.

    Returns
    -------
    at, n_fills, n_reports, why : the first message not applied, and what stands in its way (DONE: nothing is
        left; SCHEDULE: `expiring` is full; TELL_TIME: it is an EXPIRE, which `expire_due` serves).
    """
    state = book.state
    told = len(reports) > 0
    for i in range(start, len(messages)):
        message = messages[i]
        action = message.action
        order_id = message.order_id
        if action == _EXPIRE:
            return i, n_fills, n_reports, TELL_TIME
        resting = state[m.BID_ORDERS] + state[m.ASK_ORDERS]
        if len(fills) - n_fills < resting:
            return i, n_fills, n_reports, GROW_FILLS
        if told and len(reports) - n_reports < 2 * resting + 2:
            return i, n_fills, n_reports, GROW_REPORTS
        first = n_fills
        kind = 0
        reason = _NONE
        price = message.price
        size = np.int64(0)
        left = np.int64(0)
        mode = 0
        if action <= _MARKET:
            left = message.size
            expires = message.time_ns
            if expires != 0 and expires <= state[m.NOW_NS]:
                kind = m.EXPIRED
                reason = _TOO_LATE
            else:
                time_in_force = message.time_in_force
                if action == _MARKET:
                    price = m.NO_ASK if message.side > 0 else m.NO_BID
                    time_in_force = _IOC
                elif time_in_force not in (_IOC, _FOK):  # what may rest needs a place
                    if not m.fits(book, price):
                        return i, n_fills, n_reports, GROW_LEVELS
                    if expires != 0 and state[m.N_EXPIRING] == len(expiring):
                        return i, n_fills, n_reports, SCHEDULE
                slot = m.allocate(book, order_id, message.owner, message.side, price, left, time_in_force)
                if slot < 0:
                    return i, n_fills, n_reports, GROW_ORDERS
                if message.self_trade != 0:
                    book.orders[slot].self_trade = message.self_trade
                mode = book.orders[slot].self_trade
                kind, n_fills = m.submit(book, slot, fills, n_fills)
                slots[order_id] = slot
                if kind == m.REJECTED:
                    reason = _WOULD_TRADE if time_in_force == _POST_ONLY else _CANNOT_FILL
                elif kind == m.EXPIRED:
                    reason = _UNMATCHED
                elif kind == m.CANCELLED:
                    reason = _OWN_ORDER
                elif kind == m.RESTING and expires != 0:
                    line = expiring[state[m.N_EXPIRING]]
                    line.time_ns = expires
                    line.order_id = order_id
                    line.slot = slot
                    state[m.N_EXPIRING] += 1
            fates[order_id] = kind
            if action == _MARKET:
                price = np.int64(0)  # it has none
        elif fates[order_id] != m.RESTING:
            kind = _REFUSED
            reason = _NOT_RESTING
            price = np.int64(0)
        else:
            slot = slots[order_id]
            left = book.orders[slot].size
            if action == _REPLACE:
                if not m.fits(book, price):
                    return i, n_fills, n_reports, GROW_LEVELS
                mode = book.orders[slot].self_trade
                kind, n_fills = m.replace(book, slot, order_id, price, message.size, fills, n_fills)
                if kind == m.REJECTED:
                    kind = _REFUSED
                    reason = _WOULD_TRADE
                else:
                    fates[order_id] = kind
                    if kind == m.CANCELLED:
                        reason = _OWN_ORDER
                    if told:
                        n_reports = _report(
                            reports,
                            n_reports,
                            i,
                            _REPLACED,
                            _NONE,
                            order_id,
                            -1,
                            price,
                            message.size - left,
                            message.size,
                        )
                    left = message.size
                    if n_fills == first:
                        kind = 0  # REPLACED has said it all
            else:
                price = book.orders[slot].price
                if action == _CANCEL:
                    m.cancel(book, slot, order_id)
                    fates[order_id] = m.CANCELLED
                    kind = m.CANCELLED
                elif m.reduce(book, slot, order_id, message.size):
                    kind = _REDUCED
                    size = left - message.size
                    left = message.size
                else:
                    kind = _REFUSED
                    reason = _NOT_SMALLER
        for k in range(first, n_fills):
            fill = fills[k]
            traded = fill.size > 0
            if fill.maker_done:
                fates[fill.maker_id] = m.FILLED if traded else m.CANCELLED
            if told:
                what = _TRADED if traded else _PREVENTED
                why = _NONE if traded else _OWN_ORDER
                lots = fill.size if traded else fill.prevented
                # Only the last order met can be left with something, and it still lies where it lay.
                rests = 0 if fill.maker_done else book.orders[slots[fill.maker_id]].size
                n_reports = _report(
                    reports, n_reports, i, what, why, fill.maker_id, order_id, fill.price, lots, rests
                )
                if not traded and mode != m.DECREMENT:
                    lots = np.int64(0)
                left -= lots
                n_reports = _report(
                    reports, n_reports, i, what, why, order_id, fill.maker_id, fill.price, lots, left
                )
        if told and kind != 0:
            if m.CANCELLED <= kind <= m.REJECTED:
                size = left
                left = np.int64(0)
            n_reports = _report(reports, n_reports, i, kind, reason, order_id, -1, price, size, left)
    return len(messages), n_fills, n_reports, DONE


@entry
def expire_due(book, queue, event, now_ns, message, fates, reports, n_reports):
    """Let every order whose time has come expire, earliest first; among equals, in order of arrival.

    `event` is SCHEDULED[1], scratch. Returns the new number of reports and whether all is done; if not,
    `reports` was full.
    """
    told = len(reports) > 0
    while True:
        time_ns, place = peek(queue)
        if time_ns > now_ns:
            book.state[m.NOW_NS] = now_ns
            return n_reports, True
        if told and n_reports == len(reports):
            return n_reports, False
        pop(queue, place, event)
        order_id = event[0].id
        slot = np.int64(event[0].slot)
        price = book.orders[slot].price
        left = m.cancel(book, slot, order_id)
        if left == 0:
            continue  # it ended some other way before
        fates[order_id] = m.EXPIRED
        if told:
            n_reports = _report(
                reports, n_reports, message, m.EXPIRED, _LAPSED, order_id, -1, price, left, np.int64(0)
            )


@entry
def _keep_resting(queue, fresh, event, fates):
    while True:
        time_ns, place = peek(queue)
        if time_ns == NEVER:
            return
        pop(queue, place, event)
        record = event[0]
        if fates[record.id] == m.RESTING:
            push(fresh, time_ns, 0, np.int64(record.slot), record.id, 0, 0)


def _compacted(queue: Queue, fates: np.ndarray, n: int) -> Queue:
    """Return the queue without the orders that have ended, with room for `n` more and at least half free.

    Raises ValueError beyond four million resting orders that expire.
    """
    fresh = new_queue(len(queue.records))
    _keep_resting(queue, fresh, np.zeros(1, SCHEDULED), fates)
    while room(fresh) < max(n, len(fresh.records) // 2):
        capacity = len(fresh.records)
        if 2 * capacity > _MOST_WAITING:
            raise ValueError(f"more than {capacity} orders that expire rest at once; use fewer")
        fresh = grown(fresh)
    return fresh


@entry
def _schedule(book, queue, expiring, fates):
    for k in range(book.state[m.N_EXPIRING]):
        line = expiring[k]
        if fates[line.order_id] == m.RESTING:
            push(queue, line.time_ns, 0, line.slot, line.order_id, 0, 0)
    book.state[m.N_EXPIRING] = 0


def schedule(book: m.Book, queue: Queue, expiring: np.ndarray, fates: np.ndarray) -> Queue:
    """Schedule the end of the orders in `expiring` that still rest; returns the queue, wider if need be."""
    n = int(book.state[m.N_EXPIRING])
    if room(queue) < n:
        queue = _compacted(queue, fates, n)
    _schedule(book, queue, expiring, fates)
    return queue


_PROBLEMS = (
    "action",
    "side",
    "time_in_force",
    "price",
    "size",
    "order_id (used before)",
    "order_id (never submitted)",
    "time_ns",
    "time_ns (runs backwards)",
    "self_trade",
)


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
def _first_bad(messages, seen, now_ns):
    """Index and problem (1-based in _PROBLEMS, 0 none) of the first bad message; marks ids in `seen`."""
    for i in range(len(messages)):
        message = messages[i]
        action = message.action
        order_id = message.order_id
        time_ns = message.time_ns
        if action > _EXPIRE:
            return i, 1
        if action == _EXPIRE:
            if time_ns >= NEVER:
                return i, 8
            if time_ns < now_ns:
                return i, 9
            now_ns = time_ns
            continue
        if action <= _MARKET:
            if abs(np.int64(message.side)) != 1:
                return i, 2
            time_in_force = message.time_in_force
            if time_in_force > _POST_ONLY:
                return i, 3
            rests = action == _LIMIT and time_in_force in (_GTC, _POST_ONLY)
            if time_ns != 0 and (not rests or time_ns < 0 or time_ns >= NEVER):
                return i, 8
            if message.self_trade > m.DECREMENT:
                return i, 10
        if action in (_LIMIT, _REPLACE) and abs(message.price) > BOUND:
            return i, 4
        if action != _CANCEL and (message.size < 1 or message.size > BOUND):
            return i, 5
        if action <= _MARKET:
            if seen[order_id]:
                return i, 6
            seen[order_id] = 1
        elif not seen[order_id]:
            return i, 7
    return 0, 0


def _bad_message(messages: np.ndarray, at: int, problem: str) -> ValueError:
    value = messages[at][problem.split(" ")[0]]
    return ValueError(f"messages[{at}].{problem}: {value} is out of bounds")


def highest_id(messages: np.ndarray) -> int:
    """The highest order id among messages. Raises ValueError naming the first that is none."""
    outside, highest = _id_range(messages)
    if outside >= 0:
        raise _bad_message(messages, outside, "order_id")
    return int(highest)


def check_messages(messages: np.ndarray, seen: np.ndarray, now_ns: int) -> None:
    """Raise ValueError naming index, field and value of the first message that is out of bounds.

    `seen`, uint8 by order id, says which orders are known; those of `messages` are marked in it.
    """
    at, problem = _first_bad(messages, seen, now_ns)
    if problem:
        raise _bad_message(messages, at, _PROBLEMS[problem - 1])
