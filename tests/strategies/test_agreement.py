"""The same genome on the same data gives the same trades in the Forge's replay and in Nautilus."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
from support.engine_case import BTC, wandering_market

from apex_nautilus.data import dataset_from_events, load_instrument, read_events, write_events
from apex_nautilus.data.importers.binance_capture import import_binance_capture
from apex_nautilus.engine import AgentConfig, BacktestConfig, run_backtest
from apex_nautilus.engine.config import VenueConfig
from apex_nautilus.features import names
from apex_nautilus.forge.replay import EXIT_KINDS, replay, replay_trades
from apex_nautilus.genome import Genome, compile_genome, encode, pack, sealed
from apex_nautilus.genome.random_trees import random_tree
from apex_nautilus.genome.schema import BpsStop, Bracket, Platt, Sizing, VolatilityStop
from apex_nautilus.risk import PASSIVE_TIMERS, PassiveTimers, trading_rules
from apex_nautilus.sim import Market, profile

SECOND = 1_000_000_000


def make_genome(
    seed: int,
    instrument_id: str,
    clock: str,
    bracket: Bracket,
    *,
    evolved: bool = False,
    execution: str = "aggressive",
) -> Genome:
    """A random genome that trades often: three features, trees of every kind, an optimistic calibration."""
    rng = np.random.default_rng(seed)
    chosen = tuple(sorted(rng.choice(names("book"), size=4, replace=False).tolist()))
    return sealed(
        Genome(
            instrument_id=instrument_id,
            clock=clock,
            conflate_ms=0,
            features=chosen,
            signal=random_tree(rng, len(chosen), depth=4),
            confidence=random_tree(rng, len(chosen), depth=3),
            size=random_tree(rng, len(chosen), depth=2) if evolved else None,
            entry_threshold=0.0,
            calibration=Platt(a=0.2, b=3.0),
            bracket=bracket,
            execution=execution,
            sizing=Sizing(
                mode="evolved" if evolved else "kelly", kelly_fraction=0.5, max_leverage=10.0, lo=0.1, hi=0.9
            ),
        )
    )


def case_of(folder: Path, genome: Genome, timers: PassiveTimers = PASSIVE_TIMERS):
    """Return (dataset, program, rules) of a genome on the catalog in `folder`."""
    catalog = str(folder / "catalog")
    spec = load_instrument(catalog, genome.instrument_id)
    events = np.concatenate(list(read_events(catalog, genome.instrument_id)))
    dataset = dataset_from_events(events, spec, genome.clock, genome.features, conflate_ms=genome.conflate_ms)
    return dataset, compile_genome(genome), trading_rules(genome, spec, timers=timers)


def both(
    folder: Path,
    genome: Genome,
    *,
    legs: Literal["native", "emulated"] = "native",
    fills: str = "touch",
    timers: PassiveTimers = PASSIVE_TIMERS,
):
    """Return (trades of the replay, trades in Nautilus) over the catalog in `folder`.

    Asserted on the way: how many entries rested, crossed and were given up is the same.
    """
    dataset, program, rules = case_of(folder, genome, timers)
    replayed = replay_trades(dataset, program, rules)
    ends = replay(dataset, pack([program]), rules)[0]
    # The replay closes what is open at its last row; in Nautilus the market goes on to the last book.
    replayed = replayed[replayed["exit_kind"] != EXIT_KINDS.index("end")]
    last_ts_ns = dataset.path_ts_ns[dataset.row_event[-1]]
    path = folder / "genome.json"
    path.write_bytes(encode(genome))
    config = BacktestConfig(
        schema="apex.backtest/1",
        name="agreement",
        catalog=str(folder / "catalog"),
        agents=[
            AgentConfig(
                slot="a",
                instrument_id=genome.instrument_id,
                genome=str(path),
                legs=legs,
                reprice_s=timers.reprice_ns / SECOND,
                patience_s=timers.patience_ns / SECOND,
            )
        ],
        venue=VenueConfig(fills=fills),
    )
    result = run_backtest(config, write=False)
    (agent,) = result.agents
    assert agent.refusals == 0
    if genome.execution == "passive":
        # The replay ends at its last row, Nautilus at the last book.
        for how in ("rested", "crossed", "given_up"):
            assert 0 <= agent.reasons[how] - ends[f"n_{how}"] <= 1
    assert result.account_change == pytest.approx(agent.balance - agent.capital, abs=0.005)
    return replayed, [t for t in agent.trades if t.exit_ts_ns <= last_ts_ns]


def assert_same_trades(replayed, traded, tick: float) -> None:
    assert [t.side for t in traded] == replayed["side"].tolist()
    assert [t.entry_ts_ns for t in traded] == replayed["entry_ts_ns"].tolist()
    assert [t.exit_ts_ns for t in traded] == replayed["exit_ts_ns"].tolist()
    assert [t.exit_kind for t in traded] == [EXIT_KINDS[k] for k in replayed["exit_kind"]]
    assert [t.take_profit for t in traded] == replayed["take_profit"].tolist()
    assert [t.stop for t in traded] == replayed["stop"].tolist()
    assert [t.p for t in traded] == replayed["p"].tolist()
    np.testing.assert_allclose([t.entry_price for t in traded], replayed["entry_price"], rtol=0, atol=tick)
    np.testing.assert_allclose([t.exit_price for t in traded], replayed["exit_price"], rtol=0, atol=tick)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """Two and a half minutes of a simulated bitcoin market in a catalog."""
    folder = tmp_path_factory.mktemp("simulated")
    population = profile("BTCUSDT-LINEAR.SIM")
    tape = Market(population, seed=11).run(150 * SECOND)
    write_events(folder / "catalog", population.instrument, tape.events)
    return folder


@pytest.fixture(scope="module")
def wandering(tmp_path_factory) -> Path:
    """A rough random walk with thin levels."""
    folder = tmp_path_factory.mktemp("wandering")
    write_events(folder / "catalog", BTC, wandering_market(17, 4000))
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, root) -> Path:
    """Ninety seconds of Binance's bitcoin perpetual."""
    folder = tmp_path_factory.mktemp("recorded")
    capture = root / "tests" / "data" / "btcusdt_usdm_20240808.gz"
    import_binance_capture([capture], folder / "catalog", BTC.id)
    return folder


