"""Share of the displayed size that is on the bid side: at the touch, and over five levels."""

from __future__ import annotations

from apex_nautilus.features.kernel import ask_size, bid_size
from apex_nautilus.features.registry import FeatureSpec, Kernels, register


def _value(view, state):
    bids = 0
    asks = 0
    for level in range(state[0]):
        bids += bid_size(view, level)
        asks += ask_size(view, level)
    if bids + asks == 0:
        return 0.5
    return bids / (bids + asks)


for _name, _levels, _formula in (
    ("imbalance", 1, "b1 / (b1 + a1), sizes at the touch"),
    ("pressure", 5, "sum b1..b5 / (sum b1..b5 + sum a1..a5), sizes of the five best levels"),
):
    register(
        FeatureSpec(
            name=_name,
            kind="book",
            unit="ratio",
            low=0.0,
            high=1.0,
            neutral=0.5,
            inputs=("touch",) if _levels == 1 else ("levels",),
            formula=_formula,
            source="Gould & Bonart 2016, queue imbalance" if _levels == 1 else "Cao, Hansch & Wang 2009",
            kernels=Kernels(value=_value, state_size=1, parameters=(_levels,)),
        )
    )
