"""The agent-based market: simulated events a second on one core.

An event is a message reaching the venue or an agent waking. All kinds of agents take part, with latency, loss
and accounts, and the tape is written. Three markets: that of the default profile (59 agents), one of 1,020
agents, and the first with a contender of 15 nodes on eight features in it. Peers stand in `market_peers`.
"""

from __future__ import annotations

from collections.abc import Iterator

from apex_nautilus.genome import Bracket, Genome, Platt, VolatilityStop, call, constant, feature
from apex_nautilus.sim import Contender, Market, Population, Tape, profile

from .harness import Row, alternate

__all__ = ["run"]

_FEATURES = (
    "ofi_1",
    "ofi_5",
    "ofi_10",
    "imbalance",
    "pressure",
    "spread_bps",
    "signed_volume_10s",
    "realised_volatility_10s",
)


def _contender(population: Population, clock: str, conflate_ms: int) -> Contender:
    """A genome of 15 nodes that trades now and then."""
    flow = call("add", call("mul", feature(0), feature(3)), call("add", feature(1), feature(2)))
    lean = call("sub", call("mul", feature(4), constant(2.0)), constant(1.0))
    genome = Genome(
        instrument_id=population.instrument.id,
        clock=clock,
        conflate_ms=conflate_ms,
        features=_FEATURES,
        signal=call("mul", call("add", flow, lean), constant(0.2)),
        confidence=constant(1.0),
        calibration=Platt(a=1.0, b=0.0),
        bracket=Bracket(stop=VolatilityStop(window=30, multiple=4.0), max_hold_s=120.0),
    )
    return Contender.of(genome, population.instrument)


def _crowded() -> Population:
    """A thousand agents of all kinds."""
    return profile("BTCUSDT-LINEAR.SIM").replace(
        noise_agents=900,
        makers=40,
        informed_agents=30,
        executors=30,
        momentum_agents=10,
        reversion_agents=10,
        limit_rate=80.0,
        market_rate=15.0,
    )


def _rate(
    name: str, population: Population, contenders: list[Contender], minutes: int, goal: float | None
) -> Row:
    rates = []
    duration_ns = minutes * 60_000_000_000
    for seed in range(6):
        market = Market(population, seed, contenders=contenders)
        before = market.run(1).stats.events  # birth and warm-up are not counted
        tapes: list[Tape] = []
        (timed,) = alternate(lambda m=market, t=tapes: t.append(m.run(duration_ns)), repeats=1, warm=False)
        rates.append((tapes[0].stats.events - before) / timed.median)
    rates = sorted(rates[1:])  # the first round compiles
    middle = rates[len(rates) // 2]
    return Row(
        name=f"{name}, {minutes} minutes of BTC, one core",
        unit="events/s",
        ours=middle,
        peer="none in the same run",
        theirs=None,
        ratio=None,
        goal="" if goal is None else f">= {goal:.0e} events/s",
        holds=None if goal is None else middle >= goal,
        same_work="no peer",
        repeats=len(rates),
        spread=(rates[-1] - rates[0]) / middle,
    )


def run(quick: bool) -> Iterator[Row]:
    usual = profile("BTCUSDT-LINEAR.SIM")
    minutes = 10 if quick else 60
    yield _rate("simulated market", usual, [], minutes, 8e6)
    yield _rate("simulated market, 1,020 agents", _crowded(), [], max(minutes // 6, 2), 6e6)
    for clock, conflate_ms in (("1s", 0), ("book", 100)):
        named = clock if not conflate_ms else f"{clock} conflated to {conflate_ms} ms"
        one = _contender(usual, clock, conflate_ms)
        yield _rate(f"simulated market with a contender, clock {named}", usual, [one], minutes, None)
