"""What every agent has, whatever it trades by: configuration, feed, ledger, and orders known by their ids.

`ApexStrategy` adds the life of a position. Nothing here decides anything.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from nautilus_trader.model.enums import LiquiditySide, OrderSide, TimeInForce
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId
from nautilus_trader.model.objects import Currency
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.config import StrategyConfig

from apex_nautilus.engine.feed_hub import NEVER_NS, Feed, FeedHub, Subscribe, Subscription
from apex_nautilus.engine.fill_costs import FillCosts
from apex_nautilus.engine.instruments import spec_of
from apex_nautilus.engine.records import (
    FUNDING_TOPIC,
    FillRecord,
    FundingPayment,
    FundingRecord,
    TradeRecord,
)
from apex_nautilus.engine.vouching import VouchingStrategy
from apex_nautilus.risk import (
    AgentAccount,
    EntryPolicy,
    InstrumentSpec,
    PassiveTimers,
    check_execution,
    entry_policy,
)
from apex_nautilus.risk.entry_policy import AGGRESSIVE

__all__ = ["AGENT_TOPIC", "AgentCore", "ApexStrategyConfig", "entry_timers"]

AGENT_TOPIC = "apex.agents"
"""Message bus topic on which a starting agent announces itself (the message is the strategy)."""


class ApexStrategyConfig(StrategyConfig, frozen=True, kw_only=True):
    """Configuration common to all agents.

    Parameters
    ----------
    instrument_id : InstrumentId
        What is traded.
    slot : str
        Name of the agent's slot; reports and ledgers show it.
    capital : float
        The agent's own money at birth, in the instrument's quote currency.
    legs : {"native", "emulated"}
        Whether stop and take-profit rest at the venue, or the strategy sends a market order at the event
        that crosses them.
    entry_retries : int
        How often an entry that got no answer in time is sent again while it is still wanted.
    reprice_s, patience_s : float
        Of a passive entry: how long an order is left where it is though the touch has moved away, and how
        long after the decision what is missing crosses.
    """

    instrument_id: InstrumentId
    slot: str = "main"
    capital: float = 200.0
    legs: Literal["native", "emulated"] = "native"
    entry_retries: int = 2
    reprice_s: float = 1.0
    patience_s: float = 10.0


def entry_timers(entry_retries: int, reprice_s: float, patience_s: float) -> PassiveTimers:
    """Return the timers of passive entries; ValueError, naming the field, where one of the three is not
    possible."""
    if entry_retries < 0:
        raise ValueError(f"entry_retries: must not be negative, got {entry_retries!r}")
    for name, value in (("reprice_s", reprice_s), ("patience_s", patience_s)):
        if not 1e-9 <= value <= 1e9:
            raise ValueError(f"{name}: must be in [1e-9, 1e9] seconds, got {value!r}")
    return PassiveTimers(round(reprice_s * 1e9), round(patience_s * 1e9))


class AgentCore(VouchingStrategy):
    """An agent's feed, ledger and orders; see `ApexStrategy`, which documents the attributes."""

    spec: InstrumentSpec
    account: AgentAccount
    keeps_records: ClassVar[bool] = True

    def __init__(self, config: ApexStrategyConfig) -> None:
        super().__init__(config)
        where = f"slot {config.slot}"
        if not (math.isfinite(config.capital) and config.capital > 0.0):
            raise ValueError(f"{where}: capital must be finite and positive, got {config.capital!r}")
        try:
            self.timers = entry_timers(config.entry_retries, config.reprice_s, config.patience_s)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        self.instrument_id = config.instrument_id
        self.slot = config.slot
        self.execution = AGGRESSIVE
        self.fills: list[FillRecord] = []
        self.payments: list[FundingRecord] = []
        self.trades: list[TradeRecord] = []
        self.trade_count = 0
        self.refusals = 0
        self.timeouts = 0
        self.instrument: Any = None  # from the start on
        self.feed: Feed | None = None
        self.genome_id = ""
        self.rows = 0
        self._emulated = config.legs == "emulated"
        self._policy: EntryPolicy | None = None  # None where entries cross at once
        self._subscription: Subscription | None = None
        self._quote: Currency | None = None
        self._orders: dict[
            ClientOrderId, tuple[Order, str]
        ] = {}  # own orders until they are closed, with their role
        self._costs = FillCosts()
        self._tally: Any = None  # a Tally while a position is at hand
        self._wake_ns = NEVER_NS
        self._sweeping = False  # a cancellation was refused: see `ApexStrategy._sweep`
        self._started = False

    # -- start and stop ------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Look the instrument up and open the ledger; a subclass calls this first, then takes its feed."""
        instrument = self.cache.instrument(self.instrument_id)
        if instrument is None:
            raise RuntimeError(
                f"slot {self.slot}: instrument {self.instrument_id} is not in the cache; check the catalog"
            )
        self.instrument = instrument
        self.spec = spec_of(instrument)
        self._quote = instrument.quote_currency
        self.account = AgentAccount(self.config.capital, size_precision=self.spec.size_precision)
        self._started = True
        self.msgbus.subscribe(topic=f"{FUNDING_TOPIC}.{self.id}", handler=self._on_funding)
        self.msgbus.publish(topic=AGENT_TOPIC, msg=self)

    def on_stop(self) -> None:
        """Leave the feed. Orders and position stay: resting legs guard a position across a restart."""
        if self._subscription is not None:
            self.msgbus.send(endpoint=FeedHub.leave_endpoint_of(self.instrument_id), msg=self._subscription)
            self._subscription = None

    def on_dispose(self) -> None:
        """Leave the message bus: a position that outlives `on_stop` still pays its funding."""
        self.msgbus.unsubscribe(topic=f"{FUNDING_TOPIC}.{self.id}", handler=self._on_funding)

    def subscribe_feed(self, clock: str, conflate_ms: int, features: tuple[str, ...]) -> Subscription:
        """Ask the hub of the instrument for rows of `features` on `clock`.

        Raises
        ------
        RuntimeError
            When no hub serves the instrument, or it serves bars to an agent that needs a book. When no
            entry policy is called like `execution`.
        """
        answer: list[Subscription] = []
        request = Subscribe(
            agent=self, clock=clock, conflate_ms=conflate_ms, features=features, answer=answer
        )
        self.msgbus.send(endpoint=FeedHub.endpoint_of(self.instrument_id), msg=request)
        if not answer:
            raise RuntimeError(
                f"slot {self.slot}: no running FeedHub for {self.instrument_id}; add one to the node's actors"
            )
        self._subscription = answer[0]
        self.feed = self._subscription.feed
        if self._emulated and self.feed.defers_entries:
            raise RuntimeError(
                f"slot {self.slot}: legs 'emulated' are watched book by book and bars have none; use 'native'"
            )
        try:
            check_execution(self.execution, on_bars=self.feed.defers_entries)
        except ValueError as error:
            raise RuntimeError(f"slot {self.slot}: {error}") from None
        self._policy = None if self.execution == AGGRESSIVE else entry_policy(self.execution, self.timers)
        return self._subscription

    @property
    def equity(self) -> float:
        """Balance plus the profit of closing at the touch; the balance alone before the first book."""
        if self.account.is_flat or self.feed is None:
            return self.account.balance
        equity = self.account.equity(self.feed.bid, self.feed.ask)
        return self.account.balance if math.isnan(equity) else equity

    # -- orders, by their ids ------------------------------------------------------------------------------

    def _market_order(self, side: int, quantity: float) -> Order:
        return self.order_factory.market(
            self.instrument_id,
            OrderSide.BUY if side > 0 else OrderSide.SELL,
            self.instrument.make_qty(quantity),
            time_in_force=TimeInForce.IOC,
            reduce_only=False,
        )

    def _send(self, order: Order, role: str) -> None:
        self._orders[order.client_order_id] = (order, role)
        feed = self.feed
        self._costs.sent(order, *((math.nan, math.nan) if feed is None else (feed.bid, feed.ask)))
        self.submit_order(order)

    def _works(self, order: Order | None) -> bool:
        """Whether the order is on its way to the venue or rests there."""
        return order is not None and order.client_order_id in self._orders

    def _cancel(self, order: Order) -> bool:
        """Ask for an order's cancellation; return whether it is asked for.

        An order that is on its way can be cancelled too, as the cancellation cannot overtake it; but not at
        the moment at which it was sent, when without a network the venue is about to take it.
        """
        if order.is_pending_cancel:
            return True
        if order.is_open or (order.is_inflight and order.ts_init < self.clock.timestamp_ns()):
            self.cancel_order(order)
            return True
        return False

    def _wake(self, at_ns: int) -> None:
        """Be called at path events from `at_ns` on; from now on while orders are to be swept up."""
        self._wake_ns = at_ns
        if self._subscription is not None:
            self._subscription.wake_ns = 0 if self._sweeping else at_ns

    # -- the ledger ----------------------------------------------------------------------------------------

    def _book(self, event: OrderFilled, role: str) -> None:
        if event.commission.currency != self._quote:
            raise RuntimeError(
                f"slot {self.slot}: commission in {event.commission.currency}, the ledger counts "
                f"{self._quote}; "
                "choose a venue account that charges fees in the quote currency"
            )
        side = 1 if event.order_side == OrderSide.BUY else -1
        # Not `as_double`: it rounds twice (60035.0 comes out as 60035.00000000001). The decimal is exact.
        quantity, price = float(event.last_qty.as_decimal()), float(event.last_px.as_decimal())
        fee = float(event.commission.as_decimal())
        self.account.fill(side, quantity, price, fee)
        position = self.account.position
        cost = self._costs.of(self.cache.order(event.client_order_id), side, quantity, price)
        if self._tally is not None:
            self._tally.add(event.ts_event, side, quantity, price, fee, position)
            self._tally.spread += cost.spread
            self._tally.slippage += cost.slippage
        fill = FillRecord(
            ts_ns=event.ts_event,
            order_id=event.client_order_id.value,
            role=role,
            side=side,
            quantity=quantity,
            price=price,
            fee=fee,
            maker=event.liquidity_side == LiquiditySide.MAKER,
            position=position,
            balance=self.account.balance,
            reference=cost.reference,
            spread=cost.spread,
            slippage=cost.slippage,
        )
        if self.keeps_records:
            self.fills.append(fill)
        self.msgbus.publish(topic=f"apex.fills.{self.id}", msg=fill)

    def _on_funding(self, payment: FundingPayment) -> None:
        """Book what the position pays or receives; the account has it already."""
        self.account.fund(payment.amount)
        if self._tally is not None:
            self._tally.funding += payment.amount
        if not self.keeps_records:
            return
        self.payments.append(
            FundingRecord(
                ts_ns=payment.ts_ns,
                quantity=payment.quantity,
                mark=payment.mark,
                rate=payment.rate,
                amount=payment.amount,
                balance=self.account.balance,
            )
        )
