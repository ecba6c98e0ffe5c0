"""The base of every trading agent: one bracketed position at a time, on an account shared with others.

Life of a position
------------------
::

    IDLE --enter()--> ENTERING --entry done, something filled--> HOLDING --leg filled--> IDLE
                          |                                         |
                          +-- done, nothing filled --> IDLE         +--close()/max hold/leg refused-->
                          CLOSING --> IDLE

An entry crosses at once or rests at the touch first, as the agent's `execution` says (`_entry.py` has its
life). What crosses is a market order, immediate or cancel: what the book does not give at once is not wanted
later. When the entry is done, the legs are sent for exactly what was filled: a stop-market order and a limit
order at the take-profit, or, with ``legs="emulated"``, nothing: the strategy then watches the touch itself
and sends a market order at the event that crosses. Closing first cancels the legs *by their own ids*, waits
for the venue to confirm, then sends a market order for what is left, again at every path event until flat.
Closing while an entry rests takes the entry back, then closes what it brought.

No order is reduce-only and nothing is cancelled "for the instrument": other agents hold positions and
orders on the same account and instrument. Legs are not linked at the venue either (venues differ in what
they support): when one is filled the other is cancelled, when one is filled in part the other is shrunk to
what is left.

On bars an entry decided at a close is sent at the open of the next bar (`on_feed_open`), which is the first
price that it can meet; the rest is the same, but nothing rests: bars have no book.

On a network (`engine.network`) orders travel, and some never arrive. Without an answer in time (an
``OrderRejected`` with `NETWORK_TIMEOUT`)

- an entry is sent again with a new id, at most `entry_retries` times and while it is still wanted
  (`renew_entry` for one that crosses, `wants_entry` for one that rests);
- a leg or an exit is sent again with a new id until the position is closed;
- a cancellation is repeated at the next book until the order is known to be gone; if it is filled before
  that, the fill is booked and what it opened is held or closed ("overfilled").

Every fill is booked into the agent's own `AgentAccount`, which is the only place its money is counted.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, NamedTuple

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderModifyRejected,
    OrderRejected,
)
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.model.orders import Order

from apex_nautilus.engine._agent_core import AGENT_TOPIC, AgentCore, ApexStrategyConfig
from apex_nautilus.engine._entry import ENDS, EntryWork
from apex_nautilus.engine._network_client import NETWORK_TIMEOUT
from apex_nautilus.engine._position import Plan, Tally, trade_record
from apex_nautilus.engine.feed_hub import NEVER_NS, Feed
from apex_nautilus.engine.records import TRADES_TOPIC, TradeRecord
from apex_nautilus.risk.entry_policy import is_inside_kernel

__all__ = ["AGENT_TOPIC", "ApexStrategy", "ApexStrategyConfig", "Entry", "Phase"]


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


class ApexStrategy(AgentCore):
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
        All `FillRecord`, `FundingRecord` and `TradeRecord` so far, oldest first; empty where a subclass sets
        `keeps_records` to False. Fills and trades are published either way (``apex.fills.<id>``,
        ``apex.trades.<id>``).
    trade_count : int
        Positions closed so far.
    phase : Phase
    execution : str
        How entries get into the market: ``aggressive`` (at once), ``passive``, or the id of a registered
        `EntryPolicy`. Set it before `subscribe_feed`.
    entry_ends : dict of str to int
        How often an entry ended ``rested``, ``crossed`` and ``given_up``.
    refusals : int
        Entries outside the venue's bounds, and orders that were denied, rejected or could not be changed.
        Neither a post-only order that would have taken (its policy is asked again) nor a stop that the market
        has passed on its way (the position is closed) is one of them.
    timeouts : int
        Orders, cancellations and amendments that got no answer in time; not counted as refusals.
    genome_id : str
        What it trades by; empty where a subclass has no genome.
    rows : int
        Rows of the feed it has seen.
    """

    def __init__(self, config: ApexStrategyConfig) -> None:
        super().__init__(config)
        self.phase = Phase.IDLE
        self.entry_ends = dict.fromkeys(ENDS, 0)
        self._entry: EntryWork | None = None  # while entering
        self._stop_leg: Order | None = None
        self._profit_leg: Order | None = None
        self._exit_order: Order | None = None
        self._plan: Any = None  # a Plan while a position is at hand
        self._deadline_ns = 0
        self._closing_for = ""
        self._retiring = ""
        self._unsent = False  # an entry waits for the next bar to open

    def on_stop(self) -> None:
        """Leave the feed and take back an entry that rests. Legs and position stay: resting legs guard a
        position across a restart."""
        if self._entry is not None:
            self._entry.abandon()
        super().on_stop()

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
        """Begin the entry of a bracket; the legs follow when it is done.

        Parameters
        ----------
        side : int
            +1 buy, -1 sell.
        quantity : float
            Base units, a whole number of lots.
        take_profit, stop : float
            Bracket prices, on the tick grid.
        max_hold_ns : int
            The position is closed at the first path event that is this much later than its first fill.
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
        self._plan = Plan(side, take_profit, stop, max_hold_ns, p, fraction)
        self._tally = Tally(self.account.balance)
        self._entry = EntryWork(self, self._plan, quantity)
        if self.feed is not None and self.feed.defers_entries and self._subscription is not None:
            self._unsent = self._subscription.wants_open = True
            return True
        if self._policy is not None:
            self._wake(0)
        self._entry.begin()
        return True

    def close(self, reason: str) -> None:
        """Cancel own legs and close the position at market; does nothing when idle or already closing.

        An entry that rests is taken back; while it is still on its way the position is closed as soon as it
        is known.
        """
        if self.phase in (Phase.IDLE, Phase.CLOSING):
            return
        if self._unsent:
            self._become_idle()
            return
        self._closing_for = reason
        if self._entry is not None:
            self._entry.take_back()
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

    def decision_counts(self) -> dict[str, int]:
        """How often a decision ended for each reason; for subclasses that count them."""
        return {}

    def on_flat(self, trade: TradeRecord) -> None:
        """A position was closed completely; for subclasses."""

    def wants_entry(self, side: int) -> bool:
        """Say whether an entry on `side` that is not done is still wanted; asked at every book meanwhile.

        Here: it is. A subclass with a signal looks at it, and calls `reconsider_entry` at each row.
        """
        return True

    def reconsider_entry(self) -> None:
        """Ask the entry policy again now, as what a subclass wants may have changed."""
        if self._entry is not None and self._policy is not None:
            self._entry.consider()

    def renew_entry(self, side: int, entry: Entry) -> Entry | None:
        """Say what to send in place of an entry that got no answer, or None if it is no longer wanted.

        Only asked for an entry that crosses at once: what it meets is not what it was decided on.

        Here: the same, while the touch lies between its stop and its take-profit. A subclass with a signal
        asks it again.
        """
        if self.feed is None or math.isnan(self.feed.bid):
            return None
        is_inside = is_inside_kernel(self.feed.bid, self.feed.ask, entry.take_profit, entry.stop)
        return entry if is_inside else None

    # -- the feed
    # --------------------------------------------------------------------------------------------

    def on_feed_row(self, feed: Feed) -> None:
        """A row was closed; for subclasses."""

    def on_feed_open(self, feed: Feed) -> None:
        """A bar has opened: send the entry that was decided at the close before."""
        if self._unsent and self._entry is not None:
            self._unsent = False
            self._entry.begin()

    def on_feed_path(self, feed: Feed) -> None:
        """Move on at a whole book: an entry that is not done, or the guard of a position (emulated legs,
        then holding time), or an unfinished close."""
        if self._sweeping:
            self._sweep()
        if self._entry is not None:
            if not self.account.is_flat and feed.ts_ns >= self._tally.entry_ts_ns + self._plan.max_hold_ns:
                self.close("max_hold")  # filled in part, and the rest is not to be had
            else:
                self.reconsider_entry()
        elif self.phase is Phase.HOLDING:
            if self._emulated:
                plan = self._plan
                if self._is_stop_passed():
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
            self._plan = Plan(
                1 if event.order_side == OrderSide.BUY else -1, math.nan, math.nan, 0, math.nan, math.nan
            )
            self._tally = Tally(self.account.balance)
        self._book(event, role)
        if order.is_closed:
            self._orders.pop(event.client_order_id, None)
        if orphan:
            self._closing_for = "overfilled"
            self._begin_closing()
        elif self._entry is not None:
            if self._entry.owns(event.client_order_id):
                self._entry.filled(order, float(event.last_qty.as_decimal()))
            else:
                # A late leg of the position before: the entry will be closed by what it really brought.
                self._entry.take_back()
        elif self.account.is_flat:
            self._finish(order)
        elif self.phase is Phase.HOLDING:
            self._leg_filled(order)
        else:
            self._continue_closing()

    def on_order_accepted(self, event: OrderAccepted) -> None:
        if self.phase is Phase.CLOSING:
            self._continue_closing()  # a leg that was on its way when the other was refused

    def on_order_canceled(self, event: OrderCanceled) -> None:
        self._order_ended(event.client_order_id)

    def on_order_expired(self, event: OrderExpired) -> None:
        self._order_ended(event.client_order_id)

    def on_order_denied(self, event: OrderDenied) -> None:
        self._order_refused(event.client_order_id, event.reason)

    def on_order_rejected(self, event: OrderRejected) -> None:
        self._order_refused(event.client_order_id, event.reason, bounced=event.due_post_only)

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
        if self._entry is not None and order is self._entry.order:
            self._entry.gone()
        elif self.phase is Phase.CLOSING and order is not self._exit_order:
            self._continue_closing()
        elif self.phase is Phase.HOLDING and order in (self._stop_leg, self._profit_leg):
            self.close("leg_lost")  # cancelled by the venue or by hand: the position must not stay unguarded

    def _order_refused(self, client_order_id: ClientOrderId, reason: str, *, bounced: bool = False) -> None:
        order, role = self._orders.pop(client_order_id, (None, ""))
        if order is None:
            return
        if bounced and self._entry is not None and order is self._entry.order:
            self._entry.gone(bounced=True)
            return
        is_stop = order is self._stop_leg and self.phase is Phase.HOLDING
        if is_stop and reason != NETWORK_TIMEOUT and self._is_stop_passed():
            self.close("stop")  # a venue takes no stop that the market has passed before it came
            return
        self._count_refusal(reason)
        self.log.warning(f"slot {self.slot}: {role} {client_order_id} refused: {reason}")
        if reason == NETWORK_TIMEOUT:
            self._timed_out(order)
        elif self._entry is not None and order is self._entry.order:
            self._entry.gone()
        elif order in (self._stop_leg, self._profit_leg) and self.phase is Phase.HOLDING:
            self.close("leg_refused")

    def _count_refusal(self, reason: str) -> None:
        if reason == NETWORK_TIMEOUT:
            self.timeouts += 1
        else:
            self.refusals += 1

    def _timed_out(self, order: Order) -> None:
        """An order of ours never arrived, and is closed: send another where its purpose stands."""
        if self._entry is not None and order is self._entry.order:
            self._entry.timed_out()
        elif self.phase is Phase.HOLDING and order is self._stop_leg:
            self._place_stop()
        elif self.phase is Phase.HOLDING and order is self._profit_leg:
            self._place_profit()
        elif self.phase is Phase.CLOSING:
            self._continue_closing()

    def _may_go_on(self) -> bool:
        """Whether an entry that got no answer may be sent again: nobody wants the agent out."""
        return not (self._closing_for or self._retiring)

    def _renewed(self, quantity: float) -> Entry | None:
        """What to send in place of an entry that crosses and got no answer."""
        plan = self._plan
        # Not flat: a leg of the position before was filled late. What it brought is dealt with first.
        if not self._may_go_on() or not self.account.is_flat:
            return None
        return self.renew_entry(
            plan.side, Entry(quantity, plan.take_profit, plan.stop, plan.p, plan.fraction)
        )

    # -- the steps
    # -------------------------------------------------------------------------------------------

    def _entry_done(self) -> None:
        """The entry is done: place the legs for what it brought, or be idle again."""
        self._entry = None
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

    def _is_stop_passed(self) -> bool:
        """Whether the touch that a close would meet is at the stop or beyond it."""
        plan, feed = self._plan, self.feed
        if feed is None:
            return False
        return feed.bid <= plan.stop if plan.side > 0 else feed.ask >= plan.stop

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
        self.trade_count += 1
        who = (self.id.value, self.instrument_id.value)
        trade = trade_record(who, self.trade_count, self._plan, self._tally, self.account.balance, kind)
        if self.keeps_records:
            self.trades.append(trade)
        self._become_idle()
        self.msgbus.publish(topic=f"{TRADES_TOPIC}.{self.id}", msg=trade)
        self.on_flat(trade)

    def _become_idle(self) -> None:
        """Be idle. Legs that were told to cancel stay known until the venue confirms; `is_flat` waits."""
        self.phase = Phase.IDLE
        self._entry = self._exit_order = None
        self._plan = self._tally = None
        self._unsent = False
        self._closing_for = ""
        self._wake(NEVER_NS)

    # -- small things
    # ----------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Cancel orders of earlier positions that still work: filled, they would open a position."""
        wanted = {
            Phase.ENTERING: (None if self._entry is None else self._entry.order,),
            Phase.HOLDING: (self._stop_leg, self._profit_leg),
            Phase.CLOSING: (self._exit_order,),
        }.get(self.phase, ())
        left = [order for order, _ in self._orders.values() if order not in wanted]
        for order in left:
            self._cancel(order)
        self._sweeping = bool(left)
        self._wake(self._wake_ns)
