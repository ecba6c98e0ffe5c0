"""No strategy of a node commands an order or a position of another.

Nautilus 1.231 lets a strategy command any order that it can name: it takes the order's cancellation and
amendment from whoever sends it, cancels everybody's orders of an instrument for `cancel_all_orders` of one,
and takes an order that is linked to another's, or made out in another's name, for what it says. Agents that
share an account must not have that power over each other, be it used by mistake.

The guard stands at the addresses of the message bus to which commands are sent (risk engine, execution
engine, emulator, execution algorithms, controller), so it sees each command once, whatever client and
network come after it, in a backtest or live. A command that is not the sender's to give goes no further:

- an order is denied;
- Nautilus marks an order as pending before it sends the command: a cancellation or amendment is answered as
  rejected, which takes the mark back from the order. Its owner is told nothing, as it asked for nothing. (One
  state cannot be taken back: an order that is still on its way stays "pending cancel" until the venue
  answers.);
- `cancel_all_orders` becomes one command that names the sender's own orders.

Who sent a command is what it says of itself; but an agent built on `VouchingStrategy` (all of ours) vouches
for each command as it gives it, and one in its name that it did not give is refused, too.

What no guard can hold in one process: code that changes the objects of others by hand (orders, strategies,
the cache, the message bus itself) or forges the venue's events. Genomes are data and can do none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import Clock, Logger, MessageBus
from nautilus_trader.core.fsm import InvalidStateTrigger
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelAllOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.events import (
    OrderCancelRejected,
    OrderDenied,
    OrderEmulated,
    OrderModifyRejected,
    OrderPendingCancel,
    OrderPendingUpdate,
)
from nautilus_trader.model.identifiers import ClientOrderId, StrategyId
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.trader import Trader

from apex_nautilus.engine.vouching import VouchingStrategy

__all__ = ["NOT_ITS_OWN", "OrderGuard", "Refusal", "install_guard"]

NOT_ITS_OWN = "NOT_ITS_OWN"
"""Begins the reason in events about commands that the guard refused."""

_ALONE = (None, None, None)

_WAITING = 1024
"""Commands that may lie in a live risk engine's queue at a time."""


class Refusal(NamedTuple):
    """A command that was refused.

    Attributes
    ----------
    ts_ns : int
    sender, owner : str
        Strategy ids; the sender is "" where somebody spoke in the owner's name.
    command : str
        ``submit``, ``amend``, ``cancel`` or ``control``.
    order : str
        Client order id; "" where the command names none.
    reason : str
    """

    ts_ns: int
    sender: str
    owner: str
    command: str
    order: str
    reason: str


class _Objection:
    """Why a command is refused, and whose right it would touch, where that is known."""

    __slots__ = ("is_forged", "owner", "reason")

    def __init__(self, owner: Any, text: str, *, is_forged: bool = False) -> None:
        self.owner = owner
        self.reason = f"{NOT_ITS_OWN}: {text}"
        self.is_forged = is_forged


