"""A batch's whole way through a Nautilus engine: from the subscriber's callback to the venue's client.

Both sides run in a `BacktestEngine` of the same configuration, on the same batches, and every batch ends in
one market order. The clock starts where the subscriber's `handle_order_book_deltas` is entered and stops
where the execution client's `submit_order` is. The client answers with a rejection, so that the sender is
free to order again at the next batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from nautilus_trader.backtest.execution_client import BacktestExecClient
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.common.config import ImportableActorConfig
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    FeedHub,
    FeedHubConfig,
    install_guard,
    nautilus_config,
    open_engine,
    run_market,
)
from apex_nautilus.features import FLAG_LAST, KIND_LEVEL, make_events
from apex_nautilus.genome import Genome, encode
from apex_nautilus.risk import InstrumentSpec
from apex_nautilus.strategies import GenomeStrategy, GenomeStrategyConfig

__all__ = ["PARTS", "Stamps", "bare_path", "our_path"]

PARTS = ("callback", "features", "decision", "order", "handover", "client")
"""Where the clock is read. What lies between two of them: decoding, ladder and features; genome and decision;
making the order; our own book-keeping about it; Nautilus's way to the client."""

_clock = time.perf_counter_ns


class Stamps:
    """One reading a part and order; a part that is passed more than once keeps the latest."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.rows: list[tuple[int, ...]] = []

    def done(self) -> None:
        self.now["client"] = _clock()
        self.rows.append(tuple(self.now.get(part, 0) for part in PARTS))

    def micros(self, first: str, last: str) -> np.ndarray:
        """Microseconds from one part to another, of each order; a fifth of them is warm-up."""
        rows = np.array(self.rows[len(self.rows) // 5 :], dtype=np.int64)
        return (rows[:, PARTS.index(last)] - rows[:, PARTS.index(first)]) / 1e3


class _StampingClient(BacktestExecClient):
    """Reads the clock when an order comes, and rejects it."""

    stamps: Stamps

    def submit_order(self, command: Any) -> None:
        self.stamps.done()
        order, now_ns = command.order, command.ts_init
        who = (order.strategy_id, order.instrument_id, order.client_order_id)
        self.generate_order_submitted(*who, now_ns)
        self.generate_order_rejected(*who, "measured", now_ns)


class _StampingHub(FeedHub):
    stamps: Stamps

    def handle_order_book_deltas(self, deltas: Any) -> None:
        self.stamps.now["callback"] = _clock()
        super().handle_order_book_deltas(deltas)


class _StampingStrategy(GenomeStrategy):
    stamps: Stamps

    def on_feed_row(self, feed: Any) -> None:
        self.stamps.now["features"] = _clock()
        super().on_feed_row(feed)

    def enter(self, *args: Any, **kwargs: Any) -> bool:
        self.stamps.now["decision"] = _clock()
        return super().enter(*args, **kwargs)

    def _send(self, order: Any, role: str) -> None:
        self.stamps.now["order"] = _clock()
        super()._send(order, role)

    def submit_order(self, order: Any, *args: Any, **kwargs: Any) -> None:
        self.stamps.now["handover"] = _clock()
        super().submit_order(order, *args, **kwargs)


class _BareStrategy(Strategy):
    """What Nautilus itself needs for an order at each batch: no feature, no decision, no ledger."""

    stamps: Stamps

    def __init__(self, instrument_id: InstrumentId) -> None:
        super().__init__(StrategyConfig(order_id_tag="001", log_events=False, log_commands=False))
        self._of = instrument_id

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(self._of)
        self.subscribe_order_book_deltas(self._of, managed=False)

    def handle_order_book_deltas(self, deltas: Any) -> None:
        self.stamps.now["callback"] = _clock()
        super().handle_order_book_deltas(deltas)

    def on_order_book_deltas(self, deltas: Any) -> None:
        self.stamps.now["decision"] = _clock()
        order = self.order_factory.market(
            self._of, OrderSide.BUY, self.instrument.make_qty(0.01), time_in_force=TimeInForce.IOC
        )
        self.stamps.now["handover"] = _clock()
        self.submit_order(order)


def our_path(folder: Path, spec: InstrumentSpec, genome: Genome, batches: list) -> Stamps:
    """The readings of our hub and a genome's strategy, guarded as in every run of ours."""
    file = folder / "genome.json"
    file.write_bytes(encode(genome))
    instrument_id = InstrumentId.from_str(spec.id)
    strategy = _StampingStrategy(
        GenomeStrategyConfig(
            instrument_id=instrument_id, genome=str(file), order_id_tag="001",
            log_events=False, log_commands=False,
        )
    )  # fmt: skip
    hub = _StampingHub(FeedHubConfig(component_id="hub", instrument_id=instrument_id))

    def add(engine: Any) -> list[Any]:
        engine.add_actor(hub)
        engine.add_strategy(strategy)
        install_guard(engine.trader, engine.kernel.msgbus, engine.cache, engine.kernel.clock)
        return [hub, strategy]

    return _run(folder, spec, batches, add)


def bare_path(folder: Path, spec: InstrumentSpec, batches: list) -> Stamps:
    """The readings of a strategy of Nautilus's own."""
    strategy = _BareStrategy(InstrumentId.from_str(spec.id))

    def add(engine: Any) -> list[Any]:
        engine.add_strategy(strategy)
        return [strategy]

    return _run(folder, spec, batches, add)


class _Catcher(SimulationModule):
    """Gives the exchange away; it has no other door."""

    def register_venue(self, exchange: Any) -> None:
        super().register_venue(exchange)
        _caught.append(exchange)

    def process(self, ts_now: int) -> None:
        """Nothing to do."""


_caught: list[Any] = []


def _run(folder: Path, spec: InstrumentSpec, batches: list, add: Callable[[Any], list[Any]]) -> Stamps:
    catalog = folder / "catalog"
    if not catalog.exists():
        write_events(catalog, spec, _first_book(spec))
    config = nautilus_config(
        catalog=str(catalog), instrument_ids=[spec.id], quote=spec.quote, balance=100_000.0
    )
    catcher = ImportableActorConfig(
        actor_path=f"{__name__}:_Catcher",
        config_path="nautilus_trader.backtest.config:SimulationModuleConfig",
        config={},
    )
    venues = [msgspec.structs.replace(venue, modules=[catcher]) for venue in config.venues]
    stamps = Stamps()
    with open_engine(msgspec.structs.replace(config, venues=venues)) as engine:
        exchange, kernel = _caught.pop(), engine.kernel
        client = _StampingClient(
            exchange=exchange, msgbus=kernel.msgbus, cache=kernel.cache, clock=kernel.clock,
            frozen_account=True,
        )  # fmt: skip
        kernel.exec_engine.deregister_client(exchange.exec_client)
        kernel.exec_engine.register_client(client)
        exchange.register_client(client)
        for one in (client, *add(engine)):
            one.stamps = stamps
        run_market(engine, [list(batches)])
    return stamps


def _first_book(spec: InstrumentSpec) -> np.ndarray:
    """One level a side: a catalog must hold a book before it is opened."""
    return np.concatenate(
        [
            make_events(ts_event_ns=1, ts_init_ns=1, price=np.array([600_000 - side]), size=np.array([1_000]),
                        kind=KIND_LEVEL, side=side, flags=flags)
            for side, flags in ((1, 0), (-1, FLAG_LAST))
        ]
    )  # fmt: skip
