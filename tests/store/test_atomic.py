"""Files are whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from apex_nautilus.store import clean_temporaries, move, remove, write_atomic


def test_a_write_replaces_the_whole_file(tmp_path):
    target = tmp_path / "a.json"
    write_atomic(target, b"first, and longer")
    write_atomic(target, b"second")
    assert target.read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_an_exclusive_write_keeps_what_is_there(tmp_path):
    target = tmp_path / "a.json"
    write_atomic(target, b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        write_atomic(target, b"second", exclusive=True)
    assert target.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()  # rename of a file over a directory fails
    with pytest.raises(OSError):
        write_atomic(tmp_path / "a", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_move_keeps_the_content_and_a_missing_source_is_an_error(tmp_path):
    (tmp_path / "b").mkdir()
    write_atomic(tmp_path / "x", b"data")
    move(tmp_path / "x", tmp_path / "b" / "y")
    assert (tmp_path / "b" / "y").read_bytes() == b"data"
    assert not (tmp_path / "x").exists()
    with pytest.raises(FileNotFoundError):
        move(tmp_path / "x", tmp_path / "b" / "z")


def test_removal_may_be_repeated(tmp_path):
    write_atomic(tmp_path / "x", b"data")
    remove(tmp_path / "x")
    remove(tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("point", ["atomic.temporary_created", "atomic.temporary_written"])
def test_a_writer_killed_before_the_rename_leaves_only_a_temporary_that_is_cleaned(tmp_path, point):
    write_atomic(tmp_path / "a.json", b"old")
    script = (
        "import sys; from apex_nautilus.store import write_atomic; write_atomic(sys.argv[1], b'new' * 9999)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.json")],
        env={**os.environ, "APEX_FAULT": f"{point}@1"},
        check=False,
    )
    assert done.returncode == -9
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert len(clean_temporaries(tmp_path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_the_temporaries_of_living_writers_are_left_alone(tmp_path):
    mine = tmp_path / f".a.json.{os.getpid()}.0.tmp"
    mine.write_bytes(b"being written")
    assert clean_temporaries(tmp_path) == []
    assert mine.exists()


def test_a_fault_specification_that_means_nothing_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", "import apex_nautilus.store"],
        env={**os.environ, "APEX_FAULT": "sometimes"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "expected NAME@N" in done.stderr
