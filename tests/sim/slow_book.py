"""A limit order book so plain that one can see it is right: dicts of deques."""

from collections import deque
from dataclasses import dataclass

ALLOW, CANCEL_RESTING, CANCEL_AGGRESSING, CANCEL_BOTH, DECREMENT = range(5)


@dataclass
class SlowOrder:
    id: int
    side: int
    price: int | None  # None: a market order
    size: int
    owner: int
    kind: str
    expires: int = 0  # 0: never
    self_trade: int = ALLOW  # ALLOW: the book's own mode


class SlowBook:
    def __init__(self, prevent_self_trade=ALLOW):
        self.mode = int(prevent_self_trade)
        self.sides = {1: {}, -1: {}}  # side -> price -> deque of SlowOrder
        self.fates = {}
        self.orders = {}
        self.now = None
        self.fills = []  # (taker id, maker id, price, lots traded, lots prevented of the maker)
        self.reports = []  # (order id, other id, price, size, left, kind, reason)

    def tell(self, order, kind, reason="none", size=0, left=0, other=None, price=None):
        if price is None:
            price = order.price or 0
        self.reports.append((order.id, -1 if other is None else other.id, price, size, left, kind, reason))

    def best(self, side):
        return max(self.sides[side], default=None) if side > 0 else min(self.sides[side], default=None)

    def crosses(self, side, price):
        best = self.best(-side)
        return best is not None and (price is None or (price >= best if side > 0 else price <= best))

    def mode_of(self, order):
        return order.self_trade or self.mode

    def reachable(self, order):
        """Lots an order could trade at once, met one by one as they would be."""
        total, mode = 0, self.mode_of(order)
        queues = self.sides[-order.side]
        for price in sorted(queues, reverse=order.side < 0):
            if order.price is not None and (order.price - price) * order.side < 0:
                break
            for maker in queues[price]:
                if mode == ALLOW or maker.owner != order.owner:
                    total += maker.size
                elif mode != CANCEL_RESTING:
                    return total
        return total

    def add(self, order):
        self.orders[order.id] = order
        if order.expires and self.now is not None and order.expires <= self.now:
            self.end(order, "expired", "too_late")
        elif order.kind == "post_only" and self.crosses(order.side, order.price):
            self.end(order, "rejected", "would_trade")
        elif order.kind == "fok" and self.reachable(order) < order.size:
            self.end(order, "rejected", "cannot_fill")
        else:
            self.meet(order)
            self.settle(order)

    def end(self, order, fate, reason="none"):
        self.fates[order.id] = fate
        self.tell(order, fate, reason, size=order.size)
        order.size = 0

    def meet(self, order):
        """Let an order trade until it is filled, stopped, or meets nobody it could trade with."""
        self.stopped = False
        while order.size > 0 and not self.stopped and self.crosses(order.side, order.price):
            price = self.best(-order.side)
            queue = self.sides[-order.side][price]
            maker = queue[0]
            mode = self.mode_of(order)
            if mode != ALLOW and maker.owner == order.owner:
                gone = {
                    CANCEL_RESTING: maker.size,
                    CANCEL_AGGRESSING: 0,
                    CANCEL_BOTH: maker.size,
                    DECREMENT: min(order.size, maker.size),
                }[mode]
                own = gone if mode == DECREMENT else 0
                maker.size -= gone
                order.size -= own
                self.fills.append((order.id, maker.id, price, 0, gone))
                self.tell(maker, "prevented", "own_order", gone, maker.size, order, price)
                self.tell(order, "prevented", "own_order", own, order.size, maker, price)
                self.stopped = mode in (CANCEL_AGGRESSING, CANCEL_BOTH) or order.size == 0
                fate = "cancelled"
            else:
                traded = min(order.size, maker.size)
                order.size -= traded
                maker.size -= traded
                self.fills.append((order.id, maker.id, price, traded, 0))
                self.tell(maker, "traded", "none", traded, maker.size, order, price)
                self.tell(order, "traded", "none", traded, order.size, maker, price)
                fate = "filled"
            if maker.size == 0:
                self.fates[maker.id] = fate
                queue.popleft()
            if not queue:
                del self.sides[-order.side][price]

    def settle(self, order, say=True):
        """What becomes of an order that has met everybody it could."""
        if self.stopped:
            self.end(order, "cancelled", "own_order")
        elif order.size == 0:
            self.end(order, "filled")
        elif order.kind in ("ioc", "fok"):
            self.end(order, "expired", "unmatched")
        else:
            self.fates[order.id] = "resting"
            self.sides[order.side].setdefault(order.price, deque()).append(order)
            if say:
                self.tell(order, "resting", left=order.size)

    def find(self, order_id):
        """The order at rest, else None and a refusal."""
        order = self.orders[order_id]
        return order if self.fates[order_id] == "resting" else None

    def refuse(self, order_id, reason, left=0, price=0):
        self.reports.append((order_id, -1, price, 0, left, "refused", reason))

    def remove(self, order):
        queue = self.sides[order.side][order.price]
        queue.remove(order)
        if not queue:
            del self.sides[order.side][order.price]

    def cancel(self, order_id):
        order = self.find(order_id)
        if order is None:
            self.refuse(order_id, "not_resting")
        else:
            self.remove(order)
            self.end(order, "cancelled")

    def reduce(self, order_id, size):
        order = self.find(order_id)
        if order is None:
            self.refuse(order_id, "not_resting")
        elif size >= order.size:
            self.refuse(order_id, "not_smaller", order.size, order.price)
        else:
            less, order.size = order.size - size, size
            self.tell(order, "reduced", size=less, left=size)

    def replace(self, order_id, price, size):
        order = self.find(order_id)
        if order is None:
            self.refuse(order_id, "not_resting")
            return
        if order.kind == "post_only" and self.crosses(order.side, price):
            self.refuse(order_id, "would_trade", order.size, price)
            return
        more = size - order.size
        if price == order.price and more <= 0:
            order.size = size
            self.tell(order, "replaced", size=more, left=size)
            return
        self.remove(order)
        order.price, order.size = price, size
        self.tell(order, "replaced", size=more, left=size)
        met = len(self.fills)
        self.meet(order)
        self.settle(order, say=len(self.fills) > met)

    def expire(self, now):
        """End every order whose time has come: by time, then by arrival (the order of ids)."""
        self.now = now
        queues = [queue for side in self.sides.values() for queue in side.values()]
        due = [order for queue in queues for order in queue if 0 < order.expires <= now]
        for order in sorted(due, key=lambda o: (o.expires, o.id)):
            self.remove(order)
            self.end(order, "expired", "lapsed")

    def queues(self, side):
        levels = self.sides[side]
        return [(p, [(o.id, o.size) for o in levels[p]]) for p in sorted(levels, reverse=side > 0)]
