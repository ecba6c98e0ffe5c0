"""When a row closes, at what time, and what it has seen: the clocks, case by case."""

from __future__ import annotations

import pytest
from market_data import EPOCH, SECOND, stream

from apex_nautilus.features import BookFeatures, batch_book


def rows_of(events, clock, conflate_ms=0, names=("imbalance", "signed_volume_10s")):
    rows = batch_book(
        events, names, price_precision=0, size_precision=0, clock=clock, conflate_ms=conflate_ms
    )
    seconds = [(t - EPOCH) / SECOND for t in rows.ts_ns.tolist()]
    return list(zip(seconds, rows.row_event.tolist(), rows.features.tolist(), strict=True)), rows


BOOK = [(0.1, "b100-"), (0.1, "a102")]  # two-sided at 0.1 s


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], [0.1]),
        ([(0.2, "b100x3")], [0.1, 0.2]),
        ([(0.2, "b100x3-")], [0.1]),  # the batch is not over
        ([(0.2, "b100x3-"), (0.3, "a103")], [0.1, 0.3]),  # a row for the batch, at its last event
        ([(0.2, "t101")], [0.1]),  # a trade closes no row, flagged or not
        ([(0.2, "b102")], [0.1]),  # locked
        ([(0.2, "b103")], [0.1]),  # crossed
        ([(0.2, "b103"), (0.3, "b103x0"), (0.4, "b99")], [0.1, 0.3, 0.4]),  # and uncrossed again
        ([(0.2, "b100x0"), (0.3, "b100")], [0.1, 0.3]),  # one-sided in between
        ([(0.2, "clear"), (0.3, "b90"), (0.4, "a91")], [0.1, 0.4]),
        ([(0.05, "b100x3")], [0.1, 0.1]),  # older than its predecessor: taken at the predecessor's time
    ],
)
def test_book_clock(steps, expected):
    seconds = [s for s, _, _ in rows_of(stream(*BOOK, *steps), "book")[0]]
    assert seconds == pytest.approx(expected)


@pytest.mark.parametrize(
    ("conflate_ms", "expected"),
    [
        (0, [0.1, 0.15, 0.2, 0.25, 0.4]),
        (50, [0.1, 0.15, 0.2, 0.25, 0.4]),
        (51, [0.1, 0.2, 0.4]),
        (1000, [0.1]),
    ],
)
def test_conflation_thins_the_book_clock_but_not_the_path(conflate_ms, expected):
    events = stream(*BOOK, (0.15, "b99"), (0.2, "b98"), (0.25, "b97"), (0.4, "b96"))
    got, rows = rows_of(events, "book", conflate_ms)
    assert [s for s, _, _ in got] == pytest.approx(expected)
    assert len(rows.path_ts_ns) == 5
    assert rows.ts_ns.tolist() == rows.path_ts_ns[rows.row_event].tolist()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # (time, place in the path, [imbalance, signed volume]) of each row. BOOK is entry 0 of the path.
        ([(0.9, "b100x3")], []),
        # the first event at or after 1 s freezes what came before it and, being a whole book, releases it
        ([(1.0, "b100x3")], [(1.0, 1, [0.5, 0.0])]),
        ([(1.7, "b100x3")], [(1.7, 1, [0.5, 0.0])]),
        # what came before the boundary is seen
        ([(0.9, "b100x3"), (1.2, "b100x9")], [(1.2, 2, [0.75, 0.0])]),
        # a trade freezes but does not release, and is not in the row that it freezes
        ([(0.8, "t101x4"), (1.1, "t101x5"), (1.3, "a102x2")], [(1.3, 1, [0.5, 4.0])]),
        # a batch in flux or a crossed book does not release
        ([(1.1, "b103"), (1.2, "b103x0-"), (1.4, "b100x7")], [(1.4, 1, [0.5, 0.0])]),
        # seconds without an event give one row, not several
        ([(5.5, "b100x3"), (6.5, "b100x4")], [(5.5, 1, [0.5, 0.0]), (6.5, 2, [0.75, 0.0])]),
        # a second that comes while another waits takes its place
        ([(1.1, "t101x4"), (2.1, "t101x5"), (2.2, "b100x3")], [(2.2, 1, [0.5, 4.0])]),
        # one that comes when the book is lost retires it: a row frozen an hour ago is not to be acted on
        ([(1.1, "t101x4"), (1.2, "clear"), (3600.0, "b90"), (3600.1, "a91")], []),
        (
            [(1.1, "t101"), (1.2, "b103"), (1.9, "b103x0"), (2.5, "b99")],
            [(1.9, 1, [0.5, 0.0]), (2.5, 2, [0.5, 1.0])],
        ),
        # a second that finds no whole book gives no row, neither then nor later
        ([(0.9, "b103"), (1.1, "b103x0"), (1.2, "b99")], []),
        ([(0.9, "clear"), (1.1, "b90"), (1.2, "a91x3"), (2.0, "a92")], [(2.0, 2, [0.25, 0.0])]),
    ],
)
def test_second_clock(steps, expected):
    got, _ = rows_of(stream(*BOOK, *steps), "1s")
    assert got == [(pytest.approx(s), e, pytest.approx(f)) for s, e, f in expected]


def test_windows_of_the_second_clock_end_at_the_boundary():
    # A trade at 0.99 s has left the last 1 s window at 2.1 s, when the row of the boundary 2 s is frozen.
    steps = [(0.99, "t101x4"), (1.1, "b100x3"), (2.1, "b100x4")]
    got, _ = rows_of(stream(*BOOK, *steps), "1s", names=("signed_volume_1s",))
    assert [f for _, _, f in got] == [[4.0], [0.0]]
    steps[0] = (1.02, "t101x4")
    late, _ = rows_of(stream(*BOOK, *steps), "1s", names=("signed_volume_1s",))
    assert [f for _, _, f in late] == [[0.0], [4.0]]


def test_the_row_meets_the_book_of_the_event_that_released_it():
    live = BookFeatures(["imbalance"], price_precision=0, size_precision=0, clock="1s")
    assert not live.apply(stream(*BOOK))
    assert not live.apply(stream((1.1, "t101")))
    assert live.apply(stream((1.2, "b101x3")))
    assert live.row.tolist() == [0.5]
    assert (live.bid, live.ask) == (101.0, 102.0)
    assert live.row_ts_ns == EPOCH + 12 * SECOND // 10
    assert live.is_whole
    assert not live.apply(stream((1.3, "b102")))
    assert not live.is_whole
    assert (live.bid, live.ask) == (101.0, 102.0)  # of the last whole book


def test_order_flow_is_that_since_the_last_row():
    # At the touch: bid 1 to 3 is +2, ask 1 to 4 is -3; mean queue of the first (1 + 3 + 1 + 1) / 4
    events = stream(
        *BOOK, (0.2, "b100x3"), (0.3, "a102x4"), (1.5, "b100x3"), (1.6, "b101x2"), (2.0, "b101x2")
    )
    each, _ = rows_of(events, "book", names=("ofi_1",))
    assert [f[0] for _, _, f in each] == pytest.approx([0, 2 / 1.5, -3 / (11 / 4), 0, 2 / (13 / 4), 0])
    by_second, _ = rows_of(events, "1s", names=("ofi_1",))
    assert [f[0] for _, _, f in by_second] == pytest.approx([-1 / ((6 + 11) / 8), 2 / ((14 + 13) / 8)])
