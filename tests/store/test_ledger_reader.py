"""Ledgers are read in pieces, from anywhere and while they grow, and say what reading them whole says."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.store import LedgerError, LedgerReader, LedgerWriter, iterate_all, read_all, read_ledger
from apex_nautilus.store import ledger_reader as module


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Many blocks in a small file."""
    monkeypatch.setattr(module, "_BLOCK", 300)


def write(path, times, writer="w", kinds=("mark", "fill", "verdict")):
    with LedgerWriter(path, writer, group_commit=10_000) as ledger:
        ledger.append_many((kinds[k % len(kinds)], ts, {"k": k}) for k, ts in enumerate(times))
    return ledger.path


_times = st.lists(st.integers(-5, 40), max_size=60)
_bound = st.none() | st.integers(-7, 42)


@given(_times, _bound, _bound, st.none() | st.just(["fill"]), st.integers(0, 70), st.booleans())
def test_any_question_is_answered_as_by_looking_at_every_record(
    tmp_path_factory, times, start, end, kinds, first, is_read
):
    path = write(tmp_path_factory.mktemp("ledger"), times)
    reader = LedgerReader(path)
    if is_read:  # by blocks known already, or by finding them
        list(reader.new())
    asked = list(reader.records(start_ns=start, end_ns=end, kinds=kinds, first_seq=first))
    assert asked == [
        r
        for r in read_ledger(path)
        if (start is None or r.ts_ns >= start)
        and (end is None or r.ts_ns < end)
        and (kinds is None or r.kind in kinds)
        and r.seq >= first
    ]
    assert reader.is_in_order == (sorted(times) == times)


def test_only_what_was_appended_is_read_again(tmp_path, monkeypatch):
    decoded = []
    real = module._decode
    monkeypatch.setattr(module, "_decode", lambda line: decoded.append(1) or real(line))
    reader = LedgerReader(tmp_path / "w.jsonl")
    assert list(reader.new()) == []  # not there yet
    with LedgerWriter(tmp_path, "w") as ledger:
        seen = 0
        for batch in (3, 0, 50, 1):
            ledger.append_many([("mark", 5, {})] * batch)
            decoded.clear()
            assert [r.seq for r in reader.new()] == list(range(seen, seen + batch))
            assert len(decoded) == batch
            seen += batch


def test_a_time_is_sought_without_reading_what_lies_before_it(tmp_path, monkeypatch):
    path = write(tmp_path, range(5_000))
    reader = LedgerReader(path)
    list(reader.new())
    decoded = []
    real = module._decode
    monkeypatch.setattr(module, "_decode", lambda line: decoded.append(1) or real(line))
    assert [r.ts_ns for r in reader.records(start_ns=4_000, end_ns=4_003)] == [4_000, 4_001, 4_002]
    assert len(decoded) < 20


def test_a_line_that_is_torn_now_is_read_once_it_is_whole(tmp_path):
    path = write(tmp_path, range(4))
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    reader = LedgerReader(path)
    assert [r.seq for r in reader.new()] == [0, 1, 2]
    assert list(reader.new()) == []
    path.write_bytes(data)
    assert [r.seq for r in reader.new()] == [3]


def test_a_reader_that_stops_midway_goes_on_where_it_stopped(tmp_path):
    reader = LedgerReader(write(tmp_path, range(10)))
    stream = reader.new()
    assert [next(stream).seq for _ in range(4)] == [0, 1, 2, 3]
    stream.close()
    assert [r.seq for r in reader.new()] == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("harm", ["middle", "missing", "shorter", "gone"])
def test_damage_is_named(tmp_path, harm):
    path = write(tmp_path, range(6))
    reader = LedgerReader(path)
    if harm in ("shorter", "gone"):
        list(reader.new())
    lines = path.read_bytes().splitlines(keepends=True)
    if harm == "middle":
        lines[2] = b"garbage\n"
    elif harm == "missing":
        del lines[3]
    elif harm == "shorter":
        del lines[-2:]
    path.write_bytes(b"".join(lines))
    if harm == "gone":
        path.unlink()
    reason = {
        "middle": "line 3 is not",
        "missing": "line 4 has seq 4, expected 3",
        "shorter": "is shorter",
        "gone": "is gone",
    }
    with pytest.raises(LedgerError, match=reason[harm]):
        list(reader.new())


@given(st.lists(_times, min_size=1, max_size=4))
def test_merged_ledgers_come_in_the_one_order_whether_their_times_do_or_not(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("ledgers")
    for number, times in enumerate(files):
        write(folder, times, writer=f"w{number}")
    merged = list(iterate_all(folder))
    assert [(r.ts_ns, r.writer, r.seq) for r in merged] == sorted((r.ts_ns, r.writer, r.seq) for r in merged)
    assert merged == read_all(folder)
    assert len(merged) == sum(map(len, files))


def test_a_ledger_is_read_in_a_fraction_of_its_size(tmp_path, monkeypatch):
    monkeypatch.undo()  # blocks of their real size
    with LedgerWriter(tmp_path, "w", group_commit=10**6) as ledger:
        ledger.append_many(("mark", k, {"text": "x" * 200}) for k in range(20_000))
    size = ledger.path.stat().st_size
    tracemalloc.start()
    try:
        assert sum(1 for _ in iterate_all(tmp_path)) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 5_000_000
    assert peak < 400_000
