"""Draws by key, and the delays made of them."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from apex_nautilus.sim import LatencyModel
from apex_nautilus.sim._jit import entry
from apex_nautilus.sim.draws import keyed_uniform, next_exponential, next_uniform, start_key
from apex_nautilus.sim.elementary import exp, expm1, log
from apex_nautilus.sim.latency import (
    AHEAD,
    CANCEL,
    DATA,
    DEFAULT_MU,
    DEFAULT_SIGMA,
    ORDER,
    burst_factor,
    decayed_rate,
    draw_ahead,
    in_order,
)
from apex_nautilus.sim.normal import _TABLE as normal_table
from apex_nautilus.sim.normal import normal_quantile

MASK = (1 << 64) - 1


def mix(z):
    """splitmix64's output function on Python's own integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_stream_is_splitmix64():
    # First outputs for seed 1234567, from the reference implementation by Vigna.
    words = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    stream = np.array([1234567], np.uint64)
    assert [next_uniform(stream) for _ in words] == [((w >> 11) + 0.5) * 2.0**-53 for w in words]


@given(
    seed=st.integers(0, MASK),
    key=st.tuples(*[st.integers(-(1 << 63), (1 << 63) - 1)] * 3),
)
def test_keyed_draw_is_a_function_of_its_key_alone(seed, key):
    z = mix((seed + 0x9E3779B97F4A7C15) & MASK)
    for part in key:
        z = mix(z ^ ((part + 0x9E3779B97F4A7C15) & MASK))
    assert keyed_uniform(np.uint64(seed), *key) == ((z >> 11) + 0.5) * 2.0**-53


@given(st.one_of(st.floats(2.0**-54, 1.0 - 2.0**-53), st.floats(2.0**-54, 1e-6)))
def test_normal_quantile_agrees_with_scipy(p):
    assert normal_quantile(p) == pytest.approx(stats.norm.ppf(p), abs=1e-11)


@pytest.mark.parametrize("p", [2.0**-k for k in range(1, 55)])
def test_normal_quantile_is_symmetric_and_holds_at_the_seams_of_its_table(p):
    assert normal_quantile(p) == pytest.approx(stats.norm.ppf(p), abs=1e-11)
    if p >= 2.0**-53:
        assert normal_quantile(1.0 - p) == -normal_quantile(1.0 - (1.0 - p))
    below, above = normal_quantile(np.nextafter(p, 0.0)) if p > 2.0**-54 else -10.0, normal_quantile(p)
    assert below <= above + 1e-11


def test_the_table_of_normals_has_the_same_bits_everywhere():
    digest = hashlib.sha256(normal_table.tobytes()).hexdigest()
    assert digest == "c532fbdd1c9355e1efe3271d3fd88e49a630bc98e3c655d2ac00d73310202b01"


@given(st.floats(-600.0, 600.0))
def test_exp_and_expm1_agree_with_the_library(x):
    assert exp(x) == pytest.approx(math.exp(x), rel=4e-16)
    assert expm1(x) == pytest.approx(math.expm1(x), rel=4e-16, abs=1e-300)


@given(st.floats(1e-300, 1e300))
def test_log_agrees_with_the_library(x):
    assert log(x) == pytest.approx(math.log(x), rel=4e-16, abs=4e-16)


def test_draws_made_ahead_are_the_draws_made_one_by_one():
    model = LatencyModel(seed=5, loss=0.3)
    for agent in range(20):
        for direction in (ORDER, CANCEL):
            out = _ahead(np.uint64(5), agent, direction, 0.3, np.zeros(AHEAD))
            for k, delay in enumerate(out):
                if model.is_lost(agent, 16 + k, direction):
                    assert delay == -1.0
                else:
                    assert int(delay + 0.5) == model.delay_ns(agent, 16 + k, direction)


@pytest.mark.parametrize("direction", [ORDER, DATA])
def test_draws_in_turn_are_those_of_each_message_by_its_number(direction):
    model = LatencyModel(seed=2**63 + 5, loss=0.2)
    draws = model.in_turn(7, direction)
    for number in range(600):  # two blocks and the beginning of a third
        lost = model.is_lost(7, number, direction)
        assert draws.next_ns() == (-1 if lost else model.delay_ns(7, number, direction))


@entry
def _ahead(seed, agent, direction, loss, out):
    draw_ahead(start_key(seed, agent), 16, direction, DEFAULT_MU, DEFAULT_SIGMA, loss, out)
    return out


def test_delays_grow_with_the_rate_of_messages_beyond_the_burst_rate():
    assert burst_factor(50.0, 2.0, 100.0) == 1.0
    assert burst_factor(300.0, 0.0, 100.0) == 1.0
    assert burst_factor(300.0, 2.0, 100.0) == 5.0


def test_rate_of_messages_converges_to_what_is_sent():
    rate = 0.0
    for _ in range(5000):
        rate = decayed_rate(rate, 0.01, 0.5) + 1.0 / 0.5
    # Right after a message the estimate is half a message's weight above the rate, to first order.
    assert rate == pytest.approx(100.0, rel=0.02)


def test_delays_are_log_normal_and_losses_as_rare_as_asked():
    model = LatencyModel(seed=3, loss=0.01)
    delays = np.array([model.delay_ns(agent, n) for agent in range(20) for n in range(500)])
    logs = np.log(delays / 1000.0)
    assert stats.kstest(logs, stats.norm(6.0, 1.5).cdf).pvalue > 0.01
    assert np.median(delays) == pytest.approx(403_429, rel=0.05)
    losses = sum(model.is_lost(agent, n) for agent in range(20) for n in range(500))
    assert 60 < losses < 140


def test_delay_depends_on_seed_agent_command_and_direction():
    base = LatencyModel(seed=1)
    draws = {base.delay_ns(1, 1, d) for d in (ORDER, CANCEL, DATA)}
    draws |= {base.delay_ns(2, 1), base.delay_ns(1, 2), LatencyModel(seed=2).delay_ns(1, 1)}
    assert len(draws) == 6
    assert base.delay_ns(1, 1) == LatencyModel(seed=1).delay_ns(1, 1)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10_000)), min_size=1))
def test_no_message_overtakes_an_earlier_one(messages):
    now, last = 0, 0
    for pause, delay in messages:
        now += pause
        arrival = in_order(now, delay, last)
        assert arrival >= last
        assert arrival >= now + delay
        last = arrival


def test_exponential_waits_have_their_mean():
    stream = np.array([5], np.uint64)
    waits = [next_exponential(stream, 2.5) for _ in range(20_000)]
    assert np.mean(waits) == pytest.approx(2.5, rel=0.03)
    assert min(waits) > 0.0


@pytest.mark.parametrize(
    ("field", "value"), [("mu", math.nan), ("sigma", -0.1), ("loss", 1.5), ("seed", -1), ("seed", 1 << 64)]
)
def test_bad_latency_parameter_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        LatencyModel(**{"seed": 0, field: value})
