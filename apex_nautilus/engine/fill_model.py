"""How orders are filled in a backtest: the assumptions of the replay, put into Nautilus's venue.

Nautilus fills a resting limit order only against the size that the crossing book displays at or beyond its
price. That size is what is *left* after the market traded through; for an order that was there before, it
is the wrong number. When the bid has reached a resting sell order's price, every buyer up to that price has
been served, the order included. So here a resting order is filled whole, at its limit price, when the
opposite touch reaches it (the replay's rule).

Orders that take liquidity walk the venue's real book, level by level, as Nautilus does.
"""

from __future__ import annotations

from nautilus_trader.backtest.config import FillModelConfig
from nautilus_trader.backtest.models import FillModel
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BookOrder
from nautilus_trader.model.enums import BookType, LiquiditySide, OrderSide
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Price
from nautilus_trader.model.orders import Order

__all__ = ["TouchFillModel"]


class TouchFillModel(FillModel):
    """Resting orders: filled whole at their price when the opposite touch reaches it. Others: the real
    book.

    Draws nothing. The base class's constructor is not called, as it seeds Python's global random numbers.
    """

    def __init__(self, config: FillModelConfig | None = None) -> None:  # Nautilus passes its configuration
        pass

    def is_limit_filled(self) -> bool:
        return True

    def is_slipped(self) -> bool:
        return False

    def get_orderbook_for_fill_simulation(
        self, instrument: Instrument, order: Order, best_bid: Price, best_ask: Price
    ) -> OrderBook | None:
        if not order.has_price or order.liquidity_side != LiquiditySide.MAKER:
            return None
        book = OrderBook(instrument_id=instrument.id, book_type=BookType.L2_MBP)
        side = OrderSide.SELL if order.side == OrderSide.BUY else OrderSide.BUY
        book.add(BookOrder(side, order.price, order.leaves_qty, 1), 0, 0)
        return book
