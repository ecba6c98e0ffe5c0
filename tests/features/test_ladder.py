"""The price ladder is a sorted dictionary of levels, whatever is done to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.features import KIND_CLEAR, KIND_LEVEL, Ladder


class DictLadder:
    """The slow twin: one dictionary a side, sorted when asked."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.dropped = 0

    def set(self, side: int, price: int, size: int) -> None:
        levels = self.sides[side]
        if size <= 0:
            levels.pop(price, None)
            return
        levels[price] = size
        if len(levels) > self.capacity:
            del levels[min(levels, key=lambda p: side * p)]
            self.dropped += 1

    def clear(self, side: int = 0) -> None:
        for s in (1, -1):
            if side in (s, 0):
                self.sides[s].clear()

    def levels(self, side: int) -> list[list[int]]:
        return [[p, self.sides[side][p]] for p in sorted(self.sides[side], key=lambda p: -side * p)]


def assert_equal(ladder: Ladder, twin: DictLadder) -> None:
    assert ladder.bids(10**6).tolist() == twin.levels(1)
    assert ladder.asks(10**6).tolist() == twin.levels(-1)
    assert len(ladder) == len(twin.sides[1]) + len(twin.sides[-1])
    assert ladder.levels_dropped == twin.dropped


PRICES = st.one_of(st.integers(-5, 60), st.integers(-(2**40), 2**40))
CHANGES = st.tuples(st.sampled_from([1, -1]), PRICES, st.integers(-1, 3))
CLEARS = st.tuples(st.just("clear"), st.sampled_from([-1, 0, 1]))


@settings(max_examples=150)
@given(st.lists(st.one_of(*[CHANGES] * 12, CLEARS), max_size=300), st.sampled_from([10, 16, 40, 1000]))
def test_the_ladder_equals_a_dictionary(steps, capacity):
    ladder, twin = Ladder(capacity), DictLadder(capacity)
    for step in steps:
        if step[0] == "clear":
            ladder.clear(step[1])
            twin.clear(step[1])
        else:
            ladder.set(*step)
            twin.set(*step)
    assert_equal(ladder, twin)


@pytest.mark.parametrize(("n", "capacity"), [(4_000, 32_768), (4_000, 300)])
def test_deep_books_equal_a_dictionary_at_every_step(n, capacity):
    rng = np.random.default_rng(2)
    ladder, twin = Ladder(capacity), DictLadder(capacity)
    for k in range(n):
        step = (int(rng.choice([1, -1])), int(rng.integers(0, 2_000)), int(rng.integers(0, 4)))
        ladder.set(*step)
        twin.set(*step)
        if k % 97 == 0:
            assert_equal(ladder, twin)
    assert_equal(ladder, twin)
    assert (twin.dropped > 0) == (capacity == 300)


def test_the_ladder_equals_a_dictionary_on_a_real_book(real_events):
    ladder, twin = Ladder(), DictLadder(32_768)
    for k, event in enumerate(real_events[:60_000]):
        side, price, size = int(event["side"]), int(event["price"]), int(event["size"])
        if event["kind"] == KIND_CLEAR:
            ladder.clear(side)
            twin.clear(side)
        elif event["kind"] == KIND_LEVEL:
            ladder.set(side, price, size)
            twin.set(side, price, size)
        if k % 20_000 == 19_999:
            assert_equal(ladder, twin)
    assert min(len(ladder.bids(10**6)), len(ladder.asks(10**6))) > 1_000


def test_a_level_far_from_the_touch_costs_one_level():
    ladder = Ladder(10)
    ladder.set(1, 6_180_020, 5)
    ladder.set(1, 100_000, 7)  # a bid of 1000.00 on bitcoin
    ladder.set(-1, 2**40, 1)
    assert ladder.bids().tolist() == [[6_180_020, 5], [100_000, 7]]
    assert ladder.asks().tolist() == [[2**40, 1]]
    ladder.set(1, 100_000, 0)
    assert ladder.bids().tolist() == [[6_180_020, 5]]


@pytest.mark.parametrize("side", [1, -1])
def test_a_full_side_gives_up_the_level_farthest_from_the_touch(side):
    ladder = Ladder(10)
    for k in range(10):
        ladder.set(side, 100 - side * k, 1)
    ladder.set(side, 100 - side * 50, 1)  # farther than all: it is the one that does not stay
    read = ladder.bids if side > 0 else ladder.asks
    assert read().tolist() == [[100 - side * k, 1] for k in range(10)]
    ladder.set(side, 100 + side, 9)
    assert read().tolist() == [[100 + side, 9]] + [[100 - side * k, 1] for k in range(9)]
    assert ladder.levels_dropped == 2
    ladder.set(side, 100, 4)  # changing a level of a full side drops nothing
    assert ladder.levels_dropped == 2


def test_a_ladder_without_a_limit_grows_and_drops_nothing():
    ladder, twin = Ladder(None), DictLadder(10**9)
    rng = np.random.default_rng(5)
    for side, price, size in zip(
        rng.choice([-1, 1], 9_000), rng.integers(1, 10**6, 9_000), rng.integers(0, 5, 9_000), strict=True
    ):
        ladder.set(int(side), int(price), int(size))
        twin.set(int(side), int(price), int(size))
    assert_equal(ladder, twin)
    assert ladder.bid == tuple(twin.levels(1)[0])
    assert ladder.ask == tuple(twin.levels(-1)[0])


def test_deleting_what_is_not_there_does_nothing():
    ladder = Ladder()
    ladder.set(1, 10, 0)
    ladder.set(1, 10, 5)
    ladder.set(1, 11, 0)
    ladder.set(-1, 10, 0)
    assert ladder.bids().tolist() == [[10, 5]]
    assert ladder.asks().tolist() == []


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="capacity must lie in"):
        Ladder(9)
    with pytest.raises(ValueError, match="side must be"):
        Ladder().set(0, 1, 1)
