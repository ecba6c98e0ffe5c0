"""The demonstration: the loop closed, and the same bytes when it is closed again."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apex_nautilus.actors.result import read_result


def _demo(out: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "apex_nautilus.cli.apex", "demo", "--seed", "7", "--out", str(out)]
    command += ["--history-minutes", "60", "--arena-minutes", "45"]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def demos(tmp_path_factory) -> list[tuple[Path, subprocess.CompletedProcess]]:
    """The same demonstration twice, each in a process of its own."""
    folder = tmp_path_factory.mktemp("demo")
    made = [(folder / name / "demo", _demo(folder / name / "demo")) for name in ("first", "second")]
    for _, process in made:
        assert process.returncode == 0, process.stdout + process.stderr
    return made


def _digests(root: Path, pattern: str) -> dict[str, str]:
    found = sorted(root.rglob(pattern))
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def test_the_same_seed_gives_the_same_ledgers_in_another_process(demos):
    first, second = (_digests(root, "*.jsonl") for root, _ in demos)
    assert first
    assert first == second


def test_the_same_seed_gives_the_same_genomes_in_another_process(demos):
    first, second = (
        {
            **_digests(root / "catalog" / "strategies", "*.json"),
            **_digests(root / "runs" / "arena" / "strategies", "*.json"),
        }
        for root, _ in demos
    )
    assert first
    assert first == second


def test_the_loop_closes_by_results(demos):
    """Somebody dies, somebody is swapped, and a job's genome arrives; nobody scripted it."""
    arena = read_result(demos[0][0] / "runs" / "arena")
    assert arena.deaths
    assert arena.swaps
    answered = {d.slot for _, d in arena.jobs} & {s.slot for _, s in arena.swaps}
    assert answered
    assert arena.finish is not None
    assert arena.finish.mismatches == 0


def test_every_death_has_its_numbers_and_its_request(demos):
    arena = read_result(demos[0][0] / "runs" / "arena")
    asked = {(j.slot, j.terminated) for _, j in arena.jobs}
    for _, d in arena.deaths:
        if d.role == "champion":
            assert (d.slot, d.genome) in asked
        assert re.search(r"\d", d.reason)


def test_the_report_is_one_file_that_needs_no_network(demos):
    page = (demos[0][0] / "report.html").read_text()
    assert "in and out of sample" in page
    assert not re.search(r"<script[^>]+src=", page)
    assert not re.search(r"<link[^>]+href=[\"']http", page)


def test_the_terminal_tells_where_the_report_is_and_what_to_try_next(demos):
    out = demos[0][1].stdout
    assert "report.html" in out
    assert "next" in out


def test_the_real_part_reports_both_samples(demos):
    root = demos[0][0] / "real"
    genome = json.loads((root / "genomes" / "btcusdt_forge.json").read_text())
    assert genome["evidence"]["in_sample"] is not None
    assert genome["evidence"]["out_of_sample"] is not None
    assert genome["evidence"]["gate"] in {"passed", "refused"}


def test_a_folder_that_holds_other_things_is_not_emptied(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    process = _demo(tmp_path)
    assert process.returncode != 0
    assert "--out" in process.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
