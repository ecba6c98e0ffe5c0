"""A limit order book so plain that one can see it is right: dicts of deques."""

from collections import deque
from dataclasses import dataclass


@dataclass
class SlowOrder:
    id: int
    side: int
    price: int
    size: int
    owner: int
    kind: str


class SlowBook:
    def __init__(self, prevent_self_trade=False):
        self.prevent = prevent_self_trade
        self.sides = {1: {}, -1: {}}  # side -> price -> deque of SlowOrder
        self.fates = {}
        self.orders = {}
        self.fills = []  # (taker id, maker id, price, size)

    def best(self, side):
        return max(self.sides[side], default=None) if side > 0 else min(self.sides[side], default=None)

    def crosses(self, side, price):
        best = self.best(-side)
        return best is not None and (price is None or (price >= best if side > 0 else price <= best))

    def reachable(self, order):
        total = 0
        for price, queue in self.sides[-order.side].items():
            if order.price is None or (order.price - price) * order.side >= 0:
                total += sum(o.size for o in queue if not (self.prevent and o.owner == order.owner))
        return total

    def add(self, order):
        self.orders[order.id] = order
        if order.kind == "post_only" and self.crosses(order.side, order.price):
            self.fates[order.id] = "rejected"
            return
        if order.kind == "fok" and self.reachable(order) < order.size:
            self.fates[order.id] = "rejected"
            return
        while order.size > 0 and self.crosses(order.side, order.price):
            price = self.best(-order.side)
            queue = self.sides[-order.side][price]
            maker = queue[0]
            if self.prevent and maker.owner == order.owner:
                self.fills.append((order.id, maker.id, price, 0))
                self.fates[maker.id] = "cancelled"
                queue.popleft()
            else:
                traded = min(order.size, maker.size)
                self.fills.append((order.id, maker.id, price, traded))
                order.size -= traded
                maker.size -= traded
                if maker.size == 0:
                    self.fates[maker.id] = "filled"
                    queue.popleft()
            if not queue:
                del self.sides[-order.side][price]
        if order.size == 0:
            self.fates[order.id] = "filled"
        elif order.kind in ("ioc", "fok"):
            self.fates[order.id] = "expired"
        else:
            self.fates[order.id] = "resting"
            self.sides[order.side].setdefault(order.price, deque()).append(order)

    def find(self, order_id):
        return self.orders[order_id] if self.fates.get(order_id) == "resting" else None

    def remove(self, order):
        queue = self.sides[order.side][order.price]
        queue.remove(order)
        if not queue:
            del self.sides[order.side][order.price]

    def cancel(self, order_id):
        order = self.find(order_id)
        if order is not None:
            self.remove(order)
            self.fates[order_id] = "cancelled"

    def reduce(self, order_id, size):
        order = self.find(order_id)
        if order is not None and size < order.size:
            order.size = size

    def replace(self, order_id, price, size):
        order = self.find(order_id)
        if order is None or (order.kind == "post_only" and self.crosses(order.side, price)):
            return
        if price == order.price and size <= order.size:
            order.size = size
            return
        self.remove(order)
        order.price, order.size = price, size
        self.add(order)

    def queues(self, side):
        levels = self.sides[side]
        return [(p, [(o.id, o.size) for o in levels[p]]) for p in sorted(levels, reverse=side > 0)]
