"""Width of the spread."""

from __future__ import annotations

from apex_nautilus.features.kernel import ask_price, bid_price
from apex_nautilus.features.registry import FeatureSpec, Kernels, register


def _value(view, state):
    bid = bid_price(view, 0)
    ask = ask_price(view, 0)
    if bid < 0:  # a spread of contracts may be; a share of such a mid says nothing
        return 0.0
    return 20_000.0 * (ask - bid) / (ask + bid)


register(
    FeatureSpec(
        name="spread_bps",
        kind="book",
        unit="bps",
        low=0.0,
        high=20_000.0,
        inputs=("touch",),
        formula="1e4 (ask - bid) / mid",
        source="quoted spread, Harris 2003",
        kernels=Kernels(value=_value),
    )
)
