"""Bringing a strategy into a running node, and taking one out.

Nautilus offers `create_strategy` and `remove_strategy`; used plainly they leave orders and positions
behind, let a timer of a strategy born in a backtest fire for every interval since 1970, and let a successor
of the same id receive the closing fill of its predecessor. The order of calls that avoids all of it is
here, once:

- birth: create without starting, set the clock (backtest), start;
- death: `ApexStrategy.retire` (cancel own orders by id, close at market), wait until it is flat, stop,
  remove. The successor gets an `order_id_tag` that was never used before.
"""

from __future__ import annotations

from nautilus_trader.common.component import TestClock
from nautilus_trader.trading.controller import Controller
from nautilus_trader.trading.strategy import Strategy

from apex_nautilus.engine.base_strategy import ApexStrategy

__all__ = ["remove_if_flat", "spawn"]


def spawn(controller: Controller, strategy: Strategy) -> None:
    """Register `strategy` with the controller's trader and start it at the controller's present time.

    Raises
    ------
    RuntimeError
        When a strategy of the same id is registered already, see `Trader.add_strategy`.
    """
    controller.create_strategy(strategy, start=False)
    if isinstance(strategy.clock, TestClock):
        strategy.clock.set_time(controller.clock.timestamp_ns())
    controller.start_strategy(strategy)


def remove_if_flat(controller: Controller, strategy: ApexStrategy) -> bool:
    """Stop and remove a retired `strategy` once it is flat; return whether it is gone.

    Called at marks (never from an order event of the strategy itself) until it returns True.

    Raises
    ------
    RuntimeError
        When the strategy was not told to retire.
    """
    if not strategy.is_retiring:
        raise RuntimeError(f"strategy {strategy.id} was not told to retire; call retire() first")
    if not strategy.is_flat:
        return False
    controller.stop_strategy(strategy)
    controller.remove_strategy(strategy)
    return True
