"""Nautilus matches after every level change: a resting stop must not fire at a price that never was."""

from __future__ import annotations

import itertools
from decimal import Decimal

import numpy as np
import pytest
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.enums import AccountType, BookType, OmsType, OrderSide, TriggerType
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.strategy import Strategy

from apex_nautilus.data import (
    binance_instrument,
    read_events,
    to_nautilus_instrument,
    write_events,
)
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.nautilus_tables import deltas_to_table
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_LEVEL, KIND_TRADE

BTC = binance_instrument("BTCUSDT-PERP.BINANCE")


def batch(ts: int, levels: list[tuple[int, int, int]]) -> np.ndarray:
    events = np.zeros(len(levels), dtype=EVENT)
    events["kind"], events["ts_init_ns"], events["ts_event_ns"] = KIND_LEVEL, ts, ts
    for event, (side, price, size) in zip(events, levels, strict=True):
        event["side"], event["price"], event["size"] = side, price, size
    events["flags"][-1] = FLAG_LAST
    return events


# The touch goes from 100.0/100.1 to 99.9/100.0 in one batch that removes the old best bid before it adds the
# new one; behind it there is nothing before 50.0. A stop rests at 90.0.
RISKY = np.concatenate(
    [
        batch(1_000_000_000, [(1, 1000, 5000), (1, 500, 5000), (-1, 1001, 5000)]),
        batch(2_000_000_000, [(1, 1000, 4000)]),
        batch(3_000_000_000, [(1, 1000, 0), (1, 999, 5000), (-1, 1000, 5000)]),
        batch(4_000_000_000, [(1, 999, 4000)]),
    ]
)


class StopAt90(Strategy):
    def __init__(self):
        super().__init__()
        self.fills: list[Price] = []
        self.placed = False

    def on_start(self):
        self.subscribe_order_book_deltas(self.cache.instruments()[0].id, BookType.L2_MBP)

    def on_order_book_deltas(self, deltas):
        if not self.placed:
            self.placed = True
            instrument = self.cache.instruments()[0]
            self.submit_order(
                self.order_factory.stop_market(
                    instrument.id, OrderSide.SELL, Quantity.from_str("0.010"), Price.from_str("90.0")
                )
            )

    def on_order_filled(self, event):
        self.fills.append(event.last_px)


_DELTAS = 12_000
"""Level changes of a backtest: matching looks at every resting order after each of them."""


class StopsAroundTheTouch(Strategy):
    """Keeps stops resting at several distances from the touch, on both sides, and notes what fires when."""

    DISTANCES = (1, 4, 30)  # ticks

    def __init__(self):
        super().__init__()
        self.fired: list[tuple[int, OrderSide, int]] = []  # engine time, side, trigger in ticks
        self._batches = itertools.count()

    def on_start(self):
        self.subscribe_order_book_deltas(self.cache.instruments()[0].id, BookType.L2_MBP)

    def on_order_book_deltas(self, deltas):
        if next(self._batches) % 10:
            return
        instrument = self.cache.instruments()[0]
        book = self.cache.order_book(instrument.id)
        bid, ask = book.best_bid_price(), book.best_ask_price()
        if bid is None or ask is None:
            return
        for ticks in self.DISTANCES:
            sell, buy = round(bid * 10) - ticks, round(ask * 10) + ticks
            for side, trigger in ((OrderSide.SELL, sell), (OrderSide.BUY, buy)):
                order = self.order_factory.stop_market(
                    instrument.id,
                    side,
                    Quantity.from_str("0.001"),
                    Price.from_str(f"{trigger / 10:.1f}"),
                    trigger_type=TriggerType.BID_ASK,
                )
                self.submit_order(order)

    def on_order_filled(self, event):
        order = self.cache.order(event.client_order_id)
        self.fired.append((event.ts_event, order.side, round(order.trigger_price * 10)))


def stop_fills(catalog_path) -> list[Price]:
    return backtest(catalog_path, StopAt90()).fills


def backtest(catalog_path, strategy):
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        Venue("BINANCE"),
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(100_000, USDT)],
        book_type=BookType.L2_MBP,
        default_leverage=Decimal(10),
    )
    engine.add_instrument(to_nautilus_instrument(BTC))
    engine.add_data(ParquetDataCatalog(str(catalog_path)).order_book_deltas([BTC.id])[:_DELTAS])
    engine.add_strategy(strategy)
    engine.run()
    engine.dispose()
    return strategy


def touches_by_time(catalog_path) -> tuple[np.ndarray, np.ndarray]:
    """Receive times of whole books, and bid and ask before and after each."""
    events = np.concatenate(list(read_events(catalog_path, BTC.id)))
    book = events[events["kind"] != KIND_TRADE]
    return book["ts_init_ns"][(book["flags"] & FLAG_LAST) != 0], Ladder().apply(book)


def never_was(strategy: StopsAroundTheTouch, times: np.ndarray, touches: np.ndarray) -> list[tuple]:
    """Stops that fired although neither the touch before nor the one after that instant reaches them."""
    wrong = []
    for at, side, trigger in strategy.fired:
        k = slice(*np.searchsorted(times, [at, at + 1]))
        bids, asks = touches[k][:, [0, 2]], touches[k][:, [1, 3]]
        reached = (bids <= trigger).any() if side == OrderSide.SELL else (asks >= trigger).any()
        if not reached:
            wrong.append((at, side, trigger))
    return wrong


def test_no_stop_fires_at_a_price_that_the_recorded_touch_never_had(btc_import):
    catalog, _ = btc_import
    times, touches = touches_by_time(catalog)
    strategy = backtest(catalog, StopsAroundTheTouch())
    assert len(strategy.fired) > 20
    assert never_was(strategy, times, touches) == []
    # The check can fail: the same stops a thousand ticks away would never have been reached.
    away = {OrderSide.SELL: -1000, OrderSide.BUY: 1000}
    strategy.fired = [(at, side, trigger + away[side]) for at, side, trigger in strategy.fired]
    assert len(never_was(strategy, times, touches)) == len(strategy.fired)


def test_a_written_batch_does_not_fire_a_stop_below_any_touch(tmp_path):
    write_events(tmp_path, BTC, RISKY)
    assert stop_fills(tmp_path) == []


def test_the_order_of_the_message_would_fire_it(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The control: without the reordering the same batch fills the stop at 50.0."""
    monkeypatch.setattr("apex_nautilus.data.catalog_writer.order_batches", lambda events, touches: events)
    write_events(tmp_path, BTC, RISKY)
    assert deltas_to_table(RISKY, BTC).num_rows == RISKY.size
    assert [float(price) for price in stop_fills(tmp_path)] == [50.0]
