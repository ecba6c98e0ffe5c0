"""An execution client whose commands take time on their way, or never arrive.

It stands in the place of the backtest's own client. A command is handed to the exchange by a clock alert at
the moment of its arrival, so each has its own delay to the nanosecond and meets the book of that moment.

- Commands of one strategy travel on one connection: a later one never overtakes an earlier one.
- A command that is lost, or that would arrive later than its time-out, never reaches the exchange. After the
  time-out the client says so: a new order is closed as rejected (``NETWORK_TIMEOUT``), a cancellation or an
  amendment is reported as rejected and the order stays as it was.
- Cancelling or amending an order that was lost has no effect: the exchange does not know the order. It is
  closed by its own time-out.
- An order list is one message: its orders arrive together and in their order, or not at all.

What the exchange reports (acceptance, fills) comes back at once; the delays drawn are those of the way there.

A command is not only handed over at its time, it is acted on then. Left to the engine, the exchange would
act after the last alert before the next data, and alerts for what agents send in answer would be looked at
only when those data are in the book: an exit sent at a fill would meet a book from after its arrival, unless
another timer of the node happened to come in between.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from nautilus_trader.backtest.engine import SimulatedExchange
from nautilus_trader.backtest.execution_client import BacktestExecClient
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import Clock, MessageBus
from nautilus_trader.common.events import TimeEvent
from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelAllOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import ClientOrderId, StrategyId
from nautilus_trader.model.orders import Order

from apex_nautilus.engine._network_config import NetworkConfig, RateMeter, stable_key
from apex_nautilus.engine.delays import DelayCounts

__all__ = ["NETWORK_TIMEOUT", "Connection", "NetExecClient"]

NETWORK_TIMEOUT = "NETWORK_TIMEOUT"
"""The reason in events about commands that got no answer in time."""


class Connection:
    """The way of one strategy's commands to the venue.

    Attributes
    ----------
    key : int
        Stands for the strategy in the draws.
    commands : int
        Sent so far; the number of the next one.
    lost, late : int
        How many were lost, and how many were refused as older than the time-out.
    last_arrival_ns : int
        When the latest command arrives that is not lost.
    """

    __slots__ = ("commands", "key", "last_arrival_ns", "late", "lost")

    def __init__(self, strategy_id: str) -> None:
        self.key = stable_key(strategy_id)
        self.commands = self.lost = self.late = self.last_arrival_ns = 0


class NetExecClient(BacktestExecClient):
    """Sends commands to the exchange through the network of a `NetworkConfig`.

    Parameters
    ----------
    exchange, msgbus, cache, clock
        Of the backtest; the clock must be one that the engine advances.
    network : NetworkConfig
    meter : RateMeter or None
        Counts the venue's messages; None where delays do not depend on them.

    Attributes
    ----------
    connections : dict of StrategyId to Connection
    delays : dict of str to DelayCounts
        From sending to arrival, of each class of command; the wait behind an earlier command is part of it.
    """

    def __init__(
        self,
        exchange: SimulatedExchange,
        msgbus: MessageBus,
        cache: Cache,
        clock: Clock,
        network: NetworkConfig,
        meter: RateMeter | None,
    ) -> None:
        # Frozen here means only: do not register the account's type again, the first client did.
        super().__init__(exchange=exchange, msgbus=msgbus, cache=cache, clock=clock, frozen_account=True)
        self._venue = exchange
        self._orders = cache
        self._time = clock
        self._models = network.models()
        self._timeout_ns = network.timeout_ns
        self._meter = meter
        self.connections: dict[StrategyId, Connection] = {}
        self.delays = {kind: DelayCounts() for kind in self._models}
        # Orders that the exchange will never know, until their time-out closes them.
        self._never_arrived: set[ClientOrderId] = set()
        self._due: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._numbers = count()
        self._armed_ns: int | None = None
        self._has_arrived = False

    # -- commands
    # ------------------------------------------------------------------------------------------

    def submit_order(self, command: SubmitOrder) -> None:
        self._submit(command, [command.order])

    def submit_order_list(self, command: SubmitOrderList) -> None:
        self._submit(command, list(command.order_list.orders))

    def _submit(self, command: SubmitOrder | SubmitOrderList, orders: list[Order]) -> None:
        now_ns = self._time.timestamp_ns()
        for order in orders:
            self.generate_order_submitted(
                order.strategy_id, order.instrument_id, order.client_order_id, now_ns
            )
        if not self._transmit("insert", command, self._deliver, self._close_orders):
            self._never_arrived.update(order.client_order_id for order in orders)

    def modify_order(self, command: ModifyOrder) -> None:
        self._transmit("amend", command, self._deliver_change, self._refuse_amendment)

    def cancel_order(self, command: CancelOrder) -> None:
        self._transmit("cancel", command, self._deliver_change, self._refuse_cancellation)

    def cancel_all_orders(self, command: CancelAllOrders) -> None:
        self._transmit("cancel", command, self._deliver, self._refuse_cancel_all)

    def batch_cancel_orders(self, command: BatchCancelOrders) -> None:
        self._transmit("cancel", command, self._deliver_batch, self._refuse_batch)

    def _transmit(
        self,
        kind: str,
        command: Any,
        deliver: Callable[[Any], None],
        give_up: Callable[[Any], None],
    ) -> bool:
        """Put a command on its way; return whether it will arrive."""
        connection = self.connections.get(command.strategy_id)
        if connection is None:
            connection = self.connections[command.strategy_id] = Connection(command.strategy_id.value)
        model, direction = self._models[kind]
        now_ns = self._time.timestamp_ns()
        number = connection.commands
        connection.commands += 1
        factor = 1.0
        if self._meter is not None:
            self._meter.count(now_ns)
            factor = self._meter.factor(now_ns)
        if model.is_lost(connection.key, number, direction):
            connection.lost += 1
            self.delays[kind].lost += 1
        else:
            delay_ns = round(model.delay_ns(connection.key, number, direction) * factor)
            arrival_ns = max(now_ns + delay_ns, connection.last_arrival_ns)  # never before the one before it
            if arrival_ns - now_ns < self._timeout_ns:
                connection.last_arrival_ns = arrival_ns
                self.delays[kind].add(arrival_ns - now_ns)
                self._at(arrival_ns, deliver, command)
                return True
            connection.late += 1
            self.delays[kind].late += 1
        self._at(now_ns + self._timeout_ns, give_up, command)
        return False

    # -- the clock
    # -----------------------------------------------------------------------------------------

    def _at(self, time_ns: int, action: Callable[[Any], None], command: Any) -> None:
        heapq.heappush(self._due, (time_ns, next(self._numbers), action, command))
        self._arm()

    def _arm(self) -> None:
        """See to it that the clock wakes us for the first of what is due."""
        if not self._due:
            return
        first_ns = self._due[0][0]
        if self._armed_ns is None or first_ns < self._armed_ns:
            self._armed_ns = first_ns
            self._time.set_time_alert_ns(f"{self.id}-net-{next(self._numbers)}", first_ns, self._on_alert)

    def _on_alert(self, event: TimeEvent) -> None:
        now_ns = event.ts_event
        while self._due and self._due[0][0] <= now_ns:
            _, _, action, command = heapq.heappop(self._due)
            action(command)
        self._act(now_ns)
        if self._armed_ns is not None and self._armed_ns <= now_ns:
            self._armed_ns = None
        self._arm()

    # -- arrival
    # -------------------------------------------------------------------------------------------

    def _act(self, now_ns: int) -> None:
        """Let the exchange act on what it was given, before the engine goes on to anything later."""
        if not self._has_arrived:
            return
        self._has_arrived = False
        self._venue.process(now_ns)
        for matching_engine in self._venue.get_matching_engines().values():
            matching_engine.iterate(now_ns)

    def _deliver(self, command: Any) -> None:
        self._has_arrived = True
        self._venue.send(command)

    def _deliver_change(self, command: CancelOrder | ModifyOrder) -> None:
        # Of an order that never arrived the exchange knows nothing; its own time-out closes it. (Given to the
        # simulated exchange, an amendment would be applied to an order that it does not have.)
        if command.client_order_id not in self._never_arrived:
            self._deliver(command)

    def _deliver_batch(self, command: BatchCancelOrders) -> None:
        for cancel in command.cancels:
            self._deliver_change(cancel)

    # -- time-outs
    # -----------------------------------------------------------------------------------------

    def _close_orders(self, command: SubmitOrder | SubmitOrderList) -> None:
        orders = [command.order] if isinstance(command, SubmitOrder) else command.order_list.orders
        for order in orders:
            self._never_arrived.discard(order.client_order_id)
            if not order.is_closed:
                self.generate_order_rejected(
                    order.strategy_id,
                    order.instrument_id,
                    order.client_order_id,
                    NETWORK_TIMEOUT,
                    self._time.timestamp_ns(),
                )

    def _refuse_amendment(self, command: ModifyOrder) -> None:
        order = self._orders.order(command.client_order_id)
        if order is not None and not order.is_closed:
            self.generate_order_modify_rejected(
                command.strategy_id,
                command.instrument_id,
                command.client_order_id,
                order.venue_order_id,
                NETWORK_TIMEOUT,
                self._time.timestamp_ns(),
            )

    def _refuse_cancellation(self, command: CancelOrder) -> None:
        order = self._orders.order(command.client_order_id)
        if order is not None and not order.is_closed:
            self._reject_cancel(order)

    def _refuse_batch(self, command: BatchCancelOrders) -> None:
        for cancel in command.cancels:
            self._refuse_cancellation(cancel)

    def _refuse_cancel_all(self, command: CancelAllOrders) -> None:
        side = command.order_side
        for order in self._orders.orders_open(
            instrument_id=command.instrument_id, strategy_id=command.strategy_id
        ):
            if order.is_pending_cancel and side in (OrderSide.NO_ORDER_SIDE, order.side):
                self._reject_cancel(order)

    def _reject_cancel(self, order: Order) -> None:
        self.generate_order_cancel_rejected(
            order.strategy_id,
            order.instrument_id,
            order.client_order_id,
            order.venue_order_id,
            NETWORK_TIMEOUT,
            self._time.timestamp_ns(),
        )
