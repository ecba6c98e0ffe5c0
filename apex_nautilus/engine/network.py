"""The imperfect network of a Nautilus backtest: late, jittering and lost commands, for any strategy.

Installed by configuration alone. Each venue gets a `NetworkModule` among its simulation modules, and the node
a controller that publishes its execution engine once before any strategy starts: `NetworkController`, or any
other that calls `install_network` first in its ``on_start``. The module then puts a `NetExecClient` in the
place of the venue's client. `with_network` writes both into a `BacktestRunConfig`.

The delayed market data are the feed hub's (`_network_feed`): they are for strategies on `ApexStrategy`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from nautilus_trader.backtest.config import BacktestRunConfig, SimulationModuleConfig
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.common.component import MessageBus
from nautilus_trader.common.config import ImportableActorConfig
from nautilus_trader.core.data import Data
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.trading.config import ImportableControllerConfig
from nautilus_trader.trading.controller import Controller
from nautilus_trader.trading.trader import Trader

from apex_nautilus.engine._network_client import NETWORK_TIMEOUT, Connection, NetExecClient
from apex_nautilus.engine._network_config import (
    Delay,
    FeedLink,
    NetworkConfig,
    check_network,
    stable_key,
)
from apex_nautilus.engine.delays import tell_delays

__all__ = [
    "NETWORK_TIMEOUT",
    "BurstNetworkModule",
    "Connection",
    "Delay",
    "FeedLink",
    "NetExecClient",
    "NetworkConfig",
    "NetworkController",
    "NetworkModule",
    "NetworkModuleConfig",
    "check_network",
    "install_network",
    "network_controller",
    "network_module",
    "stable_key",
    "with_network",
]

_PATH = "apex_nautilus.engine.network"
_INSTALL_TOPIC = "apex.network.install"


class NetworkModuleConfig(SimulationModuleConfig, frozen=True, kw_only=True):
    """Configuration of a `NetworkModule`.

    Parameters
    ----------
    network : NetworkConfig
    """

    network: NetworkConfig = NetworkConfig()


class NetworkModule(SimulationModule):
    """Puts a `NetExecClient` in the place of its venue's execution client.

    Attributes
    ----------
    client : NetExecClient or None
        From the installation on.

    Raises
    ------
    ValueError
        When a number of the configuration is not possible; the message names the field.
    """

    def __init__(self, config: NetworkModuleConfig) -> None:
        super().__init__(config)
        check_network(config.network)
        self._network = config.network
        self.client: NetExecClient | None = None
        self._meter = config.network.meter()

    def register_venue(self, exchange: Any) -> None:
        """Remember the exchange and wait for the execution engine."""
        super().register_venue(exchange)
        if exchange.latency_model is not None:
            raise ValueError(
                f"venue {exchange.id}: has a latency_model and a NetworkModule; delays would be added twice, "
                "leave the latency_model out"
            )
        self.msgbus.subscribe(topic=_INSTALL_TOPIC, handler=self.install)

    def install(self, engine: ExecutionEngine) -> None:
        """Replace the venue's client by one with a network; a second call has no effect."""
        if self.client is not None:
            return
        exchange = self.exchange
        old = exchange.exec_client
        client = NetExecClient(
            exchange, exchange.msgbus, exchange.cache, self.clock, self._network, self._meter
        )
        engine.deregister_client(old)
        if old.is_running:
            old.stop()
        engine.register_client(client)
        exchange.register_client(client)
        client.start()
        self.client = client
        tell_delays(self.msgbus, lambda: client.delays)

    def process(self, ts_now: int) -> None:
        """Nothing is due at any time of its own; without a client the run must not go on as if it had one."""
        if self.client is None:
            raise RuntimeError(
                f"venue {self.exchange.id}: the NetworkModule was not given the execution engine; use a "
                "NetworkController, or call install_network in the on_start of the node's controller"
            )

    def log_diagnostics(self, logger: object) -> None:
        """Nothing to say."""

    def reset(self) -> None:
        """Nautilus may run an engine again, but what is on its way cannot be called back."""
        if self.client is not None and self.client.connections:
            raise RuntimeError("a backtest with a network cannot be reset; build a new engine")


class BurstNetworkModule(NetworkModule):
    """Counts the venue's market data too: delays grow with the rate of messages."""

    def pre_process(self, data: Data) -> None:
        if self._meter is not None:
            self._meter.count(data.ts_init)


class NetworkController(Controller):
    """The controller of a node that needs one for its network only."""

    def on_start(self) -> None:
        """Install the network before any strategy starts."""
        install_network(self.msgbus, self._trader)


def install_network(msgbus: MessageBus, trader: Trader) -> None:
    """Give the node's execution engine to its network modules, if there are any.

    Called by the node's controller, which starts before every other actor and strategy.
    """
    msgbus.publish(topic=_INSTALL_TOPIC, msg=trader._exec_engine)


def network_module(network: NetworkConfig) -> ImportableActorConfig:
    """The module of one venue."""
    kind = "BurstNetworkModule" if network.burst_coupling > 0.0 else "NetworkModule"
    return ImportableActorConfig(
        actor_path=f"{_PATH}:{kind}",
        config_path=f"{_PATH}:NetworkModuleConfig",
        config={"network": msgspec.to_builtins(network)},
    )


def network_controller() -> ImportableControllerConfig:
    """The controller of a node that has no other."""
    return ImportableControllerConfig(
        controller_path=f"{_PATH}:NetworkController",
        config_path="nautilus_trader.common.config:ActorConfig",
        config={},
    )


def with_network(config: BacktestRunConfig, network: NetworkConfig) -> BacktestRunConfig:
    """Return `config` with late and lossy commands at each of its venues; strategies need not know.

    A controller that the configuration has already is kept; it must call `install_network`.
    """
    module = network_module(network)
    venues = [
        msgspec.structs.replace(venue, modules=[*(venue.modules or []), module]) for venue in config.venues
    ]
    engine = config.engine
    if engine is not None and engine.controller is None:
        engine = msgspec.structs.replace(engine, controller=network_controller())
    return msgspec.structs.replace(config, venues=venues, engine=engine)
