"""What orders are filled at where the market is made of bars: the replay's rules, put into Nautilus's venue.

Two parts, both named by path in a venue's configuration. `BarCostModule`, a simulation module, sees every
quote and bar before the venue does and keeps the cost model of each instrument up to date. `BarFillModel`
asks it what an order costs. The arithmetic is `apex_nautilus.risk.bar_fill_kernel`, which the replay calls
too. They need the quotes of `bar_market`: the first quote after a bar opens the next one.
"""

from __future__ import annotations

import msgspec
from nautilus_trader.backtest.config import FillModelConfig, SimulationModuleConfig
from nautilus_trader.backtest.models import FillModel
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.core.data import Data
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import Bar, BookOrder, QuoteTick
from nautilus_trader.model.enums import BookType, OrderSide, OrderType
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Price
from nautilus_trader.model.orders import Order

from apex_nautilus.engine.bar_market import bar_type_of
from apex_nautilus.engine.instruments import spec_of
from apex_nautilus.risk import DEFAULT_BAR_COSTS, BarCosts, BarCostTracker, bar_fill_kernel

__all__ = ["BarCostModule", "BarCostModuleConfig", "BarFillModel", "MarketNow"]


class MarketNow:
    """The cost model and the open of one instrument's bar under way.

    Attributes
    ----------
    open_bid, open_ask : float
        The touch at which the bar opened.
    tracker : BarCostTracker
    impact : float
        k of the cost model.
    """

    __slots__ = ("_closed", "impact", "open_ask", "open_bid", "price_scale", "tick_units", "tracker")

    def __init__(self, instrument: Instrument, costs: BarCosts, first: QuoteTick) -> None:
        spec = spec_of(instrument)
        self.impact = costs.impact
        self.tick_units = spec.tick_units
        self.price_scale = float(10**spec.price_precision)
        # The open lies in the middle of its quote, to the unit.
        unit = first.ask_price.raw - first.bid_price.raw
        middle = Price.from_raw(first.bid_price.raw + unit // 2, spec.price_precision)
        self.tracker = BarCostTracker(costs, spec, _number(middle))
        self._closed: Bar | None = None
        self._open(first)

    def _open(self, quote: QuoteTick) -> None:
        self.open_bid, self.open_ask = _number(quote.bid_price), _number(quote.ask_price)

    def quote(self, quote: QuoteTick) -> None:
        """The first quote after a bar opens the next: only now is the closed one's news put to use."""
        bar = self._closed
        if bar is not None:
            self._closed = None
            self.tracker.close_bar(_number(bar.close), _units(bar))
            self._open(quote)

    def close(self, bar: Bar) -> None:
        """A bar has closed; orders of this moment still meet it."""
        self._closed = bar


def _number(price: Price) -> float:
    return float(price.as_decimal())


def _units(bar: Bar) -> int:
    return int(bar.volume.as_decimal().scaleb(bar.volume.precision))


class BarCostModuleConfig(SimulationModuleConfig, frozen=True, kw_only=True):
    """Configuration of a `BarCostModule`.

    Parameters
    ----------
    paths : dict of str to str
        Instrument id to the clock of the bars that orders meet.
    costs : dict of str to BarCosts
        Cost models; `DEFAULT_BAR_COSTS` for an instrument that is left out.
    """

    paths: dict[str, str]
    costs: dict[str, BarCosts] = msgspec.field(default_factory=dict)


class BarCostModule(SimulationModule):
    """Follows the bars of a venue, one step behind them, for its `BarFillModel`."""

    def __init__(self, config: BarCostModuleConfig) -> None:
        super().__init__(config)
        self._costs = config.costs
        self._types = {bar_type_of(i, clock): InstrumentId.from_str(i) for i, clock in config.paths.items()}
        self._instruments = frozenset(self._types.values())
        self._markets: dict[InstrumentId, MarketNow] = {}

    def pre_process(self, data: Data) -> None:
        kind = type(data)
        if kind is QuoteTick:
            market = self._markets.get(data.instrument_id)
            if market is not None:
                market.quote(data)
            elif data.instrument_id in self._instruments:
                self._begin(data)
        elif kind is Bar:
            instrument_id = self._types.get(str(data.bar_type))
            if instrument_id is not None and instrument_id in self._markets:
                self._markets[instrument_id].close(data)

    def _begin(self, quote: QuoteTick) -> None:
        instrument_id = quote.instrument_id
        model = self.exchange.fill_model
        if not isinstance(model, BarFillModel):
            raise RuntimeError(
                f"venue of {instrument_id}: BarCostModule needs BarFillModel as fill model, found "
                f"{type(model).__name__}"
            )
        instrument = self.exchange.cache.instrument(instrument_id)
        costs = self._costs.get(instrument_id.value, DEFAULT_BAR_COSTS)
        self._markets[instrument_id] = model.markets[instrument_id] = MarketNow(instrument, costs, quote)

    def process(self, ts_now: int) -> None:
        """Nothing is due at any time of its own."""

    def log_diagnostics(self, logger: object) -> None:
        """Nothing to say."""

    def reset(self) -> None:
        self._markets.clear()


class BarFillModel(FillModel):
    """Fills on bars: a market order at the touch, a stop at its price or the open beyond it, both slipped by
    the cost model; a limit order whole at its price.

    Draws nothing. The base class's constructor is not called, as it seeds Python's global random numbers.

    Attributes
    ----------
    markets : dict of InstrumentId to MarketNow
        Kept by the venue's `BarCostModule`. An instrument that is not among them is filled by Nautilus.
    """

    def __init__(self, config: FillModelConfig | None = None) -> None:  # Nautilus passes its configuration
        self.markets: dict[InstrumentId, MarketNow] = {}

    def is_limit_filled(self) -> bool:
        return True

    def is_slipped(self) -> bool:
        return False

    def get_orderbook_for_fill_simulation(
        self, instrument: Instrument, order: Order, best_bid: Price, best_ask: Price
    ) -> OrderBook | None:
        market = self.markets.get(instrument.id)
        if market is None:
            return None
        buys = order.side == OrderSide.BUY
        price = order.price if order.has_price else self._market_price(instrument, order, best_bid, best_ask)
        book = OrderBook(instrument_id=instrument.id, book_type=BookType.L2_MBP)
        side = OrderSide.SELL if buys else OrderSide.BUY
        book.add(BookOrder(side, price, order.leaves_qty, 1), 0, 0)
        return book

    def _market_price(self, instrument: Instrument, order: Order, best_bid: Price, best_ask: Price) -> Price:
        market = self.markets[instrument.id]
        buys = order.side == OrderSide.BUY
        base = _number(best_ask if buys else best_bid)
        if order.order_type == OrderType.STOP_MARKET:
            trigger = _number(order.trigger_price)
            base = max(trigger, market.open_ask) if buys else min(trigger, market.open_bid)
        quantity = float(order.leaves_qty.as_decimal())
        tracker = market.tracker
        return instrument.make_price(
            bar_fill_kernel(
                1 if buys else -1, base, quantity, market.impact, tracker.sigma, tracker.volume,
                market.tick_units, market.price_scale,
            )
        )  # fmt: skip
