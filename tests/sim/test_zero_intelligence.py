"""A market without intelligence against the mean field of Smith, Farmer, Gillemot & Krishnamurthy (2003)."""

import numpy as np
import pytest

from apex_nautilus.sim import Market, PopulationError, profile
from apex_nautilus.sim.theory import FlowRates, mean_field
from apex_nautilus.sim.zero_intelligence import (
    measure_model,
    model_population,
    run_model,
    zero_intelligence,
)

GRID = (0.03, 0.1, 0.3, 1.0)


@pytest.fixture(scope="module")
def measured():
    return {e: measure_model(*run_model(e, 1, market_orders=8000)) for e in GRID}


# ------------------------------------------------------------------ the theory alone


@pytest.mark.parametrize(
    ("granularity", "spread"), [(0.01, 0.4247), (0.1, 0.5628), (1.0, 1.5482), (10.0, 10.5893)]
)
def test_golden_spreads_of_the_mean_field(granularity, spread):
    assert mean_field(granularity).spread == pytest.approx(spread, abs=5e-5)


@pytest.mark.parametrize("granularity", [0.003, 0.05, 0.7, 20.0])
def test_the_solution_solves_its_equations(granularity):
    field = mean_field(granularity)
    x = np.concatenate([[field.spread], field.gaps])
    e = granularity
    assert (1 + e) * x[1] == pytest.approx(x[0] ** 2, rel=1e-9)
    before = np.cumsum(x)
    for k in range(1, len(x) - 1):
        right = (1 + k * e) * x[k] + x[k] ** 2 - (x[k - 1] - x[k]) * before[k - 1]
        assert (1 + (k + 1) * e) * x[k + 1] == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("granularity", [0.003, 0.05, 0.7, 20.0])
def test_gaps_fall_to_the_distance_of_orders_far_from_the_touch(granularity):
    field = mean_field(granularity)
    assert (np.diff(field.gaps) < 0.0).all()
    assert field.gaps[-1] == pytest.approx(granularity, rel=0.01)
    counts = field.orders_within(np.array([1000.0, 1001.0]) * granularity + field.gaps.sum())
    assert np.diff(counts) == pytest.approx(1.0, rel=0.01)  # one order each epsilon: alpha / delta


def test_a_fine_market_has_a_spread_that_granularity_does_not_set_and_a_coarse_one_the_other_way():
    assert mean_field(0.002).spread == pytest.approx(0.4, rel=0.02)
    assert mean_field(100.0).spread == pytest.approx(100.0, rel=0.01)
    grid = np.geomspace(0.002, 100.0, 12)
    assert (np.diff([mean_field(float(e)).spread for e in grid]) > 0.0).all()


@pytest.mark.parametrize("granularity", [0.0, -1.0, float("nan"), 1e3])
def test_a_granularity_out_of_range_is_refused(granularity):
    with pytest.raises(ValueError, match=r"granularity: .* is outside \[1e-3, 100\]"):
        mean_field(granularity)


def test_natural_units():
    rates = FlowRates(limit_rate=0.005, market_rate=1.0, cancel_rate=0.05, order_size=1.0, tick=1.0)
    assert rates.price == 100.0
    assert rates.granularity == pytest.approx(0.1)
    assert rates.far_depth == pytest.approx(0.1)
    assert rates.tick_ratio == 0.01


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="cancel_rate"):
        FlowRates(limit_rate=1.0, market_rate=1.0, cancel_rate=bad, order_size=1.0, tick=1.0)


# ------------------------------------------------------------------ the simulator against it


@pytest.mark.parametrize("granularity", GRID)
def test_the_spread_follows_the_mean_field(measured, granularity):
    """Neighbouring gaps are not independent: the approximation lies some 5 to 15 % low throughout."""
    ratio = measured[granularity].spread / mean_field(granularity).spread
    assert 1.0 < ratio < 1.22
    assert measured[granularity].spread_error < 0.03 * measured[granularity].spread


