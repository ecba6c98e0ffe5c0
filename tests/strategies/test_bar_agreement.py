"""On bars, too, the same genome gives the same trades in the Forge's replay and in Nautilus."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from apex_nautilus.data import (
    Dataset,
    build_dataset,
    import_freqtrade,
    load_instrument,
)
from apex_nautilus.data.external import write_external
from apex_nautilus.engine import AgentConfig, BacktestConfig, run_backtest
from apex_nautilus.engine.config import BarsConfig
from apex_nautilus.features import get, names
from apex_nautilus.features.external import ExternalSeries
from apex_nautilus.forge.replay import EXIT_KINDS, dataset_market, replay_trades
from apex_nautilus.genome import Genome, Node, compile_genome, encode, sealed
from apex_nautilus.genome.random_trees import random_tree
from apex_nautilus.genome.schema import BpsStop, Bracket, Feature, Platt, Sizing, VolatilityStop
from apex_nautilus.risk import BarCosts, Egarch, trading_rules
from apex_nautilus.risk.cost_file import CostFile, encode_cost_file

BTC = "BTCUSDT-PERP.BINANCE"
ETH = "ETHUSDT-PERP.BINANCE"

#: Much dearer than the market: every order of a tenth of a bitcoin slips by several ticks.
DEAR = BarCosts(
    half_spread_bps=0.3,
    half_spread_sigma=0.02,
    impact=5.0,
    volume_window=24,
    egarch=Egarch(omega=0.15, alpha=0.25, gamma=-0.05, beta=0.96, start=5.0, low=0.0, high=14.0),
)

TIGHT = Bracket(stop=BpsStop(value=15.0), max_hold_s=3600.0, reward_risk=3.0)
LONG = Bracket(stop=BpsStop(value=60.0), max_hold_s=7 * 3600.0, reward_risk=2.0)
VOLATILE = Bracket(stop=VolatilityStop(multiple=1.5, window=24), max_hold_s=5400.0, reward_risk=3.0)


def make_genome(seed: int, instrument_id: str, clock: str, bracket: Bracket) -> Genome:
    """A random genome that trades often."""
    rng = np.random.default_rng(seed)
    chosen = tuple(sorted(rng.choice(names("bar"), size=3, replace=False).tolist()))
    return sealed(
        Genome(
            instrument_id=instrument_id,
            clock=clock,
            conflate_ms=0,
            features=chosen,
            signal=random_tree(rng, len(chosen), depth=4),
            confidence=random_tree(rng, len(chosen), depth=3),
            size=random_tree(rng, len(chosen), depth=2) if seed % 2 else None,
            entry_threshold=0.0,
            calibration=Platt(a=0.2, b=3.0),
            bracket=bracket,
            sizing=Sizing(
                mode="evolved" if seed % 2 else "kelly", kelly_fraction=0.5, max_leverage=10.0, lo=0.1, hi=0.9
            ),
        )
    )


def in_replay(folder: Path, genome: Genome, costs: BarCosts | None) -> np.ndarray:
    """Return the trades of the replay that ended within the data."""
    dataset = build_dataset(
        folder / "catalog", genome.instrument_id, genome.clock, genome.features, folder / "dataset",
        bar_costs=costs,
    )  # fmt: skip
    rules = trading_rules(genome, load_instrument(folder / "catalog", genome.instrument_id))
    trades = replay_trades(dataset, compile_genome(genome), rules)
    return trades[trades["exit_kind"] != EXIT_KINDS.index("end")]


def both(folder: Path, genome: Genome, costs: BarCosts | None, minutes: int):
    """Return (trades of the replay, trades in Nautilus, the replay's market) over the catalog in `folder`."""
    catalog = folder / "catalog"
    replayed = in_replay(folder, genome, costs)
    dataset = Dataset.open(folder / "dataset")
    last_ts_ns = dataset.path_ts_ns[dataset.row_event[-1]]
    path = folder / "genome.json"
    path.write_bytes(encode(genome))
    files = {}
    if costs is not None:
        file = CostFile(
            schema="apex.costs/1", instrument_id=genome.instrument_id, bar_minutes=minutes, costs=costs
        )
        (folder / "costs.json").write_bytes(encode_cost_file(file))
        files = {genome.instrument_id: str(folder / "costs.json")}
    config = BacktestConfig(
        schema="apex.backtest/1",
        name="agreement",
        catalog=str(catalog),
        agents=[AgentConfig(slot="a", instrument_id=genome.instrument_id, genome=str(path))],
        bars=BarsConfig(costs=files),
        funding=False,  # the replay knows none
        mark_s=300.0,
    )
    result = run_backtest(config, write=False)
    (agent,) = result.agents
    assert agent.refusals == 0
    assert result.account_change == pytest.approx(agent.balance - agent.capital, abs=0.005)
    return replayed, [t for t in agent.trades if t.exit_ts_ns <= last_ts_ns], dataset_market(dataset)


def assert_same_trades(replayed, traded) -> None:
    """Everything to the last bit, but the equity: Nautilus rounds commissions to eight decimals."""
    assert [t.side for t in traded] == replayed["side"].tolist()
    assert [t.entry_ts_ns for t in traded] == replayed["entry_ts_ns"].tolist()
    assert [t.exit_ts_ns for t in traded] == replayed["exit_ts_ns"].tolist()
    assert [t.exit_kind for t in traded] == [EXIT_KINDS[k] for k in replayed["exit_kind"]]
    for name in ("take_profit", "stop", "p", "quantity", "entry_price", "exit_price"):
        assert [getattr(t, name) for t in traded] == replayed[name].tolist(), name
    np.testing.assert_allclose([t.equity for t in traded], replayed["equity_after"], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def candles(tmp_path_factory, root) -> Path:
    """Ten days of five-minute candles of two perpetuals, with a crash in them."""
    folder = tmp_path_factory.mktemp("candles")
    data = root / "tests" / "data"
    import_freqtrade(
        [data / "BTC_USDT_USDT-5m-futures.feather", data / "ETH_USDT_USDT-5m-futures.feather"],
        folder / "catalog",
    )
    return folder


@pytest.mark.parametrize("costs", [None, DEAR], ids=["constant", "modelled"])
@pytest.mark.parametrize("bracket", [TIGHT, LONG, VOLATILE], ids=["tight", "long", "volatility"])
@pytest.mark.parametrize("clock", ["5m", "15m"])
@pytest.mark.parametrize(("instrument_id", "seed"), [(BTC, 3), (ETH, 6)])
def test_on_recorded_candles_every_trade_is_the_same(candles, instrument_id, seed, clock, bracket, costs):
    replayed, traded, _ = both(candles, make_genome(seed, instrument_id, clock, bracket), costs, 5)
    assert_same_trades(replayed, traded)


def test_enough_trades_of_every_kind_were_compared(candles):
    """The comparisons above would pass on nothing; here is how much there is to compare."""
    kinds: dict[str, int] = {}
    slipped = 0
    for seed, bracket in ((3, TIGHT), (6, LONG)):
        genome = make_genome(seed, BTC, "5m", bracket)
        replayed, traded, market = both(candles, genome, DEAR, 5)
        for trade in traded:
            for key in (trade.exit_kind, "long" if trade.side > 0 else "short"):
                kinds[key] = kinds.get(key, 0) + 1
        entry = replayed["entry_event"]
        touch = np.where(replayed["side"] > 0, market.open_ask[entry], market.open_bid[entry])
        slipped += int(np.count_nonzero(replayed["entry_price"] != touch))
    assert min(kinds.get(k, 0) for k in ("stop", "take_profit", "max_hold", "long", "short")) >= 5, kinds
    assert slipped >= 50


OUTSIDE = ("funding_rate", "eigen_vel_div", "fear_greed")


def publish_outside(catalog: Path, instrument_id: str) -> None:
    """Random series: funding every 8 h, a scan with every bar, an index that is at times stale."""
    rng = np.random.default_rng(9)
    first, minute = 1_743_465_600 * 10**9, 60 * 10**9
    for name, every, count, stale in (
        ("funding_rate", 480, 30, None),
        ("eigen_vel_div", 5, 2800, 5 * minute),
        ("fear_greed", 1440, 10, 900 * minute),
    ):
        spec = get(name)
        values = rng.uniform(spec.low, spec.high, count)
        times = first + every * minute * np.arange(count) + rng.integers(0, 2, count)
        owner = instrument_id if name == "funding_rate" else None
        write_external(catalog, ExternalSeries(name, times, values, stale), owner, replace=True)


def listener(clock: str) -> Genome:
    """The scan less the funding says the side, the index the size."""
    genome = make_genome(15, BTC, clock, TIGHT)
    return sealed(
        msgspec.structs.replace(
            genome,
            features=(*OUTSIDE, *genome.features),
            signal=Node("sub", (Node(Feature(1)), Node(Feature(0)))),
            confidence=random_tree(np.random.default_rng(15), 6, depth=3),
            size=Node(Feature(2)),
        )
    )


@pytest.mark.parametrize("clock", ["5m", "15m"])
def test_a_genome_that_listens_to_the_outside_trades_the_same(candles, clock):
    publish_outside(candles / "catalog", BTC)
    genome = listener(clock)
    replayed, traded, _ = both(candles, genome, DEAR, 5)
    assert_same_trades(replayed, traded)
    assert len(traded) > 20
    assert set(replayed["side"]) == {1, -1}
    for name in OUTSIDE:  # it does listen: each of them matters
        stored = candles / "catalog" / "external"
        for file in stored.glob(f"{name}*"):
            file.unlink()
        write_external(candles / "catalog", ExternalSeries(name, [], []))
        deaf = in_replay(candles, genome, DEAR)
        assert deaf.tobytes() != replayed.tobytes(), name
        publish_outside(candles / "catalog", BTC)
