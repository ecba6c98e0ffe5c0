"""Coinbase's instruments: spot pairs, BTC-USD as Nautilus calls ``BTC-USD.COINBASE``.

The table is the venue's product list as far as recordings and examples here need it (GDAX in April 2018:
tick 0.01, smallest order 0.001 BTC, sizes with eight decimals). Fees are the taker's 0.3 % and the maker's 0
of that time; later ones are higher for small accounts.
"""

from __future__ import annotations

import re

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.steps import NO_LARGEST_ORDER
from apex_nautilus.risk import InstrumentSpec

__all__ = ["coinbase_instrument", "parse_coinbase_id"]

# product: (price decimals, size decimals, smallest order)
_PRODUCTS = {
    "BTC-USD": (2, 8, 0.001),
    "BTC-EUR": (2, 8, 0.001),
    "ETH-USD": (2, 8, 0.01),
    "ETH-BTC": (5, 8, 0.01),
    "LTC-USD": (2, 8, 0.1),
    "BCH-USD": (2, 8, 0.01),
}


def parse_coinbase_id(instrument_id: str) -> str:
    """Return the venue's product of an id: ``BTC-USD.COINBASE`` is BTC-USD.

    Raises
    ------
    DataError
        When the id is not ``BASE-QUOTE.COINBASE``.
    """
    match = re.fullmatch(r"([A-Z0-9]+-[A-Z0-9]+)\.COINBASE", instrument_id)
    if match is None:
        raise DataError(
            f"instrument id {instrument_id!r}: expected BASE-QUOTE.COINBASE, BTC-USD.COINBASE say"
        )
    return match[1]


def coinbase_instrument(instrument_id: str) -> InstrumentSpec:
    """Return the specification of a product; one that is not in the table has two price and eight size
    decimals, as dollar pairs have.

    Raises
    ------
    DataError
        When the id is malformed.
    """
    product = parse_coinbase_id(instrument_id)
    base, quote = product.split("-")
    price_precision, size_precision, least = _PRODUCTS.get(product, (2, 8, 0.0))
    return InstrumentSpec(
        id=instrument_id,
        base=base,
        quote=quote,
        kind="spot",
        price_precision=price_precision,
        size_precision=size_precision,
        tick=10.0**-price_precision,
        lot=10.0**-size_precision,
        min_qty=least,
        max_qty=NO_LARGEST_ORDER,
        min_notional=0.0,
        maker_fee=0.0,
        taker_fee=0.003,
    )
