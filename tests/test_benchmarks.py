"""The benchmarks' harness: rates, ratios, and peers that are missing are said to be."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.harness import MissingPeer, Timed, alternate, compare, missing_row, require_peer


def test_contestants_alternate_and_warm_up_once():
    calls: list[str] = []
    alternate(lambda: calls.append("a"), lambda: calls.append("b"), repeats=3)
    assert calls == ["a", "b"] * 4


def test_the_median_and_the_spread_are_those_of_the_repeats():
    timed = Timed((1.0, 2.0, 4.0))
    assert timed.median == 2.0
    assert timed.spread == 1.5


def test_a_ratio_is_of_rates_of_work_done(monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 5.0])
    monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: next(clock))
    row = compare(
        "x", lambda: None, lambda: None, work=100.0, their_work=40.0, unit="rows/s", peer="p",
        goal_ratio=10.0, same_work="-", repeats=1, warm=False,
    )  # fmt: skip
    assert (row.ours, row.theirs, row.ratio, row.holds) == (100.0, 10.0, 10.0, True)


def test_a_missing_peer_is_reported_and_says_what_to_do():
    with pytest.raises(MissingPeer, match="make bench"):
        require_peer("a_peer_that_nobody_wrote")
    row = missing_row("x", "rows/s", "peer", ">= 2x", "not installed")
    assert row.holds is None
    assert "missing" in row.peer


def test_an_unknown_benchmark_is_refused_and_the_known_are_named():
    out = subprocess.run([sys.executable, "-m", "benchmarks", "speed"], capture_output=True, text=True)
    assert out.returncode == 2
    assert "order_book" in out.stderr


def test_each_measure_is_one_json_object_a_line(tmp_path):
    """The live decision has no outside peer, so it runs wherever the tests do."""
    file = tmp_path / "rows.jsonl"
    subprocess.run(
        [sys.executable, "-m", "benchmarks", "live_decision", "--quick", "--json", str(file)],
        check=True,
        capture_output=True,
    )
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    keys = [
        "name",
        "unit",
        "ours",
        "peer",
        "theirs",
        "ratio",
        "goal",
        "holds",
        "same_work",
        "repeats",
        "spread",
    ]
    assert rows
    assert all(list(row) == keys for row in rows)
