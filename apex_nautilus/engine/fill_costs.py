"""Holds an agent's fills against the prices that its orders were decided on."""

from __future__ import annotations

import math

from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.model.orders import Order

from apex_nautilus.risk.shortfall import FillCost, fill_cost

__all__ = ["FillCosts"]

_KEPT = 8
"""Touches remembered: an agent has an entry and an exit at market under way, and retries of them."""


class FillCosts:
    """Remembers the touch at which orders at market were sent; see `risk.shortfall`.

    Life cycle: `sent` for each order when it leaves, `of` for each fill. Stops and limits carry their price
    themselves, also after they were amended.
    """

    __slots__ = ("_touches",)

    def __init__(self) -> None:
        self._touches: dict[ClientOrderId, tuple[float, float]] = {}

    def sent(self, order: Order, bid: float, ask: float) -> None:
        """`order` leaves now, and this is the touch its agent sees (NaN: none)."""
        if _asked(order) is not None:
            return
        if len(self._touches) >= _KEPT:
            del self._touches[next(iter(self._touches))]
        self._touches[order.client_order_id] = (bid, ask)

    def of(self, order: Order, side: int, quantity: float, price: float) -> FillCost:
        """The cost of a fill of `order`; NaN where the touch of an order at market is not known."""
        asked = _asked(order)
        if asked is not None:
            return fill_cost(side, quantity, price, asked=asked)
        bid, ask = self._touches.get(order.client_order_id, (math.nan, math.nan))
        return fill_cost(side, quantity, price, bid=bid, ask=ask)


def _asked(order: Order) -> float | None:
    """Trigger of a stop, limit of a resting order, None at market."""
    if order.has_trigger_price:
        return float(order.trigger_price.as_decimal())
    return float(order.price.as_decimal()) if order.has_price else None
