"""Who trades: the agents of a market and their parameters in one table.

The fields of `Population` that carry bounds are that table. From it come the checks, the vector that an
optimiser moves (`pack`, `unpack`) and the record that the kernels read. Sizes are in the quote currency and
distances in basis points, so one set of numbers describes markets of any price.
"""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ..risk import InstrumentSpec

__all__ = ["PARAMETERS", "Parameter", "Population", "PopulationError"]


_MOST_RESTING = 1e6
_MOST_ASKED = 10.0  # beyond, the book is empty but for moments


class PopulationError(ValueError):
    """A parameter is out of bounds; the message names field, value and bound."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One line of the table: a field of `Population`, its bounds (inclusive), unit and meaning.

    `log` marks a parameter whose size matters in proportion: the unit vector is linear in its logarithm.
    """

    name: str
    default: float
    low: float
    high: float
    unit: str
    doc: str
    whole: bool
    log: bool

    @property
    def bounds(self) -> str:
        """``[low, high] unit``."""
        return f"[{self.low:g}, {self.high:g}] {self.unit}".rstrip()


def _number(default: float, low: float, high: float, unit: str, doc: str, *, log: bool = False) -> Any:
    return field(default=default, metadata={"row": (low, high, unit, doc, False, log)})


def _count(default: int, low: int, high: int, doc: str) -> Any:
    return field(default=default, metadata={"row": (low, high, "agents", doc, True, False)})


