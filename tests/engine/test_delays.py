"""Delays of a run: the bins, and what a network tells of the messages that it carried."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.model.identifiers import TraderId

from apex_nautilus.engine.delays import DelayCounts, bin_start_ns, collect_delays, tell_delays


def counted(delays) -> DelayCounts:
    counts = DelayCounts()
    for delay in delays:
        counts.add(int(delay))
    return counts


@given(st.integers(0, 2**60))
def test_a_delay_lies_in_its_bin_and_a_bin_is_an_eighth_wide_at_most(delay_ns):
    (index,) = counted([delay_ns]).report("insert").bins
    low, high = bin_start_ns(index), bin_start_ns(index + 1)
    if 8 <= delay_ns < bin_start_ns(359):
        assert low <= delay_ns < high
        assert high - low <= max(1, low // 8)
    else:
        assert index in (0, 359)


def test_quantiles_of_the_drawn_delays_are_those_of_the_sample_to_within_a_bin():
    delays = np.exp(np.random.default_rng(3).normal(6.0, 1.5, 20_000)) * 1e3
    report = counted(delays).report("insert")
    assert report.arrived == 20_000
    for q in (0.0, 0.01, 0.5, 0.99, 1.0):
        assert report.quantile_ns(q) == pytest.approx(np.quantile(delays, q), rel=0.125)
    assert math.isnan(DelayCounts().report("insert").quantile_ns(0.5))
    with pytest.raises(ValueError, match="q must"):
        report.quantile_ns(1.5)


def test_all_parts_of_a_node_are_asked_and_their_counts_are_added():
    bus = MessageBus(TraderId("TRADER-001"), TestClock())
    assert collect_delays(bus) == []
    first, second, silent = counted([100, 100]), counted([100, 5000]), DelayCounts()
    second.lost, second.late = 3, 1
    tell_delays(bus, lambda: {"data": first, "amend": silent})
    tell_delays(bus, lambda: {"data": second, "insert": counted([7])})
    insert, data = collect_delays(bus)
    assert (insert.name, data.name) == ("insert", "data")
    assert (data.arrived, data.lost, data.late, data.counts) == (4, 3, 1, (3, 1))
    first.add(100)  # asked again, it tells what there is now
    assert collect_delays(bus)[1].arrived == 5