class OrderGuard:
    """Stands between the strategies of a node and its engines; see the module's description.

    Parameters
    ----------
    trader : Trader
        Who is registered; the word of anybody else counts for nothing.
    msgbus, cache, clock
        Of the node.
    report : callable, optional
        Called with each `Refusal`, after its events.

    Attributes
    ----------
    refused : int
        Commands refused so far.
    """

    def __init__(
        self,
        trader: Trader,
        msgbus: MessageBus,
        cache: Cache,
        clock: Clock,
        report: Callable[[Refusal], None] | None = None,
    ) -> None:
        self.refused = 0
        self._trader = trader
        self._msgbus = msgbus
        self._cache = cache
        self._clock = clock
        self._report = report
        self._log = Logger("OrderGuard")
        self._forwarded: dict[int, Any] = {}  # passed here, and now with the risk engine
        # The last pending event of an order that its owner asked for: what follows it was not.
        self._asked: dict[ClientOrderId, Any] = {}

    def install(self) -> None:
        """Take the addresses over, also from an earlier guard of the same node."""
        doors = {
            "RiskEngine.execute": self._at_risk_engine,
            "ExecEngine.execute": self._at_execution_engine,
            "OrderEmulator.execute": self._at_agency,
            "Controller.execute": self._at_controller,
        }
        doors |= {f"{algorithm.id}.execute": self._at_agency for algorithm in self._trader.exec_algorithms()}
        known = set(self._msgbus.endpoints())
        for address, door in doors.items():
            if address in known:
                handler = _take(self._msgbus, address)
                inner = handler.args[0] if isinstance(handler, partial) else handler
                self._msgbus.register(address, partial(door, inner))

    # -- the doors
    # -----------------------------------------------------------------------------------------

    def _at_risk_engine(self, inner: Callable[[Any], None], command: Any) -> None:
        if self._passes(command):
            waiting = self._forwarded
            waiting[id(command)] = command
            if len(waiting) > _WAITING:  # the oldest were denied, and never went on
                del waiting[next(iter(waiting))]
            inner(command)

    def _at_execution_engine(self, inner: Callable[[Any], None], command: Any) -> None:
        if self._forwarded.pop(id(command), None) is not None:
            inner(command)
            return
        kind = type(command)
        if kind is CancelAllOrders or kind is BatchCancelOrders:
            cancels = self._own_cancels(command)
            if cancels:
                inner(_batch(command, cancels))
        elif self._passes(command):
            inner(command)

    def _at_agency(self, inner: Callable[[Any], None], command: Any) -> None:
        """The emulator, or an execution algorithm: they keep orders and act on them later."""
        if type(command) is CancelAllOrders:
            if self._speaks(command, CancelAllOrders, None):
                for order in self._cache.orders_emulated(
                    None, command.instrument_id, command.strategy_id, side=command.order_side
                ):
                    inner(_cancel(command, order))
        elif self._passes(command):
            inner(command)

    def _at_controller(self, inner: Callable[[Any], None], command: Any) -> None:
        """Who lives is decided by the node's own controller, which calls itself by no message."""
        owner = getattr(command, "strategy_id", None) or getattr(command, "actor_id", None)
        text = f"{type(command).__name__} of {owner or 'a component'} was sent over the bus"
        self._tell(command, "control", "", _Objection(owner, text, is_forged=True))

    # -- what is allowed
    # -----------------------------------------------------------------------------------------

    def _passes(self, command: Any) -> bool:
        kind = type(command)
        if kind is SubmitOrder:
            order = command.order
            return self._passes_orders(command, (order,), order)
        if kind is CancelOrder:
            return self._passes_change(command, OrderPendingCancel)
        if kind is ModifyOrder:
            return self._passes_change(command, OrderPendingUpdate)
        if kind is SubmitOrderList:
            return self._passes_orders(command, command.order_list.orders, command.order_list)
        return True  # a question

    def _passes_orders(self, command: SubmitOrder | SubmitOrderList, orders: Any, subject: Any) -> bool:
        """Whether the sender may send the orders; where not, they are denied, all of them."""
        objection = None
        for order in orders:
            objection = self._against_order(command, order, orders)
            if objection is not None:
                break
        if objection is None:
            if self._speaks(command, type(command), subject):
                return True
            objection = _forged(command)
        for order in orders:
            self._deny(command, order, objection)
        return False

    def _passes_change(self, command: CancelOrder | ModifyOrder, pending: type) -> bool:
        """Whether the sender may cancel or amend the order; where not, it is put right."""
        order = self._order_of(command)
        if order is None:
            return True  # nobody's; the engines say so
        sender = command.strategy_id
        owner = order.strategy_id
        if owner is not sender and owner != sender:
            objection = _foreign(order, sender)
        elif not self._speaks(command, type(command), order):
            objection = _forged(command)
        else:
            event = order.last_event
            if type(event) is pending:
                self._asked[order.client_order_id] = event
            return True
        self._put_right(command, order, pending, objection)
        return False

    def _order_of(self, command: CancelOrder | ModifyOrder) -> Order | None:
        """The order that a command would reach: the venue may go by either of its ids."""
        order = self._cache.order(command.client_order_id) if command.client_order_id else None
        venue_id = command.venue_order_id
        if venue_id is not None and (order is None or order.venue_order_id != venue_id):
            known = self._cache.client_order_id(venue_id)
            if known is not None and known != command.client_order_id:
                return self._cache.order(known)
        return order

    def _against_order(
        self, command: SubmitOrder | SubmitOrderList, order: Order, together: Any
    ) -> _Objection | None:
        """Why the sender may not send this order, None where it may. `together` are those of its list."""
        sender, owner = command.strategy_id, order.strategy_id
        if owner is not sender and owner != sender:
            return _Objection(owner, f"the order is made out in the name of {owner}, not of {sender}")
        kept = self._cache.order(order.client_order_id)
        if kept is not None and kept is not order:
            owner = kept.strategy_id
            return _Objection(owner, f"{order.client_order_id} is the id of another order, of {owner}")
        if command.position_id is not None:
            position = self._cache.position(command.position_id)
            if position is None:
                if not str(command.position_id).endswith(f"-{sender}"):
                    return _Objection(None, f"{command.position_id} is no position of {sender}")
            elif position.strategy_id != sender:
                owner = position.strategy_id
                return _Objection(owner, f"{position.id} is a position of {owner}, not of {sender}")
        relatives = order.linked_order_ids, order.parent_order_id, order.exec_spawn_id
        if relatives != _ALONE:
            for other_id in (*(relatives[0] or ()), *relatives[1:]):
                if other_id is None or any(other_id == o.client_order_id for o in together):
                    continue
                other = self._cache.order(other_id)
                if other is None or other.strategy_id != sender:
                    owner = None if other is None else other.strategy_id
                    return _Objection(owner, f"it is linked to {other_id}, which is no order of {sender}")
        return None

    def _speaks(self, command: Any, kind: type, subject: Any) -> bool:
        """Whether the strategy whose id the command bears gave it, as far as that can be told."""
        strategy = self._trader._strategies.get(command.strategy_id)
        if isinstance(strategy, VouchingStrategy):
            # Emulator and algorithms act for the owner later; that it gave them the order was seen.
            return strategy.vouches(kind, subject) or _is_delegated(subject)
        return strategy is not None

    def _own_cancels(self, command: CancelAllOrders | BatchCancelOrders) -> list[CancelOrder]:
        """What of a command about many orders is the sender's own; the rest is refused."""
        own = self._speaks(command, type(command), None)
        if isinstance(command, CancelAllOrders):
            if not own:
                self._tell(command, "cancel", "", _forged(command))
                return []
            instrument, sender, side = command.instrument_id, command.strategy_id, command.order_side
            found = {
                order.client_order_id: order
                for order in (
                    *self._cache.orders_open(None, instrument, sender, side=side),
                    *self._cache.orders_inflight(None, instrument, sender, side=side),
                )
            }
            # Not those that it cancelled before, nor on their way children that wait for a parent or market
            # orders: the venue would answer that it knows no such order.
            orders = [
                order
                for order in found.values()
                if (order.is_open or (order.is_passive and order.parent_order_id is None))
                and not self._is_going(order)
            ]
            cancels = [_cancel(command, order) for order in orders]
        else:
            cancels, orders = [], []
            for cancel in command.cancels:
                order = self._order_of(cancel)
                if order is None:
                    cancels.append(cancel)
                elif order.strategy_id != command.strategy_id:
                    objection = _foreign(order, command.strategy_id)
                    self._put_right(command, order, OrderPendingCancel, objection)
                elif not own:
                    self._put_right(command, order, OrderPendingCancel, _forged(command))
                else:
                    cancels.append(cancel)
                    orders.append(order)
        for order in orders:
            event = order.last_event
            if type(event) is OrderPendingCancel:
                self._asked[order.client_order_id] = event
        return cancels

    def _is_going(self, order: Order) -> bool:
        """Whether its owner cancelled it before this call (which has marked it once more)."""
        asked = self._asked.get(order.client_order_id)
        return type(asked) is OrderPendingCancel and any(event is asked for event in order.events[-2:])

    # -- what follows a refusal
    # -----------------------------------------------------------------------------------------

    def _put_right(self, command: Any, order: Order, pending: type, objection: _Objection) -> None:
        """Take back the mark that the sender left on the order, and tell the sender."""
        kind = OrderCancelRejected if pending is OrderPendingCancel else OrderModifyRejected
        now_ns = self._clock.timestamp_ns()
        rejected = kind(
            order.trader_id,
            command.strategy_id,
            order.instrument_id,
            order.client_order_id,
            order.venue_order_id,
            order.account_id,
            objection.reason,
            UUID4(),
            now_ns,
            now_ns,
        )
        mark = order.last_event
        if type(mark) is pending and mark is not self._asked.get(order.client_order_id):
            with suppress(InvalidStateTrigger):  # it is on its way: the venue's answer ends the mark
                order.apply(rejected)
            self._cache.update_order(order)
        if not objection.is_forged:  # who it was is not known, and the owner asked for nothing
            self._msgbus.publish(topic=f"events.order.{command.strategy_id}", msg=rejected)
        name = "cancel" if pending is OrderPendingCancel else "amend"
        self._tell(command, name, str(order.client_order_id), objection)

    def _deny(self, command: SubmitOrder | SubmitOrderList, order: Order, objection: _Objection) -> None:
        """Deny an order before any engine has heard of it."""
        order_id, sender = order.client_order_id, command.strategy_id
        denied = OrderDenied(
            order.trader_id,
            sender,
            order.instrument_id,
            order_id,
            objection.reason,
            UUID4(),
            self._clock.timestamp_ns(),
        )
        if order.status == OrderStatus.INITIALIZED:  # else its owner sent it before: it goes on as it was
            order.apply(denied)
            if self._cache.order(order_id) is order:
                self._cache.update_order(order)
        position = None if command.position_id is None else self._cache.position(command.position_id)
        if position is not None and position.strategy_id != sender:
            # Whose it is was overwritten in the cache's index when the order came to the cache.
            self._cache.add_position_id(
                position.id, position.instrument_id.venue, position.opening_order_id, position.strategy_id
            )
        self._msgbus.publish(topic=f"events.order.{sender}", msg=denied)
        self._tell(command, "submit", str(order_id), objection)

    def _tell(self, command: Any, what: str, order: str, objection: _Objection) -> None:
        self.refused += 1
        self._log.error(f"Refused to {what} {order}: {objection.reason}")
        if self._report is not None:
            sender = "" if objection.is_forged else str(command.strategy_id)
            owner = "" if objection.owner is None else str(objection.owner)
            now_ns = self._clock.timestamp_ns()
            self._report(Refusal(now_ns, sender, owner, what, order, objection.reason))