TIGHT = Bracket(stop=BpsStop(value=2.0), max_hold_s=3.0, reward_risk=8.0)
PATIENT = Bracket(stop=BpsStop(value=3.0), max_hold_s=30.0, reward_risk=5.0)
VOLATILE = Bracket(stop=VolatilityStop(multiple=4.0, window=20), max_hold_s=4.0, reward_risk=9.0)


@pytest.mark.parametrize("bracket", [TIGHT, PATIENT, VOLATILE], ids=["tight", "patient", "volatility"])
@pytest.mark.parametrize("clock", ["book", "1s"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_a_rough_market_every_trade_is_the_same(wandering, seed, clock, bracket):
    genome = make_genome(seed, BTC.id, clock, bracket, evolved=seed % 2 == 0)
    replayed, traded = both(wandering, genome)
    assert_same_trades(replayed, traded, BTC.tick)
    # Where no order walked beyond the five levels that the replay keeps, all of it is the same.
    np.testing.assert_allclose([t.quantity for t in traded], replayed["quantity"], rtol=0, atol=1e-9)
    np.testing.assert_allclose([t.equity for t in traded], replayed["equity_after"], rtol=0, atol=0.01)


@pytest.mark.parametrize("clock", ["book", "1s"])
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_on_a_simulated_market_every_trade_is_the_same(simulated, seed, clock):
    genome = make_genome(seed, "BTCUSDT-LINEAR.SIM", clock, TIGHT)
    replayed, traded = both(simulated, genome)
    assert_same_trades(replayed, traded, load_instrument(simulated / "catalog", "BTCUSDT-LINEAR.SIM").tick)


@pytest.mark.parametrize("clock", ["book", "1s"])
@pytest.mark.parametrize("seed", [8, 9, 10])
def test_on_a_recorded_market_every_trade_is_the_same(recorded, seed, clock):
    genome = make_genome(seed, BTC.id, clock, TIGHT)
    replayed, traded = both(recorded, genome)
    assert_same_trades(replayed, traded, BTC.tick)


@pytest.mark.parametrize("execution", ["aggressive", "passive"])
@pytest.mark.parametrize("clock", ["book", "1s"])
def test_on_spot_every_trade_is_the_same_long_and_paid_for(tmp_path, clock, execution):
    spot = msgspec.structs.replace(BTC, id="BTCUSDT.BINANCE", kind="spot")
    write_events(tmp_path / "catalog", spot, wandering_market(17, 4000))
    genome = make_genome(2, spot.id, clock, TIGHT, execution=execution)
    replayed, traded = both(tmp_path, genome)
    assert_same_trades(replayed, traded, spot.tick)
    assert len(traded) > 5
    assert {t.side for t in traded} == {1}
    equities = [200.0, *(t.equity for t in traded)]
    assert all(t.quantity * t.entry_price <= e for t, e in zip(traded, equities, strict=False))


HASTY = PassiveTimers(reprice_ns=200_000_000, patience_ns=1_500_000_000)
RESTING = [
    # market, seed, clock, bracket, timers
    ("wandering", 17, "book", TIGHT, PASSIVE_TIMERS),
    ("wandering", 2, "book", VOLATILE, HASTY),
    ("wandering", 34, "1s", TIGHT, HASTY),
    ("wandering", 5, "1s", PATIENT, PASSIVE_TIMERS),
    ("simulated", 5, "book", TIGHT, PASSIVE_TIMERS),
    ("simulated", 2, "1s", TIGHT, HASTY),
    ("recorded", 1, "book", TIGHT, HASTY),
    ("recorded", 2, "book", TIGHT, PASSIVE_TIMERS),
    ("recorded", 34, "book", TIGHT, PASSIVE_TIMERS),
    ("recorded", 17, "1s", TIGHT, PASSIVE_TIMERS),
]


@pytest.mark.parametrize(
    ("market", "seed", "clock", "bracket", "timers"), RESTING, ids=[f"{c[0]}-{c[1]}-{c[2]}" for c in RESTING]
)
def test_entries_that_rest_first_give_the_same_trades(market, seed, clock, bracket, timers, request):
    folder = request.getfixturevalue(market)
    instrument_id = "BTCUSDT-LINEAR.SIM" if market == "simulated" else BTC.id
    genome = make_genome(seed, instrument_id, clock, bracket, evolved=seed % 2 == 0, execution="passive")
    replayed, traded = both(folder, genome, timers=timers)
    assert len(traded) >= 10
    assert_same_trades(replayed, traded, load_instrument(folder / "catalog", instrument_id).tick)
    np.testing.assert_allclose([t.quantity for t in traded], replayed["quantity"], rtol=0, atol=1e-9)
    np.testing.assert_allclose([t.fees for t in traded], replayed["fees"], rtol=0, atol=1e-6)
    np.testing.assert_allclose([t.equity for t in traded], replayed["equity_after"], rtol=0, atol=0.01)


def test_the_entries_compared_end_every_way(wandering, recorded):
    ends = np.zeros(3, dtype=int)
    for market, seed, clock, bracket, timers in RESTING:
        if market != "simulated":
            genome = make_genome(seed, BTC.id, clock, bracket, evolved=seed % 2 == 0, execution="passive")
            folder = wandering if market == "wandering" else recorded
            dataset, program, rules = case_of(folder, genome, timers)
            result = replay(dataset, pack([program]), rules)[0]
            ends += [result["n_rested"], result["n_crossed"], result["n_given_up"]]
    assert ends.min() >= 5, ends


def test_enough_trades_of_every_kind_were_compared(wandering, recorded):
    """The comparisons above would pass on nothing; here is how much there is to compare."""
    kinds: dict[str, int] = {}
    for folder, seed, bracket in ((wandering, 1, PATIENT), (wandering, 2, PATIENT), (recorded, 8, TIGHT)):
        for trade in both(folder, make_genome(seed, BTC.id, "book", bracket))[1]:
            side = "long" if trade.side > 0 else "short"
            for key in (trade.exit_kind, side):
                kinds[key] = kinds.get(key, 0) + 1
    assert min(kinds.get(k, 0) for k in ("stop", "take_profit", "max_hold", "long", "short")) >= 3, kinds


def test_emulated_legs_leave_at_the_same_events(wandering):
    """The event is the same; a take-profit sent at the event takes liquidity, so price and fee are not."""
    genome = make_genome(1, BTC.id, "book", TIGHT)
    replayed, traded = both(wandering, genome, legs="emulated")
    n = len(traded)
    assert n > 20
    assert [t.entry_ts_ns for t in traded] == replayed["entry_ts_ns"][:n].tolist()
    assert [t.exit_ts_ns for t in traded] == replayed["exit_ts_ns"][:n].tolist()
    assert [t.exit_kind for t in traded] == [EXIT_KINDS[k] for k in replayed["exit_kind"][:n]]
