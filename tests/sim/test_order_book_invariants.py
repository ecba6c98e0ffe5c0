"""What must hold of any book after every event, over long random flows.

Two witnesses that know nothing of each other: the slow book, which must say and do the same, and an auditor
who sees only the reports and rebuilds from them who rests where and since when.
"""

from collections import defaultdict

import numpy as np
import pytest
from book_flows import random_messages, run_both
from slow_book import SlowBook

from apex_nautilus.sim import MessageAction, OrderBook, ReportKind
from apex_nautilus.sim.matching import BUY, SELL

FLOWS, MESSAGES = 8, 25_000  # 200,000 messages for the gate
NIGHTLY_FLOWS, NIGHTLY_PARTS = 400, 4  # 10,000,000 each night

K = {int(kind): kind.name for kind in ReportKind}


class Auditor:
    """Rebuilds the book from reports and holds every rule against it.

    Knows of each order what it was sent with (from the messages) and what has been reported of it since.
    """

    def __init__(self):
        self.levels = {BUY: {}, SELL: {}}  # side -> price -> {order id: lots}, oldest first
        self.at = {}  # order id -> (side, price) while it rests
        self.sent = defaultdict(int)
        self.spent = defaultdict(int)
        self.ended = {}
        self.traded = {BUY: 0, SELL: 0}
        self.owner, self.side = {}, {}

    def best(self, side):
        prices = self.levels[side]
        return (max(prices) if side == BUY else min(prices)) if prices else None

    def leave(self, order):
        side, price = self.at.pop(order)
        queue = self.levels[side][price]
        lots = queue.pop(order)
        if not queue:
            del self.levels[side][price]
        return lots

    def rest(self, order, price, lots):
        side = self.side[order]
        self.levels[side].setdefault(price, {})[order] = lots
        self.at[order] = (side, price)

    def end(self, order, kind):
        assert order not in self.ended
        self.ended[order] = kind

    def meeting(self, maker, taker, price, lots, maker_left, own):
        """One line of a maker: it must be the oldest at the best price, and the price must suit the taker."""
        side, at = self.at[maker]
        assert at == price == self.best(side)
        queue = self.levels[side][price]
        assert next(iter(queue)) == maker
        assert queue[maker] - lots == maker_left >= 0
        assert self.side[taker] == -side
        assert not own or self.owner[taker] == self.owner[maker]
        if maker_left:
            queue[maker] = maker_left
        else:
            self.leave(maker)
            self.end(maker, "CANCELLED" if own else "FILLED")

    def message(self, row, lines):
        order_id, _, size, _, owner, action, side, _, _ = row
        if action <= MessageAction.MARKET:
            assert order_id not in self.side
            self.side[order_id], self.owner[order_id], self.sent[order_id] = side, owner, size
        for order, other, where, lots, left, number in lines:
            kind = K[number]
            if kind == "TRADED" or kind == "PREVENTED":
                self.spent[order] += lots
                if order in self.at:
                    self.meeting(order, other, where, lots, left, kind == "PREVENTED")
                if kind == "TRADED":
                    assert lots > 0
                    self.traded[self.side[order]] += lots
            elif kind == "REPLACED":
                self.sent[order] += lots
                stays = self.at[order] == (self.side[order], where) and lots <= 0
                if stays:
                    self.levels[self.side[order]][where][order] = left
                else:
                    self.leave(order)
                    last = lines[-1]  # says what became of it where it met anybody
                    if last[0] == order and K[last[5]] == "REPLACED":
                        self.rest(order, where, left)
            elif kind == "REDUCED":
                self.spent[order] += lots
                self.levels[self.side[order]][self.at[order][1]][order] = left
            elif kind == "RESTING":
                self.rest(order, where, left)
            elif kind != "REFUSED":
                self.spent[order] += lots
                if order in self.at:
                    assert self.leave(order) == lots
                self.end(order, kind)
                assert left == 0
        bid, ask = self.best(BUY), self.best(SELL)
        assert bid is None or ask is None or bid < ask

    def close(self, book):
        """At the end of a flow: nothing lost, nothing made."""
        assert self.traded[BUY] == self.traded[SELL]
        resting = {o: lots for s in self.levels.values() for q in s.values() for o, lots in q.items()}
        for order, size in self.sent.items():
            assert size == self.spent[order] + resting.get(order, 0)
            assert (order in self.ended) != (order in resting)  # every order ends once, or rests
            assert K[book.fate(order)] == self.ended.get(order, "RESTING")
        for side in (BUY, SELL):
            ours = {price: list(queue.items()) for price, queue in self.levels[side].items()}
            assert ours == dict(book.queues(side))


def check_flow(seed, n):
    """One flow, its nature drawn from its seed; returns the number of matches."""
    rng = np.random.default_rng([seed, 77])
    mode, drift, owners = int(rng.integers(5)), int(rng.integers(4)), int(rng.integers(2, 30))
    width, lives = int(rng.choice([4, 12, 40])), int(rng.choice([0, 50, 2000]))
    messages = random_messages(seed, n, width=width, drift=drift, owners=owners, lives=lives, modes=seed % 2)
    book = OrderBook(capacity=8, levels=64, prevent_self_trade=mode)
    fills, reports = run_both(messages, book, SlowBook(mode), chunk=5_000)
    names = ("order_id", "other_id", "price", "size", "left", "kind")
    lines = list(zip(*(reports[name].tolist() for name in names), strict=True))
    ends = np.searchsorted(reports["message"], np.arange(1, n + 1)).tolist()
    auditor = Auditor()
    start = 0
    for row, end in zip(messages.tolist(), ends, strict=True):
        auditor.message(row, lines[start:end])
        start = end
    auditor.close(book)
    return len(fills)


@pytest.mark.parametrize("seed", range(FLOWS))
def test_flow_keeps_every_rule_after_every_event(seed):
    assert check_flow(seed, MESSAGES) > MESSAGES // 20


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(NIGHTLY_PARTS))
def test_ten_million_events_keep_every_rule(part):
    seeds = range(FLOWS + part, FLOWS + NIGHTLY_FLOWS, NIGHTLY_PARTS)
    matches = sum(check_flow(seed, MESSAGES) for seed in seeds)
    print(f"\n{len(seeds) * MESSAGES:,} messages, {matches:,} matches")
    assert matches > len(seeds) * MESSAGES // 20
