"""Every book feature is what its definition says, on real data and on a badly behaved market."""

from __future__ import annotations

import numpy as np
import pytest
from slow_twin import SlowTwin

from apex_nautilus.features import batch_book, names

# Log mids are rounded to 1e-9, which bounds the error of a root of 64 squares at about 1e-4 bps. Intensities
# leave out what is older than 16 tau: exp(-16) of what came then.
TOLERANCE = {"realised_volatility": 1e-4, "hawkes": 2e-4}


def compare(events, price_precision, size_precision, clock, conflate_ms=0):
    wanted = names("book")
    twin = SlowTwin(wanted, 10.0**price_precision, 10.0**size_precision, clock, conflate_ms * 1_000_000)
    twin.feed(events)
    rows = batch_book(
        events,
        wanted,
        price_precision=price_precision,
        size_precision=size_precision,
        clock=clock,
        conflate_ms=conflate_ms,
    )
    assert rows.ts_ns.tolist() == twin.row_times
    assert rows.row_event.tolist() == twin.row_paths
    path = list(zip(rows.path_ts_ns.tolist(), rows.path_bid.tolist(), rows.path_ask.tolist(), strict=True))
    assert path == twin.path
    theirs = np.array(twin.rows)
    assert len(theirs) > 20
    for column, name in enumerate(wanted):
        tolerance = next((t for family, t in TOLERANCE.items() if name.startswith(family)), 1e-9)
        np.testing.assert_allclose(
            rows.features[:, column], theirs[:, column], rtol=1e-9, atol=tolerance, err_msg=name
        )
    depth = rows.path_depth[-1]
    bids, asks = twin.books[-1]
    for side, levels in ((0, bids), (2, asks)):
        n = min(5, len(levels))
        assert depth[side, :n].tolist() == [p / 10.0**price_precision for p, _ in levels[:n]]
        assert depth[side + 1, :n].tolist() == [s / 10.0**size_precision for _, s in levels[:n]]
        assert np.isnan(depth[side, n:]).all()
        assert not depth[side + 1, n:].any()


@pytest.mark.parametrize(("clock", "conflate_ms"), [("book", 0), ("book", 250), ("1s", 0)])
def test_features_follow_their_definitions_on_a_real_book(real_events, clock, conflate_ms):
    compare(
        real_events[:30_000] if clock == "book" and not conflate_ms else real_events[:100_000],
        1,
        3,
        clock,
        conflate_ms,
    )


@pytest.mark.parametrize(("clock", "conflate_ms"), [("book", 0), ("book", 40), ("1s", 0)])
def test_features_follow_their_definitions_on_a_rough_market(rough_events, clock, conflate_ms):
    compare(rough_events, 2, 2, clock, conflate_ms)


def test_no_feature_is_constant_on_real_data(real_events):
    rows = batch_book(real_events, names("book"), price_precision=1, size_precision=3)
    assert (rows.features[rows.warm].std(axis=0) > 0).all()
