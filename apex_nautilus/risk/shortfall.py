"""What a fill cost beyond its fee: half the spread, and what the market moved away, to the last cent.

Each fill is held against the price that its order was decided on, its *reference*:

==============  ==========================  ===================================
order           reference                   the parts, side x quantity x
==============  ==========================  ===================================
at market       mid when it was sent        spread: touch - mid; slippage: price - touch
stop            its trigger                 slippage: price - trigger
resting limit   its limit                   slippage: price - limit
==============  ==========================  ===================================

The touch is the one that the agent saw when it sent the order: on a network that is not the one at the venue,
and what the difference costs is slippage. All parts are signed, positive where they cost; a fill at a better
price than asked for has a negative one.

The parts and the fees of a trade add up to its implementation shortfall (Perold 1988): what it would have
earned at the reference prices, less what it did.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["FillCost", "fill_cost"]


class FillCost(NamedTuple):
    """A fill beside the price that its order was decided on.

    Attributes
    ----------
    reference : float
        Price of the decision; see the module.
    spread, slippage : float
        Quote units, positive where they cost.
    """

    reference: float
    spread: float
    slippage: float


def fill_cost(
    side: int,
    quantity: float,
    price: float,
    *,
    asked: float = math.nan,
    bid: float = math.nan,
    ask: float = math.nan,
) -> FillCost:
    """Split the cost of one fill.

    Parameters
    ----------
    side : int
        +1 bought, -1 sold.
    quantity : float
        Base units, positive.
    price : float
        Of the fill.
    asked : float
        Trigger of a stop or limit of a resting order; NaN for an order at market.
    bid, ask : float
        Touch when an order at market was sent.

    Returns
    -------
    FillCost
        NaN throughout where neither `asked` nor the touch is known.

    Raises
    ------
    ValueError
        When `side` is not +1 or -1, or `quantity` or `price` is not positive.
    """
    if side not in (1, -1):
        raise ValueError(f"fill_cost: side must be +1 or -1, got {side!r}")
    if not (quantity > 0.0 and price > 0.0):
        raise ValueError(f"fill_cost: quantity and price must be positive, got {quantity!r}, {price!r}")
    if not math.isnan(asked):
        return FillCost(asked, 0.0, side * (price - asked) * quantity)
    mid = 0.5 * (bid + ask)
    touch = ask if side > 0 else bid
    return FillCost(mid, side * (touch - mid) * quantity, side * (price - touch) * quantity)