@pytest.mark.parametrize("granularity", GRID)
def test_depth_far_from_the_touch_is_alpha_over_delta(measured, granularity):
    m = measured[granularity]
    assert m.far_depth == pytest.approx(1.0, abs=max(0.02, 4.0 * m.far_depth_error))


@pytest.mark.parametrize("granularity", GRID)
def test_orders_behind_the_touch_are_as_many_as_the_mean_field_says(measured, granularity):
    m, field = measured[granularity], mean_field(granularity)
    for distance in (2.0, 4.0, 8.0):
        found = float(np.interp(distance, m.distance, m.orders_within))
        (predicted,) = field.orders_within(np.array([distance]))
        assert found == pytest.approx(predicted, rel=0.06)


def test_depth_is_thinner_at_the_touch_than_far_away(measured):
    for e in (0.03, 0.1, 0.3):
        m = measured[e]
        near = float(np.interp(0.5, m.distance, m.orders_within)) - 1.0
        assert near < 0.8 * 0.5 / e


def test_the_spread_grows_with_granularity(measured):
    spreads = [measured[e].spread for e in GRID]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 2.5 * spreads[0]


def test_only_granularity_counts_not_the_rates_themselves(measured):
    """Five times the orders over a price half as wide: another market, the same one in natural units."""
    population, rates = model_population(0.3, market_rate=5.0, natural_ticks=50)
    assert rates.granularity == pytest.approx(0.3)
    tape = Market(population, 2, warmup_ns=40_000_000_000).run(1_600_000_000_000)
    m = measure_model(tape, rates)
    tolerance = 4.0 * np.hypot(m.spread_error, measured[0.3].spread_error) + 0.03 * measured[0.3].spread
    assert m.spread == pytest.approx(measured[0.3].spread, abs=tolerance)


def test_more_limit_orders_narrow_the_spread_and_more_market_orders_widen_it():
    """In a market with distances and sizes of all kinds too."""
    calm = zero_intelligence(profile("BTCUSDT-LINEAR.SIM"))

    def spread(**changes):
        from apex_nautilus.sim import observe_tape

        o = observe_tape(Market(calm.replace(**changes), 5).run(600_000_000_000))
        _, at = o.grid(100_000_000)
        return float(np.mean(o.touch[at, 2] - o.touch[at, 0]))

    middle = spread()
    assert spread(limit_rate=24.0) < 0.7 * middle
    assert spread(market_rate=6.0) > 1.3 * middle


def test_the_baseline_has_noise_traders_alone():
    population = zero_intelligence(profile("ETHUSDT-LINEAR.SIM"))
    tape = Market(population, 1).run(60_000_000_000)
    assert set(tape.accounts["kind"]) == {0}
    assert len(tape.trades) > 30


@pytest.mark.parametrize(("granularity", "ticks"), [(0.0, 100), (2.0, 100), (0.1, 5)])
def test_a_model_out_of_range_is_refused(granularity, ticks):
    with pytest.raises(ValueError, match="is outside"):
        model_population(granularity, natural_ticks=ticks)


# ------------------------------------------------------------------ uniform placement


def test_uniform_distances_fall_evenly_up_to_the_width():
    population, rates = model_population(0.1)
    tape = Market(population, 3).run(1_000_000_000)
    book = tape.events[1 : 1 + int(np.argmax(tape.events["flags"] & 1))]
    asks = book["price"][book["side"] < 0]
    behind = np.sort(asks - asks.min()) / rates.price
    assert behind.max() < 41.0
    assert np.interp(20.0, behind, np.arange(len(behind)) / len(behind)) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("width", [-1.0, 201.0, float("nan")])
def test_a_width_out_of_bounds_is_refused(width):
    with pytest.raises(PopulationError, match=r"limit_uniform_bps: .* is outside \[0, 200\] bps"):
        profile("BTCUSDT-LINEAR.SIM").replace(limit_uniform_bps=width)
