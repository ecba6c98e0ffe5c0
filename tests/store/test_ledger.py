"""The ledger forgives a torn last line and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.store import LedgerError, LedgerWriter, read_all, read_ledger


def _write(directory, writer, stamps):
    with LedgerWriter(directory, writer) as ledger:
        for stamp in stamps:
            ledger.append("mark", stamp, {"equity": stamp / 3})


def test_what_is_appended_is_read_back(tmp_path):
    with LedgerWriter(tmp_path, "arena") as ledger:
        assert (
            ledger.append("birth", 7, {"slot": "btc-1", "equity": np.float64(200.0), "n": np.int64(3)}) == 0
        )
        assert ledger.append("marks", 8, {"equity": np.array([200.0, 201.5]), "nothing": float("nan")}) == 1
    first, second = read_ledger(tmp_path / "arena.jsonl")
    assert (first.seq, first.ts_ns, first.writer, first.kind) == (0, 7, "arena", "birth")
    assert first.fields == {"slot": "btc-1", "equity": 200.0, "n": 3}
    assert second.fields == {"equity": [200.0, 201.5], "nothing": None}


def test_the_same_records_are_the_same_bytes_whatever_the_order_of_their_fields(tmp_path):
    with LedgerWriter(tmp_path, "a") as ledger:
        ledger.append("x", 1, {"p": 0.1, "q": {"b": 1, "a": 2}})
    first = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "a.jsonl").unlink()
    with LedgerWriter(tmp_path, "a") as ledger:
        ledger.append("x", 1, {"q": {"a": 2, "b": 1}, "p": 0.1})
    assert (tmp_path / "a.jsonl").read_bytes() == first


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    cut=st.integers(0, 400),
    more=st.integers(0, 3),
)
def test_a_ledger_cut_anywhere_reads_as_a_prefix_and_continues_without_a_gap(
    tmp_path_factory, counts, cut, more
):
    folder = tmp_path_factory.mktemp("ledger")
    for count in counts:
        _write(folder, "w", range(count))
    path = folder / "w.jsonl"
    whole = read_ledger(path)
    content = path.read_bytes()
    path.write_bytes(content[: min(cut, len(content))])
    kept = read_ledger(path)
    assert kept == whole[: len(kept)]
    assert len(kept) == content[: min(cut, len(content))].count(b"\n")
    _write(folder, "w", range(more))
    again = read_ledger(path)
    assert again[: len(kept)] == kept
    assert [record.seq for record in again] == list(range(len(kept) + more))


@pytest.mark.parametrize("garbage", [b"\x00" * 40, b'{"seq": 3, "ts_n', b"\xff\xfe\n", b"{}\n"])
def test_a_tail_that_is_no_record_is_dropped(tmp_path, garbage):
    _write(tmp_path, "w", range(3))
    path = tmp_path / "w.jsonl"
    path.write_bytes(path.read_bytes() + garbage)
    assert len(read_ledger(path)) == 3
    _write(tmp_path, "w", [9])
    assert [record.ts_ns for record in read_ledger(path)] == [0, 1, 2, 9]


def test_damage_before_the_last_line_is_an_error_that_names_the_line(tmp_path):
    _write(tmp_path, "w", range(4))
    path = tmp_path / "w.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"garbage\n" + lines[2] + lines[3])
    with pytest.raises(LedgerError, match="line 2 is not a ledger record"):
        read_ledger(path)
    with pytest.raises(LedgerError, match="line 2"):
        LedgerWriter(tmp_path, "w")


def test_a_missing_or_repeated_line_is_an_error(tmp_path):
    _write(tmp_path, "w", range(4))
    path = tmp_path / "w.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(LedgerError, match="seq 2, expected 1"):
        read_ledger(path)
    path.write_bytes(lines[0] + lines[1] + lines[1])
    with pytest.raises(LedgerError, match="seq 1, expected 2"):
        read_ledger(path)


def test_ledgers_merge_by_time_then_writer_then_sequence(tmp_path):
    _write(tmp_path, "b", [1, 5, 5])
    _write(tmp_path, "a", [5, 2, 5])  # a clock that stepped back keeps its own order among equal times
    merged = [(record.ts_ns, record.writer, record.seq) for record in read_all(tmp_path)]
    assert merged == [(1, "b", 0), (2, "a", 1), (5, "a", 0), (5, "a", 2), (5, "b", 1), (5, "b", 2)]
    assert read_all(tmp_path, kinds=["nothing"]) == []
    assert read_all(tmp_path / "absent") == []


def test_one_file_has_one_writer_at_a_time_and_one_name_for_ever(tmp_path):
    with LedgerWriter(tmp_path, "arena") as ledger:
        ledger.append("x", 1, {})
        with pytest.raises(LedgerError, match="another process is writing"):
            LedgerWriter(tmp_path, "arena")
    with pytest.raises(LedgerError, match="written by 'arena'"):
        LedgerWriter(tmp_path / "arena.jsonl", "forge")
    with pytest.raises(LedgerError, match="closed"):
        ledger.append("x", 2, {})


def test_lines_that_wait_for_a_flush_are_already_in_the_file(tmp_path):
    ledger = LedgerWriter(tmp_path, "w", group_commit=100)
    ledger.append_many([("x", i, {"i": i}) for i in range(10)])
    assert len(read_ledger(ledger.path)) == 10
    ledger.close()
    ledger.close()


def test_what_json_cannot_say_is_refused_and_writes_nothing(tmp_path):
    with LedgerWriter(tmp_path, "w") as ledger:
        with pytest.raises(TypeError, match="cannot be written to a ledger"):
            ledger.append("x", 1, {"f": object()})
        ledger.append("x", 1, {})
    assert len(read_ledger(tmp_path / "w.jsonl")) == 1


_FULL_DISK = """
import resource, signal, sys
from apex_nautilus.store import LedgerWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with LedgerWriter(sys.argv[1], "w") as ledger:
    ledger.append("mark", 1, {"x": 1})
    size = ledger.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, resource.RLIM_INFINITY))
    try:
        ledger.append("mark", 2, {"x": "y" * 100})
    except OSError:
        print("refused", ledger.path.stat().st_size - size, ledger.next_seq)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.append("mark", 3, {})
    ledger.append("mark", 4, {})
