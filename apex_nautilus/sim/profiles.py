"""Simulated markets to start from: what is traded, where it opens, and who trades.

The venue is called SIM. Ticks, lots and the smallest order are those of the large perpetual exchanges; fees
are 0 for makers and 1 bp for takers, about what their best clients pay, and a field of the instrument like
any other.
"""

from collections.abc import Callable

from ..risk import InstrumentSpec
from .population import Population

__all__ = ["PROFILES", "profile"]


def _perpetual(
    base: str, tick: float, price_precision: int, lot: float, size_precision: int
) -> InstrumentSpec:
    return InstrumentSpec(
        id=f"{base}USDT-LINEAR.SIM",
        base=base,
        quote="USDT",
        kind="linear_perp",
        price_precision=price_precision,
        size_precision=size_precision,
        tick=tick,
        lot=lot,
        min_qty=lot,
        max_qty=1_000_000 * lot,
        min_notional=5.0,
        maker_fee=0.0,
        taker_fee=0.0001,
    )


def _bitcoin() -> Population:
    """Deep and calm; a tick of 0.017 bps, so the spread is many ticks and the ladder sparse."""
    return Population(instrument=_perpetual("BTC", 0.1, 1, 0.001, 3), start_price=60_000.0)


def _ether() -> Population:
    """Livelier; a tick of 0.04 bps."""
    return Population(
        instrument=_perpetual("ETH", 0.01, 2, 0.001, 3),
        start_price=2_600.0,
        value_volatility_bps=1.9,
        maker_half_spread_bps=1.0,
        maker_step_bps=1.0,
        size_usd=1500.0,
    )


def _solana() -> Population:
    """The liveliest; a tick of 0.67 bps, so the spread is a few ticks and queues are long."""
    return Population(
        instrument=_perpetual("SOL", 0.01, 2, 0.01, 2),
        start_price=150.0,
        value_volatility_bps=2.4,
        maker_half_spread_bps=1.2,
        maker_step_bps=1.2,
        size_usd=1000.0,
    )


PROFILES: dict[str, Callable[[], Population]] = {
    "BTCUSDT-LINEAR.SIM": _bitcoin,
    "ETHUSDT-LINEAR.SIM": _ether,
    "SOLUSDT-LINEAR.SIM": _solana,
}


def profile(instrument_id: str) -> Population:
    """Return the default population of a simulated market.

    Raises KeyError naming the known markets when there is none of that id.
    """
    try:
        return PROFILES[instrument_id]()
    except KeyError:
        raise KeyError(f"no simulated market {instrument_id!r} (known: {', '.join(PROFILES)})") from None
