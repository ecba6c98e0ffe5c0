"""Markets without intelligence: the baseline of every comparison, and the one theory can say something of.

`zero_intelligence` takes every opinion out of a population. `model_population` builds the market of
`sim.theory` out of noise traders alone, and `measure_model` measures on its tape what theory predicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..features import FLAG_LAST, Ladder
from ..risk import InstrumentSpec
from .market import Market, Tape
from .population import Population
from .stylized_facts import observe_tape
from .theory import FlowRates

__all__ = ["FAR", "ModelMeasurement", "measure_model", "model_population", "run_model", "zero_intelligence"]

FAR = (8.0, 16.0)
"""Between these distances behind the best order, in p_c, depth counts as far from the touch."""

_START_TICKS = 50_000_000  # far: what is set in basis points must not change as the price walks
_MARKET_RATE = 1.0  # a unit of time like any other
_NATURAL_TICKS = 100  # ticks in p_c: the tick hardly matters
_SPAN = 40.0  # limit orders fall this far from the far touch, in p_c
_BATCHES = 20


def zero_intelligence(population: Population) -> Population:
    """The same market with noise traders alone, none of them excited by a trade."""
    return population.replace(
        makers=0,
        informed_agents=0,
        executors=0,
        momentum_agents=0,
        reversion_agents=0,
        excitation_ratio=0.0,
    )


def model_population(
    granularity: float, *, market_rate: float = _MARKET_RATE, natural_ticks: int = _NATURAL_TICKS
) -> tuple[Population, FlowRates]:
    """The model of Smith et al. at one granularity: a population and its rates.

    Orders of one lot (sigma = 1) fall uniformly within 40 p_c of the far touch; the venue takes them off at
    the end of an exponential life; messages take no time and none is lost.

    Parameters
    ----------
    granularity : epsilon, in [0.003, 1].
    market_rate : mu, lots a second.
    natural_ticks : p_c in ticks, at least 10; 1 / dp^.

    Returns
    -------
    Population, FlowRates
        Rates per lot, tick and second.

    Raises
    ------
    ValueError
        When a number is outside its range. PopulationError when the rates are.
    """
    if not 0.003 <= granularity <= 1.0:
        raise ValueError(f"granularity: {granularity!r} is outside [0.003, 1]")
    if not 10 <= natural_ticks <= 400:
        raise ValueError(f"natural_ticks: {natural_ticks!r} is outside [10, 400]")
    tick = 0.01
    start = _START_TICKS * tick
    rates = FlowRates(
        limit_rate=market_rate / (2.0 * natural_ticks),
        market_rate=market_rate,
        cancel_rate=0.5 * granularity * market_rate,
        order_size=1.0,
        tick=1.0,
    )
    span = _SPAN * natural_ticks
    instrument = InstrumentSpec(
        id="MODEL.SIM",
        base="MODEL",
        quote="USDT",
        price_precision=2,
        size_precision=0,
        tick=tick,
        lot=1.0,
    )
    population = Population(
        instrument=instrument,
        start_price=start,
        limit_rate=2.0 * rates.limit_rate * span,
        limit_uniform_bps=1e4 * span / _START_TICKS,
        limit_lifetime_s=1.0 / rates.cancel_rate,
        limit_expiry=1.0,
        market_rate=market_rate,
        # Between one lot and two of them while the price stays within a third of its start: one lot.
        size_usd=1.4 * start,
        size_sigma=0.0,
        protection_bps=1000.0,
        value_volatility_bps=0.0,
        jump_rate=0.0,
        latency_mu=-10.0,
        latency_sigma=0.0,
        loss=0.0,
    )
    return zero_intelligence(population), rates


@dataclass(frozen=True, slots=True)
class ModelMeasurement:
    """What a tape of the model shows, in the model's own units.

    Attributes
    ----------
    spread, spread_error : mean over time in units of p_c, with the standard error over twenty stretches.
    far_depth, far_depth_error : size per price between 8 and 16 p_c behind the best order, in units of
        alpha / delta.
    distance : float64 (k,), behind the best order of a side, in units of p_c.
    orders_within : float64 (k,), mean number of orders of a side up to there.
    resting : mean number of orders of both sides in the book.
    one_sided_share : share of the time during which a side was empty.
    """

    spread: float
    spread_error: float
    far_depth: float
    far_depth_error: float
    distance: np.ndarray
    orders_within: np.ndarray
    resting: float
    one_sided_share: float


def run_model(
    granularity: float,
    seed: int,
    *,
    market_orders: int = 20_000,
    progress: Callable[[float], None] | None = None,
) -> tuple[Tape, FlowRates]:
    """Run the model until about so many market orders have come, beginning on a settled book."""
    population, rates = model_population(granularity)
    # Ten lives of an order, and time for the touch to find its place.
    warmup_ns = round(max(10.0 / rates.cancel_rate, 200.0 / rates.market_rate) * 1e9)
    market = Market(population, seed, warmup_ns=warmup_ns)
    duration_ns = round(market_orders / rates.market_rate * 1e9)
    return market.run(duration_ns, progress=progress), rates


def measure_model(tape: Tape, rates: FlowRates) -> ModelMeasurement:
    """Measure spread and depth of a tape of the model (sizes in lots, prices in ticks)."""
    instrument = tape.instrument
    tick_units = round(instrument.tick * 10**instrument.price_precision)
    observation = observe_tape(tape)
    # The path's entries each stand until the next one.
    length = np.diff(np.append(observation.path_ns, observation.end_ns)).astype(np.float64)
    gap = (observation.touch[:, 2] - observation.touch[:, 0]) / instrument.tick / rates.price
    spread, spread_error = _mean_of_stretches(gap, length)

    natural = rates.price * tick_units
    distance = np.linspace(0.0, FAR[1], 161)
    ladder = Ladder(capacity=None)
    ends = np.flatnonzero(tape.events["flags"] & FLAG_LAST) + 1
    # Looked at a few times in an order's life: more would say nothing new.
    looks = max(int((tape.end_ns - tape.start_ns) * 1e-9 * rates.cancel_rate * 4.0), 4 * _BATCHES)
    times = np.linspace(tape.start_ns, tape.end_ns, min(looks, 4000) + 1)[1:]
    stops = np.searchsorted(tape.events["ts_init_ns"][ends - 1], times, side="right") - 1
    profile, far, resting, done = [], [], [], 0
    for stop in stops:
        end = ends[stop] if stop >= 0 else 0
        if end > done:
            ladder.apply(tape.events[done:end])
            done = end
        counts = np.zeros(len(distance))
        total = 0.0
        for levels in (ladder.bids(limit=1 << 20), ladder.asks(limit=1 << 20)):
            if len(levels):
                behind = np.abs(levels[:, 0] - levels[0, 0]) / natural
                volume = np.concatenate([[0.0], np.cumsum(levels[:, 1])])
                counts += 0.5 * volume[np.searchsorted(behind, distance, side="right")]
                total += volume[-1]
        profile.append(counts)
        resting.append(total)
        between = np.interp(FAR, distance, counts)
        far.append((between[1] - between[0]) / ((FAR[1] - FAR[0]) * rates.price) / rates.far_depth)
    far_depth, far_depth_error = _mean_of_stretches(np.array(far), np.ones(len(far)))
    return ModelMeasurement(
        spread=spread,
        spread_error=spread_error,
        far_depth=far_depth,
        far_depth_error=far_depth_error,
        distance=distance,
        orders_within=np.mean(profile, axis=0),
        resting=float(np.mean(resting)),
        one_sided_share=tape.stats.one_sided_ns / (tape.end_ns - tape.start_ns),
    )


def _mean_of_stretches(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted mean, and its standard error from the means of equal stretches."""
    mean = float(np.sum(values * weights) / weights.sum())
    means = [
        float(np.sum(v * w) / w.sum())
        for v, w in zip(np.array_split(values, _BATCHES), np.array_split(weights, _BATCHES), strict=True)
        if w.sum() > 0.0
    ]
    return mean, float(np.std(means, ddof=1) / np.sqrt(len(means)))
