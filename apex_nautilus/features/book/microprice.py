"""How far the size-weighted mid lies from the mid."""

from __future__ import annotations

from apex_nautilus.features.kernel import ask_price, ask_size, bid_price, bid_size
from apex_nautilus.features.registry import FeatureSpec, Kernels, register


def _value(view, state):
    bid = bid_price(view, 0)
    ask = ask_price(view, 0)
    size_bid = bid_size(view, 0)
    size_ask = ask_size(view, 0)
    if size_bid + size_ask == 0 or bid < 0:
        return 0.0
    # (bid a1 + ask b1) / (a1 + b1) - (bid + ask) / 2, over the mid: only differences of integers are left.
    tilt = (size_bid - size_ask) / (size_bid + size_ask)
    return 10_000.0 * tilt * (ask - bid) / (ask + bid)


register(
    FeatureSpec(
        name="microprice_minus_mid_bps",
        kind="book",
        unit="bps",
        low=-10_000.0,
        high=10_000.0,
        inputs=("touch",),
        formula="1e4 ((bid a1 + ask b1) / (a1 + b1) - mid) / mid",
        source="Gatheral & Oomen 2010",
        kernels=Kernels(value=_value),
    )
)
