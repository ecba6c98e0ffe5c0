"""kill -9 in the middle of a study or a recycle job: nothing is lost, and the restart gives the same
genomes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recycling

from apex_nautilus.store import CatalogLayout, FileJobQueue, clean_temporaries, read_all

SEEDED_POINTS = 5


def _run(root: Path, fault: str) -> int:
    return subprocess.run(
        [sys.executable, recycling.__file__, str(root)], env={**os.environ, "APEX_FAULT": fault}, check=False
    ).returncode


def _state(root: Path) -> dict[str, bytes]:
    """Genomes, checkpoints and answers; an answer tells how many attempts it took, which may differ."""
    return {
        str(path.relative_to(root)): b"" if path.parent.name == "done" else path.read_bytes()
        for path in sorted(root.rglob("*.json"))
    }


def _trials(root: Path) -> list[tuple]:
    records = read_all(root / "ledger", kinds=["trial", "generation", "test_opened", "gate"])
    return sorted((r.writer, r.kind, r.fields["number"], str(r.fields)) for r in records)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    trace = root.parent / "forge-trace.txt"
    assert _run(root, f"trace:{trace}") == 0
    return _state(root), _trials(root), trace.read_text().splitlines()


def test_studies_and_jobs_pass_the_points_that_matter(undisturbed):
    points = undisturbed[2]
    for needed in (
        "ledger.appended",
        "forge.checkpoint",
        "forge.before_drop",
        "incoming.dropped",
        "jobs.claimed",
    ):
        assert needed in points
    assert points.count("forge.before_complete") == len(recycling.JOBS)


@pytest.mark.parametrize("number", range(SEEDED_POINTS))
def test_a_kill_at_a_seeded_point_loses_nothing(undisturbed, tmp_path, number):
    final, trials, points = undisturbed
    at = int(np.random.default_rng(8).permutation(len(points))[number]) + 1
    assert _run(tmp_path, f"*@{at}") == -9, f"point {at} of {len(points)} was not reached"
    layout = CatalogLayout(tmp_path)
    for status in FileJobQueue(layout).jobs():
        assert status.state in ("todo", "doing", "done")
    recycling.live(tmp_path)
    for folder in (layout.incoming, layout.studies, *layout.studies.iterdir()):
        if folder.is_dir():
            clean_temporaries(folder)
    assert _state(tmp_path) == final
    assert _trials(tmp_path) == trials
