"""Book features on markets small enough to be counted by hand."""

from __future__ import annotations

import math

import pytest
from market_data import stream

from apex_nautilus.features import batch_book, get


def last(steps, *names, size_precision=0):
    """The named features at the last row of a few events."""
    rows = batch_book(stream(*steps), names, price_precision=0, size_precision=size_precision)
    return rows.features[-1].tolist()


def test_depth_counts_every_level_within_ten_basis_points():
    # The mid is 100000 and 10 bps of it are 100: 99900 and 100100 are the last that count.
    bids = ["b99990x20-", "b99950x30-", "b99900x50-", "b99899x700-", "b50000x9000-"]
    asks = ["a100010x1-", "a100060x2-", "a100100x4-", "a100101x800"]
    steps = [(0.1, what) for what in bids + asks]
    assert last(steps, "depth_bid_10bps", "depth_ask_10bps", size_precision=1) == [10.0, 0.7]


def test_depth_reaches_as_far_as_the_levels_do_and_not_only_ten_of_them():
    bids = [(0.1, f"b{1_000_000 - k}x1-") for k in range(60)]
    asks = [(0.1, f"a{1_000_001 + 10 * k}x2-") for k in range(300)]
    steps = [*bids, *asks, (0.2, "b1x5")]
    # Twice the mid is 2000001, a thousandth of it 2000: an ask counts while 2 price - 2000001 <= 2000.
    assert last(steps, "depth_bid_10bps", "depth_ask_10bps") == [60.0, 2.0 * 100]


def test_depth_of_a_wide_book_is_nothing():
    steps = [(0.1, "b100x5-"), (0.1, "a102x5")]  # the touch is 100 bps away
    assert last(steps, "depth_bid_10bps", "depth_ask_10bps") == [0.0, 0.0]


BOOK = [(0.1, "b100x8-"), (0.1, "a105x6")]


def test_trade_signs_count_prints_whatever_their_size():
    trades = [(0.2, "t105x900"), (0.3, "t105x1"), (0.4, "s100x7"), (0.5, "t105x1")]
    steps = [*BOOK, *trades, (0.6, "b99x1")]
    assert last(steps, "trade_sign_imbalance_1s") == [(3 - 1) / 4]
    later = [*steps, (1.45, "b99x2")]  # the first three have left: one buy, one print
    assert last(later, "trade_sign_imbalance_1s", "trade_sign_imbalance_10s") == [1.0, 0.5]


def test_a_queue_is_used_up_by_what_its_best_price_loses():
    steps = [
        *BOOK,
        (0.2, "b100x5"),  # 3 taken off
        (0.3, "b100x9"),  # added: no
        (0.4, "b101x4"),  # bettered: no
        (0.5, "b101x0"),  # all 4 gone, 9 at 100 are the best again
        (0.6, "a105x4"),  # 2 asks taken off
        (0.7, "a104x7"),  # bettered
    ]
    names = ["queue_depletion_bid_10s", "queue_depletion_ask_10s", "queue_depletion_bid_60s"]
    bid, ask = (8 + 5 + 9 + 4 + 9 + 9 + 9) / 7, (6 + 6 + 6 + 6 + 6 + 4 + 7) / 7  # shown by the seven books
    assert last(steps, *names) == pytest.approx([7 / bid / 10, 2 / ask / 10, 7 / bid / 60], rel=1e-12)
    # 1 s later it has left the window of one second, at the latest.
    assert last([*steps, (1.8, "b99x1")], "queue_depletion_bid_1s", "queue_depletion_ask_1s") == [0.0, 0.0]


def test_an_intensity_is_the_sum_of_its_exponentials():
    steps = [*BOOK, (0.3, "t105"), (0.8, "t105"), (0.9, "s100"), (1.3, "b99x1")]
    values = last(steps, "hawkes_buys_1s", "hawkes_sells_1s", "hawkes_books_1s", "hawkes_buys_100ms")
    e = math.exp
    expected = [e(-1.0) + e(-0.5), e(-0.4), e(-1.2) + 1.0, 10.0 * (e(-10.0) + e(-5.0))]
    assert values == pytest.approx(expected, rel=1e-12)


def test_events_that_come_steadily_have_their_rate_as_intensity():
    every = 0.02
    steps = [*BOOK, *[(0.1 + every * k, f"b{90 + k % 2}x{1 + k}") for k in range(1, 1_500)]]
    # Just after an event the sum is 1 / (1 - exp(-every / tau)), half an interval above the rate.
    assert last(steps, "hawkes_books_1s")[0] == pytest.approx(1 / every + 0.5, rel=1e-3)


@pytest.mark.parametrize(("after", "known"), [(15.9, True), (20.1, False)])
def test_an_intensity_remembers_sixteen_and_never_twenty_of_its_times(after, known):
    steps = [*BOOK, (0.2, "t105"), (0.2 + after, "b99x1")]
    (value,) = last(steps, "hawkes_buys_1s")
    assert value == (pytest.approx(math.exp(-after), rel=1e-9) if known else 0.0)


def test_an_intensity_does_not_depend_on_when_it_is_asked():
    trades = [(0.2 + 1.37 * k, "t105") for k in range(40)]
    seldom = sorted([*BOOK, *trades, (60.0, "b99x1")])
    often = sorted([*seldom, *((0.15 + 0.11 * k, f"b98x{k + 1}") for k in range(540))])
    names = ["hawkes_buys_1s", "hawkes_buys_100ms", "hawkes_sells_1s"]
    assert last(seldom, *names) == last(often, *names)


def test_sales_of_unknown_side_belong_to_nobody():
    events = stream(*BOOK, (0.2, "t105"), (0.3, "b99x1"))
    events["side"][2] = 0
    names = ["hawkes_buys_1s", "hawkes_sells_1s", "trade_sign_imbalance_1s"]
    rows = batch_book(events, names, price_precision=0, size_precision=0)
    assert rows.features[-1].tolist() == [get(n).neutral for n in names]
