"""Small markets, written by hand or at random, and agents that trade them in Nautilus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nautilus_trader.model.identifiers import InstrumentId

from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    ApexStrategy,
    ApexStrategyConfig,
    Feed,
    batches,
    hub_config,
    nautilus_config,
    open_engine,
    run_market,
)
from apex_nautilus.engine.funding_rates import FundingPlan
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_LEVEL, KIND_TRADE
from apex_nautilus.features.header import ROW_AT
from apex_nautilus.genome import Genome, sealed
from apex_nautilus.genome.schema import BpsStop, Bracket, Constant, Feature, Node, Platt, Sizing
from apex_nautilus.risk import InstrumentSpec

BTC = InstrumentSpec(
    id="BTCUSDT-PERP.BINANCE",
    base="BTC",
    quote="USDT",
    price_precision=1,
    size_precision=3,
    tick=0.1,
    lot=0.001,
    min_qty=0.001,
    max_qty=120.0,
    min_notional=5.0,
    maker_fee=0.0002,
    taker_fee=0.0005,
)
START = 1_700_000_000_000_000_000
MS = 1_000_000

Levels = Sequence[tuple[float, float]]


def eager_genome(max_hold_s: float) -> Genome:
    """A genome that follows the order flow at every book and believes in it."""
    return sealed(
        Genome(
            instrument_id=BTC.id,
            clock="book",
            features=("ofi_1", "clv"),
            signal=Node("mul", (Node(Feature(0)), Node(Constant(3.0)))),
            confidence=Node(Feature(1)),
            calibration=Platt(a=0.0, b=3.0),
            bracket=Bracket(stop=BpsStop(value=3.0), max_hold_s=max_hold_s, reward_risk=5.0),
            sizing=Sizing(kelly_fraction=0.5),
        )
    )


def book_events(books: Sequence[tuple[int, Levels, Levels]], spec: InstrumentSpec = BTC) -> np.ndarray:
    """Level changes that make one book after the other: (milliseconds since START, bids, asks)."""
    held: dict[tuple[int, int], int] = {}
    events = []
    for number, (ms, bids, asks) in enumerate(books):
        book = {}
        for side, levels in ((1, bids), (-1, asks)):
            for price, size in levels:
                book[side, round(price * 10**spec.price_precision)] = round(size * 10**spec.size_precision)
        changes = [(side, price, 0) for side, price in held if (side, price) not in book]
        changes += [(s, p, q) for (s, p), q in book.items() if held.get((s, p)) != q]
        held = book
        ts = START + ms * MS
        for i, (side, price, size) in enumerate(changes):
            flags = FLAG_LAST if i == len(changes) - 1 else 0
            events.append((ts, ts, price, size, number, KIND_LEVEL, side, flags))
    return np.array(events, dtype=EVENT)


def touch_books(touches: Sequence[tuple[int, float, float]], size: float = 10.0) -> np.ndarray:
    """Books of one level a side: (milliseconds since START, bid, ask)."""
    return book_events([(ms, [(bid, size)], [(ask, size)]) for ms, bid, ask in touches])


def wandering_market(seed: int, n: int, *, step: int = 40, levels: int = 8) -> np.ndarray:
    """A random walk of the mid with random sizes, thin at times, and trades in between."""
    rng = np.random.default_rng(seed)
    mid, ts = 600_000, 0
    books, trades = [], []
    for _ in range(n):
        ts += int(rng.integers(1, 60))
        mid += int(rng.integers(-step, step + 1))
        half = int(rng.integers(1, 4))
        sizes = np.where(rng.random((2, levels)) < 0.1, 0.002, rng.integers(5, 3000, (2, levels)) / 1000)
        bids = [((mid - half - k * 3) / 10, sizes[0, k]) for k in range(levels)]
        asks = [((mid + half + k * 3) / 10, sizes[1, k]) for k in range(levels)]
        books.append((ts, bids, asks))
        if rng.random() < 0.4:
            ts += 1
            side = int(rng.choice([-1, 1]))
            time = START + ts * MS
            trades.append((time, time, mid + side * half, int(rng.integers(1, 800)), 0, KIND_TRADE, side, 0))
    events = np.concatenate([book_events(books), np.array(trades, dtype=EVENT)])
    return events[np.argsort(events["ts_init_ns"], kind="stable")]


class ScriptedConfig(ApexStrategyConfig, frozen=True, kw_only=True):
    """`entries`: (row number from 0, side, quantity, take-profit, stop, holding time in ms)."""

    entries: tuple[tuple[int, int, float, float, float, int], ...] = ()
    retire_at: int = -1
    clock: str = "book"
    features: tuple[str, ...] = ("spread_bps",)


class Scripted(ApexStrategy):
    """Enters when its script says so; keeps what it was called with."""

    def __init__(self, config: ScriptedConfig) -> None:
        super().__init__(config)
        self.script = {row: entry for row, *entry in config.entries}
        self.seen: list[tuple[int, float, float, tuple[float, ...]]] = []
        self.calls: list[tuple[str, int]] = []
        self.deferred: tuple[int, list] | None = None

    def on_start(self) -> None:
        super().on_start()
        self.subscribe_feed(self.config.clock, 0, tuple(self.config.features))

    def on_feed_path(self, feed: Feed) -> None:
        self.calls.append(("path", feed.ts_ns))
        super().on_feed_path(feed)

    def on_feed_row(self, feed: Feed) -> None:
        self.calls.append(("row", feed.ts_ns))
        at = feed.memory[ROW_AT] + self._subscription.columns
        row = tuple(feed.memory.view(np.float64)[at].tolist())
        self.seen.append((feed.ts_ns, feed.bid, feed.ask, row))
        if self.rows == self.config.retire_at:
            self.retire("told")
        entry = self.script.get(self.rows)
        self.rows += 1
        if entry is None:
            return
        self._try(feed.ts_ns, entry)

    def _try(self, ts_ns: int, entry: list) -> None:
        side, quantity, take_profit, stop, hold_ms = entry
        if not self.enter(side, quantity, take_profit, stop, hold_ms * MS):
            self.deferred = (ts_ns, entry)

    def on_flat(self, trade) -> None:
        if self.deferred and self.deferred[0] == trade.exit_ts_ns:
            (ts_ns, entry), self.deferred = self.deferred, None
            self._try(ts_ns, entry)


def scripted(slot: str, entries: list, **settings) -> Scripted:
    """A scripted agent on BTC; its slot is its order id tag."""
    return Scripted(
        ScriptedConfig(
            instrument_id=InstrumentId.from_str(BTC.id),
            slot=slot,
            order_id_tag=slot,
            entries=tuple(entries),
            log_events=False,
            log_commands=False,
            **settings,
        )
    )


def run_agents(
    folder: Path,
    events: np.ndarray,
    agents: Sequence[ApexStrategy],
    *,
    fills: str = "touch",
    batched: bool = True,
    controller=None,
    preload: dict[str, list[str]] | None = None,
    external: str | None = None,
    chunk_size: int = 100_000,
    funding: FundingPlan | None = None,
) -> float:
    """Run agents over events through a catalog; return the change of the account's balance."""
    catalog = folder / "catalog"
    if not catalog.exists():
        write_events(catalog, BTC, events)
    config = nautilus_config(
        catalog=str(catalog),
        instrument_ids=[BTC.id],
        quote="USDT",
        balance=100_000.0,
        fills=fills,
        actors=[hub_config(BTC.id, preload, external)],
        controller=controller,
        funding=funding,
    )
    with open_engine(config) as engine:
        for agent in agents:
            engine.add_strategy(agent)
        market = batches(catalog, [BTC.id], chunk_size=chunk_size)
        if not batched:
            market = (
                [single for item in chunk for single in getattr(item, "deltas", [item])] for chunk in market
            )
        run_market(engine, market)
        (account,) = engine.cache.accounts()
        return float(account.balance_total(account.currencies()[0]).as_decimal()) - 100_000.0
