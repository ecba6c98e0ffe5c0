"""Time-to-target: bounds, order, and what counts as a hit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.forge.fitness import time_to_target

HORIZON = 1_000_000
HITS = st.integers(0, HORIZON)
#: Final equities of runs that neither doubled nor died.
MISSES = st.floats(1e-9, math.nextafter(400.0, 0.0))


def hit(after):
    return time_to_target(400.0, horizon_ns=HORIZON, target_after_ns=after)


def miss(equity):
    return time_to_target(equity, horizon_ns=HORIZON)


def ruin(after):
    return time_to_target(0.0, horizon_ns=HORIZON, ruin_after_ns=after)


@pytest.mark.parametrize(
    ("fitness", "expected"),
    [
        (hit(0), 2.0),
        (hit(HORIZON // 4), 1.75),
        (hit(HORIZON), 1.0),
        (miss(200.0), 0.0),
        (miss(100.0), -1.0),
        (miss(50.0), -1.0),
        (miss(200.0 * math.sqrt(2.0)), 0.5),
        (ruin(HORIZON), -1.0),
        (ruin(HORIZON // 4), -1.75),
        (ruin(0), -2.0),
    ],
)
def test_golden_values(fitness, expected):
    assert fitness == pytest.approx(expected)


@given(HITS, MISSES, HITS)
def test_every_miss_is_worse_than_every_hit_and_a_ruin_no_better_than_a_miss(hit_after, equity, ruin_after):
    assert -2.0 <= ruin(ruin_after) <= -1.0 <= miss(equity) < 1.0 <= hit(hit_after) <= 2.0


@given(HITS, HITS)
def test_a_sooner_hit_and_a_later_ruin_are_better(a, b):
    if a < b:
        assert hit(a) > hit(b)
        assert ruin(a) < ruin(b)


@given(MISSES, MISSES)
def test_more_equity_is_never_worse(a, b):
    if a <= b:
        assert miss(a) <= miss(b)


def test_the_nearest_miss_is_still_a_miss():
    assert miss(math.nextafter(400.0, 0.0)) < 1.0
    assert miss(math.nextafter(400.0, math.inf)) < 1.0


def test_a_target_reached_before_the_ruin_counts():
    both = time_to_target(0.0, horizon_ns=HORIZON, target_after_ns=HORIZON // 2, ruin_after_ns=HORIZON)
    assert both == hit(HORIZON // 2)


def test_equity_that_is_gone_is_a_ruin_even_if_nobody_said_so():
    assert miss(0.0) == miss(-50.0) == -1.0


@given(st.floats(1.01, 100.0), st.floats(0.02, 0.98))
def test_growth_is_measured_against_the_target(target, share):
    fitness = time_to_target(200.0 * target**share, horizon_ns=HORIZON, target=target)
    assert fitness == pytest.approx(share)


def test_a_horizon_of_nothing_has_nothing_left():
    assert time_to_target(400.0, horizon_ns=0, target_after_ns=0) == 1.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"final_equity": math.nan, "horizon_ns": 1},
        {"final_equity": 1.0, "horizon_ns": -1},
        {"final_equity": 1.0, "horizon_ns": 1, "target": 1.0},
        {"final_equity": 1.0, "horizon_ns": 1, "start_equity": 0.0},
        {"final_equity": 1.0, "horizon_ns": 1, "target_after_ns": 2},
        {"final_equity": 1.0, "horizon_ns": 1, "ruin_after_ns": -1},
    ],
)
def test_bad_input_is_refused(arguments):
    with pytest.raises(ValueError, match="time_to_target"):
        time_to_target(**arguments)
