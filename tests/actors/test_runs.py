"""A run is a folder with its own copy of the strategies."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import pytest
from support.arena_case import BTC_ID, catalog, genome

from apex_nautilus.actors import mark_aborted, open_run, read_run
from apex_nautilus.actors.intake import Intake
from apex_nautilus.features import names
from apex_nautilus.store import FileJobQueue, RecycleJob, SlotOwner, StoreError, list_champions


def test_a_run_copies_the_strategies_and_what_is_still_asked_and_leaves_its_source_alone(tmp_path):
    source = catalog(tmp_path / "catalog", champions={"btc-1": genome()}, incoming=[genome(p=0.7)])
    (source.incoming / "link.json").symlink_to("/etc/hostname")
    queue = FileJobQueue(source)
    for k in range(3):
        queue.put(RecycleJob.create(asset=BTC_ID, slot=f"btc-{k}", created_ns=10**18 + k))
    queue.complete(queue.claim("w"), {})
    held = queue.claim("w")  # in the hands of a worker of the source
    before = sorted((str(p), p.lstat().st_mtime_ns) for p in source.root.rglob("*"))
    run = open_run(source.root, tmp_path / "runs", "one")
    assert [c.genome_id for c in list_champions(run.layout)] == [genome().id]
    assert (run.layout.incoming / "link.json").is_symlink()
    assert sorted(s.job.slot for s in FileJobQueue(run.layout).jobs() if s.state == "todo") == [
        "btc-1",
        "btc-2",
    ]
    assert list(run.layout.ledger.iterdir()) == []
    assert sorted((str(p), p.lstat().st_mtime_ns) for p in source.root.rglob("*")) == before
    assert read_run(run.layout.root).state == "running"
    run.finish()
    assert read_run(run.layout.root).state == "finished"
    held.release()


def test_only_a_run_whose_process_is_gone_is_marked_aborted(tmp_path):
    source = catalog(tmp_path / "catalog")
    code = (
        "import os, sys; from apex_nautilus.actors import open_run\n"
        "open_run(sys.argv[1], sys.argv[2], 'killed')\nos.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(source.root), str(tmp_path / "runs")], timeout=120)
    alive = open_run(source.root, tmp_path / "runs", "alive")  # marks the other as it starts
    assert read_run(tmp_path / "runs" / "killed").state == "aborted"
    assert mark_aborted(tmp_path / "runs") == []
    assert read_run(tmp_path / "runs" / "alive").state == "running"
    with pytest.raises(StoreError, match="still going on"):
        open_run(alive.layout.root, tmp_path / "runs", "next")
    alive.abort()
    open_run(alive.layout.root, tmp_path / "runs", "next").finish()


OPEN = (
    "import sys; from apex_nautilus.actors import open_run\n"
    "open_run(sys.argv[1], sys.argv[2], 'one').finish()"
)


@pytest.mark.parametrize("fault", ["atomic.temporary_written@1", "atomic.renamed@1", "run.copied@1"])
def test_a_start_that_was_killed_leaves_no_run_to_go_on_from(tmp_path, fault):
    """Half a copy must not be taken for a run, nor for a catalog, and its name is free."""
    source = catalog(tmp_path / "catalog", champions={"btc-1": genome()})
    runs = tmp_path / "runs"
    killed = subprocess.run(
        [sys.executable, "-c", OPEN, str(source.root), str(runs)],
        env={**os.environ, "APEX_FAULT": fault},
        timeout=120,
        check=False,
    )
    assert killed.returncode == -9
    assert [path.name for path in runs.glob("[!.]*")] == []
    assert mark_aborted(runs) == []
    run = open_run(source.root, runs, "one")
    assert len(list_champions(run.layout)) == 1
    run.finish()
    assert {path.name for path in runs.iterdir()} == {"one", ".making.lock"}


def test_a_start_without_room_for_its_copy_leaves_nothing(tmp_path, monkeypatch):
    source = catalog(tmp_path / "catalog", champions={"btc-1": genome()})

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        with pytest.raises(OSError, match="No space left"):
            open_run(source.root, tmp_path / "runs", "one")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".making.lock"]
    open_run(source.root, tmp_path / "runs", "one").finish()


def test_a_run_whose_slots_an_arena_holds_is_not_gone_on_from(tmp_path):
    source = catalog(tmp_path / "catalog", champions={"btc-1": genome()})
    first = open_run(source.root, tmp_path / "runs", "one")
    first.finish()
    owner = SlotOwner(first.layout)
    with pytest.raises(StoreError, match="another arena is at work"):
        open_run(first.layout.root, tmp_path / "runs", "two")
    owner.release()
    open_run(first.layout.root, tmp_path / "runs", "two").finish()


def test_a_run_needs_a_source_and_a_name_of_its_own(tmp_path):
    source = catalog(tmp_path / "catalog")
    with pytest.raises(StoreError, match="no strategies"):
        open_run(tmp_path, tmp_path / "runs", "one")
    run = open_run(source.root, tmp_path / "runs", "one")
    run.finish()
    with pytest.raises(StoreError, match="exists"):
        open_run(source.root, tmp_path / "runs", "one")
    with pytest.raises(StoreError, match="ended"):
        run.finish()
    (tmp_path / "runs" / "one" / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"run\.json"):
        read_run(tmp_path / "runs" / "one")
    assert read_run(source.root) is None


def test_whatever_lies_in_incoming_does_not_keep_a_run_from_starting(tmp_path):
    source = catalog(tmp_path / "catalog", champions={"btc-1": genome()}, incoming=[genome(p=0.7)])
    os.mkfifo(source.incoming / "pipe.json")
    (source.incoming / "folder.json" / "inside").mkdir(parents=True)
    with (source.incoming / "huge.json").open("wb") as huge:
        huge.truncate(10**12)  # a file of holes
    run = open_run(source.root, tmp_path / "runs", "one")
    intake = Intake(run.layout, known_features=names("book"), instruments=[BTC_ID])
    arrivals = {a.name: a for a in intake.poll(lambda genome_id: None)}
    assert "not a regular file" in arrivals["pipe.json"].reason
    assert "not a regular file" in arrivals["folder.json"].reason
    assert "larger than" in arrivals["huge.json"].reason
    assert sum(a.genome is not None for a in arrivals.values()) == 1
    run.finish()


def test_the_network_of_a_genome_is_copied_whole_though_it_is_larger_than_a_genome_may_be(tmp_path):
    source = catalog(tmp_path / "catalog")
    weights = bytes(range(256)) * 5_000
    (source.incoming / "net.onnx").write_bytes(weights)
    run = open_run(source.root, tmp_path / "runs", "one")
    assert (run.layout.incoming / "net.onnx").read_bytes() == weights
    run.finish()


def test_runs_of_other_kinds_in_the_same_folder_are_left_alone(tmp_path):
    source = catalog(tmp_path / "catalog")
    for name, content in (
        ("forge-1", '{"schema": "apex.forge-run/1", "dataset": "d"}'),
        ("forge-old", '{"schema": "apex.run/1", "dataset": "d"}'),
        ("broken", "{"),
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(content)
    assert read_run(tmp_path / "runs" / "forge-1") is read_run(tmp_path / "runs" / "forge-old") is None
    open_run(source.root, tmp_path / "runs", "one").finish()
    assert (tmp_path / "runs" / "broken" / "run.json").read_text() == "{"


def test_a_killed_run_in_another_folder_may_be_gone_on_from(tmp_path):
    source = catalog(tmp_path / "catalog")
    dead = open_run(source.root, tmp_path / "elsewhere", "dead")
    os.close(dead._descriptor)  # as the system does when the process dies
    open_run(dead.layout.root, tmp_path / "runs", "next").finish()
    assert read_run(dead.layout.root).state == "aborted"


@pytest.mark.parametrize("run_id", ["../up", "a/b", "", ".hidden", "x" * 70])
def test_a_run_whose_name_is_no_plain_file_name_is_refused(tmp_path, run_id):
    source = catalog(tmp_path / "catalog")
    with pytest.raises(StoreError, match="run"):
        open_run(source.root, tmp_path / "runs", run_id)
