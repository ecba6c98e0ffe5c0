"""The base of every trading agent: one bracketed position at a time, on an account shared with others.

Life of a position
------------------
::

    IDLE --enter()--> ENTERING --entry closed, something filled--> HOLDING --leg filled--> IDLE
                          |                                           |
                          +-- rejected, nothing filled --> IDLE       +--close()/max hold/leg refused-->
                          CLOSING --> IDLE

Entry is a market order (immediate or cancel: what the book does not give at once is not wanted later). When
it is done, the legs are sent for exactly what was filled: a stop-market order and a limit order at the
take-profit, or, with ``legs="emulated"``, nothing: the strategy then watches the touch itself and sends a
market order at the event that crosses. Closing first cancels the legs *by their own ids*, waits for the
venue to confirm, then sends a market order for what is left, again at every path event until flat.

No order is reduce-only and nothing is cancelled "for the instrument": other agents hold positions and
orders on the same account and instrument. Legs are not linked at the venue either (venues differ in what
they support): when one is filled the other is cancelled, when one is filled in part the other is shrunk to
what is left.

On bars an entry decided at a close is sent at the open of the next bar (`on_feed_open`), which is the first
price that it can meet; the rest is the same.

On a network (`engine.network`) orders travel, and some never arrive. Without an answer in time (an
``OrderRejected`` with `NETWORK_TIMEOUT`)

- an entry is sent again with a new id, at most `entry_retries` times and while `renew_entry` still wants it;
- a leg or an exit is sent again with a new id until the position is closed;
- a cancellation is repeated at the next book until the order is known to be gone; if it is filled before
  that, the fill is booked and what it opened is closed ("overfilled").

Every fill is booked into the agent's own `AgentAccount`, which is the only place its money is counted.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, Literal, NamedTuple

from nautilus_trader.model.enums import LiquiditySide, OrderSide, TimeInForce
from nautilus_trader.model.events import (
    OrderCanceled,
    OrderCancelRejected,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderModifyRejected,
    OrderRejected,
)
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId
from nautilus_trader.model.objects import Currency
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from apex_nautilus.engine._network_client import NETWORK_TIMEOUT
from apex_nautilus.engine.feed_hub import NEVER_NS, Feed, FeedHub, Subscribe, Subscription
from apex_nautilus.engine.instruments import spec_of
from apex_nautilus.engine.records import (
    FUNDING_TOPIC,
    FillRecord,
    FundingPayment,
    FundingRecord,
    TradeRecord,
)
from apex_nautilus.risk import AgentAccount, InstrumentSpec
from apex_nautilus.risk.order_timeout import Action, OrderTimeout, Role

__all__ = ["AGENT_TOPIC", "ApexStrategy", "ApexStrategyConfig", "Entry", "Phase"]

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
    """

    instrument_id: InstrumentId
    slot: str = "main"
    capital: float = 200.0
    legs: Literal["native", "emulated"] = "native"
    entry_retries: int = 2


class Phase(Enum):
    """Where an agent's position stands; see the module's description."""

    IDLE = "idle"
    ENTERING = "entering"
    HOLDING = "holding"
    CLOSING = "closing"


class Entry(NamedTuple):
    """What an entry asks for: base units, prices on the tick grid, and what the decision knew."""

    quantity: float
    take_profit: float
    stop: float
    p: float = math.nan
    fraction: float = math.nan


class _Plan(NamedTuple):
    """The bracket of the position at hand, as decided."""

    side: int
    take_profit: float
    stop: float
    max_hold_ns: int
    p: float
    fraction: float


class _Tally:
    """Sums over the fills of the position at hand."""

    __slots__ = ("balance", "buys", "entry_ts_ns", "exit_ts_ns", "fees", "funding", "peak", "sells")

    def __init__(self, balance: float) -> None:
        self.balance = balance
        self.entry_ts_ns = self.exit_ts_ns = 0
        self.fees = self.funding = self.peak = 0.0
        self.buys: list[tuple[float, float]] = []
        self.sells: list[tuple[float, float]] = []

    def add(self, ts_ns: int, side: int, quantity: float, price: float, fee: float, position: float) -> None:
        self.entry_ts_ns = self.entry_ts_ns or ts_ns
        self.exit_ts_ns = ts_ns
        self.fees += fee
        self.peak = max(self.peak, abs(position))
        (self.buys if side > 0 else self.sells).append((quantity, price))


