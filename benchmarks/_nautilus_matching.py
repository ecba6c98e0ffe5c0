"""Nautilus's matching engine without the rest of Nautilus: orders and cancels handed to it one by one."""

from __future__ import annotations

from typing import Any

from nautilus_trader.backtest.engine import OrderMatchingEngine
from nautilus_trader.backtest.models import FillModel, MakerTakerFeeModel
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import CancelOrder
from nautilus_trader.model.data import BookOrder, OrderBookDelta
from nautilus_trader.model.enums import AccountType, BookAction, BookType, OmsType, OrderSide
from nautilus_trader.model.events import OrderSubmitted
from nautilus_trader.model.identifiers import AccountId, ClientOrderId, StrategyId, TraderId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.model.orders import LimitOrder
from nautilus_trader.test_kit.providers import TestInstrumentProvider

__all__ = ["NautilusMatching"]

_TRADER, _STRATEGY, _ACCOUNT = TraderId("BENCH-001"), StrategyId("S-001"), AccountId("BINANCE-001")
_TICK, _LOT = 0.1, 0.001


class NautilusMatching:
    """Life cycle: `prepare` makes orders and commands outside the clock, `feed` hands them over.

    The engine's events reach its orders, as they would in Nautilus, and nobody else.
    """

    def __init__(self, bid: int, ask: int) -> None:
        self._instrument = TestInstrumentProvider.btcusdt_perp_binance()
        self._cache = Cache(database=None)
        self._cache.add_instrument(self._instrument)
        clock = TestClock()
        bus = MessageBus(_TRADER, clock)
        bus.register("ExecEngine.process", self._hear)
        self._engine = OrderMatchingEngine(
            instrument=self._instrument,
            raw_id=1,
            fill_model=FillModel(),
            fee_model=MakerTakerFeeModel(),
            book_type=BookType.L3_MBO,
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            msgbus=bus,
            cache=self._cache,
            clock=clock,
        )
        self._orders: dict[str, Any] = {}
        self.accepted = self.cancelled = 0
        for number, (side, ticks) in enumerate(((OrderSide.BUY, bid), (OrderSide.SELL, ask)), start=1):
            resting = BookOrder(side, self._price(ticks), self._quantity(1_000), number)
            self._engine.process_order_book_delta(
                OrderBookDelta(self._instrument.id, BookAction.ADD, resting, 0, 1, 0, 0)
            )

    def _price(self, ticks: int) -> Price:
        return Price(ticks * _TICK, self._instrument.price_precision)

    def _quantity(self, lots: int) -> Quantity:
        return Quantity(lots * _LOT, self._instrument.size_precision)

    def _hear(self, event: Any) -> None:
        self._orders[event.client_order_id.value].apply(event)
        name = type(event).__name__
        self.accepted += name == "OrderAccepted"
        self.cancelled += name == "OrderCanceled"

    def _order(self, number: int, side: int, price: int, size: int) -> LimitOrder:
        order = LimitOrder(
            trader_id=_TRADER,
            strategy_id=_STRATEGY,
            instrument_id=self._instrument.id,
            client_order_id=ClientOrderId(f"O-{number}"),
            order_side=OrderSide.BUY if side > 0 else OrderSide.SELL,
            quantity=self._quantity(size),
            price=self._price(price),
            init_id=UUID4(),
            ts_init=0,
        )
        names = _TRADER, _STRATEGY, order.instrument_id, order.client_order_id, _ACCOUNT
        order.apply(OrderSubmitted(*names, UUID4(), 0, 0))
        self._cache.add_order(order)
        self._orders[order.client_order_id.value] = order
        return order

    def prepare(self, rows: list[tuple[int, int, int, int, bool]]) -> list[tuple[bool, Any]]:
        """Commands for (order id, side, price, size, cancel it)."""
        commands: list[tuple[bool, Any]] = []
        for order_id, side, price, size, gone in rows:
            if gone:
                client = ClientOrderId(f"O-{order_id}")
                commands.append(
                    (
                        True,
                        CancelOrder(_TRADER, _STRATEGY, self._instrument.id, client, None, UUID4(), 0),
                    )
                )
            else:
                commands.append((False, self._order(order_id, side, price, size)))
        return commands

    def feed(self, commands: list[tuple[bool, Any]]) -> tuple[int, int]:
        """Hand everything over; returns orders accepted and orders cancelled."""
        send, cancel = self._engine.process_order, self._engine.process_cancel
        for gone, command in commands:
            if gone:
                cancel(command, _ACCOUNT)
            else:
                send(command, _ACCOUNT)
        return self.accepted, self.cancelled
