"""Random flows of messages for order books, and how to run the slow book on them."""

import numpy as np
from slow_book import SlowBook, SlowOrder

from apex_nautilus.sim import MESSAGE, MessageAction, OrderBook, Reason, ReportKind
from apex_nautilus.sim.matching import BUY, FOK, GTC, IOC, POST_ONLY, SELL

KINDS = {GTC: "gtc", IOC: "ioc", FOK: "fok", POST_ONLY: "post_only"}
A = MessageAction


def random_messages(seed, n, *, width=12, drift=0, owners=4, lives=0, modes=False):
    """A flow of all kinds of messages around a price that may walk.

    With `lives`, some orders expire that many nanoseconds after they were sent at most, and the time is told
    every now and then; with `modes`, some orders bring a mode of self-trade prevention.
    """
    rng = np.random.default_rng(seed)
    messages = np.zeros(n, MESSAGE)
    shares = [0.5, 0.1, 0.2, 0.1, 0.07, 0.03] if lives else [0.5, 0.1, 0.2, 0.12, 0.08, 0.0]
    action = messages["action"] = rng.choice(6, n, p=shares)
    action[0] = messages["action"][0] = A.LIMIT
    messages["side"] = rng.choice([-1, 1], n)
    centre = 1000 + (np.cumsum(rng.integers(-drift, drift + 1, n)) if drift else 0)
    messages["price"] = centre - messages["side"] * rng.integers(-2, width, n)
    messages["size"] = rng.integers(1, 30, n)
    messages["owner"] = rng.integers(0, owners, n)
    messages["time_in_force"] = rng.choice(4, n, p=[0.7, 0.1, 0.1, 0.1])
    if modes:
        messages["self_trade"] = rng.choice(5, n, p=[0.8, 0.05, 0.05, 0.05, 0.05])
    new = action <= A.MARKET
    born = np.cumsum(new)
    messages["order_id"] = np.where(new, born - 1, np.maximum(born - rng.geometric(0.05, n), 0))
    if lives:
        rests = (action == A.LIMIT) & np.isin(messages["time_in_force"], (GTC, POST_ONLY))
        ends = np.arange(n) + rng.integers(-5, lives, n)
        messages["time_ns"] = np.where(rests & (rng.random(n) < 0.5), np.maximum(ends, 1), 0)
        clock = action == A.EXPIRE
        messages["time_ns"][clock] = np.flatnonzero(clock)
        messages["order_id"][clock] = 0
    return messages


def apply_slowly(slow, message):
    """Apply one message, a tuple in the order of MESSAGE's fields."""
    order_id, price, size, time_ns, owner, action, side, kind, mode = message
    if action == A.LIMIT:
        slow.add(SlowOrder(order_id, side, price, size, owner, KINDS[kind], time_ns, mode))
    elif action == A.MARKET:
        slow.add(SlowOrder(order_id, side, None, size, owner, "ioc", 0, mode))
    elif action == A.CANCEL:
        slow.cancel(order_id)
    elif action == A.REPLACE:
        slow.replace(order_id, price, size)
    elif action == A.REDUCE:
        slow.reduce(order_id, size)
    else:
        slow.expire(time_ns)


def fill_rows(fills):
    names = ("taker_id", "maker_id", "price", "size", "prevented")
    return list(zip(*(fills[name].tolist() for name in names), strict=True))


_NAMES = {int(kind): kind.name.lower() for kind in ReportKind}
_REASONS = {int(reason): reason.name.lower() for reason in Reason}


def report_rows(reports):
    names = ("order_id", "other_id", "price", "size", "left", "kind", "reason")
    rows = zip(*(reports[name].tolist() for name in names), strict=True)
    return [(*row[:5], _NAMES[row[5]], _REASONS[row[6]]) for row in rows]


def run_both(messages, book: OrderBook, slow: SlowBook, chunk: int):
    """Let both books have the messages; asserts that they agree in everything. Returns fills and reports."""
    all_fills, all_reports = [], []
    for at in range(0, len(messages), chunk):
        part = messages[at : at + chunk]
        fills, reports = book.process_reported(part)
        reports["message"] += at
        all_fills.append(fills)
        all_reports.append(reports)
        slow.fills.clear()
        slow.reports.clear()
        for message in part.tolist():
            apply_slowly(slow, message)
        assert fill_rows(fills) == slow.fills
        assert report_rows(reports) == slow.reports
        for side in (BUY, SELL):
            assert book.queues(side) == slow.queues(side)
    fates = {int(kind): kind.name.lower() for kind in ReportKind}
    assert {i: fates[book.fate(i)] for i in slow.fates} == slow.fates
    return np.concatenate(all_fills), np.concatenate(all_reports)
