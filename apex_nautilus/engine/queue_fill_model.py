"""Fills with a place in the queue, and with a price for size beyond what the book shows.

A resting limit order stands behind what was displayed at its price when it arrived. What stands ahead of it
shrinks

- by trades at its price, one for one: they meet the front of the queue;
- by cancellations, in proportion: of what vanishes from the level without a trade, the share that stood
  ahead of it is taken to have stood ahead (Rigtorp 2013, "Estimating order queue position").

When a trade is larger than what stands ahead, the order gets the rest of it. A trade beyond its price, or an
opposite touch at or beyond its price, fills it whole. Own orders at one price and side share a trade in the
order of their arrival. A change of price or a larger size puts an order at the end of the queue, a smaller
size leaves it its place.

An order that takes liquidity walks the real book. Where it is larger than all that the book displays, the
book is taken to go on beyond its last level as it is on average within: a level of mean size every mean gap.

Two parts, both named by path in a venue's configuration: `QueueModule` watches trades, changes of the book
and orders, `QueueFillModel` answers the matching engine. Nothing is drawn, so there is no random state.
"""

from __future__ import annotations

import math
from typing import Any

from nautilus_trader.backtest.config import FillModelConfig, SimulationModuleConfig
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.core.data import Data
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookType, LiquiditySide, OrderSide, OrderType
from nautilus_trader.model.events import OrderAccepted, OrderEvent, OrderTriggered, OrderUpdated
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId, PositionId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.model.orders import Order

from apex_nautilus.engine.fill_model import TouchFillModel

__all__ = ["QueueFillModel", "QueueModule", "QueueModuleConfig", "QueuePlace", "levels_beyond"]

_RESTING = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED, OrderType.MARKET_TO_LIMIT)
_MOST_LEVELS = 10_000


class QueuePlace:
    """Where one resting order stands, in units of size.

    Attributes
    ----------
    ahead : float
        What stands before it at its price; never negative.
    displayed : float
        The level's size as last seen, without the order.
    """

    __slots__ = ("_traded", "ahead", "displayed")

    def __init__(self, displayed: float) -> None:
        self.ahead = self.displayed = displayed
        self._traded = 0.0  # at this price since the level was last seen

    def trade(self, size: float) -> float:
        """A trade of `size` at the price; return what of it is left for this order."""
        self._traded += size
        left = max(size - self.ahead, 0.0)
        self.ahead = max(self.ahead - size, 0.0)
        return left

    def level(self, size: float) -> None:
        """The level shows `size` now. What went without a trade was cancelled, ahead and behind alike."""
        cancelled = self.displayed - self._traded - size
        if cancelled > 0.0 and self.displayed > 0.0:
            standing = max(self.displayed - self._traded, self.ahead)
            self.ahead *= max(1.0 - cancelled / standing, 0.0) if standing > 0.0 else 0.0
        self.ahead = min(self.ahead, size)
        self.displayed = size
        self._traded = 0.0


def levels_beyond(
    prices: list[float], sizes: list[float], wanted: float, tick: float
) -> list[tuple[float, float]]:
    """Continue a side of a book for `wanted` more size.

    Parameters
    ----------
    prices, sizes : the side's levels from the touch outwards, at least one; units of price and size.
    wanted : size that is to be found beyond the last level.
    tick : the smallest gap.

    Returns
    -------
    list of (price, size)
        Levels of the side's mean size, one every mean gap (a tick where there is only one level), outwards.
        The last is larger where more than 10 000 would be needed; none lies at or below a price of 0.
    """
    gap = (prices[-1] - prices[0]) / (len(prices) - 1) if len(prices) > 1 else 0.0
    # Which way is out: up on the ask side. A single level cannot tell; the caller signs its tick.
    step = gap if abs(gap) >= abs(tick) else tick
    mean = sum(sizes) / len(sizes)
    count = min(max(math.ceil(wanted / mean), 1), _MOST_LEVELS) if mean > 0.0 else 1
    if step < 0.0:
        count = max(min(count, math.floor((prices[-1] - abs(tick)) / -step)), 0)
        if count == 0:
            return [(abs(tick), wanted)]
    levels = [(prices[-1] + step * (k + 1), min(mean, wanted - mean * k)) for k in range(count)]
    short = wanted - sum(size for _, size in levels)
    if short > 0.0:
        price, size = levels[-1]
        levels[-1] = (price, size + short)
    return levels