def _mean_price(fills: list[tuple[float, float]]) -> float:
    """Volume-weighted mean; exactly the price where there is only one."""
    if not fills:
        return math.nan
    if all(price == fills[0][1] for _, price in fills):
        return fills[0][1]
    return sum(quantity * price for quantity, price in fills) / sum(quantity for quantity, _ in fills)


class ApexStrategy(Strategy):
    """One agent: opens, guards and closes brackets by its own order ids, and keeps its own ledger.

    Subclasses name what they see (`subscribe_feed`), decide in `on_feed_row` and call `enter`. They may
    override `on_flat`, which is called whenever a position has been closed completely.

    Attributes
    ----------
    spec : InstrumentSpec
        The instrument; set at start.
    account : AgentAccount
        The agent's ledger; made at start, with the configured capital.
    fills, payments, trades : list
        All `FillRecord`, `FundingRecord` and `TradeRecord` so far, oldest first.
    phase : Phase
    refusals : int
        Entries outside the venue's bounds, and orders that were denied, rejected or could not be changed.
    timeouts : int
        Orders, cancellations and amendments that got no answer in time; not counted as refusals.
    genome_id : str
        What it trades by; empty where a subclass has no genome.
    rows : int
        Rows of the feed it has seen.
    """

    spec: InstrumentSpec
    account: AgentAccount

    def __init__(self, config: ApexStrategyConfig) -> None:
        super().__init__(config)
        if not (math.isfinite(config.capital) and config.capital > 0.0):
            raise ValueError(
                f"slot {config.slot}: capital must be finite and positive, got {config.capital!r}"
            )
        self.instrument_id = config.instrument_id
        self.slot = config.slot
        self.phase = Phase.IDLE
        self.fills: list[FillRecord] = []
        self.payments: list[FundingRecord] = []
        self.trades: list[TradeRecord] = []
        self.refusals = 0
        self.timeouts = 0
        self.instrument: Any = None  # from the start on
        self.feed: Feed | None = None
        self._emulated = config.legs == "emulated"
        self._subscription: Subscription | None = None
        self._quote: Currency | None = None
        self._orders: dict[
            ClientOrderId, tuple[Order, str]
        ] = {}  # own orders until they are closed, with their role
        self._entry_order: Order | None = None
        self._entry_wait: OrderTimeout = OrderTimeout(
            Role.ENTRY, timeout_ns=1, entry_retries=config.entry_retries
        )
        self._stop_leg: Order | None = None
        self._profit_leg: Order | None = None
        self._exit_order: Order | None = None
        self._plan: Any = None  # a _Plan while a position is at hand
        self._tally: Any = None  # a _Tally while a position is at hand
        self._deadline_ns = 0
        self._closing_for = ""
        self._retiring = ""
        self._wake_ns = NEVER_NS
        self._unsent = False  # an entry waits for the next bar to open
        self._sweeping = False  # a cancellation was refused: see `_sweep`
        self._started = False
        self.genome_id = ""
        self.rows = 0

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
            When no hub serves the instrument.
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
        return self._subscription

    # -- what a subclass and the arena call
    # -----------------------------------------------------------------

    def enter(
        self,
        side: int,
        quantity: float,
        take_profit: float,
        stop: float,
        max_hold_ns: int,
        *,
        p: float = math.nan,
        fraction: float = math.nan,
    ) -> bool:
        """Send the entry of a bracket; the legs follow when it is filled.

        Parameters
        ----------
        side : int
            +1 buy, -1 sell.
        quantity : float
            Base units, a whole number of lots.
        take_profit, stop : float
            Bracket prices, on the tick grid.
        max_hold_ns : int
            The position is closed at the first path event that is this much later than the entry.
        p, fraction : float
            Of the decision; kept in the trade's record.

        Returns
        -------
        bool
            False, and nothing is sent, unless the agent is idle and not retiring and the venue takes orders
            of this size.
        """
        if self.phase is not Phase.IDLE or self._retiring:
            return False
        if not max(self.spec.min_qty, self.spec.lot) <= quantity <= self.spec.max_qty:
            self.refusals += 1
            self.log.warning(
                f"slot {self.slot}: an entry of {quantity!r} is outside what {self.instrument_id} takes "
                f"({self.spec.min_qty:g} to {self.spec.max_qty:g}); size it with risk.quantity"
            )
            return False
        self.phase = Phase.ENTERING
        self._plan = _Plan(side, take_profit, stop, max_hold_ns, p, fraction)
        self._tally = _Tally(self.account.balance)
        self._entry_order = self._market_order(side, quantity)
        # The client keeps the clock: when it reports that there was no answer, the deadline is past.
        self._entry_wait = OrderTimeout(Role.ENTRY, timeout_ns=1, entry_retries=self.config.entry_retries)
        if self.feed is not None and self.feed.defers_entries and self._subscription is not None:
            self._unsent = self._subscription.wants_open = True
        else:
            self._send_entry()
        return True

    def close(self, reason: str) -> None:
        """Cancel own legs and close the position at market; does nothing when idle or already closing.

        While the entry is still on its way the position is closed as soon as it is known.
        """
        if self.phase in (Phase.IDLE, Phase.CLOSING):
            return
        if self._unsent:
            self._become_idle()
            return
        self._closing_for = reason
        if self.phase is Phase.ENTERING:
            return
        self._begin_closing()

    def retire(self, reason: str) -> None:
        """Take no more entries and close what is open; `is_flat` tells when it is done."""
        self._retiring = reason
        self.close(reason)

    @property
    def is_retiring(self) -> bool:
        """Whether `retire` was called."""
        return bool(self._retiring)

    @property
    def is_flat(self) -> bool:
        """No position and no working order of this agent."""
        return self.phase is Phase.IDLE and not self._orders and (not self._started or self.account.is_flat)

    @property
    def equity(self) -> float:
        """Balance plus the profit of closing at the touch; the balance alone before the first book."""
        if self.account.is_flat or self.feed is None:
            return self.account.balance
        equity = self.account.equity(self.feed.bid, self.feed.ask)
        return self.account.balance if math.isnan(equity) else equity

    def decision_counts(self) -> dict[str, int]:
        """How often a decision ended for each reason; for subclasses that count them."""
        return {}

    def on_flat(self, trade: TradeRecord) -> None:
        """A position was closed completely; for subclasses."""

    def renew_entry(self, side: int, entry: Entry) -> Entry | None:
        """Say what to send in place of an entry that got no answer, or None if it is no longer wanted.

        Here: the same, while the touch lies between its stop and its take-profit. A subclass with a signal
        asks it again.
        """
        if self.feed is None or math.isnan(self.feed.bid):
            return None
        low, high = sorted((entry.stop, entry.take_profit))
        return entry if low < self.feed.bid and self.feed.ask < high else None

    # -- the feed
    # --------------------------------------------------------------------------------------------

    def on_feed_row(self, feed: Feed) -> None:
        """A row was closed; for subclasses."""

    def on_feed_open(self, feed: Feed) -> None:
        """A bar has opened: send the entry that was decided at the close before."""
        if self._unsent and self._entry_order is not None:
            self._unsent = False
            self._send_entry()

    def on_feed_path(self, feed: Feed) -> None:
        """Guard the position at a whole book: emulated legs, then holding time, then an unfinished close."""
        if self._sweeping:
            self._sweep()
        if self.phase is Phase.HOLDING:
            if self._emulated:
                plan = self._plan
                stop_hit = feed.bid <= plan.stop if plan.side > 0 else feed.ask >= plan.stop
                if stop_hit:
                    self.close("stop")
                    return
                if feed.bid >= plan.take_profit if plan.side > 0 else feed.ask <= plan.take_profit:
                    self.close("take_profit")
                    return
            if feed.ts_ns >= self._deadline_ns:
                self.close("max_hold")
        elif self.phase is Phase.CLOSING:
            self._continue_closing()

    # -- order events
    # ----------------------------------------------------------------------------------------

    def on_order_filled(self, event: OrderFilled) -> None:
        order, role = self._orders.get(event.client_order_id, (None, ""))
        if order is None:
            # Reported as cancelled, and filled all the same: on a network the two can cross. It is ours.
            order, role = self.cache.order(event.client_order_id), "late"
            if order is None:
                return
        orphan = self.phase is Phase.IDLE
        if orphan:  # a leg that was filled while its cancellation was under way
            self._plan = _Plan(
                1 if event.order_side == OrderSide.BUY else -1, math.nan, math.nan, 0, math.nan, math.nan
            )
            self._tally = _Tally(self.account.balance)
        self._book(event, role)
        if order.is_closed:
            self._orders.pop(event.client_order_id, None)
        if orphan:
            self._closing_for = "overfilled"
            self._begin_closing()
        elif order is self._entry_order:
            if order.is_closed:
                self._entry_done()
        elif self.phase is Phase.ENTERING:
            pass  # a late leg of the position before: the entry will be closed by what it really brought
        elif self.account.is_flat:
            self._finish(order)
        elif self.phase is Phase.HOLDING:
            self._leg_filled(order)
        else:
            self._continue_closing()

    def on_order_canceled(self, event: OrderCanceled) -> None:
        self._order_ended(event.client_order_id)

    def on_order_expired(self, event: OrderExpired) -> None:
        self._order_ended(event.client_order_id)

    def on_order_denied(self, event: OrderDenied) -> None:
        self._order_refused(event.client_order_id, event.reason)

    def on_order_rejected(self, event: OrderRejected) -> None:
        self._order_refused(event.client_order_id, event.reason)

    def on_order_modify_rejected(self, event: OrderModifyRejected) -> None:
        if event.client_order_id not in self._orders:
            return
        self._count_refusal(event.reason)
        if self.phase is Phase.HOLDING:
            self.close("leg_refused")  # a leg of the wrong size would open a new position

    def on_order_cancel_rejected(self, event: OrderCancelRejected) -> None:
        if event.client_order_id in self._orders:
            self._count_refusal(event.reason)
            self._sweeping = True  # it still works: the next path event tries again
            self._wake(self._wake_ns)

    def _order_ended(self, client_order_id: ClientOrderId) -> None:
        order, _ = self._orders.pop(client_order_id, (None, ""))
        if order is None:
            return
        if order is self._entry_order and self.phase is Phase.ENTERING:
            self._entry_done()
        elif self.phase is Phase.CLOSING and order is not self._exit_order:
            self._continue_closing()
        elif self.phase is Phase.HOLDING and order in (self._stop_leg, self._profit_leg):
            self.close("leg_lost")  # cancelled by the venue or by hand: the position must not stay unguarded

    def _order_refused(self, client_order_id: ClientOrderId, reason: str) -> None:
        order, role = self._orders.pop(client_order_id, (None, ""))
        if order is None:
            return
        self._count_refusal(reason)
        self.log.warning(f"slot {self.slot}: {role} {client_order_id} refused: {reason}")
        if reason == NETWORK_TIMEOUT:
            self._timed_out(order)
        elif order is self._entry_order and self.phase is Phase.ENTERING:
            self._entry_done()
        elif order in (self._stop_leg, self._profit_leg) and self.phase is Phase.HOLDING:
            self.close("leg_refused")

    def _count_refusal(self, reason: str) -> None:
        if reason == NETWORK_TIMEOUT:
            self.timeouts += 1
        else:
            self.refusals += 1

    def _timed_out(self, order: Order) -> None:
        """An order of ours never arrived, and is closed: send another where its purpose stands."""
        if order is self._entry_order and self.phase is Phase.ENTERING:
            self._entry_timed_out(order)
        elif self.phase is Phase.HOLDING and order is self._stop_leg:
            self._place_stop()
        elif self.phase is Phase.HOLDING and order is self._profit_leg:
            self._place_profit()
        elif self.phase is Phase.CLOSING:
            self._continue_closing()

    def _entry_timed_out(self, order: Order) -> None:
        plan = self._plan
        asked = Entry(float(order.quantity.as_decimal()), plan.take_profit, plan.stop, plan.p, plan.fraction)
        # Not flat: a leg of the position before was filled late. What it brought is dealt with first.
        stays = self._closing_for or self._retiring or not self.account.is_flat
        entry = None if stays else self.renew_entry(plan.side, asked)
        now_ns = self.clock.timestamp_ns()
        action = self._entry_wait.expire(now_ns, wanted=entry is not None)
        if action is not Action.RETRY or entry is None:
            self._entry_done()
            return
        self._plan = plan._replace(
            take_profit=entry.take_profit, stop=entry.stop, p=entry.p, fraction=entry.fraction
        )
        self._entry_order = self._market_order(plan.side, entry.quantity)
        self._send_entry()

    # -- the steps
    # -------------------------------------------------------------------------------------------

    def _entry_done(self) -> None:
        """The entry order is closed: place the legs for what it brought, or be idle again."""
        if self.account.is_flat:
            self._become_idle()
            return
        self.phase = Phase.HOLDING
        self._deadline_ns = self._tally.entry_ts_ns + self._plan.max_hold_ns
        # Legs at the venue need no watching: the next thing to look at is the end of the holding time.
        self._wake(0 if self._emulated else self._deadline_ns)
        if self._closing_for or self._retiring:
            self._closing_for = self._closing_for or self._retiring
            self._begin_closing()
        elif (self.account.position > 0.0) != (self._plan.side > 0):
            self.close("overfilled")  # a late leg of the position before outweighs the entry
        elif not self._emulated:
            self._place_legs()

    def _place_legs(self) -> None:
        self._place_stop()
        if self.phase is Phase.HOLDING:  # else the stop was refused at once and the position is being closed
            self._place_profit()

    def _place_stop(self) -> None:
        self._stop_leg = self.order_factory.stop_market(
            self.instrument_id,
            self._leg_side(),
            self.instrument.make_qty(abs(self.account.position)),
            self.instrument.make_price(self._plan.stop),
            reduce_only=False,
        )
        self._send(self._stop_leg, "stop")

    def _place_profit(self) -> None:
        self._profit_leg = self.order_factory.limit(
            self.instrument_id,
            self._leg_side(),
            self.instrument.make_qty(abs(self.account.position)),
            self.instrument.make_price(self._plan.take_profit),
            reduce_only=False,
        )
        self._send(self._profit_leg, "take_profit")

    def _leg_side(self) -> OrderSide:
        return OrderSide.SELL if self._plan.side > 0 else OrderSide.BUY

    def _leg_filled(self, order: Order) -> None:
        """A leg was filled in part: shrink the other to what is left."""
        known = order is self._stop_leg or order is self._profit_leg
        if not known or (self.account.position > 0.0) != (self._plan.side > 0):
            self.close("overfilled")
            return
        other = self._profit_leg if order is self._stop_leg else self._stop_leg
        if other is None or other.client_order_id not in self._orders:
            return
        total = self.instrument.make_qty(float(other.filled_qty.as_decimal()) + abs(self.account.position))
        self.modify_order(other, quantity=total)

    def _begin_closing(self) -> None:
        self.phase = Phase.CLOSING
        self._wake(0)
        self._continue_closing()

    def _continue_closing(self) -> None:
        """One step towards flat: cancel legs that still work; when none does, send the market order."""
        waiting = False
        for leg in (self._stop_leg, self._profit_leg):
            if leg is not None and self._works(leg):
                waiting = True
                self._cancel(leg)
        if waiting or self._works(self._exit_order) or self.phase is not Phase.CLOSING:
            return
        position = self.account.position
        if position == 0.0:
            self._finish(self._exit_order)
            return
        self._exit_order = self._market_order(-1 if position > 0.0 else 1, abs(position))
        self._send(self._exit_order, "exit")

    def _finish(self, order: Order | None) -> None:
        """The position is closed: cancel what still works, write the trade, be idle."""
        if order is not None and order is self._stop_leg:
            kind = "stop"
        elif order is not None and order is self._profit_leg:
            kind = "take_profit"
        else:
            kind = self._closing_for
        for leg in (self._stop_leg, self._profit_leg):
            if leg is not None and leg is not order and self._works(leg) and not self._cancel(leg):
                self._sweeping = True  # it is on its way: the next book tries again
        trade = self._trade_record(kind)
        self.trades.append(trade)
        self._become_idle()
        self.msgbus.publish(topic=f"apex.trades.{self.id}", msg=trade)
        self.on_flat(trade)

    def _trade_record(self, kind: str) -> TradeRecord:
        plan, tally = self._plan, self._tally
        bought, sold = _mean_price(tally.buys), _mean_price(tally.sells)
        return TradeRecord(
            number=len(self.trades) + 1,
            side=plan.side,
            quantity=tally.peak,
            entry_ts_ns=tally.entry_ts_ns,
            exit_ts_ns=tally.exit_ts_ns,
            entry_price=bought if plan.side > 0 else sold,
            exit_price=sold if plan.side > 0 else bought,
            take_profit=plan.take_profit,
            stop=plan.stop,
            exit_kind=kind,
            fees=tally.fees,
            funding=tally.funding,
            pnl=self.account.balance - tally.balance,
            equity=self.account.balance,
            p=plan.p,
            fraction=plan.fraction,
        )

    def _become_idle(self) -> None:
        """Be idle. Legs that were told to cancel stay known until the venue confirms; `is_flat` waits."""
        self.phase = Phase.IDLE
        self._entry_order = self._exit_order = None
        self._plan = self._tally = None
        self._unsent = False
        self._closing_for = ""
        self._wake(NEVER_NS)

    # -- small things
    # ----------------------------------------------------------------------------------------

    def _market_order(self, side: int, quantity: float) -> Order:
        return self.order_factory.market(
            self.instrument_id,
            OrderSide.BUY if side > 0 else OrderSide.SELL,
            self.instrument.make_qty(quantity),
            time_in_force=TimeInForce.IOC,
            reduce_only=False,
        )

    def _wake(self, at_ns: int) -> None:
        """Be called at path events from `at_ns` on; from now on while orders are to be swept up."""
        self._wake_ns = at_ns
        if self._subscription is not None:
            self._subscription.wake_ns = 0 if self._sweeping else at_ns

    def _sweep(self) -> None:
        """Cancel orders of earlier positions that still work: filled, they would open a position."""
        wanted = {
            Phase.ENTERING: (self._entry_order,),
            Phase.HOLDING: (self._stop_leg, self._profit_leg),
            Phase.CLOSING: (self._exit_order,),
        }.get(self.phase, ())
        left = [order for order, _ in self._orders.values() if order not in wanted]
        for order in left:
            self._cancel(order)
        self._sweeping = bool(left)
        self._wake(self._wake_ns)

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

    def _send_entry(self) -> None:
        order = self._entry_order
        if order is not None:
            self._entry_wait.sent(self._entry_wait.attempts, self.clock.timestamp_ns() - 1)
            self._send(order, "entry")

    def _send(self, order: Order, role: str) -> None:
        self._orders[order.client_order_id] = (order, role)
        self.submit_order(order)

    def _works(self, order: Order | None) -> bool:
        """Whether the order is on its way to the venue or rests there."""
        return order is not None and order.client_order_id in self._orders

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
        if self._tally is not None:
            self._tally.add(event.ts_event, side, quantity, price, fee, position)
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
        )
        self.fills.append(fill)
        self.msgbus.publish(topic=f"apex.fills.{self.id}", msg=fill)

    def _on_funding(self, payment: FundingPayment) -> None:
        """Book what the position pays or receives; the account has it already."""
        self.account.fund(payment.amount)
        if self._tally is not None:
            self._tally.funding += payment.amount
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
