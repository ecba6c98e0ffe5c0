"""What venues say about their instruments, as far as recordings alone cannot tell it.

The table is Binance's exchange information and standard fee tier (no discounts) as of August 2024, for the
symbols that recordings and examples here use. Venues change ticks and minima; recordings of another time
bring their own, which `infer_instrument` reads off the data.
"""

from __future__ import annotations

import re

import numpy as np

from apex_nautilus.data.errors import DataError
from apex_nautilus.risk import InstrumentSpec

__all__ = [
    "BINANCE_PERPETUALS",
    "BINANCE_SPOT",
    "NO_LARGEST_ORDER",
    "binance_instrument",
    "infer_instrument",
    "parse_symbol",
]

# symbol: (price decimals, tick, size decimals, lot, smallest order, largest order, smallest notional)
BINANCE_PERPETUALS: dict[str, tuple[int, float, int, float, float, float, float]] = {
    "BTCUSDT": (1, 0.1, 3, 0.001, 0.001, 120.0, 100.0),
    "ETHUSDT": (2, 0.01, 3, 0.001, 0.001, 2000.0, 20.0),
    "SOLUSDT": (3, 0.001, 0, 1.0, 1.0, 5000.0, 5.0),
}
BINANCE_SPOT: dict[str, tuple[int, float, int, float, float, float, float]] = {
    # Sizes have eight decimals: books still hold orders older than today's lot.
    "BTCUSDT": (2, 0.01, 8, 0.00001, 0.00001, 9000.0, 5.0),
    "ETHUSDT": (2, 0.01, 8, 0.0001, 0.0001, 9000.0, 5.0),
    "SOLUSDT": (2, 0.01, 8, 0.001, 0.001, 90000.0, 5.0),
}
NO_LARGEST_ORDER = 1e9
"""Largest order where the venue's is not known: beyond what any book holds."""
_FEES = {"linear_perp": (0.0002, 0.0005), "spot": (0.001, 0.001)}
_DOLLAR_COINS = ("FDUSD", "BUSD", "TUSD")
_QUOTES = ("USDT", "USDC", *_DOLLAR_COINS, "BTC", "ETH", "BNB", "EUR", "USD")


def parse_symbol(instrument_id: str) -> tuple[str, str]:
    """Return (symbol, kind) of a Binance instrument id: ``BTCUSDT-PERP.BINANCE`` is ("BTCUSDT",
    "linear_perp").

    Raises
    ------
    DataError
        When the id is not ``SYMBOL-PERP.BINANCE`` or ``SYMBOL.BINANCE``; coin-margined contracts and
        contracts with an expiry are refused.
    """
    match = re.fullmatch(r"([A-Z0-9]+)(?:_(PERP|\d{6}))?(-PERP)?\.BINANCE", instrument_id)
    if match is None:
        raise DataError(
            f"instrument id {instrument_id!r}: expected SYMBOL-PERP.BINANCE for a perpetual or "
            f"SYMBOL.BINANCE for spot"
        )
    symbol, contract, perpetual = match.groups()
    # BTCUSD_PERP and BTCUSD_240927 are margined in bitcoin; spot pairs in dollars bear no suffix.
    if (contract or perpetual) and symbol.endswith("USD") and not symbol.endswith(_DOLLAR_COINS):
        raise DataError(
            f"instrument id {instrument_id!r}: coin-margined contracts are inverse (their profit is in the "
            "coin), which sizing and ledgers here do not count; import a recording of the USDT-margined "
            f"contract, {symbol}T-PERP.BINANCE"
        )
    if contract:
        raise DataError(
            f"instrument id {instrument_id!r}: contracts with an expiry are not supported; import the "
            f"perpetual, {symbol}-PERP.BINANCE"
        )
    return symbol, "linear_perp" if perpetual else "spot"


def _split(symbol: str) -> tuple[str, str]:
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    raise DataError(f"symbol {symbol!r} does not end in a known quote currency ({', '.join(_QUOTES)})")


def binance_instrument(instrument_id: str) -> InstrumentSpec:
    """Return the specification of a known Binance instrument.

    Raises
    ------
    DataError
        When the id is malformed or the symbol is not in the table.
    """
    symbol, kind = parse_symbol(instrument_id)
    table = BINANCE_PERPETUALS if kind == "linear_perp" else BINANCE_SPOT
    if symbol not in table:
        raise DataError(
            f"{instrument_id}: no tick and lot are known for {symbol} ({kind}); known are "
            f"{', '.join(sorted(table))}. "
            "Add a line to the table in apex_nautilus/data/instruments.py"
        )
    price_precision, tick, size_precision, lot, min_qty, max_qty, min_notional = table[symbol]
    base, quote = _split(symbol)
    maker, taker = _FEES[kind]
    return InstrumentSpec(
        id=instrument_id,
        base=base,
        quote=quote,
        kind=kind,
        price_precision=price_precision,
        size_precision=size_precision,
        tick=tick,
        lot=lot,
        min_qty=min_qty,
        max_qty=max_qty,
        min_notional=min_notional,
        maker_fee=maker,
        taker_fee=taker,
    )


def decimals(values: np.ndarray, most: int = 8) -> int:
    """Return the fewest decimals, at most `most`, that hold all `values`."""
    values = values[np.isfinite(values)]
    for places in range(most):
        scaled = values * 10.0**places
        if np.all(np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.maximum(1.0, np.abs(scaled))):
            return places
    return most


def infer_instrument(instrument_id: str, prices: np.ndarray, sizes: np.ndarray) -> InstrumentSpec:
    """Return a specification whose steps are read off recorded prices and sizes; fees are Binance's
    standard tier.

    The tick and lot are the smallest decimal place in use: right when it is in use at all, never too fine
    by more than the data are. The smallest notional is taken as 5 in quote units.
    """
    symbol, kind = parse_symbol(instrument_id)
    base, quote = _split(symbol)
    price_precision, size_precision = decimals(prices), decimals(sizes)
    maker, taker = _FEES[kind]
    return InstrumentSpec(
        id=instrument_id,
        base=base,
        quote=quote,
        kind=kind,
        price_precision=price_precision,
        size_precision=size_precision,
        tick=10.0**-price_precision,
        lot=10.0**-size_precision,
        min_qty=10.0**-size_precision,
        max_qty=NO_LARGEST_ORDER,
        min_notional=5.0,
        maker_fee=maker,
        taker_fee=taker,
    )
