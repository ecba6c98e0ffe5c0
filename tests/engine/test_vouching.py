"""Agents that vouch for their commands, with the parts of Nautilus that act for them later."""

from __future__ import annotations

from decimal import Decimal

import pytest
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.examples.algorithms.twap import TWAPExecAlgorithm
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, TriggerType
from nautilus_trader.model.identifiers import ExecAlgorithmId, Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.config import StrategyConfig

from apex_nautilus.engine import install_guard
from apex_nautilus.engine.vouching import VouchingStrategy

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
START = 1_700_000_000 * 10**9


class Delegator(VouchingStrategy):
    """Gives one order to `helper` at the first quote, and cancels what it has at the tenth."""

    def __init__(self, helper: str) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self.helper = helper
        self.quotes = 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.quotes += 1
        if self.quotes == 1:
            size = INSTRUMENT.make_qty(0.4)
            if self.helper == "twap":
                order = self.order_factory.market(
                    INSTRUMENT.id,
                    OrderSide.BUY,
                    size,
                    exec_algorithm_id=ExecAlgorithmId("TWAP"),
                    exec_algorithm_params={"horizon_secs": 4.0, "interval_secs": 1.0},
                )
            else:
                price = INSTRUMENT.make_price(50_000.5 if self.helper == "emulator" else 40_000.0)
                order = self.order_factory.limit(
                    INSTRUMENT.id, OrderSide.BUY, size, price, emulation_trigger=TriggerType.BID_ASK
                )
            self.submit_order(order)
        elif self.quotes == 10 and self.helper == "emulator, cancelled":
            self.cancel_all_orders(INSTRUMENT.id)


@pytest.mark.parametrize(
    ("helper", "ends"),
    [("twap", "FILLED"), ("emulator", "FILLED"), ("emulator, cancelled", "CANCELED")],
)
def test_emulator_and_algorithms_act_for_an_agent_that_gave_them_the_order(helper, ends):
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    cash = [Money(1_000_000, USDT)]
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, cash, default_leverage=Decimal(10)
    )
    engine.add_instrument(INSTRUMENT)
    size = INSTRUMENT.make_qty(10.0)
    quotes = []
    for k in range(40):
        ts, bid = START + k * 250_000_000, 50_002.0 - 0.1 * k
        prices = INSTRUMENT.make_price(bid), INSTRUMENT.make_price(bid + 0.1)
        quotes.append(QuoteTick(INSTRUMENT.id, *prices, size, size, ts, ts))
    engine.add_data(quotes)
    engine.add_exec_algorithm(TWAPExecAlgorithm())
    engine.add_strategy(Delegator(helper))
    guard = install_guard(engine.trader, engine.kernel.msgbus, engine.cache, engine.kernel.clock)
    engine.run()
    orders = engine.cache.orders()
    assert orders
    assert {order.status.name for order in orders} == {ends}
    assert guard.refused == 0
    engine.dispose()
