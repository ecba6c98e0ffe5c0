"""Where in the spread the last trade was: close location value on the touch."""

from __future__ import annotations

from apex_nautilus.features.kernel import TRADE_COUNT, TRADE_PRICE, ask_price, bid_price
from apex_nautilus.features.registry import FeatureSpec, Kernels, register


def _value(view, state):
    bid = bid_price(view, 0)
    spread = ask_price(view, 0) - bid
    if view[TRADE_COUNT] == 0 or spread <= 0:
        return 0.5
    from_bid = view[TRADE_PRICE] - bid
    return min(max(from_bid, 0), spread) / spread


register(
    FeatureSpec(
        name="clv",
        kind="book",
        unit="ratio",
        low=0.0,
        high=1.0,
        neutral=0.5,
        inputs=("touch", "trades"),
        warmup_trades=1,
        formula="(last trade - bid) / (ask - bid), clipped to [0, 1]",
        source="Chaikin's close location value, on the spread in place of a bar's range",
        kernels=Kernels(value=_value),
    )
)