@dataclass(frozen=True, kw_only=True)
class Population:
    """The agents of one market.

    Parameters
    ----------
    instrument : what is traded, and the venue's fees.
    start_price : price at which the market opens, in quote units.
    others : see `PARAMETERS`, or ``apex sim parameters``.

    Raises
    ------
    PopulationError naming field, value and bound.
    """

    instrument: InstrumentSpec
    start_price: float

    # Noise: zero-intelligence liquidity (Smith, Farmer, Gillemot and Krishnamurthy 2003), depth after
    # Bouchaud 2002.
    noise_agents: int = _count(40, 1, 100_000, "traders without an opinion")
    limit_rate: float = _number(8.0, 0.0, 1e6, "1/s", "limit orders of all noise agents together", log=True)
    limit_depth_bps: float = _number(3.0, 0.01, 100.0, "bps", "distance to the far touch", log=True)
    limit_depth_tail: float = _number(1.6, 0.5, 5.0, "", "Pareto exponent of that distance")
    limit_uniform_bps: float = _number(
        0.0, 0.0, 200.0, "bps", "farthest of uniform distances in their place; 0: Pareto"
    )
    limit_lifetime_s: float = _number(6.0, 0.01, 1e4, "s", "mean life of an order at the touch", log=True)
    limit_expiry: float = _number(0.0, 0.0, 1.0, "", "share of orders that the venue takes off, not a cancel")
    market_rate: float = _number(1.5, 0.0, 1e6, "1/s", "market orders of all noise agents together", log=True)
    size_usd: float = _number(2000.0, 1.0, 1e7, "quote", "median size of an order", log=True)
    size_sigma: float = _number(1.0, 0.0, 3.0, "", "log-normal width of sizes")
    protection_bps: float = _number(30.0, 0.1, 1000.0, "bps", "how far a market order goes", log=True)

    # Self-excitation: each trade gives birth to further market orders (a Hawkes process as a branching
    # process).
    excitation_ratio: float = _number(0.30, 0.0, 0.95, "", "mean number of market orders born by a trade")
    excitation_decay_s: float = _number(2.0, 0.001, 600.0, "s", "mean delay of a birth", log=True)
    excitation_same_side: float = _number(0.70, 0.0, 1.0, "", "share of births on the parent's side")

    # Makers: quote around a value they learn late, skewed by inventory (Avellaneda and Stoikov 2008 in
    # spirit).
    makers: int = _count(4, 0, 1000, "market makers")
    maker_levels: int = _count(3, 1, 20, "quotes of each maker on each side")
    maker_half_spread_bps: float = _number(0.8, 0.01, 100.0, "bps", "distance of the first quote", log=True)
    maker_step_bps: float = _number(0.8, 0.01, 100.0, "bps", "distance between further quotes", log=True)
    maker_size_usd: float = _number(8000.0, 1.0, 1e8, "quote", "size of a quote", log=True)
    maker_refresh_s: float = _number(1.0, 0.001, 60.0, "s", "mean time between looks at the market", log=True)
    maker_tolerance: float = _number(0.25, 0.0, 5.0, "", "drift that moves a quote, in half-spreads")
    maker_learning_s: float = _number(6.0, 0.01, 3600.0, "s", "time constant of learning the value", log=True)
    maker_skew_bps: float = _number(20.0, 0.0, 100.0, "bps", "shift of quotes at the inventory limit")
    maker_inventory_usd: float = _number(500_000.0, 1.0, 1e10, "quote", "inventory limit", log=True)

    # Fundamental value: Ornstein-Uhlenbeck in logarithms with normal jumps.
    value_volatility_bps: float = _number(1.5, 0.0, 100.0, "bps/sqrt(s)", "diffusion of the value")
    value_reversion_s: float = _number(14_400.0, 1.0, 1e7, "s", "time constant of its return", log=True)
    jump_rate: float = _number(6.0, 0.0, 3600.0, "1/h", "jumps of the value")
    jump_bps: float = _number(8.0, 0.0, 1000.0, "bps", "standard deviation of a jump")

    # Informed: see the value with noise, take what is mispriced.
    informed_agents: int = _count(5, 0, 1000, "informed takers")
    informed_rate: float = _number(1.5, 0.0, 1e5, "1/s", "looks at the market, all together", log=True)
    informed_noise_bps: float = _number(3.0, 0.0, 100.0, "bps", "error of their view")
    informed_threshold_bps: float = _number(1.0, 0.0, 100.0, "bps", "edge they ask for")
    informed_size: float = _number(2.0, 0.01, 100.0, "", "their size over that of the noise", log=True)

    # Executors: large orders cut small, so order signs have a long memory (Lillo, Mike and Farmer 2005).
    executors: int = _count(6, 0, 1000, "executors of large orders")
    executor_idle_s: float = _number(120.0, 0.1, 1e5, "s", "mean rest between large orders", log=True)
    executor_size_usd: float = _number(40_000.0, 1.0, 1e10, "quote", "smallest large order", log=True)
    executor_tail: float = _number(1.5, 1.01, 5.0, "", "Pareto exponent of their size")
    executor_child_s: float = _number(2.0, 0.001, 600.0, "s", "mean time between two children", log=True)
    executor_slippage_bps: float = _number(1.0, 0.01, 100.0, "bps", "how far a child goes beyond the touch")
    executor_skill: float = _number(0.1, 0.0, 1.0, "", "share that trades towards the value")

    # Trend: followers and contrarians on the difference of two averages of the mid.
    momentum_agents: int = _count(2, 0, 1000, "trend followers")
    momentum_rate: float = _number(0.10, 0.0, 1e5, "1/s", "looks at the market, all together", log=True)
    reversion_agents: int = _count(2, 0, 1000, "contrarians")
    reversion_rate: float = _number(0.10, 0.0, 1e5, "1/s", "looks at the market, all together", log=True)
    trend_horizon_s: float = _number(30.0, 0.1, 3600.0, "s", "slow average; a fifth is the fast", log=True)
    trend_threshold_bps: float = _number(3.0, 0.0, 100.0, "bps", "difference of averages they act on")

    # Network. Location of a message's log-normal delay: latency_mu plus the shifts of sender and direction.
    latency_mu: float = _number(6.0, -10.0, 15.0, "log us", "log-normal delay of a message")
    latency_sigma: float = _number(1.5, 0.0, 5.0, "", "its width")
    latency_cancel: float = _number(0.0, -5.0, 5.0, "log", "shift of latency_mu for cancels")
    latency_data: float = _number(0.0, -5.0, 5.0, "log", "shift of latency_mu for data")
    latency_maker: float = _number(0.0, -5.0, 5.0, "log", "shift of latency_mu for makers")
    latency_informed: float = _number(0.0, -5.0, 5.0, "log", "shift of latency_mu for informed takers")
    latency_executor: float = _number(0.0, -5.0, 5.0, "log", "shift of latency_mu for executors")
    latency_trend: float = _number(0.0, -5.0, 5.0, "log", "shift of latency_mu for trend traders")
    loss: float = _number(0.001, 0.0, 0.5, "", "probability that a message never arrives")
    burst_coupling: float = _number(
        0.0, 0.0, 10.0, "", "growth of delays with the rate of messages in a burst"
    )
    burst_rate: float = _number(
        200.0, 1.0, 1e6, "1/s", "messages to the venue beyond which it is one", log=True
    )
    burst_memory_s: float = _number(0.1, 0.001, 60.0, "s", "memory of that rate", log=True)

    # The venue.
    funding_rate: float = _number(0.0, -0.01, 0.01, "", "share of a position's worth that longs pay shorts")
    funding_interval_s: float = _number(28_800.0, 1.0, 1e6, "s", "time between two payments", log=True)

    def __post_init__(self) -> None:
        for row in PARAMETERS:
            value = getattr(self, row.name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise PopulationError(f"{row.name}: {value!r} is not a number")
            if not row.low <= value <= row.high:  # NaN fails every comparison
                raise PopulationError(f"{row.name}: {value!r} is outside {row.bounds}")
            if row.whole and value != int(value):
                raise PopulationError(f"{row.name}: {value!r} is not a whole number of {row.unit}")
        ticks = self.start_price / self.instrument.tick if self.instrument.tick > 0 else math.nan
        # Beyond, the book of quotes within a few percent would need more ticks than a ladder may have.
        if not 10.0 <= ticks <= 1e8:
            raise PopulationError(
                f"start_price: {self.start_price!r} is outside [10, 1e8] ticks of {self.instrument.tick}"
            )

    def check_rates(self) -> None:
        """Refuse rates that each lie within bounds, but together make a market that cannot be run.

        `Market` asks before it begins; a population as such may be anything within bounds, since optimisers
        walk there.

        Raises
        ------
        PopulationError
            When orders would pile up without end, or takers ask for far more than is offered.
        """
        resting = self.limit_rate * self.limit_lifetime_s
        if resting > _MOST_RESTING:
            raise PopulationError(
                f"limit_rate: {self.limit_rate:g} orders a second that live limit_lifetime_s = "
                f"{self.limit_lifetime_s:g} s leave about {resting:.3g} orders resting, more than "
                f"{_MOST_RESTING:.0e}; lower one of them"
            )
        # Money a second, offered and asked for, by the mean order of each kind.
        mean_usd = self.size_usd * math.exp(0.5 * self.size_sigma**2)
        offered = self.limit_rate * mean_usd
        if self.makers:
            offered += self.makers * 2 * self.maker_levels * self.maker_size_usd / self.maker_refresh_s
        asked = self.market_rate * mean_usd / (1.0 - self.excitation_ratio)
        if self.executors:
            tail = self.executor_tail
            asked += self.executors * min(
                self.executor_size_usd * tail / (tail - 1.0) / self.executor_idle_s,
                mean_usd / self.executor_child_s,
            )
        if asked > _MOST_ASKED * offered and asked > 0.0:
            raise PopulationError(
                f"market_rate: takers ask for about {asked:.3g} a second (market_rate {self.market_rate:g}, "
                f"excitation_ratio {self.excitation_ratio:g}, executors {self.executors}), more than "
                f"{_MOST_ASKED:g} times the {offered:.3g} that limit orders and makers offer: the market "
                "cannot clear; raise limit_rate or the makers, or lower what takers ask for"
            )

    def replace(self, **changes: Any) -> "Population":
        """Return a copy with some fields changed, checked anew."""
        unknown = sorted(set(changes) - {f.name for f in fields(self)})
        if unknown:
            raise PopulationError(
                f"{unknown[0]}: no such parameter (known: {', '.join(r.name for r in PARAMETERS)})"
            )
        return replace(self, **changes)

    def pack(self, *, unit: bool = False) -> np.ndarray:
        """Return the parameters as a vector, float64 (len(PARAMETERS),), in the table's order.

        In natural units, or with `unit` scaled to [0, 1] between the bounds (by logarithm where the table
        says so; a bound of 0 counts as a millionth of the upper one there).
        """
        values = np.array([float(getattr(self, row.name)) for row in PARAMETERS])
        if not unit:
            return values
        low, high, log = _bounds()
        values[log] = np.log(np.maximum(values[log], np.exp(low[log])))
        return (values - low) / (high - low)

    def unpack(self, vector: np.ndarray, *, unit: bool = False) -> "Population":
        """Return this market with the parameters of a vector of `pack`; counts are rounded.

        Raises PopulationError on a wrong length, NaN, or a value out of bounds.
        """
        vector = np.asarray(vector, np.float64)
        if vector.shape != (len(PARAMETERS),):
            raise PopulationError(f"vector: shape {vector.shape}, expected ({len(PARAMETERS)},)")
        values = vector.copy()
        if unit:
            outside = ~((vector >= 0.0) & (vector <= 1.0))
            if outside.any():
                at = int(np.argmax(outside))
                raise PopulationError(
                    f"{PARAMETERS[at].name}: {vector[at]!r} is outside [0, 1], the unit vector"
                )
            low, high, log = _bounds()
            values = low + vector * (high - low)
            values[log] = np.exp(values[log])
        changes: dict[str, float | int] = {}
        for row, value in zip(PARAMETERS, values, strict=True):
            if math.isnan(value):
                raise PopulationError(f"{row.name}: nan is outside {row.bounds}")
            if unit:
                value = min(max(value, row.low), row.high)  # exp(log(x)) may miss a bound by one step
            changes[row.name] = round(float(value)) if row.whole else float(value)
        return replace(self, **changes)

    def record(self) -> np.ndarray:
        """Return the parameters as the kernels read them: one record, a float64 field each."""
        record = np.zeros(1, [(row.name, "<f8") for row in PARAMETERS])
        for row in PARAMETERS:
            record[row.name] = getattr(self, row.name)
        return record


PARAMETERS: tuple[Parameter, ...] = tuple(
    Parameter(f.name, f.default, low, high, unit, doc, whole, log)  # pyright: ignore[reportArgumentType]
    for f in fields(Population)
    if "row" in f.metadata
    for low, high, unit, doc, whole, log in [f.metadata["row"]]
)


def _bounds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    log = np.array([row.log for row in PARAMETERS])
    low = np.array([row.low for row in PARAMETERS], np.float64)
    high = np.array([row.high for row in PARAMETERS], np.float64)
    low[log] = np.log(np.maximum(low[log], 1e-6 * high[log]))
    high[log] = np.log(high[log])
    return low, high, log
