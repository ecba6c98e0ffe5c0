"""What venues say about their instruments, as far as recordings alone cannot tell it.

The door to `venues`: each module there knows one venue's ids, steps, limits and fees.
"""

from __future__ import annotations

from apex_nautilus.data.steps import NO_LARGEST_ORDER, decimals
from apex_nautilus.data.venues.binance import (
    BINANCE_COIN_PERPETUALS,
    BINANCE_PERPETUALS,
    BINANCE_SPOT,
    binance_instrument,
    exchange_info_instrument,
    infer_instrument,
    parse_symbol,
    raw_symbol,
)

__all__ = [
    "BINANCE_COIN_PERPETUALS",
    "BINANCE_PERPETUALS",
    "BINANCE_SPOT",
    "NO_LARGEST_ORDER",
    "binance_instrument",
    "decimals",
    "exchange_info_instrument",
    "infer_instrument",
    "parse_symbol",
    "raw_symbol",
]
