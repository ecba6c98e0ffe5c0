"""A Nautilus instrument as the numbers that a decision needs."""

from __future__ import annotations

import math

from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair, Instrument

from apex_nautilus.risk import InstrumentSpec

__all__ = ["spec_of"]


def spec_of(instrument: Instrument) -> InstrumentSpec:
    """Return the `InstrumentSpec` of a Nautilus instrument.

    Linear perpetuals and spot pairs are understood.

    Raises
    ------
    ValueError
        When the instrument is inverse, has a multiplier, or is of another kind: its profit is not quantity
        times price difference in the quote currency, and every decision of `risk` counts on that.
    """
    if not isinstance(instrument, CryptoPerpetual | CurrencyPair):
        raise ValueError(
            f"instrument {instrument.id}: {type(instrument).__name__} is not supported "
            "(known: CryptoPerpetual, CurrencyPair)"
        )
    if instrument.is_inverse:
        raise ValueError(f"instrument {instrument.id}: inverse contracts are not supported; use a linear one")
    if float(instrument.multiplier.as_decimal()) != 1.0:
        raise ValueError(
            f"instrument {instrument.id}: multiplier {instrument.multiplier} is not supported, it must be 1"
        )
    minimum, maximum, notional = instrument.min_quantity, instrument.max_quantity, instrument.min_notional
    return InstrumentSpec(
        id=instrument.id.value,
        base=instrument.base_currency.code,
        quote=instrument.quote_currency.code,
        kind="linear_perp" if isinstance(instrument, CryptoPerpetual) else "spot",
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
        tick=float(instrument.price_increment.as_decimal()),
        lot=float(instrument.size_increment.as_decimal()),
        min_qty=0.0 if minimum is None else float(minimum.as_decimal()),
        max_qty=math.inf if maximum is None else float(maximum.as_decimal()),
        min_notional=0.0 if notional is None else float(notional.as_decimal()),
        maker_fee=float(instrument.maker_fee),
        taker_fee=float(instrument.taker_fee),
    )
