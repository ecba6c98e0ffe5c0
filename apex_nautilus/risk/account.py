"""The arithmetic of one agent's account: fills in; position, realised profit, fees, funding and equity out.

Average-price accounting, as Nautilus positions keep it. The position is counted in whole size units, so that
flat is exactly flat; money is float64. Nothing here knows an engine: the arena feeds it fills, the replay
walks the same kernels.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: State of one account. `position_units` is signed (+ long) in units of ``1 / size_scale``; `average_price`
#: is of the open position, 0 when flat; money in quote units: `capital` put in, `realised` before fees and
#: funding, `fees` paid (a rebate lowers them), `funding` received.
ACCOUNT = np.dtype(
    [
        ("position_units", "i8"),
        ("average_price", "f8"),
        ("size_scale", "f8"),
        ("capital", "f8"),
        ("realised", "f8"),
        ("fees", "f8"),
        ("funding", "f8"),
        ("n_fills", "i8"),
    ],
    align=True,
)


@njit(cache=True, error_model="numpy")
def fill_kernel(account, direction: int, units: int, price: float, fee: float) -> float:
    """Book one fill into the `ACCOUNT` record, return the profit it realised before fees.

    A fill against the position closes it first at its average price; what is left opens the other side at
    `price`.
    """
    held = account.position_units
    signed = direction * units
    realised = 0.0
    if held == 0 or (held > 0) == (signed > 0):
        total = abs(held) + units
        if held == 0:
            account.average_price = price
        else:
            account.average_price = (abs(held) * account.average_price + units * price) / total
    else:
        closed = min(abs(held), units)
        sign = 1.0 if held > 0 else -1.0
        realised = sign * (closed / account.size_scale) * (price - account.average_price)
        if units > closed:
            account.average_price = price
        elif units == abs(held):
            account.average_price = 0.0
    account.position_units = held + signed
    account.realised += realised
    account.fees += fee
    account.n_fills += 1
    return realised


@njit(cache=True, error_model="numpy")
def unrealised_kernel(account, bid: float, ask: float) -> float:
    """Return the profit of closing the open position at the touch, before fees; 0 when flat, whatever the
    touch."""
    held = account.position_units
    if held > 0:
        return (held / account.size_scale) * (bid - account.average_price)
    if held < 0:
        return (held / account.size_scale) * (ask - account.average_price)
    return 0.0


@njit(cache=True, error_model="numpy")
def balance_kernel(account) -> float:
    """Return capital plus realised profit net of fees and funding: the equity of a flat account."""
    return account.capital + (account.realised - account.fees + account.funding)


class AgentAccount:
    """One agent's ledger: its own capital, position and equity, from its own fills alone.

    Life cycle: made at birth with its capital; `fill` for every fill of the agent's orders, `fund` for every
    funding payment, in any number; `equity` whenever it is marked.

    Parameters
    ----------
    capital : float
        Money at birth, quote units, positive.
    size_precision : int
        Decimal places of sizes on the instrument.

    Raises
    ------
    ValueError
        When `capital` is not finite and positive or `size_precision` is outside 0..16.
    """

    __slots__ = ("_balance", "_scale", "_state", "_units")

    def __init__(self, capital: float = 200.0, *, size_precision: int) -> None:
        if not (math.isfinite(capital) and capital > 0.0):
            raise ValueError(f"AgentAccount: capital must be finite and positive, got {capital!r}")
        if not 0 <= size_precision <= 16:
            raise ValueError(f"AgentAccount: size_precision must be in 0..16, got {size_precision!r}")
        self._scale = float(10**size_precision)
        self._state = np.zeros(1, dtype=ACCOUNT)[0]
        self._state["capital"] = capital
        self._state["size_scale"] = self._scale
        # Read at every row and mark, changed by fills and funding alone.
        self._balance = balance_kernel(self._state)
        self._units = 0

    def fill(self, direction: int, quantity: float, price: float, fee: float = 0.0) -> float:
        """Book one fill.

        Parameters
        ----------
        direction : int
            +1 bought, -1 sold.
        quantity : float
            Base units, positive, a whole number of ``10**-size_precision``.
        price : float
            Fill price.
        fee : float
            Commission paid, quote units; negative for a rebate.

        Returns
        -------
        float
            Profit realised by this fill, before its fee; 0.0 where it opened or added.

        Raises
        ------
        ValueError
            When an argument is outside its range; the account is then unchanged.
        """
        if direction not in (1, -1):
            raise ValueError(f"AgentAccount.fill: direction must be +1 or -1, got {direction!r}")
        if not (math.isfinite(price) and price > 0.0 and math.isfinite(fee)):
            raise ValueError(
                f"AgentAccount.fill: need a positive price and a finite fee, got {price!r}, {fee!r}"
            )
        if not (math.isfinite(quantity) and quantity > 0.0):
            raise ValueError(f"AgentAccount.fill: quantity must be finite and positive, got {quantity!r}")
        units = round(quantity * self._scale)
        if units < 1 or abs(units / self._scale - quantity) > 1e-9 * max(1.0, quantity):
            raise ValueError(
                f"AgentAccount.fill: quantity {quantity!r} is not a whole number of "
                f"1/{self._scale:g} base units"
            )
        realised = fill_kernel(self._state, direction, units, float(price), float(fee))
        self._balance = balance_kernel(self._state)
        self._units = int(self._state["position_units"])
        return realised

    def fund(self, amount: float) -> None:
        """Book a funding payment, quote units, positive when received.

        Raises
        ------
        ValueError
            When `amount` is not finite.
        """
        if not math.isfinite(amount):
            raise ValueError(f"AgentAccount.fund: amount must be finite, got {amount!r}")
        self._state["funding"] += amount
        self._balance = balance_kernel(self._state)

    def unrealised(self, bid: float, ask: float) -> float:
        """Profit of closing at the touch: a long at the bid, a short at the ask; before the closing fee.

        0.0 when flat; NaN where the touch it would close on is NaN.
        """
        return unrealised_kernel(self._state, float(bid), float(ask))

    def equity(self, bid: float, ask: float) -> float:
        """Capital + realised - fees + funding + unrealised at the touch it would close on, quote units."""
        if self._units == 0:
            return self._balance
        return self._balance + unrealised_kernel(self._state, float(bid), float(ask))

    @property
    def balance(self) -> float:
        """Capital + realised - fees + funding: equity without the open position."""
        return self._balance

    @property
    def position(self) -> float:
        """Signed position in base units; exactly 0.0 when flat."""
        return self._units / self._scale

    @property
    def position_units(self) -> int:
        """Signed position in units of ``10**-size_precision``."""
        return self._units

    @property
    def is_flat(self) -> bool:
        """Whether no position is open."""
        return self._units == 0

    @property
    def average_price(self) -> float:
        """Average entry price of the open position; 0.0 when flat."""
        return float(self._state["average_price"])

    @property
    def capital(self) -> float:
        """Money at birth."""
        return float(self._state["capital"])

    @property
    def realised(self) -> float:
        """Realised profit before fees and funding."""
        return float(self._state["realised"])

    @property
    def fees(self) -> float:
        """Commissions paid, net of rebates."""
        return float(self._state["fees"])

    @property
    def funding(self) -> float:
        """Funding received, net of what was paid."""
        return float(self._state["funding"])

    @property
    def n_fills(self) -> int:
        """Number of fills booked."""
        return int(self._state["n_fills"])