"""


def test_a_disk_that_fills_up_inside_a_line_leaves_no_torn_line_behind(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["refused", "0", "1"]
    assert [(r.seq, r.ts_ns) for r in read_ledger(tmp_path / "w.jsonl")] == [(0, 1), (1, 3), (2, 4)]


def test_a_disk_that_cannot_even_take_a_torn_line_back_gets_no_further_one(tmp_path, monkeypatch):
    def full(descriptor, data):
        real(descriptor, bytes(data[:5]))
        raise OSError(28, "No space left on device")

    def broken(descriptor, size):
        raise OSError(5, "Input/output error")

    real = os.write
    ledger = LedgerWriter(tmp_path, "w")
    ledger.append("mark", 1, {})
    with monkeypatch.context() as disk:
        calls = iter([lambda d, b: real(d, bytes(b[:5])), full])
        disk.setattr(os, "write", lambda d, b: next(calls)(d, b))
        disk.setattr(os, "ftruncate", broken)
        with pytest.raises(OSError, match="Input/output"):
            ledger.append("mark", 2, {})
    with pytest.raises(LedgerError, match="closed"):
        ledger.append("mark", 3, {})
    with LedgerWriter(tmp_path, "w") as again:
        assert again.next_seq == 1


def test_nesting_too_deep_to_follow_is_no_record(tmp_path):
    deep = "[" * 200_000 + "]" * 200_000
    path = tmp_path / "w.jsonl"
    path.write_text(f'{{"seq":0,"ts_ns":1,"writer":"w","kind":"k","fields":{{"a":{deep}}}}}\n')
    assert read_ledger(path) == []
