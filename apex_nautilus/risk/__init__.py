"""Decisions about money, as pure functions on numbers: size, bracket, cost, account.

In: what a venue says about an instrument, what a genome wants, the touch, the agent's equity. Out: an order
(side, quantity, take-profit, stop) or a reason why there is none, and the arithmetic of an agent's account.
No engine, no clock, no file. Every decision is a numba kernel (`*_kernel`), called alike by the replay, the
simulator and live; the plain names are their documented, checking faces.
"""

from apex_nautilus.risk.account import (
    ACCOUNT,
    AgentAccount,
    balance_kernel,
    fill_kernel,
    unrealised_kernel,
)
from apex_nautilus.risk.bracket import (
    MidWindow,
    bracket_prices,
    bracket_units_kernel,
    log_return_deviation_kernel,
    stop_distance,
    stop_distance_kernel,
)
from apex_nautilus.risk.costs import (
    NO_DEPTH,
    WALK_LEVELS,
    round_trip_cost,
    round_trip_cost_kernel,
    walk,
    walk_kernel,
)
from apex_nautilus.risk.decision import (
    BELOW_MINIMUM,
    BRACKET_OUT_OF_RANGE,
    NO_BOOK,
    NO_EDGE,
    NO_SIGNAL,
    ORDER,
    REASONS,
    RUINED,
    SHORT_ON_SPOT,
    STOP_INSIDE_SPREAD,
    WARMING_UP,
    Decision,
    decide,
    decide_kernel,
    ruined_kernel,
)
from apex_nautilus.risk.instrument import InstrumentSpec
from apex_nautilus.risk.kelly import (
    STAKE_NOTIONAL,
    STAKE_RISK,
    half_kelly,
    kelly,
    kelly_kernel,
    net_reward_risk,
    net_reward_risk_kernel,
    quantity,
    quantity_units_kernel,
    uncertainty_shrink,
    uncertainty_shrink_kernel,
)
from apex_nautilus.risk.rules import RULES, calibrate_kernel, rules_array, trading_rules

__all__ = [
    "ACCOUNT",
    "BELOW_MINIMUM",
    "BRACKET_OUT_OF_RANGE",
    "NO_BOOK",
    "NO_DEPTH",
    "NO_EDGE",
    "NO_SIGNAL",
    "ORDER",
    "REASONS",
    "RUINED",
    "RULES",
    "SHORT_ON_SPOT",
    "STAKE_NOTIONAL",
    "STAKE_RISK",
    "STOP_INSIDE_SPREAD",
    "WALK_LEVELS",
    "WARMING_UP",
    "AgentAccount",
    "Decision",
    "InstrumentSpec",
    "MidWindow",
    "balance_kernel",
    "bracket_prices",
    "bracket_units_kernel",
    "calibrate_kernel",
    "decide",
    "decide_kernel",
    "fill_kernel",
    "half_kelly",
    "kelly",
    "kelly_kernel",
    "log_return_deviation_kernel",
    "net_reward_risk",
    "net_reward_risk_kernel",
    "quantity",
    "quantity_units_kernel",
    "round_trip_cost",
    "round_trip_cost_kernel",
    "ruined_kernel",
    "rules_array",
    "stop_distance",
    "stop_distance_kernel",
    "trading_rules",
    "uncertainty_shrink",
    "uncertainty_shrink_kernel",
    "unrealised_kernel",
    "walk",
    "walk_kernel",
]
