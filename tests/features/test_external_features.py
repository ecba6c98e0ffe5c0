"""External features: known from their publication on, the same row by row as in a batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.features import FeatureError, get, names
from apex_nautilus.features.external import ExternalFeatures, ExternalSeries, asof_join

publications = st.lists(st.tuples(st.integers(-50, 200), st.floats(0.0, 100.0)), max_size=40)


def of(published):
    return ExternalSeries.from_publications(
        "fear_greed", [p[0] for p in published], [p[1] for p in published]
    )


rows = st.lists(st.integers(-60, 260), min_size=1, max_size=40).map(sorted)


@pytest.mark.parametrize(
    ("row", "value"),
    [(9, 50.0), (10, 20.0), (15, 20.0), (19, 50.0), (20, 30.0), (25, 30.0), (26, 50.0), (10**18, 50.0)],
)
def test_a_value_counts_from_its_publication_until_it_is_stale(row, value):
    series = ExternalSeries("fear_greed", [10, 20], [20.0, 30.0], stale_after_ns=5)
    assert asof_join(series, [row]).tolist() == [value]
    live = ExternalFeatures(["fear_greed"], stale_after_ns={"fear_greed": 5})
    for ts, v in zip([10, 20], [20.0, 30.0], strict=True):
        live.publish("fear_greed", ts, v)
    assert live.row(row).tolist() == [value]


@given(publications, rows, st.integers(1, 100))
def test_the_join_is_what_its_definition_says(published, row_times, limit):
    times, values = [p[0] for p in published], [p[1] for p in published]
    series = ExternalSeries.from_publications("fear_greed", times, values, limit)
    for t, found in zip(row_times, asof_join(series, row_times), strict=True):
        known = [p for p in published if p[0] <= t]
        newest = max((p[0] for p in known), default=None)
        expected = 50.0
        if newest is not None and t - newest <= limit:
            expected = [p[1] for p in known if p[0] == newest][-1]
        assert found == expected


@given(publications, rows, st.randoms(use_true_random=False))
def test_live_rows_are_the_bits_of_the_join_in_whatever_order_values_come(published, row_times, random):
    """Values published in any order before the rows that see them; some of them ahead of their time."""
    live = ExternalFeatures(["fear_greed", "funding_rate"])
    pending = sorted(enumerate(published), key=lambda p: (p[1][0], p[0]))
    got = []
    for t in row_times:
        # Of two values for one moment the later publication counts, so these keep their order.
        early = {ts for ts in sorted({p[1][0] for p in pending}) if random.random() < 0.2}
        due = [p for p in pending if p[1][0] <= t or p[1][0] in early]
        pending = [p for p in pending if p not in due]
        for _, (ts, value) in due:
            live.publish("fear_greed", ts, value)
        got.append(live.row(t).copy())
    for _, (ts, value) in pending:
        live.publish("fear_greed", ts, value)
    series = ExternalSeries.from_publications(
        "fear_greed", [p[0] for p in published], [p[1] for p in published]
    )
    assert live.late == sum(ts <= row_times[-1] for _, (ts, _) in pending)
    assert np.array(got)[:, 0].tobytes() == asof_join(series, row_times).tobytes()
    assert np.array(got)[:, 1].tolist() == [0.0] * len(row_times)


@given(st.lists(st.one_of(st.tuples(st.integers(0, 60), st.floats(0, 100)), st.integers(0, 60)), max_size=60))
def test_what_came_late_moves_no_past_row_and_the_record_repeats_every_row(steps):
    live = ExternalFeatures(["fear_greed"], stale_after_ns={"fear_greed": 15})
    times, got, last = [], [], 0
    for step in steps:
        if isinstance(step, tuple):
            live.publish("fear_greed", *step)
        elif step >= last:
            last = step
            times.append(step)
            got.append(live.row(step)[0])
    assert asof_join(live.series("fear_greed"), times).tolist() == got


def test_of_late_values_the_newest_counts_from_the_next_row_on():
    live = ExternalFeatures(["fear_greed"])
    live.publish("fear_greed", 10, 1.0)
    assert live.row(30)[0] == 1.0
    live.publish("fear_greed", 15, 2.0)
    live.publish("fear_greed", 20, 3.0)
    live.publish("fear_greed", 12, 4.0)
    assert live.late == 3
    assert live.row(30)[0] == 1.0
    assert live.row(31)[0] == 3.0
    live.publish("fear_greed", 11, 5.0)
    assert live.row(40)[0] == 3.0


def test_publishing_twice_changes_nothing_and_a_revision_replaces():
    live = ExternalFeatures(["fear_greed"])
    for value in (5.0, 5.0, 6.0):
        live.publish("fear_greed", 10, value)
    series = live.series("fear_greed")
    assert (series.published_ns.tolist(), series.value.tolist()) == ([10], [6.0])


@given(publications, rows)
def test_the_future_moves_no_past_value(published, row_times):
    cut = row_times[len(row_times) // 2]
    moved = [(ts, value if ts <= cut else 100.0 - value) for ts, value in published]
    one, two = (
        asof_join(
            ExternalSeries.from_publications("fear_greed", [p[0] for p in ps], [p[1] for p in ps]), row_times
        )
        for ps in (published, moved)
    )
    before = np.array(row_times) <= cut
    assert one[before].tobytes() == two[before].tobytes()


def test_a_loaded_history_goes_on_live():
    series = ExternalSeries("fear_greed", [10, 20], [1.0, 2.0], stale_after_ns=7)
    live = ExternalFeatures(["fear_greed"])
    live.load(series)
    live.publish("fear_greed", 30, 3.0)
    assert [live.row(t)[0] for t in (9, 10, 18, 20, 27, 28, 30)] == [50.0, 1.0, 50.0, 2.0, 2.0, 50.0, 3.0]
    with pytest.raises(FeatureError, match="loaded once"):
        live.load(series)


@pytest.mark.parametrize(
    ("name", "times", "values", "message"),
    [
        ("fear_greed", [1, 1], [1, 2], r"published_ns\[1\] = 1 is not after 1"),
        ("fear_greed", [1, 2], [1], "two rows of one length"),
        ("fear_greed", [1], [np.nan], "not a finite number"),
        ("fear_greed", [1], [101.0], r"entry 0.*\[0, 100\]"),
        ("fear_greed", [1.5], [1.0], "whole nanoseconds"),
        ("imbalance", [1], [0.5], "is a book feature"),
        ("fear_gred", [1], [0.5], "did you mean fear_greed"),
    ],
)
def test_a_series_that_cannot_be_is_refused(name, times, values, message):
    with pytest.raises(FeatureError, match=message):
        ExternalSeries(name, times, values)


def test_a_refused_publication_changes_nothing():
    live = ExternalFeatures(["fear_greed"])
    for name, value, message in (
        ("fear_greed", np.nan, "finite"), ("fear_greed", -1.0, "finite"), ("dvol", 1.0, "not among"),
        ("clv", 1.0, "book feature"),
    ):  # fmt: skip
        with pytest.raises(FeatureError, match=message):
            live.publish(name, 5, value)
    assert len(live.series("fear_greed")) == 0
    live.row(10)
    with pytest.raises(FeatureError, match="go forward"):
        live.row(9)


def test_external_features_have_neutral_values_in_range_and_an_age_limit():
    for name in names("external"):
        spec = get(name)
        assert spec.low <= spec.neutral <= spec.high
        assert spec.stale_after_ns > 0
        assert asof_join(ExternalSeries(name, [], []), [0, 1]).tolist() == [spec.neutral] * 2
    with pytest.raises(FeatureError, match="stale_after_ns"):
        dataclasses.replace(get("vix"), stale_after_ns=0)
    with pytest.raises(FeatureError, match="stale_after_ns"):
        dataclasses.replace(get("clv"), stale_after_ns=1)
