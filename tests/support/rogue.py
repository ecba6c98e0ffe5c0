"""A strategy that goes for the orders and positions of the others on its node, in one of many ways.

Twice a second it looks what others have and does what it is for; what comes back to it is kept in `events`.
Each way is a function of the rogue and an open order (or position) of a victim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelAllOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import ContingencyType, OrderSide, TimeInForce
from nautilus_trader.model.events import OrderCancelRejected, OrderDenied, OrderRejected
from nautilus_trader.model.identifiers import (
    ClientOrderId,
    InstrumentId,
    OrderListId,
    PositionId,
    StrategyId,
)
from nautilus_trader.model.orders import LimitOrder, MarketOrder, Order, OrderList
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.messages import RemoveStrategy, StopStrategy
from nautilus_trader.trading.strategy import Strategy

__all__ = ["WAYS_WITH_ORDERS", "WAYS_WITH_POSITIONS", "Rogue"]


class Rogue(Strategy):
    """Goes for others by `way`, every `every_s` from `first_s` on; its own is but one order far below the
    market."""

    def __init__(
        self,
        instrument_id: str,
        way: str,
        *,
        every_s: float = 0.5,
        first_s: float = 0.61,
        hedging: bool = False,
    ) -> None:
        super().__init__(StrategyConfig(order_id_tag="ROGUE", oms_type="HEDGING" if hedging else None))
        self.instrument_id = InstrumentId.from_str(instrument_id)
        self.way = way
        self.tries = 0
        self.events: list[Any] = []
        self.seen: list[tuple[Order, str]] = []  # every order of another it went for, and its state before
        self.attack: Callable[[Any, Any], None] = {
            **WAYS_WITH_ORDERS,
            **WAYS_WITH_POSITIONS,
            OWN: _all_of_its_own,
        }[way]
        self._timing = every_s, first_s
        self._price = 0.0  # of the first order it went for

    def on_start(self) -> None:
        every_s, first_s = self._timing
        start = self.clock.utc_now() + pd.Timedelta(seconds=first_s)
        self.clock.set_timer("rogue", pd.Timedelta(seconds=every_s), start, callback=self._go)

    def on_order_event(self, event: Any) -> None:
        self.events.append(event)

    def refusals(self) -> list[Any]:
        """Events that say that something of its own was refused."""
        return [e for e in self.events if isinstance(e, OrderDenied | OrderRejected | OrderCancelRejected)]

    def _go(self, event: Any) -> None:
        if self.way == OWN or self.way in WAYS_WITH_ORDERS:
            theirs = [o for o in self.cache.orders_open() if o.strategy_id.value != self.own_name]
            if theirs and not any(o.is_pending_cancel or o.is_pending_update for o in theirs):
                first = theirs[0]
                self._price = float(first.price if first.has_price else first.trigger_price)
                self._have_an_order()
                self.tries += 1
                self.seen += [(order, order.status.name) for order in theirs]
                self.attack(self, theirs[0])
        else:
            for position in self.cache.positions_open():
                if position.strategy_id.value != self.own_name:
                    self.tries += 1
                    self.attack(self, position)
                    return

    own_name = "Rogue-ROGUE"

    def _have_an_order(self) -> None:
        """Its own: `cancel_all_orders` and others send nothing for a strategy without one."""
        if not self.cache.orders_open(strategy_id=StrategyId(self.own_name)):
            self.submit_order(self.far_order())

    def far_order(self, order_id: str | None = None, strategy_id: StrategyId | None = None, **more) -> Order:
        """A buy order that will not be filled."""
        instrument = self.cache.instrument(self.instrument_id)
        return LimitOrder(
            self.trader_id,
            strategy_id or StrategyId(self.own_name),
            self.instrument_id,
            ClientOrderId(order_id) if order_id else self.order_factory.generate_client_order_id(),
            OrderSide.BUY,
            instrument.make_qty(float(instrument.min_quantity)),
            instrument.make_price(0.5 * self._price),
            UUID4(),
            self.clock.timestamp_ns(),
            TimeInForce.GTC,
            **more,
        )

    def near_order(self, side: OrderSide, strategy_id: StrategyId, order_id: str) -> Order:
        """A market order."""
        instrument = self.cache.instrument(self.instrument_id)
        return MarketOrder(
            self.trader_id,
            strategy_id,
            self.instrument_id,
            ClientOrderId(order_id),
            side,
            instrument.make_qty(float(instrument.min_quantity)),
            UUID4(),
            self.clock.timestamp_ns(),
        )

    def send(self, engine: str, command: Any) -> None:
        self.msgbus.send(endpoint=f"{engine}.execute", msg=command)

    def cancellation(self, order: Order, strategy_id: StrategyId) -> CancelOrder:
        return CancelOrder(
            self.trader_id,
            strategy_id,
            order.instrument_id,
            order.client_order_id,
            order.venue_order_id,
            UUID4(),
            self.clock.timestamp_ns(),
        )

    def amendment(self, order: Order, strategy_id: StrategyId) -> ModifyOrder:
        return ModifyOrder(
            self.trader_id,
            strategy_id,
            order.instrument_id,
            order.client_order_id,
            order.venue_order_id,
            self.twice(order),
            None,
            None,
            UUID4(),
            self.clock.timestamp_ns(),
        )

    def twice(self, order: Order) -> Any:
        return self.cache.instrument(order.instrument_id).make_qty(2.0 * float(order.quantity))

    def submission(self, order: Order, strategy_id: StrategyId) -> SubmitOrder:
        return SubmitOrder(self.trader_id, strategy_id, order, UUID4(), self.clock.timestamp_ns())


def _all_of_its_own(rogue: Rogue, order: Order) -> None:
    """Everything that a strategy may do, with its own orders and position."""
    instrument = rogue.cache.instrument(rogue.instrument_id)
    one, two = rogue.far_order(), rogue.far_order()
    rogue.submit_order(one)
    rogue.submit_order(two)
    rogue.modify_order(one, quantity=rogue.twice(one))
    bracket = rogue.order_factory.bracket(
        rogue.instrument_id,
        OrderSide.BUY,
        instrument.make_qty(float(instrument.min_quantity)),
        sl_trigger_price=instrument.make_price(0.6 * rogue._price),
        tp_price=instrument.make_price(1.4 * rogue._price),
    )
    rogue.submit_order_list(bracket)
    rogue.cancel_order(one)
    rogue.cancel_orders([two])
    rogue.submit_order(rogue.far_order(), position_id=PositionId(f"{rogue.instrument_id}-{rogue.id}"))
    rogue.cancel_all_orders(rogue.instrument_id)
    rogue.close_all_positions(rogue.instrument_id)


OWN = "all of its own"


def _batch(rogue: Rogue, order: Order) -> None:
    own = rogue.cache.orders_open(strategy_id=rogue.id)
    rogue.cancel_orders([*own, order])


def _handmade_batch(rogue: Rogue, order: Order) -> None:
    cancels = [rogue.cancellation(order, order.strategy_id)]
    rogue.send(
        "ExecEngine",
        BatchCancelOrders(
            rogue.trader_id, rogue.id, order.instrument_id, cancels, UUID4(), rogue.clock.timestamp_ns()
        ),
    )


def _cancel_all_of(strategy_of: Callable[[Rogue, Order], StrategyId]) -> Callable[[Rogue, Order], None]:
    def go(rogue: Rogue, order: Order) -> None:
        command = CancelAllOrders(
            rogue.trader_id,
            strategy_of(rogue, order),
            order.instrument_id,
            OrderSide.NO_ORDER_SIDE,
            UUID4(),
            rogue.clock.timestamp_ns(),
        )
        rogue.send("ExecEngine", command)

    return go


def _linked(rogue: Rogue, order: Order) -> None:
    """One cancels the other: its own is cancelled at once, and the other with it."""
    own = rogue.far_order(contingency_type=ContingencyType.OCO, linked_order_ids=[order.client_order_id])
    rogue.submit_order(own)
    if not own.is_closed:
        rogue.cancel_order(own)


def _disguised(rogue: Rogue, order: Order) -> None:
    name = rogue.id
    rogue.change_id(order.strategy_id)
    try:
        rogue.cancel_order(order)
    finally:
        rogue.change_id(name)


def _their_list(rogue: Rogue, order: Order) -> None:
    made = rogue.far_order(f"list-{rogue.tries}", order.strategy_id)
    command = SubmitOrderList(
        rogue.trader_id,
        rogue.id,
        OrderList(OrderListId(f"OL-{rogue.tries}"), [made]),
        UUID4(),
        rogue.clock.timestamp_ns(),
    )
    rogue.send("RiskEngine", command)


WAYS_WITH_ORDERS: dict[str, Callable[[Rogue, Order], None]] = {
    "cancel": lambda rogue, order: rogue.cancel_order(order),
    "amend": lambda rogue, order: rogue.modify_order(order, quantity=rogue.twice(order)),
    "cancel in a batch": _batch,
    "cancel all": lambda rogue, order: rogue.cancel_all_orders(order.instrument_id),
    "market exit": lambda rogue, order: rogue.market_exit(),
    "hand-made cancel": lambda rogue, order: rogue.send("ExecEngine", rogue.cancellation(order, rogue.id)),
    "hand-made amendment": lambda rogue, order: rogue.send("RiskEngine", rogue.amendment(order, rogue.id)),
    "hand-made batch": _handmade_batch,
    "hand-made cancel all": _cancel_all_of(lambda rogue, order: rogue.id),
    "cancel in its name": lambda rogue, order: rogue.send(
        "ExecEngine", rogue.cancellation(order, order.strategy_id)
    ),
    "amend in its name": lambda rogue, order: rogue.send(
        "RiskEngine", rogue.amendment(order, order.strategy_id)
    ),
    "cancel all in its name": _cancel_all_of(lambda rogue, order: order.strategy_id),
    "cancel under its id": _disguised,
    "submit its order again": lambda rogue, order: rogue.send(
        "ExecEngine", rogue.submission(order, rogue.id)
    ),
    "use its order's id": lambda rogue, order: rogue.send(
        "ExecEngine", rogue.submission(rogue.far_order(order.client_order_id.value), rogue.id)
    ),
    "link to its order": _linked,
    "list in its name": _their_list,
    "remove it": lambda rogue, order: rogue.send("Controller", RemoveStrategy(order.strategy_id)),
    "stop it": lambda rogue, order: rogue.send("Controller", StopStrategy(order.strategy_id)),
}


def _against(rogue: Rogue, position: Any) -> OrderSide:
    return OrderSide.SELL if position.is_long else OrderSide.BUY


def _submit_against(rogue: Rogue, position: Any, position_id: PositionId | None) -> None:
    order = rogue.near_order(
        _against(rogue, position), rogue.id, rogue.order_factory.generate_client_order_id().value
    )
    rogue.submit_order(order, position_id=position_id)


WAYS_WITH_POSITIONS: dict[str, Callable[[Rogue, Any], None]] = {
    "close": lambda rogue, position: rogue.close_position(position, reduce_only=False),
    "close, reduce only": lambda rogue, position: rogue.close_position(position),
    "close all": lambda rogue, position: rogue.close_all_positions(position.instrument_id),
    "trade on it": lambda rogue, position: _submit_against(rogue, position, position.id),
    "order in its name": lambda rogue, position: rogue.submit_order(
        rogue.near_order(_against(rogue, position), position.strategy_id, f"in-its-name-{rogue.tries}")
    ),
    "command in its name": lambda rogue, position: rogue.send(
        "RiskEngine",
        rogue.submission(
            rogue.near_order(
                _against(rogue, position), position.strategy_id, f"all-in-its-name-{rogue.tries}"
            ),
            position.strategy_id,
        ),
    ),
}
