"""The entry of one bracket, from the decision until it is done.

::

    nothing out --join, improve--> resting --filled whole--> done: rested
         |                          |   ^
         |                          |   | cancelled, sent anew at the new price
         |                          +---+
         |                          |
         |                          +--cross, cancel: taken back--+
         |                                                        v
         +--cross: market order, immediate or cancel--> done: crossed      done: given up

An aggressive entry is the lower edge alone. Any other asks its policy (`apex_nautilus.risk.entry_policy`)
when it is decided, at every whole book after that and at every row of the clock. There is at most one order
of an entry: where one is in the way it is cancelled first, and the next is sent when that one is *known* to
be gone. So an entry never trades more than was decided, whatever is lost on the way. While an order is being
taken back the policy goes on being asked, and its latest wish counts; only giving up is final.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.model.orders import Order

from apex_nautilus.risk.entry_policy import (
    CANCEL,
    CHOICES,
    CROSS,
    WAIT,
    EntryState,
    entry_price_kernel,
    is_inside_kernel,
)
from apex_nautilus.risk.order_timeout import Action, OrderTimeout, Role

if TYPE_CHECKING:
    from apex_nautilus.engine._position import Plan
    from apex_nautilus.engine.base_strategy import ApexStrategy

__all__ = ["ENDS", "EntryWork"]

ENDS = ("rested", "crossed", "given_up")
"""How an entry is done: filled while it rested, by crossing, or taken back (what was filled is held)."""


class EntryWork:
    """Works one entry for an agent.

    Parameters
    ----------
    agent : ApexStrategy
        Whose entry it is; it sends and cancels the orders, and its `_entry_done` is called once at the end.
    plan : Plan
        The bracket.
    quantity : float
        Base units to be had.

    Attributes
    ----------
    order : Order or None
        The one that is out.
    """

    __slots__ = (
        "_agent",
        "_crossing",
        "_decided_ns",
        "_ids",
        "_plan",
        "_price",
        "_priced_ns",
        "_scale",
        "_units",
        "_units_filled",
        "_wait",
        "_wish",
        "order",
    )

    def __init__(self, agent: ApexStrategy, plan: Plan, quantity: float) -> None:
        self._agent = agent
        self._plan = plan
        self._scale = 10**agent.spec.size_precision
        self._units = round(quantity * self._scale)
        self._units_filled = 0
        self._decided_ns = 0 if agent.feed is None else agent.feed.ts_ns
        self._price = math.nan
        self._priced_ns = 0
        self._wish = WAIT  # what is to be done when the order that is out is gone
        self._crossing = False  # the order that is out takes: its end is the entry's
        self._ids: set[ClientOrderId] = set()
        # The client keeps the clock: when it reports that there was no answer, the deadline is past.
        self._wait = OrderTimeout(Role.ENTRY, timeout_ns=1, entry_retries=agent.config.entry_retries)
        self.order: Order | None = None

    # -- what moves it on ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Send the first order, or ask the policy for one."""
        if self._agent._policy is None:
            self._cross()
        else:
            self.consider()

    def consider(self) -> None:
        """Ask the policy, and take a step towards what it wants."""
        if self._crossing:
            return
        if self._wish != CANCEL:
            choice = self._choose()
            if choice != WAIT:
                self._wish = choice
        self._step()

    def take_back(self) -> None:
        """Want no more of it: the entry is done as soon as nothing of it is out."""
        if not self._crossing:
            self._wish = CANCEL
            self._step()

    def abandon(self) -> None:
        """The agent stops: what rests would be filled with nobody to guard what it brings."""
        if self.order is not None and not self._crossing:
            self._agent._cancel(self.order)

    # -- what becomes of its orders ------------------------------------------------------------------------

    def owns(self, client_order_id: ClientOrderId) -> bool:
        """Whether the order is or was one of this entry."""
        return client_order_id in self._ids

    def filled(self, order: Order, quantity: float) -> None:
        """Count a fill of one of its orders, of one that was thought to be gone too."""
        self._units_filled += round(quantity * self._scale)
        if order is self.order and order.is_closed:
            self.gone()
        elif self._missing_units() <= 0:
            self.take_back()

    def gone(self, *, bounced: bool = False) -> None:
        """The order that was out is out no more; `bounced` where the venue did not take a post-only one."""
        self.order = None
        self._price = math.nan
        self._wait.answered(self._wait.order_id)
        if self._crossing:
            self._end("crossed")
        elif self._missing_units() <= 0:
            self._end("rested")
        elif self._wish != WAIT:
            self._step()
        elif not bounced:
            self._end("given_up")  # cancelled by the venue or by hand
        # Else the policy is asked again at the next book.

    def timed_out(self) -> None:
        """The order that was out never arrived: send another while the entry is wanted."""
        agent, plan = self._agent, self._plan
        self.order = renewed = None
        self._price = math.nan
        if agent._policy is None:
            renewed = agent._renewed(self._units / self._scale)
            wanted = renewed is not None
        else:
            wanted = self._wish != CANCEL and agent._may_go_on() and self._is_wanted()
        action = self._wait.expire(agent.clock.timestamp_ns(), wanted=wanted)
        if action is not Action.RETRY:
            self._end("given_up")
            return
        if renewed is not None:
            self._plan = agent._plan = plan._replace(
                take_profit=renewed.take_profit, stop=renewed.stop, p=renewed.p, fraction=renewed.fraction
            )
            self._units = round(renewed.quantity * self._scale)
        if self._crossing:
            self._cross()
        else:
            self._step()  # or nothing yet: the policy is asked at the next book

    # -- the steps -----------------------------------------------------------------------------------------

    def _missing_units(self) -> int:
        return self._units - self._units_filled

    def _is_wanted(self) -> bool:
        """Whether the agent still wants it, and the market is still inside its bracket."""
        plan, feed = self._plan, self._agent.feed
        if feed is None or not self._agent.wants_entry(plan.side):
            return False
        return is_inside_kernel(feed.bid, feed.ask, plan.take_profit, plan.stop)

    def _choose(self) -> int:
        """What the policy wants; `WAIT` where that cannot be done or is done already."""
        agent, plan, feed = self._agent, self._plan, self._agent.feed
        if agent._policy is None or feed is None or math.isnan(feed.bid):
            return WAIT
        missing = self._missing_units() / self._scale
        choice = agent._policy.choose(
            EntryState(
                side=plan.side,
                quantity=self._units / self._scale,
                missing=missing,
                bid=feed.bid,
                ask=feed.ask,
                tick=agent.spec.tick,
                book=feed.features.top,
                resting_price=self._price,
                since_decision_ns=feed.ts_ns - self._decided_ns,
                since_priced_ns=0 if self.order is None else feed.ts_ns - self._priced_ns,
                is_wanted=self._is_wanted(),
                take_profit=plan.take_profit,
                stop=plan.stop,
            )
        )
        if choice not in range(len(CHOICES)):
            raise ValueError(
                f"slot {agent.slot}: entry policy {agent.execution!r} chose {choice!r}; a choice is 0 to "
                f"{len(CHOICES) - 1} ({', '.join(CHOICES)})"
            )
        if choice in (WAIT, CANCEL):
            return choice
        # What is left of an entry may be too little for an order of its own.
        is_rest = self._units_filled > 0
        spec = agent.spec
        if choice == CROSS:
            touch = feed.ask if plan.side > 0 else feed.bid
            too_small = missing < max(spec.min_qty, spec.lot) or missing * touch < spec.min_notional
            return CANCEL if is_rest and too_small else CROSS
        price = self._target(choice)
        too_small = missing < max(spec.min_qty, spec.lot) or missing * price < spec.min_notional
        return WAIT if price == self._price or (is_rest and too_small) else choice

    def _target(self, choice: int) -> float:
        """Where an order of `choice` would rest now, on the grid."""
        agent = self._agent
        feed, spec = agent.feed, agent.spec
        if feed is None:
            return math.nan
        price = entry_price_kernel(choice, self._plan.side, feed.bid, feed.ask, spec.tick)
        return round(price, spec.price_precision)

    def _step(self) -> None:
        """Carry the wish out; where an order is in the way, take it back first."""
        if self._wish == WAIT:
            return
        if self.order is not None:
            self._agent._cancel(self.order)  # asked again at the next book where it cannot be now
            return
        choice, self._wish = self._wish, WAIT
        if choice == CANCEL:
            self._end("given_up")
        elif choice == CROSS:
            self._cross()
        else:
            self._rest(choice)

    def _cross(self) -> None:
        self._crossing = True
        self._send(self._agent._market_order(self._plan.side, self._missing_units() / self._scale))

    def _rest(self, choice: int) -> None:
        agent = self._agent
        price = self._target(choice)
        if agent.feed is None or math.isnan(price):
            return
        self._price = price
        self._priced_ns = agent.feed.ts_ns
        self._send(
            agent.order_factory.limit(
                agent.instrument_id,
                OrderSide.BUY if self._plan.side > 0 else OrderSide.SELL,
                agent.instrument.make_qty(self._missing_units() / self._scale),
                agent.instrument.make_price(price),
                post_only=True,
                reduce_only=False,
            )
        )

    def _send(self, order: Order) -> None:
        self.order = order
        self._ids.add(order.client_order_id)
        self._wait.sent(self._wait.attempts, self._agent.clock.timestamp_ns() - 1)
        self._agent._send(order, "entry")

    def _end(self, how: str) -> None:
        self._agent.entry_ends[how] += 1
        self._agent._entry_done()
