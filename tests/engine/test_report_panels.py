"""Probabilities against outcomes, and delays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.engine.delays import DelayCounts
from apex_nautilus.engine.report_panels import delays_panel, reliability, reliability_panel


def test_wilsons_interval_of_ten_in_a_hundred():
    """Wilson (1927), to the published digits: 10 of 100 is 0.0552 to 0.1744."""
    found = reliability([0.1] * 100, [True] * 10 + [False] * 90)
    assert (found.count.tolist(), found.observed.tolist()) == ([100], [0.1])
    assert (found.low[0], found.high[0]) == (pytest.approx(0.0552, abs=5e-5), pytest.approx(0.1744, abs=5e-5))


def test_probabilities_that_hold_lie_within_their_bars_and_wrong_ones_do_not():
    rng = np.random.default_rng(1)
    p = rng.random(20_000)
    right = reliability(p, rng.random(20_000) < p)
    assert np.sum((right.low <= right.stated) & (right.stated <= right.high)) >= 8
    wrong = reliability(p, rng.random(20_000) < p**2)
    assert np.sum((wrong.low <= wrong.stated) & (wrong.stated <= wrong.high)) <= 2


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), max_size=60), st.integers(1, 12))
def test_every_trade_is_counted_once_and_bars_hold_their_point(trades, bins):
    found = reliability([p for p, _ in trades], [w for _, w in trades], bins=bins)
    assert found.count.sum() == len(trades)
    assert len(found.count) <= bins
    assert (found.low <= found.observed + 1e-12).all()
    assert (found.high >= found.observed - 1e-12).all()
    assert (np.diff(found.stated) > 0).all()


def test_unknown_probabilities_are_left_out_and_impossible_ones_refused():
    assert reliability_panel([np.nan, np.nan], [True, False]) is None
    assert reliability([np.nan, 0.5], [True, False]).count.tolist() == [1]
    with pytest.raises(ValueError, match="outside"):
        reliability([1.5], [True])
    with pytest.raises(ValueError, match="one length"):
        reliability([0.5], [])


def test_delays_are_drawn_as_shares_with_their_quantiles_and_nothing_without_a_network():
    assert delays_panel([]) is None
    counts = DelayCounts(lost=4)
    assert delays_panel([counts.report("amend")]) is None  # all lost: no delay to draw
    for delay_ns in (400_000, 400_000, 400_000, 8_000_000):
        counts.add(delay_ns)
    panel = delays_panel([counts.report("insert")])
    assert panel is not None
    (line,) = panel.figure.data
    assert sum(line.y) == pytest.approx(100.0)
    shares = {x: y for x, y in zip(line.x, line.y, strict=True) if y}
    assert list(shares.values()) == [75.0, 25.0]
    (fast, slow) = shares
    assert fast <= 0.4 < 1.5 * fast
    assert slow <= 8.0 < 1.5 * slow
    assert "median 0.4" in line.name