def install_guard(
    trader: Trader,
    msgbus: MessageBus,
    cache: Cache,
    clock: Clock,
    report: Callable[[Refusal], None] | None = None,
) -> OrderGuard:
    """Guard the orders of a node from now on; a guard that stands there already is relieved."""
    guard = OrderGuard(trader, msgbus, cache, clock, report)
    guard.install()
    return guard


class _Finder:
    """Equal to any handler, and keeps the one that it was compared with."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.found: Any = None

    def __call__(self, message: Any) -> None:
        """It is only compared; the bus takes nothing else for a handler."""

    def __eq__(self, other: object) -> bool:
        self.found = other
        return True


def _take(msgbus: MessageBus, address: str) -> Any:
    """Free an address of the bus and return who had it. The bus tells nobody whose an address is, but it
    compares the handler that is to go with the one that it has."""
    finder = _Finder()
    msgbus.deregister(address, finder)
    return finder.found


def _forged(command: Any) -> _Objection:
    owner = command.strategy_id
    return _Objection(owner, f"a command in the name of {owner}, which did not give it", is_forged=True)


def _foreign(order: Order, sender: StrategyId) -> _Objection:
    owner = order.strategy_id
    return _Objection(owner, f"{order.client_order_id} is an order of {owner}, not of {sender}")


def _is_delegated(subject: Any) -> bool:
    order = getattr(subject, "first", subject)  # of a list, its first
    return isinstance(order, Order) and (
        order.exec_algorithm_id is not None or any(isinstance(event, OrderEmulated) for event in order.events)
    )


def _cancel(command: CancelAllOrders, order: Order) -> CancelOrder:
    return CancelOrder(
        command.trader_id,
        command.strategy_id,
        order.instrument_id,
        order.client_order_id,
        order.venue_order_id,
        UUID4(),
        command.ts_init,
        command.client_id,
        command.params,
    )


def _batch(command: CancelAllOrders | BatchCancelOrders, cancels: list[CancelOrder]) -> BatchCancelOrders:
    """One command, as it was one: on a network it is one message."""
    return BatchCancelOrders(
        command.trader_id,
        command.strategy_id,
        command.instrument_id,
        cancels,
        UUID4(),
        command.ts_init,
        command.client_id,
        command.params,
    )
