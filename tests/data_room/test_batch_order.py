"""No prefix of a written batch shows a touch that the market did not have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.data import read_events
from apex_nautilus.data.batch_order import order_batches
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, NO_ASK, NO_BID


def batch(levels: list[tuple[int, int, int]]) -> np.ndarray:
    events = np.zeros(len(levels), dtype=EVENT)
    for event, (side, price, size) in zip(events, levels, strict=True):
        event["kind"], event["side"], event["price"], event["size"] = KIND_LEVEL, side, price, size
    if levels:
        events["flags"][-1] = FLAG_LAST
    return events


def book_of(ladder: Ladder) -> set[tuple[int, int, int]]:
    whole = ladder.snapshot(0, 0, 0)[1:]
    return {(int(e["side"]), int(e["price"]), int(e["size"])) for e in whole}


def prefix_touches(before: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Touches after each single event, as an engine that matches after every one sees them."""
    ladder = Ladder()
    ladder.apply(before)
    single = ordered.copy()
    single["flags"] |= FLAG_LAST
    return ladder.apply(single)[:, 2:]


@st.composite
def books(draw):
    """A book around a mid, as (side, price, size) levels; sides may be empty."""
    mid = draw(st.integers(50, 70))
    bids = draw(st.sets(st.integers(40, mid - 1), max_size=6))
    asks = draw(st.sets(st.integers(mid, 80), max_size=6))
    sizes = st.integers(1, 5)
    return [(1, p, draw(sizes)) for p in sorted(bids)] + [(-1, p, draw(sizes)) for p in sorted(asks)]


@settings(max_examples=150)
@given(books(), books(), st.randoms(use_true_random=False))
def test_each_prefix_has_the_old_or_the_new_touch_and_never_crosses(old, new, shuffle):
    wanted = {(s, p): z for s, p, z in new}
    changes = [(s, p, 0) for s, p, _ in old if (s, p) not in wanted] + new
    shuffle.shuffle(changes)
    ladder = Ladder()
    ladder.apply(batch(old))
    events = batch(changes)
    touches = ladder.apply(events)
    ordered = order_batches(events, touches)

    assert book_of(ladder) == set(new)
    if not changes:
        return
    b0, a0, b1, a1 = touches[0]
    seen = prefix_touches(batch(old), ordered)
    assert set(seen[:, 0]) <= {b0, b1}
    assert set(seen[:, 1]) <= {a0, a1}
    assert (seen[:, 0] < seen[:, 1]).all()
    assert tuple(seen[-1]) == (b1, a1)
    assert (ordered["flags"] == [0] * (ordered.size - 1) + [FLAG_LAST]).all()
    after = Ladder()
    after.apply(batch(old))
    after.apply(ordered)
    assert book_of(after) == set(new)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(1, 30), st.integers(0, 3)), max_size=60))
def test_ladder_agrees_with_two_dictionaries(changes):
    sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
    ladder = Ladder()
    for side, price, size in changes:
        ladder.apply(batch([(side, price, size)]))
        sides[side][price] = size
        sides[side] = {p: z for p, z in sides[side].items() if z}
        assert ladder.bid[0] == max(sides[1], default=NO_BID)
        assert ladder.ask[0] == min(sides[-1], default=NO_ASK)
    assert book_of(ladder) == {(s, p, z) for s, levels in sides.items() for p, z in levels.items()}


def test_the_later_of_two_settings_of_a_level_counts():
    events = batch([(1, 50, 3), (-1, 60, 1), (1, 50, 0), (1, 50, 4)])
    ladder = Ladder()
    ordered = order_batches(events, ladder.apply(events))
    assert [(int(e["side"]), int(e["price"]), int(e["size"])) for e in ordered] == [(1, 50, 4), (-1, 60, 1)]


def test_what_a_clear_wipes_out_is_not_written():
    events = batch([(1, 50, 3), (1, 0, 0), (1, 49, 2), (-1, 60, 1)])
    events["kind"][1], events["side"][1] = KIND_CLEAR, 0
    ladder = Ladder()
    ordered = order_batches(events, ladder.apply(events))
    assert [int(k) for k in ordered["kind"]] == [KIND_CLEAR, KIND_LEVEL, KIND_LEVEL]
    assert 50 not in ordered["price"]


def test_a_stream_of_batches_stays_apart():
    first, second = batch([(1, 50, 1), (-1, 60, 1)]), batch([(1, 50, 0), (1, 51, 1)])
    stream = np.concatenate([first, second])
    ordered = order_batches(stream, Ladder().apply(stream))
    assert [int(f) for f in ordered["flags"]] == [0, FLAG_LAST, 0, FLAG_LAST]
    assert [int(p) for p in ordered["price"]] == [50, 60, 51, 50]


def test_trades_are_refused():
    events = batch([(1, 50, 1)])
    events["kind"] = KIND_TRADE
    with pytest.raises(ValueError, match="take the trades out"):
        order_batches(events, np.zeros((1, 4), dtype=np.int64))


def test_prefixes_of_a_recorded_book_hold_too(btc_import):
    catalog, _ = btc_import
    events = np.concatenate(list(read_events(catalog, "BTCUSDT-PERP.BINANCE")))
    book = events[events["kind"] != KIND_TRADE]
    whole = Ladder().apply(book)
    each = book.copy()
    each["flags"] |= FLAG_LAST
    seen = Ladder().apply(each)[:, 2:]
    of = np.concatenate([[0], np.cumsum((book["flags"] & FLAG_LAST).astype(np.int64)[:-1])])
    # The first batch is the snapshot: it begins on an emptied book, so its sides appear one after the other.
    later = of > 0
    bids, asks = seen[later, 0], seen[later, 1]
    assert ((bids == whole[of[later], 0]) | (bids == whole[of[later], 2])).all()
    assert ((asks == whole[of[later], 1]) | (asks == whole[of[later], 3])).all()
    assert (bids < asks).all()
    assert later.sum() > 100_000
