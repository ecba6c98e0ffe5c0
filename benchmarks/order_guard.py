"""What the guard of orders adds to a command, in microseconds.

One strategy sends an order far from the market and cancels it, some thousand times, in a Nautilus engine of
its own: once as it comes, once behind the guard and vouching for what it sends. Both engines must have taken
the same commands. A live decision takes some 75 us (`live_decision`), and sends one order, if any.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Row

_DECISION_US = 75.0
_GOAL_US = 7.5


def _microseconds(guarded: bool, n: int) -> tuple[np.ndarray, int]:
    """Medians of what a submission and a cancellation take, and how many commands the engine took."""
    from decimal import Decimal

    import pandas as pd
    from nautilus_trader.backtest.config import BacktestEngineConfig
    from nautilus_trader.backtest.engine import BacktestEngine
    from nautilus_trader.common.config import LoggingConfig
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.risk.config import RiskEngineConfig
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.config import StrategyConfig
    from nautilus_trader.trading.strategy import Strategy

    from apex_nautilus.engine import install_guard
    from apex_nautilus.engine.vouching import VouchingStrategy

    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    start = 1_700_000_000 * 10**9
    taken: list[tuple[float, float]] = []

    class Sender(VouchingStrategy if guarded else Strategy):
        def on_start(self) -> None:
            at = pd.Timestamp(start + 10**9, tz="UTC")
            self.clock.set_timer("send", pd.Timedelta(milliseconds=1), at, callback=self.send)

        def send(self, event: object) -> None:
            order = self.order_factory.limit(
                instrument.id, OrderSide.BUY, instrument.make_qty(0.001), instrument.make_price(1_000.0)
            )
            begin = time.perf_counter()
            self.submit_order(order)
            middle = time.perf_counter()
            self.cancel_order(order)
            taken.append((middle - begin, time.perf_counter() - middle))

    config = BacktestEngineConfig(
        logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True)
    )
    engine = BacktestEngine(config)
    engine.add_venue(
        Venue("BINANCE"),
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(1_000_000, USDT)],
        default_leverage=Decimal(10),
    )
    engine.add_instrument(instrument)
    price, size = instrument.make_price(50_000.0), instrument.make_qty(1.0)
    ends = (start, start + 10**9 + n * 10**6)
    engine.add_data([QuoteTick(instrument.id, price, price, size, size, ts, ts) for ts in ends])
    engine.add_strategy(Sender(StrategyConfig(order_id_tag="001")))
    if guarded:
        guard = install_guard(engine.trader, engine.kernel.msgbus, engine.cache, engine.kernel.clock)
    engine.run()
    commands = engine.kernel.exec_engine.command_count
    if guarded and guard.refused:
        raise RuntimeError(f"the guard refused {guard.refused} commands that were the sender's own")
    engine.dispose()
    return np.median(np.array(taken[n // 10 :]), axis=0) * 1e6, commands


def run(quick: bool) -> Iterator[Row]:
    """Yield what the guard adds to a submission and to a cancellation."""
    n, rounds = (2_000, 3) if quick else (10_000, 7)
    bare: list[np.ndarray] = []
    guarded: list[np.ndarray] = []
    expected = -1
    for _ in range(rounds):
        for kind, found in ((False, bare), (True, guarded)):
            median, commands = _microseconds(kind, n)
            if expected not in (-1, commands):
                raise RuntimeError(f"the engines took {commands} commands and {expected}")
            expected = commands
            found.append(median)
    added = np.array(guarded) - np.array(bare)
    for k, name in enumerate(("submission", "cancellation")):
        ours = float(np.median(added[:, k]))
        without = float(np.median(np.array(bare)[:, k]))
        yield Row(
            name=f"order guard: added to a {name}",
            unit="us",
            ours=ours,
            peer=f"Nautilus alone: {without:.1f} us the whole {name}",
            theirs=None,
            ratio=None,
            goal=f"<= {_GOAL_US:g} us ({_GOAL_US / _DECISION_US:.0%} of a decision)",
            holds=ours <= _GOAL_US,
            same_work=f"{n:,} orders sent and cancelled, {expected:,} commands in both engines",
            repeats=rounds,
            spread=float((added[:, k].max() - added[:, k].min()) / ours) if ours else None,
        )
