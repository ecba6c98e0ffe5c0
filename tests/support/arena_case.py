"""A small market and small genomes for the tests of the arena.

`simulate` runs an arena in a bare Nautilus engine on a hand-made order book, without the runner that real
backtests use, so that a test of the arena fails for the arena's reasons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, ETH, SOL, USDT
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
from nautilus_trader.model.enums import AccountType, BookAction, BookType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.config import ImportableControllerConfig

from apex_nautilus.actors.arena import ArenaController
from apex_nautilus.engine.feed_hub import FeedHub, FeedHubConfig
from apex_nautilus.engine.fill_model import TouchFillModel
from apex_nautilus.engine.funding import FundingModule, FundingModuleConfig
from apex_nautilus.engine.funding_rates import Settlement
from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Constant,
    Evidence,
    Genome,
    Node,
    Platt,
    Provenance,
    Result,
    Sizing,
    encode,
    sealed,
)
from apex_nautilus.store import CatalogLayout, drop, install

BTC_ID, ETH_ID, SOL_ID = (f"{name}USDT-LINEAR.SIM" for name in ("BTC", "ETH", "SOL"))
START_NS = 1_700_000_000 * 10**9
STEP_NS = 250_000_000
CASH = 1_000_000.0
_BASES = {
    BTC_ID: (BTC, 50_000.0, 1, 3, "0.001"),
    ETH_ID: (ETH, 2_000.0, 2, 2, "0.01"),
    SOL_ID: (SOL, 100.0, 3, 1, "0.1"),
}


def genome(
    *,
    side: float = 1.0,
    p: float = 0.6,
    stop_bps: float = 10.0,
    hold_s: float = 3.0,
    instrument_id: str = BTC_ID,
    dsr: float | None = None,
    slot: str | None = None,
    gate: str = "none",
    leverage: float = 10.0,
) -> Genome:
    """A genome that always wants `side` and believes in it with probability `p`."""
    return sealed(
        Genome(
            instrument_id=instrument_id,
            clock="1s",
            features=("spread_bps",),
            signal=Node(Constant(side)),
            confidence=Node(Constant(0.0)),
            calibration=Platt(0.0, math.log(p / (1.0 - p))),
            bracket=Bracket(stop=BpsStop(stop_bps), max_hold_s=hold_s),
            sizing=Sizing(max_leverage=leverage),
            provenance=Provenance(slot=slot),
            evidence=Evidence(out_of_sample=None if dsr is None else Result(dsr=dsr), gate=gate),
        )
    )


def doomed(k: int = 0, **changes) -> Genome:
    """One of several genomes that bet far too much on falling prices: a rising market ends it within
    seconds."""
    return genome(**{"side": -1.0, "p": 0.9, "leverage": 50.0, "stop_bps": 10.0 + k, **changes})


def path(
    seconds: float, *, bps_per_s: float = 0.0, wave_bps: float = 0.0, seed: int = 0, noise_bps: float = 0.5
):
    """Log prices at each step: a trend, a wave of 20 s and a random walk."""
    n = int(seconds * 1e9 / STEP_NS)
    t = np.arange(n) * STEP_NS / 1e9
    noise = np.cumsum(np.random.default_rng(seed).normal(0.0, noise_bps, n))
    return 1e-4 * (bps_per_s * t + wave_bps * np.sin(2 * np.pi * t / 20.0) + noise)


def perpetual(instrument_id: str) -> CryptoPerpetual:
    base, _, price_precision, size_precision, lot = _BASES[instrument_id]
    tick = Price(10.0**-price_precision, price_precision)
    return CryptoPerpetual(
        instrument_id=InstrumentId.from_str(instrument_id),
        raw_symbol=Symbol(instrument_id.split("-")[0]),
        base_currency=base,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=price_precision,
        size_precision=size_precision,
        price_increment=tick,
        size_increment=Quantity.from_str(lot),
        min_quantity=Quantity.from_str(lot),
        max_quantity=Quantity(100_000.0, size_precision),
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.00055"),
        margin_init=Decimal("0.01"),
        margin_maint=Decimal("0.005"),
    )


def books(
    instrument_id: str, log_prices: np.ndarray, *, levels: int = 5, start_ns: int = START_NS
) -> list[OrderBookDeltas]:
    """One whole book a step; touch sizes change so that no two books are equal."""
    _, price, precision, size_precision, _ = _BASES[instrument_id]
    tick = 10.0**-precision
    iid = InstrumentId.from_str(instrument_id)
    out = []
    for k, x in enumerate(log_prices):
        ts = start_ns + k * STEP_NS
        middle = round(price * math.exp(x) / tick)
        deltas = [OrderBookDelta(iid, BookAction.CLEAR, None, 0, k, ts, ts)]
        for level in range(levels):
            for side, sign in ((OrderSide.BUY, -1), (OrderSide.SELL, 1)):
                order = BookOrder(
                    side,
                    Price((middle + sign * (level + 1)) * tick, precision),
                    Quantity(1000.0 + (k + level) % 7, size_precision),
                    0,
                )
                last = level == levels - 1 and sign == 1
                deltas.append(OrderBookDelta(iid, BookAction.ADD, order, 128 if last else 0, k, ts, ts))
        out.append(OrderBookDeltas(iid, deltas))
    return out


def catalog(
    root: Path, *, champions: dict[str, Genome] | None = None, incoming: Sequence[Genome] = ()
) -> CatalogLayout:
    layout = CatalogLayout(root).ensure()
    for slot, champion in (champions or {}).items():
        install(layout, slot, encode(champion))
    for challenger in incoming:
        drop(layout, challenger.id, encode(challenger))
    return layout


def arena_config(layout: CatalogLayout, slots: dict[str, str], **changes) -> dict:
    return {
        "catalog": str(layout.root),
        "slots": [{"slot": name, "instrument_id": instrument} for name, instrument in slots.items()],
        "ledger_mark_s": 1.0,
        "intake_s": 1.0,
        **changes,
        # The doomed bet at fifty times their equity: a limit of ten would let them live too long.
        "limits": {"max_leverage": 50.0, **changes.get("limits", {})},
    }


def simulate(
    config: dict,
    prices: dict[str, np.ndarray],
    *,
    strategies: Sequence = (),
    before: Sequence = (),
    actors: Sequence = (),
    modules: Sequence = (),
    start_ns: int = START_NS,
) -> BacktestEngine:
    """Run the arena of `config`; return the engine, ended but not disposed of.

    `strategies` and `actors` are added to the node as they are, `modules` to the venue; each of `before` is
    called with the controller.
    """
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            controller=ImportableControllerConfig(
                controller_path="apex_nautilus.actors.arena:ArenaController",
                config_path="apex_nautilus.actors.arena_config:ArenaConfig",
                config=config,
            ),
        )
    )
    engine.add_venue(
        Venue("SIM"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=None,
        starting_balances=[Money(CASH, USDT)],
        book_type=BookType.L2_MBP,
        default_leverage=Decimal(10),
        fill_model=TouchFillModel(),
        modules=list(modules),
    )
    data = []
    for instrument_id, log_prices in prices.items():
        engine.add_instrument(perpetual(instrument_id))
        data += books(instrument_id, log_prices, start_ns=start_ns)
        hub = FeedHubConfig(
            component_id=f"FeedHub-{instrument_id}", instrument_id=InstrumentId.from_str(instrument_id)
        )
        engine.add_actor(FeedHub(hub))
    data.sort(key=lambda d: d.ts_init)
    engine.add_data(data)
    for actor in actors:
        engine.add_actor(actor)
    for strategy in strategies:
        engine.add_strategy(strategy)
    for call in before:
        call(controller_of(engine))
    engine.run()
    return engine


def funding(*rates: tuple[float, float]) -> FundingModule:
    """A module of the venue that settles, for every instrument, at (seconds since the start, rate)."""
    settlements = [Settlement(START_NS + round(s * 1e9), rate) for s, rate in rates]
    return FundingModule(FundingModuleConfig(settlements=dict.fromkeys(_BASES, settlements)))


def controller_of(engine: BacktestEngine) -> ArenaController:
    return next(a for a in engine.trader.actors() if isinstance(a, ArenaController))


def account_cash(engine: BacktestEngine) -> float:
    return engine.cache.account_for_venue(Venue("SIM")).balance_total(USDT).as_double()