class _Standing:
    """A resting order and its place; `own` is the aggressor of trades on the other side."""

    __slots__ = ("buys", "order", "own", "place", "price", "quantity", "raw", "taker")

    def __init__(self, order: Order, quantity: float, place: QueuePlace) -> None:
        self.order = order
        self.price = order.price
        self.raw = order.price.raw
        self.quantity = quantity
        self.place = place
        self.buys = order.side == OrderSide.BUY
        self.own = AggressorSide.BUYER if self.buys else AggressorSide.SELLER
        self.taker = _taker(order)


def _taker(order: Order) -> OrderSide:
    """Nautilus asks for the side of who would take the level."""
    return OrderSide.SELL if order.side == OrderSide.BUY else OrderSide.BUY


class _Queue:
    """The resting orders of one instrument, in the order in which they queued up."""

    __slots__ = ("high", "low", "orders", "size_precision")

    def __init__(self, size_precision: int) -> None:
        self.size_precision = size_precision
        self.orders: dict[ClientOrderId, _Standing] = {}
        self.low = self.high = math.nan

    def put(self, key: ClientOrderId, one: _Standing) -> None:
        self.orders[key] = one
        self._reach()

    def pop(self, key: ClientOrderId) -> None:
        if self.orders.pop(key, None) is not None:
            self._reach()

    def _reach(self) -> None:
        """Note from which prices on a trade can meet an order: down to `high`, or up to `low`."""
        orders = self.orders.values()
        self.high = max((one.raw for one in orders if one.buys), default=-math.inf)
        self.low = min((one.raw for one in orders if not one.buys), default=math.inf)


class QueueModuleConfig(SimulationModuleConfig, frozen=True):
    """Configuration of a `QueueModule`; there is nothing to set."""


class QueueModule(SimulationModule):
    """Keeps the places of a venue's resting orders and fills those whose turn has come."""

    def __init__(self, config: QueueModuleConfig) -> None:
        super().__init__(config)
        self._queues: dict[InstrumentId, _Queue] = {}
        self._changed: set[InstrumentId] = set()

    def register_venue(self, exchange: Any) -> None:
        """Tell the fill model where the books are, and listen to what becomes of orders."""
        super().register_venue(exchange)
        model = exchange.fill_model
        if not isinstance(model, QueueFillModel):
            raise ValueError(
                f"venue {exchange.id}: a QueueModule needs a QueueFillModel as fill model, "
                f"found {type(model).__name__}"
            )
        if exchange.trade_execution:
            raise ValueError(
                f"venue {exchange.id}: with a QueueModule, trade_execution must be off, or each trade would "
                "fill twice"
            )
        model.exchange = exchange
        self.msgbus.subscribe(topic="events.order.*", handler=self._on_order)

    # -- orders
    # --------------------------------------------------------------------------------------------

    def _on_order(self, event: OrderEvent) -> None:
        instrument_id = event.instrument_id
        if instrument_id.venue != self.exchange.id:
            return
        if isinstance(event, OrderAccepted | OrderUpdated | OrderTriggered):
            order = self.exchange.cache.order(event.client_order_id)
            if order is not None:
                self._queue_up(instrument_id, order)
            return
        queue = self._queues.get(instrument_id)
        one = None if queue is None else queue.orders.get(event.client_order_id)
        if queue is not None and one is not None and one.order.is_closed:
            queue.pop(event.client_order_id)

    def _queue_up(self, instrument_id: InstrumentId, order: Order) -> None:
        waits = (
            order.order_type in (OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED) and not order.is_triggered
        )
        if order.order_type not in _RESTING or waits or order.is_closed or not order.has_price:
            return
        queue = self._queues.get(instrument_id)
        if queue is None:
            precision = self.exchange.cache.instrument(instrument_id).size_precision
            queue = self._queues[instrument_id] = _Queue(precision)
        key, quantity = order.client_order_id, float(order.quantity)
        known = queue.orders.get(key)
        if known is not None and known.raw == order.price.raw and quantity <= known.quantity:
            queue.put(key, _Standing(order, quantity, known.place))  # less of it keeps its place
            return
        queue.pop(key)  # the dictionary keeps the order of arrival
        book = self.exchange.get_book(instrument_id)
        displayed = book.get_quantity_at_level(order.price, _taker(order), queue.size_precision)
        queue.put(key, _Standing(order, quantity, QueuePlace(float(displayed))))

    # -- the market
    # ----------------------------------------------------------------------------------------

    def pre_process(self, data: Data) -> None:
        """Before the venue sees it. A trade serves the queue, a batch will change levels."""
        kind = type(data)
        if kind is TradeTick:
            queue = self._queues.get(data.instrument_id)
            if queue is not None and queue.orders:
                price = data.price.raw
                if price <= queue.high or price >= queue.low:
                    self._serve(queue, price, data)
        elif kind is OrderBookDeltas or kind is OrderBookDelta:
            instrument_id = data.instrument_id
            queue = self._queues.get(instrument_id)
            if queue is not None and queue.orders:
                self._changed.add(instrument_id)

    def _serve(self, queue: _Queue, price: int, trade: TradeTick) -> None:
        size, aggressor = float(trade.size), trade.aggressor_side
        taken = 0.0  # by own orders that came earlier; all that stand at the price are on one side
        for one in list(queue.orders.values()):
            beyond = price < one.raw if one.buys else price > one.raw
            if not (beyond or price == one.raw) or aggressor == one.own or one.order.is_closed:
                continue
            if beyond:
                self._fill(one.order, math.inf)
            else:
                taken += self._fill(one.order, one.place.trade(size) - taken)

    def _fill(self, order: Order, most: float) -> float:
        """Fill up to `most` of `order` at its price; return how much."""
        instrument = self.exchange.cache.instrument(order.instrument_id)
        leaves = float(order.leaves_qty)
        # Whole lots; a millionth of one forgives the sums.
        lot = float(instrument.size_increment)
        quantity = leaves if most >= leaves else math.floor(most / lot + 1e-6) * lot
        if quantity < lot / 2.0:
            return 0.0
        position = None
        if order.is_reduce_only and self.exchange.use_reduce_only:
            position = self.exchange.cache.position(PositionId(f"{order.instrument_id}-{order.strategy_id}"))
        engine = self.exchange.get_matching_engine(order.instrument_id)
        fill = [(order.price, instrument.make_qty(quantity))]
        engine.apply_fills(order, fill, LiquiditySide.MAKER, None, position)
        return quantity

    def process(self, ts_now: int) -> None:
        """After the venue has settled: what do the levels show now?"""
        if not self._changed:
            return
        for instrument_id in self._changed:
            queue, book = self._queues[instrument_id], self.exchange.get_book(instrument_id)
            seen: dict[tuple[int, bool], float] = {}  # agents of one genome stand at one price
            for one in queue.orders.values():
                level = one.raw, one.buys
                if level not in seen:
                    seen[level] = float(
                        book.get_quantity_at_level(one.price, one.taker, queue.size_precision)
                    )
                one.place.level(seen[level])
        self._changed.clear()

    def log_diagnostics(self, logger: object) -> None:
        """Nothing to say."""

    def reset(self) -> None:
        """Forget all orders."""
        self._queues.clear()
        self._changed.clear()


