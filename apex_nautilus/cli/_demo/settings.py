"""Sizes of the demonstration, and the population of its turbulent hours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from apex_nautilus.sim import PARAMETERS, Population, profile

__all__ = ["FEATURES", "INSTRUMENTS", "DemoSettings", "turbulent"]

INSTRUMENTS = ("BTCUSDT-LINEAR.SIM", "ETHUSDT-LINEAR.SIM", "SOLUSDT-LINEAR.SIM")

#: What the demonstration's genomes may see.
FEATURES = (
    "imbalance",
    "pressure",
    "clv",
    "ofi_1",
    "ofi_5",
    "microprice_minus_mid_bps",
    "spread_bps",
    "signed_volume_10s",
    "signed_volume_60s",
    "realised_volatility_60s",
)


@dataclass(frozen=True)
class DemoSettings:
    """How much the demonstration does.

    Attributes
    ----------
    seed : of every random number.
    history_minutes : of each simulated market, before the arena opens; the Forge sees these alone.
    arena_minutes : that the arena trades.
    population, generations : of each of the studies.
    turbulence : factor on every distance in basis points of the simulated markets' populations.
    worker_wait_s : wall seconds that the arena waits for a replacement.
    """

    seed: int = 7
    history_minutes: float = 240.0
    arena_minutes: float = 60.0
    population: int = 80
    generations: int = 8
    turbulence: float = 5.0
    worker_wait_s: float = 180.0


def turbulent(instrument_id: str, factor: float) -> Population:
    """The default population of a simulated market with every distance in basis points times `factor`.

    Prices, spreads and opinions move `factor` times as far while arrivals and sizes stay, so the market is
    the same in
    all but its unit of price; only the fees weigh less. It lets an hour hold what a calm market shows in
    days.
    """
    calm = profile(instrument_id)
    scaled = {
        row.name: min(getattr(calm, row.name) * factor, row.high)
        for row in PARAMETERS
        if row.unit.startswith("bps")
    }
    return replace(calm, **scaled)
