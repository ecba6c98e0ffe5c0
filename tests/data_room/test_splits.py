"""Splits against an oracle that looks at every row, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.data import DatasetError
from apex_nautilus.data.splits import Splits, time_splits


def slow_splits(ts, hold, train, validation, embargo):
    """Each row goes where it may, one at a time."""
    n = len(ts)
    borders = [ts[int(n * train)], ts[int(n * (train + validation))]]
    parts = ([], [], [])
    for i, t in enumerate(ts):
        # Train: its trade is over before the first border. Validation: the embargo after the first border
        # has passed, and its trade is over before the second. Test: the embargo after the second has passed.
        if t + hold < borders[0]:
            parts[0].append(i)
        elif t >= borders[0] + embargo and t + hold < borders[1]:
            parts[1].append(i)
        elif t >= borders[1] + embargo:
            parts[2].append(i)
    return parts


@given(
    st.lists(st.integers(0, 5), min_size=10, max_size=200), st.integers(0, 15),
    st.one_of(st.none(), st.integers(0, 15)), st.sampled_from([0.3, 0.5, 0.6]), st.sampled_from([0.15, 0.2]),
)  # fmt: skip
def test_splits_agree_with_a_look_at_every_row(steps, hold, embargo, train, validation):
    ts = np.cumsum(steps).astype(np.int64)
    wait = hold if embargo is None else embargo
    expected = slow_splits(ts.tolist(), hold, train, validation, wait)
    if not all(expected):
        with pytest.raises(DatasetError, match="would be empty"):
            time_splits(ts, hold, train, validation, embargo_ns=embargo)
        return
    parts = time_splits(ts, hold, train, validation, embargo_ns=embargo)
    assert [list(range(lo, hi)) for lo, hi in parts] == list(expected)


def test_rows_of_a_file_are_split_like_rows_in_memory(tmp_path):
    ts = np.cumsum(np.random.default_rng(1).integers(0, 3, 5_000)).astype(np.int64)
    np.save(tmp_path / "ts.npy", ts)
    mapped = np.load(tmp_path / "ts.npy", mmap_mode="r")
    assert time_splits(mapped, 40) == time_splits(ts, 40)
    assert isinstance(time_splits(mapped, 40), Splits)


def test_golden_cut():
    # 100 rows a second apart, 5 s held: borders at rows 60 and 80.
    parts = time_splits(np.arange(100, dtype=np.int64) * 10**9, 5 * 10**9)
    assert parts == Splits(train=(0, 55), validation=(65, 75), test=(85, 100))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"max_hold_ns": -1}, "must not be negative"),
        ({"embargo_ns": -1}, "must not be negative"),
        ({"train": 0.0}, "positive shares"),
        ({"train": 0.9}, "positive shares"),
        ({"validation": float("nan")}, "positive shares"),
        ({"max_hold_ns": 60}, "train part would be empty: 100 rows"),
    ],
)
def test_what_cannot_be_split_is_told(changes, match):
    good = {"ts_ns": np.arange(100, dtype=np.int64), "max_hold_ns": 5, "train": 0.6, "validation": 0.2}
    with pytest.raises(DatasetError, match=match):
        time_splits(**(good | changes))
    with pytest.raises(DatasetError, match="0 rows over 0 s"):
        time_splits(np.empty(0, dtype=np.int64), 5)
