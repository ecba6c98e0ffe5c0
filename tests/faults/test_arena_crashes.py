"""kill -9 while the arena swaps, buries and asks: whatever was cut off is finished at the next start."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import arena_life
import numpy as np
import pytest

from apex_nautilus.actors import mark_aborted, open_run, read_result, read_run
from apex_nautilus.actors.recovery import recover_arena
from apex_nautilus.store import CatalogLayout, FileJobQueue, LedgerWriter, list_champions, read_all

pytestmark = pytest.mark.slow

SCRIPT = Path(arena_life.__file__)
ID = re.compile(rb'"id": ?"([0-9a-f]{16})"')
NAMED = [
    "arena.verdict@1",
    "jobs.put@1",
    "arena.asked@1",
    "retire.begin@2",
    "arena.retired@1",
    "arena.buried@2",
    "arena.swap_begun@1",
    "swap.begin@1",
    "swap.retired@1",
    "swap.champion@1",
    "arena.swapped@1",
]
SEEDED = 5


def live(source, runs, run_id, fault=None):
    environment = {k: v for k, v in os.environ.items() if k != "APEX_FAULT"}
    if fault is not None:
        environment["APEX_FAULT"] = fault
    command = [sys.executable, str(SCRIPT), str(source), str(runs), run_id]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source") / "catalog"
    arena_life.plant(root)
    return root


@pytest.fixture(scope="module")
def points(source, tmp_path_factory):
    """Names of all points that a whole day passes, in order."""
    folder = tmp_path_factory.mktemp("trace")
    done = live(source, folder / "runs", "whole", f"trace:{folder / 'points'}")
    assert done.returncode == 0, done.stderr
    whole = read_result(folder / "runs" / "whole")
    assert len(whole.swaps) >= 2
    assert len(whole.jobs) >= 2
    return (folder / "points").read_text().split()


def genomes(root: Path) -> Counter:
    """Ids of all genomes below the strategies of `root`, but for refused ones."""
    found = Counter()
    for file in (root / "strategies").rglob("*.json"):
        if file.parent.name != "rejected":
            found.update({match.decode() for match in ID.findall(file.read_bytes())})
    return found


def check_story(root: Path, expected: set[str], carried: Sequence[str] = ()) -> None:
    """One champion a slot at most, no genome lost or living twice, every dead champion's slot asked for.

    `carried` are the slots whose requests came with the copy of an earlier run, where their verdicts are.
    """
    layout = CatalogLayout(root)
    champions = list_champions(layout)
    slots = [c.slot for c in champions]
    assert len(set(slots)) == len(slots)
    assert set(genomes(root)) == expected
    living = [c.genome_id for c in champions]
    living += [json.loads(p.read_bytes())["id"] for p in layout.challengers_root.glob("*/*.json")]
    assert len(set(living)) == len(living)
    asked = {(s.job.slot, s.job.terminated_model_id) for s in FileJobQueue(layout).jobs()}
    dead = [r.fields for r in read_all(layout.ledger, kinds=("verdict",)) if r.fields["role"] == "champion"]
    for verdict in dead:
        assert (verdict["slot"], verdict["genome"]) in asked
        assert (verdict["slot"], verdict["epoch"]) not in {(c.slot, c.epoch) for c in champions}
    for slot, _ in asked:
        died = sum(v["slot"] == slot for v in dead)
        assert sum(s == slot for s, _ in asked) == died + carried.count(slot)


def killed(source, runs, fault):
    victim = live(source, runs, "victim", fault)
    assert victim.returncode == -signal.SIGKILL, victim.stderr
    return runs / "victim"


def check_recovery(source, runs, root):
    expected = set(genomes(source))
    assert mark_aborted(runs) == ["victim"]
    assert read_run(root).state == "aborted"
    successor = open_run(root, runs, "successor")  # brings the aborted run in order before it copies it
    check_story(root, expected)
    assert set(genomes(successor.layout.root)) == expected
    with LedgerWriter(CatalogLayout(root).ledger, "arena") as ledger:
        assert recover_arena(CatalogLayout(root), ledger) == []  # nothing is left to do
    successor.abort()


@pytest.mark.parametrize("fault", NAMED)
def test_a_kill_inside_a_swap_a_death_or_a_request_loses_nothing(source, points, tmp_path, fault):
    name, _, count = fault.partition("@")
    assert points.count(name) >= int(count)
    check_recovery(source, tmp_path, killed(source, tmp_path, fault))


@pytest.mark.parametrize("draw", range(SEEDED))
def test_a_kill_at_a_drawn_point_of_the_day_loses_nothing(source, points, tmp_path, draw):
    interesting = [k for k, name in enumerate(points, 1) if not name.startswith("ledger.")]
    point = int(np.random.default_rng([7, draw]).choice(interesting))
    check_recovery(source, tmp_path, killed(source, tmp_path, f"*@{point}"))


def test_a_new_day_starts_from_what_a_killed_run_left(source, points, tmp_path):
    root = killed(source, tmp_path, "swap.champion@1")
    expected = set(genomes(source))
    again = live(root, tmp_path, "again")
    assert again.returncode == 0, again.stderr
    assert read_run(root).state == "aborted"
    assert read_run(tmp_path / "again").state == "finished"
    carried = [s.job.slot for s in FileJobQueue(CatalogLayout(root)).jobs()]
    check_story(tmp_path / "again", expected, carried)
    assert read_result(tmp_path / "again").finish.mismatches == 0