class QueueFillModel(TouchFillModel):
    """Resting orders as `TouchFillModel`; those that take liquidity find some beyond the displayed depth.

    Attributes
    ----------
    exchange : SimulatedExchange or None
        Set by the venue's `QueueModule`; without one, orders beyond the displayed depth stay unfilled.
    """

    def __init__(self, config: FillModelConfig | None = None) -> None:
        super().__init__(config)
        self.exchange: Any = None

    def get_orderbook_for_fill_simulation(
        self, instrument: Instrument, order: Order, best_bid: Price, best_ask: Price
    ) -> OrderBook | None:
        resting = super().get_orderbook_for_fill_simulation(instrument, order, best_bid, best_ask)
        if resting is not None or order.has_price or self.exchange is None:
            return resting
        real = self.exchange.get_book(instrument.id)
        found = real.simulate_fills(order, instrument.price_precision, instrument.size_precision, True)
        short = float(order.leaves_qty) - sum(float(quantity) for _, quantity in found)
        if short < float(instrument.size_increment) / 2.0:
            return None
        levels = real.asks() if order.side == OrderSide.BUY else real.bids()
        return self._extended(instrument, order, levels, short) if levels else None

    @staticmethod
    def _extended(instrument: Instrument, order: Order, levels: list, short: float) -> OrderBook:
        buys = order.side == OrderSide.BUY
        side = OrderSide.SELL if buys else OrderSide.BUY
        tick = float(instrument.price_increment)
        prices = [float(level.price) for level in levels]
        sizes = [level.size() for level in levels]
        ladder = {level.price: level.size() for level in levels}
        lot = float(instrument.size_increment)
        for price, size in levels_beyond(prices, sizes, short, tick if buys else -tick):
            ticks = math.ceil(price / tick - 1e-9) if buys else max(math.floor(price / tick + 1e-9), 1)
            at = instrument.make_price(ticks * tick)
            ladder[at] = ladder.get(at, 0.0) + math.ceil(size / lot - 1e-9) * lot
        book = OrderBook(instrument_id=instrument.id, book_type=BookType.L2_MBP)
        for price, size in ladder.items():
            book.add(BookOrder(side, price, Quantity(size, instrument.size_precision), 0), 0, 0)
        return book
