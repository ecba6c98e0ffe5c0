"""What a venue says about one instrument: precision, steps, limits and fees.

The engine-free twin of a Nautilus instrument. Prices and sizes travel as integers in units of
``10**-precision`` wherever they are stored (market events, datasets) and become floats by one division,
``units / 10**precision``, which is correctly rounded and therefore the same number everywhere. Nautilus's
own ``as_double()`` is not: its high-precision build rounds twice (60035.0 comes out as 60035.00000000001),
so prices and sizes are taken from it as integers or decimals, never as floats.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

KINDS = ("linear_perp", "spot", "inverse_perp")


def _whole_steps(value: float, precision: int, name: str, instrument_id: str) -> int:
    """Return `value` in units of ``10**-precision``; ValueError unless it is a positive whole number of
    them."""
    if not math.isfinite(value) or value <= 0.0:
        raise ValueError(f"instrument {instrument_id}: {name} must be a positive number, got {value!r}")
    units = round(value * 10**precision)
    if units < 1 or not math.isclose(units / 10**precision, value, rel_tol=1e-9):
        raise ValueError(
            f"instrument {instrument_id}: {name} {value!r} is not a whole number of 10**-{precision}; "
            f"raise the precision or mend the {name}"
        )
    return units


class InstrumentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tradable instrument, as far as a decision needs to know it.

    Parameters
    ----------
    id : str
        Nautilus instrument id, ``BTCUSDT-LINEAR.BYBIT``.
    base, quote : str
        Currency codes. Money (equity, fees, notional) is counted in `quote`.
    kind : {"linear_perp", "spot", "inverse_perp"}
        On spot a short signal only closes. An inverse perpetual is sized in contracts and settled in `base`:
        its data can be stored and looked at, decisions about money refuse it (`require_linear`).
    price_precision, size_precision : int
        Decimal places of prices and sizes, 0 to 16.
    tick, lot : float
        Smallest price and size step; whole numbers of ``10**-precision``.
    min_qty, max_qty : float
        Smallest and largest order size in base units; finite. With `min_qty` 0 the lot rules.
    min_notional : float
        Smallest order value in quote units; 0 where the venue has none.
    maker_fee, taker_fee : float
        Share of the notional, 0.0002 = 2 bps. Negative is a rebate.
    multiplier : float
        Quote units that one contract of an inverse perpetual stands for (100 for BTCUSD at Binance); 1 for
        every other kind.

    Raises
    ------
    ValueError
        When a field is outside its range; the message names the instrument and the field.
    """

    id: str
    base: str
    quote: str
    kind: Literal["linear_perp", "spot", "inverse_perp"] = "linear_perp"
    price_precision: int
    size_precision: int
    tick: float
    lot: float
    min_qty: float = 0.0
    max_qty: float = 1e12
    min_notional: float = 0.0
    maker_fee: float = 0.0
    taker_fee: float = 0.0
    multiplier: float = 1.0

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("instrument: id is empty")
        if self.kind not in KINDS:
            raise ValueError(f"instrument {self.id}: kind {self.kind!r} is not one of {', '.join(KINDS)}")
        for name in ("price_precision", "size_precision"):
            value = getattr(self, name)
            if not 0 <= value <= 16:
                raise ValueError(f"instrument {self.id}: {name} must be in 0..16, got {value!r}")
        _whole_steps(self.tick, self.price_precision, "tick", self.id)
        _whole_steps(self.lot, self.size_precision, "lot", self.id)
        for name in ("min_qty", "min_notional"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0.0:
                raise ValueError(
                    f"instrument {self.id}: {name} must be finite and not negative, got {value!r}"
                )
        if not math.isfinite(self.max_qty) or self.max_qty <= 0.0 or self.max_qty < self.min_qty:
            raise ValueError(
                f"instrument {self.id}: max_qty must be finite, positive and not below "
                f"min_qty {self.min_qty!r}, got {self.max_qty!r}"
            )
        for name in ("maker_fee", "taker_fee"):
            value = getattr(self, name)
            if not math.isfinite(value) or not -0.01 <= value <= 0.1:
                raise ValueError(
                    f"instrument {self.id}: {name} is a share of the notional in [-0.01, 0.1], got {value!r}"
                )
        if not math.isfinite(self.multiplier) or self.multiplier <= 0.0:
            raise ValueError(
                f"instrument {self.id}: multiplier must be finite and positive, got {self.multiplier!r}"
            )
        if self.multiplier != 1.0 and not self.is_inverse:
            raise ValueError(
                f"instrument {self.id}: multiplier is the size of a contract of an inverse perpetual; a "
                f"{self.kind} has 1, got {self.multiplier!r}"
            )

    @property
    def tick_units(self) -> int:
        """The tick in units of ``10**-price_precision``."""
        return _whole_steps(self.tick, self.price_precision, "tick", self.id)

    @property
    def lot_units(self) -> int:
        """The lot in units of ``10**-size_precision``."""
        return _whole_steps(self.lot, self.size_precision, "lot", self.id)

    @property
    def is_spot(self) -> bool:
        """Whether a position can only be long."""
        return self.kind == "spot"

    @property
    def is_inverse(self) -> bool:
        """Whether sizes are contracts and profit is paid in the base currency."""
        return self.kind == "inverse_perp"

    @property
    def settlement(self) -> str:
        """Code of the currency that profit and fees are paid in."""
        return self.base if self.is_inverse else self.quote

    def price(self, units: int) -> float:
        """Return the float price of `units` of ``10**-price_precision``."""
        return units / 10**self.price_precision

    def size(self, units: int) -> float:
        """Return the float size of `units` of ``10**-size_precision``."""
        return units / 10**self.size_precision


def require_linear(instrument: InstrumentSpec, purpose: str) -> None:
    """Refuse an instrument whose profit is not size times price difference in the quote currency.

    Parameters
    ----------
    instrument : InstrumentSpec
        Anything but an inverse perpetual passes.
    purpose : str
        What would be counted wrongly, for the message: ``"sizing"``.

    Raises
    ------
    ValueError
        When it is an inverse perpetual.
    """
    if instrument.is_inverse:
        raise ValueError(
            f"instrument {instrument.id}: {purpose} of an inverse (coin-margined) contract is not supported: "
            f"its profit is in {instrument.base}, and all money here is counted in the quote currency. Its "
            "data serve for features and datasets; trade the linear contract of the same coin"
        )
