"""Moments that are kept up to date trade by trade."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.stats import TrackRecord, moments


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 40), st.lists(st.floats(-1.0, 3.0).map(lambda x: round(x, 4)), max_size=150))
def test_carried_moments_are_those_of_the_window(window, values):
    record = TrackRecord(window)
    record.extend(values)
    kept = values[-window:]
    assert record.trades == len(values)
    assert record.returns() == kept
    ours, slow = record.moments(), moments(kept)
    assert ours.n == slow.n
    if slow.deviation > 1e-4:
        assert ours[1:4] == pytest.approx(slow[1:4], rel=1e-6, abs=1e-9)
        if slow.deviation > 1e-2:
            assert ours[4:] == pytest.approx(slow[4:], rel=1e-4, abs=1e-4)


def test_rounding_errors_do_not_gather_over_many_trades():
    values = np.random.default_rng(1).normal(0.001, 0.02, 100_000)
    values[::1000] = 5.0  # what is large and leaves takes digits of the small ones with it
    record = TrackRecord(100)
    record.extend(values.tolist() + (0.001 + 0.02 * np.sin(np.arange(150))).tolist())
    assert record.moments() == pytest.approx(moments(record.returns()), rel=1e-9)


def test_what_is_no_return_is_refused():
    with pytest.raises(ValueError, match="finite"):
        TrackRecord(10).add(math.nan)
    with pytest.raises(ValueError, match="at least 2"):
        TrackRecord(1)
