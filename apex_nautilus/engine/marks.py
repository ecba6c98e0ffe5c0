"""Equity of every agent, at marks of engine time."""

from __future__ import annotations

import math
from array import array

import numpy as np
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.common.events import TimeEvent

from apex_nautilus.engine.base_strategy import AGENT_TOPIC, ApexStrategy

__all__ = ["MarkKeeper", "MarkKeeperConfig"]

_NS = 1_000_000_000


class MarkKeeperConfig(ActorConfig, frozen=True, kw_only=True):
    """Configuration of a `MarkKeeper`.

    Parameters
    ----------
    interval_s : float
        Engine time between two marks, seconds.
    """

    interval_s: float = 1.0


class MarkKeeper(Actor):
    """Writes down the equity of every agent that announced itself, every `interval_s` of engine time.

    Attributes
    ----------
    agents : list of ApexStrategy
        In order of birth; those that were removed stay.
    """

    def __init__(self, config: MarkKeeperConfig) -> None:
        super().__init__(config)
        if not (math.isfinite(config.interval_s) and config.interval_s >= 0.001):
            raise ValueError(f"marks: interval_s must be at least 0.001, got {config.interval_s!r}")
        self.agents: list[ApexStrategy] = []
        self._series: dict[ApexStrategy, tuple[array, array]] = {}

    def on_start(self) -> None:
        """Listen for agents and set the timer, on whole intervals since the epoch."""
        self.msgbus.subscribe(topic=AGENT_TOPIC, handler=self._on_agent)
        interval_ns = round(self.config.interval_s * _NS)
        now_ns = self.clock.timestamp_ns()
        self.clock.set_timer_ns(
            name=f"{self.id}-marks",
            interval_ns=interval_ns,
            start_time_ns=-(-now_ns // interval_ns) * interval_ns,
            stop_time_ns=0,
            callback=self._on_mark,
        )

    def _on_agent(self, agent: ApexStrategy) -> None:
        self.agents.append(agent)
        self._series[agent] = (array("q"), array("d"))

    def _on_mark(self, event: TimeEvent) -> None:
        for agent in self.agents:
            if agent.is_running:
                self._mark(agent, event.ts_event)

    def _mark(self, agent: ApexStrategy, ts_ns: int) -> None:
        times, equities = self._series[agent]
        times.append(ts_ns)
        equities.append(agent.equity)

    def series(self, agent: ApexStrategy) -> tuple[np.ndarray, np.ndarray]:
        """Return (times in nanoseconds, equity) of an agent's marks."""
        times, equities = self._series[agent]
        return np.array(times, dtype=np.int64), np.array(equities, dtype=np.float64)
