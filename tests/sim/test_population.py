"""The table of parameters: checks, vectors, and the markets that come with it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.sim import PARAMETERS, PROFILES, Population, PopulationError, profile

BITCOIN = profile("BTCUSDT-LINEAR.SIM")


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_every_default_lies_within_its_bounds_and_is_explained(row):
    assert row.low <= row.default <= row.high
    assert row.doc


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_value_beyond_a_bound_is_refused_naming_field_value_and_bound(row):
    for value in (row.low - 1.0, row.high * 2.0 + 1.0, math.nan, math.inf):
        with pytest.raises(PopulationError) as caught:
            BITCOIN.replace(**{row.name: value})
        message = str(caught.value)
        assert row.name in message
        assert repr(value) in message
        assert f"{row.low:g}" in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"makers": 2.5}, "makers: 2.5 is not a whole number"),
        ({"makers": True}, "makers: True is not a number"),
        ({"limit_rate": "8"}, "limit_rate: '8' is not a number"),
        ({"limit_rat": 8.0}, "limit_rat: no such parameter"),
        ({"start_price": math.nan}, "start_price: nan"),
        ({"start_price": 0.1}, "start_price: 0.1"),
        ({"start_price": 1e9}, "start_price: 1000000000.0 is outside"),
    ],
)
def test_other_bad_parameters_are_refused_by_name(changes, says):
    with pytest.raises(PopulationError, match=says):
        BITCOIN.replace(**changes)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("name", PROFILES)
def test_vector_brings_back_the_population(name, unit):
    population = profile(name)
    again = population.unpack(population.pack(unit=unit), unit=unit)
    np.testing.assert_allclose(again.pack(), population.pack(), rtol=1e-12)
    assert again.instrument == population.instrument


@given(st.lists(st.floats(0.0, 1.0), min_size=len(PARAMETERS), max_size=len(PARAMETERS)))
def test_every_unit_vector_is_a_valid_population(vector):
    population = BITCOIN.unpack(np.array(vector), unit=True)
    assert isinstance(population, Population)
    assert (population.pack(unit=True) >= 0.0).all()


@pytest.mark.parametrize(
    ("vector", "unit", "says"),
    [
        (np.zeros(3), False, "shape"),
        (np.full(len(PARAMETERS), math.nan), False, "noise_agents: nan"),
        (np.full(len(PARAMETERS), math.nan), True, "noise_agents: .*nan"),
        (np.full(len(PARAMETERS), 1.1), True, "noise_agents: .*1.1"),
    ],
)
def test_bad_vector_is_refused(vector, unit, says):
    with pytest.raises(PopulationError, match=says):
        BITCOIN.unpack(vector, unit=unit)


def test_record_holds_every_parameter_for_the_kernels():
    record = BITCOIN.record()
    assert {name: record[name][0] for name in record.dtype.names} == {
        row.name: float(getattr(BITCOIN, row.name)) for row in PARAMETERS
    }


@pytest.mark.parametrize("name", PROFILES)
def test_profile_is_a_market_a_small_ledger_can_trade(name):
    population = profile(name)
    i = population.instrument
    assert i.id == name
    assert i.min_notional == 5.0
    # 200 USDT at ten times leverage must reach the smallest order.
    assert population.start_price * i.lot < 2000.0


def test_unknown_profile_names_the_known_ones():
    with pytest.raises(KeyError, match="BTCUSDT-LINEAR"):
        profile("DOGE")
