"""Letting go of what is over: closed orders, closed positions and old states of the account.

Nautilus's cache keeps every order with all its events, a pickled copy of every closed position, and every
state of every account: some 6 KB a fill, for as long as the node lives. The agents' own ledgers, the trade
log and the report are made of events as they come and need none of it, so a node that runs for long may
forget.
"""

from __future__ import annotations

import math

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig, ImportableActorConfig
from nautilus_trader.common.events import TimeEvent
from nautilus_trader.model.events import PositionClosed, PositionEvent

__all__ = ["CachePurger", "CachePurgerConfig", "purge_config"]

_NS = 1_000_000_000
_POSITIONS = "events.position.*"


class CachePurgerConfig(ActorConfig, frozen=True, kw_only=True):
    """Configuration of a `CachePurger`.

    Parameters
    ----------
    every_s : float
        Seconds of engine time between two looks, at least 0.001.
    keep_s : int
        Seconds for which an order stays known after it was closed: longer than any answer about it may take.
    """

    every_s: float = 10.0
    keep_s: int = 60


class CachePurger(Actor):
    """Purges the node's cache: orders and states of accounts at whole intervals of engine time, a position as
    soon as everyone was told that it is closed.

    Nothing that works or is open is touched. What it removes can be looked up by nobody afterwards:
    ``cache.orders_closed()`` speaks of the last minute alone, ``cache.positions_closed()``,
    ``cache.position_snapshots()`` and ``portfolio.realized_pnl()`` of nothing that is over.
    """

    def __init__(self, config: CachePurgerConfig) -> None:
        super().__init__(config)
        if not (math.isfinite(config.every_s) and config.every_s >= 0.001):
            raise ValueError(f"purge: every_s must be at least 0.001, got {config.every_s!r}")
        if config.keep_s < 0:
            raise ValueError(f"purge: keep_s must not be negative, got {config.keep_s!r}")

    def on_start(self) -> None:
        """Set the timer, listen to positions."""
        self.msgbus.subscribe(topic=_POSITIONS, handler=self._on_position)
        every_ns = round(self.config.every_s * _NS)
        now_ns = self.clock.timestamp_ns()
        self.clock.set_timer_ns(
            name=f"{self.id}-purge",
            interval_ns=every_ns,
            start_time_ns=-(-now_ns // every_ns) * every_ns,
            stop_time_ns=0,
            callback=self._on_time,
        )

    def on_stop(self) -> None:
        """Listen no more."""
        self.msgbus.unsubscribe(topic=_POSITIONS, handler=self._on_position)

    def _on_time(self, event: TimeEvent) -> None:
        cache, now_ns = self.cache, event.ts_event
        cache.purge_closed_orders(now_ns, buffer_secs=self.config.keep_s)
        cache.purge_account_events(now_ns)

    def _on_position(self, event: PositionEvent) -> None:
        """Forget a closed position before its strategy opens it again: then Nautilus would pickle it, and the
        copy could be let go of only while the position is closed."""
        if isinstance(event, PositionClosed):
            position = self.cache.position(event.position_id)
            if position is not None and position.is_closed:
                self.cache.purge_position(event.position_id)


def purge_config(every_s: float = 10.0, keep_s: int = 60) -> ImportableActorConfig:
    """The purger of a node, for `nautilus_config`; see `CachePurgerConfig`."""
    return ImportableActorConfig(
        actor_path=f"{__name__}:CachePurger",
        config_path=f"{__name__}:CachePurgerConfig",
        config={"component_id": "CachePurger", "every_s": every_s, "keep_s": keep_s},
    )
