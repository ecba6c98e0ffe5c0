"""Processes that share a queue, and kill -9 of one at seeded points: no job is lost, none answered twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import job_worker
import numpy as np
import pytest
from job_worker import drain, job
from queue_place import Place

from apex_nautilus.store import JobQueue

LEASE_S = 0.05


def _spawn(place: Place, owner: str, traces: Path | str, fault: str | None = None) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "APEX_FAULT"}
    if fault is not None:
        environment["APEX_FAULT"] = fault
    program = [sys.executable, job_worker.__file__, place.kind, place.where, str(LEASE_S), owner, str(traces)]
    return subprocess.Popen(program, env=environment)


def _worked_on(traces: Path) -> Counter[str]:
    """How often each job was delivered, whoever got it."""
    return Counter(line.split()[0] for path in traces.iterdir() for line in path.read_text().splitlines())


def test_many_processes_share_no_job_and_leave_none(place, queue, tmp_path):
    traces = tmp_path / "traces"
    traces.mkdir()
    asked = [job(second) for second in range(30)]
    for one in asked:
        queue.put(one)
    workers = [_spawn(place, f"w{k}", traces) for k in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert _worked_on(traces) == Counter(one.job_id for one in asked)
    assert all(s.state == "done" for s in queue.jobs())


#: Fault points that a worker passes on its way through five jobs, at least.
POINTS = {"file": 45, "redis": 10}


def _drained(place: Place, traces: Path) -> JobQueue:
    """Go on in this process after a worker has died, as soon as its lease has ended."""
    queue = place.open(LEASE_S)
    claims = [s for s in queue.jobs() if s.state == "doing"]
    if place.kind == "redis" and claims:
        # Not a sleep: the server's clock decides, so it is asked until it says that the lease has ended.
        for _ in range(10_000):
            if queue.recover():
                break
    drain(queue, "heir", traces)
    return queue


@pytest.mark.parametrize("number", range(5))
def test_kill_9_of_a_worker_at_a_seeded_point_loses_no_job(place, tmp_path, number):
    at = f"*@{1 + int(np.random.default_rng(20240808).permutation(POINTS[place.kind])[number])}"
    traces = tmp_path / "traces"
    traces.mkdir()
    asked = [job(second) for second in range(5)]
    queue = place.open(LEASE_S)
    for one in asked:
        queue.put(one)
    assert _spawn(place, "victim", traces, at).wait() == -9
    heir = _drained(place, traces)
    states = {s.job.job_id: s for s in heir.jobs()}
    assert {i: s.state for i, s in states.items()} == {one.job_id: "done" for one in asked}
    assert all(s.result["genome_id"] == i for i, s in states.items())
    # Delivered again is only what the victim held when it died.
    worked = _worked_on(traces)
    assert sum(worked.values()) <= len(asked) + 1
    assert sum(s.attempts for s in states.values()) <= len(asked) + 1
    queue.close()
    heir.close()


def test_kill_9_of_one_who_asks_loses_no_job_that_was_taken(place, tmp_path):
    assert _spawn(place, "asker", "put", "jobs.put@3").wait() == -9
    queue = place.open()
    assert [s.state for s in queue.jobs()] == ["todo"] * 3
    assert [queue.put(job(second)) for second in range(6)] == [False] * 3 + [True] * 3
    assert drain(queue, "w", tmp_path) == [job(second).job_id for second in range(6)]
    queue.close()
