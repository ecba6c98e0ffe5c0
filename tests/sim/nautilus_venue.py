"""Nautilus's own matching engine as a venue that one aggressor at a time meets, order by order."""

from nautilus_trader.backtest.engine import OrderMatchingEngine
from nautilus_trader.backtest.models import FillModel, MakerTakerFeeModel
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.core.fsm import InvalidStateTrigger
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import CancelOrder, ModifyOrder
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
from nautilus_trader.model.enums import (
    AccountType,
    BookAction,
    BookType,
    OmsType,
    OrderSide,
    TimeInForce,
)
from nautilus_trader.model.events import OrderFilled, OrderModifyRejected, OrderRejected, OrderSubmitted
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientOrderId,
    StrategyId,
    TraderId,
)
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.model.orders import LimitOrder, MarketOrder
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.component import TestComponentStubs

from apex_nautilus.sim.matching import BUY, FOK, GTC, IOC, POST_ONLY

TRADER, STRATEGY, ACCOUNT = TraderId("TESTER-001"), StrategyId("S-001"), AccountId("BINANCE-001")
TICK = 0.1
_TIMES = {
    GTC: TimeInForce.GTC,
    POST_ONLY: TimeInForce.GTC,
    IOC: TimeInForce.IOC,
    FOK: TimeInForce.FOK,
}


class NautilusVenue:
    """A matching engine over a book of single orders (L3), whose orders of users never meet each other.

    Prices are ticks and sizes lots, as ours are. What the engine says is gathered in `fills`, `refused` and
    `dropped` (events that do not suit the order's state).
    """

    def __init__(self):
        self.instrument = TestInstrumentProvider.btcusdt_perp_binance()
        self.clock = TestClock()
        self.cache = TestComponentStubs.cache()
        self.cache.add_instrument(self.instrument)
        bus = MessageBus(TRADER, self.clock)
        bus.register("ExecEngine.process", self._hear)
        self.engine = OrderMatchingEngine(
            instrument=self.instrument,
            raw_id=1,
            fill_model=FillModel(),
            fee_model=MakerTakerFeeModel(),
            book_type=BookType.L3_MBO,
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            msgbus=bus,
            cache=self.cache,
            clock=self.clock,
            use_reduce_only=False,
        )
        self.fills, self.refused, self.dropped = [], [], []
        self.now = 0
        self.number = 0

    def _hear(self, event):
        if isinstance(event, OrderFilled):
            self.fills.append((self._ticks(event.last_px), self._lots(event.last_qty)))
        elif isinstance(event, OrderRejected | OrderModifyRejected):
            self.refused.append(event.reason)
        order = self.cache.order(event.client_order_id)
        try:
            order.apply(event)
        except InvalidStateTrigger:  # as Nautilus's execution engine does: said, and dropped
            self.dropped.append(event)
            return
        self.cache.update_order(order)

    @staticmethod
    def _ticks(price):
        return round(price.as_double() / TICK)

    @staticmethod
    def _lots(quantity):
        return round(quantity.as_double() * 1000)

    def price(self, ticks):
        return Price(ticks * TICK, self.instrument.price_precision)

    def quantity(self, lots):
        return Quantity(lots / 1000, self.instrument.size_precision)

    # ------------------------------------------------------------------ the book of everybody else

    def show(self, changes):
        """Change the book: (action, side, ticks, lots, order id), all of them before anything matches."""
        if not changes:
            return
        self.now += 1
        deltas = []
        for action, side, ticks, lots, order_id in changes:
            order = BookOrder(
                OrderSide.BUY if side == BUY else OrderSide.SELL,
                self.price(ticks),
                self.quantity(lots),
                order_id + 1,
            )
            deltas.append(OrderBookDelta(self.instrument.id, action, order, 0, self.now, self.now, self.now))
        self.engine.process_order_book_deltas(OrderBookDeltas(self.instrument.id, deltas))

    def add(self, side, ticks, lots, order_id):
        self.show([(BookAction.ADD, side, ticks, lots, order_id)])

    def delete(self, side, ticks, order_id):
        self.show([(BookAction.DELETE, side, ticks, 0, order_id)])

    # ------------------------------------------------------------------ a user's own orders

    def _begin(self):
        self.fills.clear()
        self.refused.clear()

    def order(self, side, lots, ticks=None, time_in_force=GTC, expires=0):
        """Send an order (a market order without a price); returns it, what it did is in `fills`."""
        self._begin()
        self.number += 1
        common = {
            "trader_id": TRADER,
            "strategy_id": STRATEGY,
            "instrument_id": self.instrument.id,
            "client_order_id": ClientOrderId(f"O-{self.number}"),
            "order_side": OrderSide.BUY if side == BUY else OrderSide.SELL,
            "quantity": self.quantity(lots),
            "init_id": UUID4(),
            "ts_init": self.now,
        }
        if ticks is None:
            order = MarketOrder(**common)
        else:
            order = LimitOrder(
                **common,
                price=self.price(ticks),
                time_in_force=TimeInForce.GTD if expires else _TIMES[time_in_force],
                expire_time_ns=expires,
                post_only=time_in_force == POST_ONLY,
            )
        self.cache.add_order(order)
        names = TRADER, STRATEGY, order.instrument_id, order.client_order_id, ACCOUNT
        order.apply(OrderSubmitted(*names, UUID4(), self.now, self.now))
        self.cache.update_order(order)
        self.engine.process_order(order, ACCOUNT)
        return order

    def modify(self, order, ticks, lots):
        """Change price and what is left of an order; Nautilus counts what has been filled too."""
        self._begin()
        command = ModifyOrder(
            TRADER,
            STRATEGY,
            order.instrument_id,
            order.client_order_id,
            order.venue_order_id,
            self.quantity(lots + self._lots(order.filled_qty)),
            self.price(ticks),
            None,
            UUID4(),
            self.now,
        )
        self.engine.process_modify(command, ACCOUNT)

    def cancel(self, order):
        self._begin()
        command = CancelOrder(
            TRADER,
            STRATEGY,
            order.instrument_id,
            order.client_order_id,
            order.venue_order_id,
            UUID4(),
            self.now,
        )
        self.engine.process_cancel(command, ACCOUNT)

    def tell_time(self, now):
        """Let time pass until `now`."""
        self.now = now
        self.engine.iterate(now)

    def left(self, order):
        return self._lots(order.leaves_qty)
