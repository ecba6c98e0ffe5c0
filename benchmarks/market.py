"""The agent-based market: simulated events a second on one core.

The peers of this field (ABIDES, MAXE) are not on the package index, so no peer runs beside ours; the goal is
a rate. An event is a message reaching the venue or an agent waking. All kinds of agents take part, with
latency, loss and accounts, and the tape is written.
"""

from __future__ import annotations

from collections.abc import Iterator

from apex_nautilus.sim import Market, Tape, profile

from .harness import Row, alternate

__all__ = ["run"]

_GOAL = 8e6


def run(quick: bool) -> Iterator[Row]:
    population = profile("BTCUSDT-LINEAR.SIM")
    duration_ns = (10 if quick else 60) * 60_000_000_000
    rates = []
    for seed in range(6):
        market = Market(population, seed)
        before = market.run(1).stats.events  # birth and warm-up are not counted
        tapes: list[Tape] = []
        (timed,) = alternate(lambda m=market, t=tapes: t.append(m.run(duration_ns)), repeats=1, warm=False)
        rates.append((tapes[0].stats.events - before) / timed.median)
    rates = sorted(rates[1:])  # the first round compiles
    middle = rates[len(rates) // 2]
    yield Row(
        name=f"simulated market, {duration_ns // 60_000_000_000} minutes of BTC, one core",
        unit="events/s",
        ours=middle,
        peer="none on the package index",
        theirs=None,
        ratio=None,
        goal=f">= {_GOAL:.0e} events/s",
        holds=middle >= _GOAL,
        same_work="no peer",
        repeats=len(rates),
        spread=(rates[-1] - rates[0]) / middle,
    )
