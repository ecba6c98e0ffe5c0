"""Kelly's fraction for a bracket bet, and the order quantity that stakes it.

A bracket wins `b` times what it loses, so Kelly's (1956) share of equity to put at risk is ``f* = (b p - q) /
b``. Costs are paid on both outcomes: they lower the win and deepen the loss, ``b_net = (reward - cost) /
(risk + cost)``.
"""

from __future__ import annotations

import math

from numba import njit

from apex_nautilus.risk.rounding import floor_units_kernel

STAKE_RISK = 0
STAKE_NOTIONAL = 1


@njit(cache=True, error_model="numpy")
def kelly_kernel(p: float, reward_risk: float) -> float:
    """Return f* = (b p - q) / b, or 0 where it is not positive, `p` is not in [0, 1] or b is not positive."""
    if not (p >= 0.0 and p <= 1.0 and reward_risk > 0.0 and math.isfinite(reward_risk)):
        return 0.0
    fraction = (reward_risk * p - (1.0 - p)) / reward_risk
    return fraction if fraction > 0.0 else 0.0


@njit(cache=True, error_model="numpy")
def net_reward_risk_kernel(reward: float, risk: float, cost: float) -> float:
    """Return (reward - cost) / (risk + cost), or 0 where nothing is left to win or nothing is risked."""
    win = reward - cost
    loss = risk + cost
    if not (win > 0.0 and loss > 0.0):
        return 0.0
    return win / loss


@njit(cache=True, error_model="numpy")
def quantity_units_kernel(
    equity: float,
    fraction: float,
    stake: int,
    risk_per_unit: float,
    touch: float,
    multiplier: float,
    max_leverage: float,
    genome_min_qty: float,
    genome_max_qty: float,
    venue_min_qty: float,
    venue_max_qty: float,
    min_notional: float,
    lot_units: int,
    size_scale: float,
) -> int:
    """Return the order size in size units, 0 where it would be below the venue's smallest order.

    See `quantity` for the rule. NaN or non-positive money, fraction, multiplier or price give 0.
    """
    if not (equity > 0.0 and fraction > 0.0 and touch > 0.0 and multiplier > 0.0):
        return 0
    per_unit = touch if stake == STAKE_NOTIONAL else risk_per_unit
    if not (per_unit > 0.0 and math.isfinite(per_unit)):
        return 0
    wanted = equity * fraction / per_unit * multiplier
    cap = min(equity * max_leverage / touch, venue_max_qty)
    wanted = min(wanted, cap)
    if not wanted > 0.0:
        return 0
    # The genome's bounds come after Kelly and the caps; a lower bound may lift a bet, never past the caps.
    wanted = max(wanted, genome_min_qty)
    if genome_max_qty > 0.0:
        wanted = min(wanted, genome_max_qty)
    wanted = min(wanted, cap)
    units = floor_units_kernel(wanted, lot_units, size_scale)
    size = units / size_scale
    if units <= 0 or size < venue_min_qty or size * touch < min_notional:
        return 0
    return units


@njit(cache=True, error_model="numpy")
def uncertainty_shrink_kernel(sharpe: float, n_observations: float) -> float:
    """Return T SR^2 / (1 + T SR^2), the share of f* that a Sharpe ratio known from T observations
    deserves."""
    strength = n_observations * sharpe * sharpe
    if not strength > 0.0:
        return 0.0
    return strength / (1.0 + strength)


def _check_probability(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"kelly: p is a probability in [0, 1], got {p!r}")


def _check_positive(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"kelly: {name} must be finite and positive, got {value!r}")


def kelly(p: float, reward_risk: float) -> float:
    """Share of equity to put at risk on a bracket bet, f* = (b p - q) / b (Kelly 1956); 0 without an edge.

    Parameters
    ----------
    p : float
        Probability in [0, 1] that the take-profit is hit before the stop.
    reward_risk : float
        b > 0, what a win pays for each unit that a loss costs; net of cost, see `net_reward_risk`.

    Raises
    ------
    ValueError
        When `p` is outside [0, 1] or NaN, or `reward_risk` is not finite and positive.
    """
    _check_probability(p)
    _check_positive(reward_risk, "reward_risk")
    return kelly_kernel(p, reward_risk)


