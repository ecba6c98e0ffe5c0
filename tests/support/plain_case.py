"""A Nautilus strategy that knows nothing of this package: it sends what it is told when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import OrderEvent
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from apex_nautilus.data import write_events
from apex_nautilus.engine import NetworkConfig, batches, nautilus_config, open_engine, run_market
from apex_nautilus.engine.funding_rates import FundingPlan
from support.engine_case import BTC, MS, START

BUY, SELL = OrderSide.BUY, OrderSide.SELL


class Plain(Strategy):
    """`script`: (milliseconds since START, what to do with the strategy)."""

    def __init__(self, tag: str, script: Sequence[tuple[float, Callable[[Plain], None]]]) -> None:
        super().__init__(StrategyConfig(order_id_tag=tag, log_events=False, log_commands=False))
        self.script = script
        self.sent: dict[str, Order] = {}
        self.sent_ns: dict[str, int] = {}
        self.events: list[tuple[str, str, float]] = []
        self.raw: list[OrderEvent] = []

    def on_start(self) -> None:
        instrument = self.cache.instrument(InstrumentId.from_str(BTC.id))
        assert instrument is not None
        self.instrument = instrument
        for number, (ms, action) in enumerate(self.script):
            self.clock.set_time_alert_ns(
                f"step-{number}", START + round(ms * MS), lambda _, action=action: action(self)
            )

    def make(self, name: str, side: OrderSide, quantity: float, price: float | None = None) -> Order:
        quantity, bounds = self.instrument.make_qty(quantity), {"reduce_only": False}
        if price is None:
            order: Order = self.order_factory.market(self.instrument.id, side, quantity, **bounds)
        else:
            order = self.order_factory.limit(
                self.instrument.id, side, quantity, self.instrument.make_price(price), **bounds
            )
        self.sent[name] = order
        self.sent_ns[name] = self.clock.timestamp_ns()
        return order

    def on_order_event(self, event: OrderEvent) -> None:
        name = next(n for n, o in self.sent.items() if o.client_order_id == event.client_order_id)
        self.events.append((name, type(event).__name__[5:], (event.ts_event - START) / MS))
        self.raw.append(event)

    def of(self, name: str) -> list[tuple[str, float]]:
        """What happened to one order: (kind, milliseconds since START)."""
        return [(kind, ms) for n, kind, ms in self.events if n == name]


def send(name: str, side: OrderSide, quantity: float, price: float | None = None) -> Callable[[Plain], None]:
    """Send an order: at market, or a limit where there is a price."""
    return lambda s: s.submit_order(s.make(name, side, quantity, price))


def cancel(name: str) -> Callable[[Plain], None]:
    """Cancel an order by its name."""
    return lambda s: s.cancel_order(s.sent[name])


def amend(name: str, **change: Any) -> Callable[[Plain], None]:
    """Change `quantity` or `price` of an order."""

    def act(s: Plain) -> None:
        quantity = change.get("quantity")
        price = change.get("price")
        s.modify_order(
            s.sent[name],
            quantity=None if quantity is None else s.instrument.make_qty(quantity),
            price=None if price is None else s.instrument.make_price(price),
        )

    return act


def run_plain(
    folder: Path,
    events: np.ndarray,
    strategies: Sequence[Strategy],
    *,
    fills: str = "touch",
    network: NetworkConfig | None = None,
    chunk_size: int = 100_000,
    funding: FundingPlan | None = None,
    look: Callable[[BacktestEngine], Any] = lambda engine: None,
) -> Any:
    """Run strategies over events; return what `look` sees in the engine at the end."""
    catalog = folder / "catalog"
    if not catalog.exists():
        write_events(catalog, BTC, events)
    config = nautilus_config(
        catalog=str(catalog),
        instrument_ids=[BTC.id],
        quote="USDT",
        balance=1_000_000.0,
        fills=fills,
        network=network,
        funding=funding,
    )
    with open_engine(config) as engine:
        for strategy in strategies:
            engine.add_strategy(strategy)
        run_market(engine, batches(catalog, [BTC.id], chunk_size=chunk_size))
        return look(engine)
