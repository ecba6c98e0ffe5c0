"""kill -9 at any point of a swap, a death or a job loses nothing, and each slot has one champion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import turnover

from apex_nautilus.store import CatalogLayout, FileJobQueue, list_champions, read_all, recover

SEEDED_POINTS = 24


def _run(root: Path, fault: str) -> int:
    return subprocess.run(
        [sys.executable, turnover.__file__, str(root)],
        env={**os.environ, "APEX_FAULT": fault},
        check=False,
    ).returncode


def _state(root: Path) -> dict[str, bytes]:
    """Every file of the catalog but the ledger; the number of attempts in an answer may differ."""
    return {
        str(path.relative_to(root)): b"" if path.parent.name == "done" else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".jsonl"
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, bytes], list[str]]:
    """The final state of a life without a crash, and the points it passed."""
    root = tmp_path_factory.mktemp("undisturbed")
    trace = root.parent / "trace.txt"
    assert _run(root, f"trace:{trace}") == 0
    return _state(root), trace.read_text().splitlines()


def test_a_life_passes_every_kind_of_point(undisturbed):
    passed = set(undisturbed[1])
    for needed in ("swap.begin", "swap.retired", "swap.champion", "swap.end", "retire.begin", "retire.end"):
        assert needed in passed
    for needed in (
        "jobs.put",
        "jobs.locked",
        "jobs.claimed",
        "jobs.answered",
        "jobs.closed",
        "atomic.renamed",
    ):
        assert needed in passed


@pytest.mark.parametrize("number", range(SEEDED_POINTS))
def test_a_kill_at_a_seeded_point_loses_nothing(undisturbed, tmp_path, number):
    final, points = undisturbed
    at = int(np.random.default_rng(20240808).permutation(len(points))[number]) + 1
    root = tmp_path / "catalog"
    assert _run(root, f"*@{at}") == -9, f"point {at} of {len(points)} was not reached"

    layout = CatalogLayout(root)
    report = recover(layout)
    queue = FileJobQueue(layout)
    queue.recover()

    champions = list_champions(layout)
    assert len({champion.slot for champion in champions}) == len(champions)
    assert report.champions == {champion.slot: champion.genome_id for champion in champions}
    assert recover(layout).removed == []
    # A genome is in exactly one role: none lost, none doubled.
    homes: dict[str, list[str]] = {}
    for path in layout.genome_files():
        for job in turnover.JOBS:
            if turnover.genome_id(job).encode() in path.read_bytes():
                homes.setdefault(job.job_id, []).append(str(path.relative_to(root)))
    assert all(len(where) == 1 for where in homes.values()), homes
    for status in queue.jobs():
        assert status.state in ("todo", "done")
        if status.state == "done":
            assert status.job.job_id in homes, "an answered job's genome is gone"
    assert len({status.job.job_id for status in queue.jobs()}) == len(list(queue.jobs()))
    read_all(layout.ledger)

    turnover.live(root)
    assert _state(root) == final