def half_kelly(p: float, reward_risk: float, kelly_fraction: float = 0.5) -> float:
    """Share of equity to put at risk, f* scaled by `kelly_fraction`; 0 where the edge is not positive.

    Half of Kelly keeps three quarters of its growth, and lets equity double before it halves eight times in
    nine.

    Parameters
    ----------
    p : float
        Probability in [0, 1] that the take-profit is hit before the stop.
    reward_risk : float
        b > 0, net of cost.
    kelly_fraction : float
        Share of f* to bet, in [0, 1].

    Raises
    ------
    ValueError
        When a parameter is outside its range or NaN.
    """
    if not 0.0 <= kelly_fraction <= 1.0:
        raise ValueError(f"kelly: kelly_fraction must be in [0, 1], got {kelly_fraction!r}")
    return kelly_fraction * kelly(p, reward_risk)


def net_reward_risk(reward: float, risk: float, cost: float = 0.0) -> float:
    """Reward to risk after costs, (reward - cost) / (risk + cost), all in price units; 0 when the cost eats
    the win.

    Raises
    ------
    ValueError
        When reward or risk is not finite and positive, or cost is negative or not finite.
    """
    _check_positive(reward, "reward")
    _check_positive(risk, "risk")
    if not (math.isfinite(cost) and cost >= 0.0):
        raise ValueError(f"kelly: cost must be finite and not negative, got {cost!r}")
    return net_reward_risk_kernel(reward, risk, cost)


def quantity(
    equity: float,
    fraction: float,
    *,
    touch: float,
    risk_per_unit: float,
    stake: int = STAKE_RISK,
    multiplier: float = 1.0,
    max_leverage: float = 10.0,
    genome_min_qty: float = 0.0,
    genome_max_qty: float = 0.0,
    venue_min_qty: float = 0.0,
    venue_max_qty: float = math.inf,
    min_notional: float = 0.0,
    lot_units: int = 1,
    size_scale: float = 1.0,
) -> float:
    """Order size in base units, 0.0 where the result is below the venue's smallest order.

    ``equity * fraction / risk_per_unit`` (stake "risk": what a loss takes is the fraction) or ``equity *
    fraction / touch`` (stake "notional"); times the multiplier; capped by leverage and by the venue; then
    held to the genome's own bounds, of which the lower never turns no bet into a bet and never passes a cap;
    rounded down to the lot.

    Parameters
    ----------
    equity : float
        Agent's equity in quote units.
    fraction : float
        Share of equity to stake, see `half_kelly`.
    touch : float
        Price at which the entry would meet the book.
    risk_per_unit : float
        Loss of one base unit at the stop, costs included, in quote units.
    stake : int
        `STAKE_RISK` or `STAKE_NOTIONAL`.
    multiplier : float
        Posture times the allocator's multiplier; mean 1.
    max_leverage : float
        Largest notional as a multiple of equity.
    genome_min_qty, genome_max_qty : float
        The genome's bounds in base units; 0 for none.
    venue_min_qty, venue_max_qty, min_notional : float
        The venue's bounds, in base units and quote units.
    lot_units, size_scale : int, float
        The size grid: steps of ``lot_units / size_scale`` base units.

    Raises
    ------
    ValueError
        When `stake` is unknown or the size grid is not positive.
    """
    if stake not in (STAKE_RISK, STAKE_NOTIONAL):
        raise ValueError(f"quantity: stake must be STAKE_RISK or STAKE_NOTIONAL, got {stake!r}")
    if lot_units < 1 or not size_scale > 0.0:
        raise ValueError(
            f"quantity: lot_units and size_scale must be positive, got {lot_units!r}, {size_scale!r}"
        )
    units = quantity_units_kernel(
        float(equity), float(fraction), stake, float(risk_per_unit), float(touch), float(multiplier),
        float(max_leverage), float(genome_min_qty), float(genome_max_qty), float(venue_min_qty),
        float(venue_max_qty), float(min_notional), lot_units, float(size_scale),
    )  # fmt: skip
    return units / size_scale


def uncertainty_shrink(sharpe: float, n_observations: int) -> float:
    """Factor in [0, 1) by which parameter uncertainty shrinks Kelly's fraction, T SR^2 / (1 + T SR^2).

    `sharpe` is per observation, `n_observations` is T. Both unknown (0) give 0: no bet on no evidence.

    Raises
    ------
    ValueError
        When `sharpe` is not finite or `n_observations` is negative.
    """
    if not math.isfinite(sharpe) or n_observations < 0:
        raise ValueError(
            f"uncertainty_shrink: need a finite Sharpe and T >= 0, got {sharpe!r}, {n_observations!r}"
        )
    return uncertainty_shrink_kernel(float(sharpe), float(n_observations))
