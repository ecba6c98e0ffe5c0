"""kill -9 while the arena swaps, buries and asks: whatever was cut off is finished at the next start."""

from __future__ import annotations

import arena_life
import kill_sweep
import msgspec
import numpy as np
import pytest
import worker_beside
from support.redis_server import serve

from apex_nautilus.store import CatalogLayout, open_queue

pytestmark = pytest.mark.slow

SEEDED = 10
NIGHTLY = 200


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source") / "catalog"
    arena_life.plant(root)
    return root


@pytest.fixture(scope="module")
def day(source, tmp_path_factory):
    """The points that a whole day passes."""
    return kill_sweep.trace(source, tmp_path_factory.mktemp("trace"), 0)


def test_a_day_brings_swaps_deaths_and_answered_requests(day):
    passed = [p.name for p in day]
    for name, least in {
        "arena.swapped": 4,
        "swap.champion": 4,
        "retire.end": 3,
        "arena.buried": 8,
        "arena.asked": 3,
        "jobs.answered": 3,
        "incoming.dropped": 3,
    }.items():
        assert passed.count(name) >= least, name
    assert {p.place for p in day} == set(kill_sweep.PLACES)


@pytest.mark.parametrize("number", range(SEEDED))
def test_a_kill_at_a_drawn_point_loses_nothing_and_the_next_run_goes_on(source, day, tmp_path, number):
    point = kill_sweep.draw(day, SEEDED, np.random.default_rng(7))[number]
    (survival,) = kill_sweep.sweep(source, tmp_path, [point], processes=1)
    assert survival.point is point


@pytest.mark.nightly
def test_two_hundred_kills_in_three_days_lose_nothing(source, tmp_path):
    points = [p for k in range(kill_sweep.DAYS) for p in kill_sweep.trace(source, tmp_path, k)]
    chosen = kill_sweep.draw(points, NIGHTLY, np.random.default_rng(7))
    assert len({(p.day, p.count) for p in chosen}) == NIGHTLY
    survived = list(kill_sweep.sweep(source, tmp_path / "kills", chosen))
    print("\n" + kill_sweep.table(survived))
    assert len(survived) == NIGHTLY


def test_points_are_drawn_from_all_places_alike_and_the_same_every_time(day):
    one = kill_sweep.draw(day, 30, np.random.default_rng(1))
    assert one == kill_sweep.draw(day, 30, np.random.default_rng(1))
    assert len(set(one)) == 30
    assert {sum(p.place == place for p in one) for place in kill_sweep.PLACES} == {10}


@pytest.mark.parametrize("damage", ["line", "genome", "request"])
def test_the_checks_find_what_a_recovery_would_have_lost(source, tmp_path, damage):
    """What must hold is looked for in the files: taking one thing away is noticed."""
    arena_life.live(source, tmp_path, "whole").dispose()
    root = tmp_path / "whole"
    planted = kill_sweep.genomes(source)
    kill_sweep.check_directories(root, planted)
    kill_sweep.check_ledger(root)
    if damage == "line":
        ledger = root / "ledger" / "arena.jsonl"
        lines = ledger.read_bytes().splitlines(keepends=True)
        fill = next(k for k, line in enumerate(lines) if b'"kind":"fill"' in line)
        ledger.write_bytes(b"".join(lines[:fill] + lines[fill + 1 :]))
        with pytest.raises(Exception, match=r"seq|missing"):
            kill_sweep.check_ledger(root)
        return
    if damage == "genome":
        next(iter(sorted((root / "strategies" / "retired").glob("*.json")))).unlink()
    else:
        for folder in ("done", "ids"):
            next(iter(sorted((root / "jobs" / folder).iterdir()))).unlink()
    with pytest.raises(AssertionError, match=r"lost|asked for 0|of nowhere"):
        kill_sweep.check_directories(root, planted)


# -- with a real worker beside it ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return worker_beside.prepare(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("redis"))


def test_arena_and_worker_killed_at_one_moment_are_started_again_and_nothing_is_lost(home, tmp_path):
    aim = worker_beside.Aim("arena", 1, "arena.asked", both=True, by_name=True)
    trial = worker_beside.Trial("file", aim)
    outcome = worker_beside.survive(home, tmp_path, trial, "")
    assert outcome.was_killed
    assert outcome.left == "a story"
    assert outcome.jobs >= 2
    # And what is looked for can be missed.
    root = tmp_path / "catalog"
    queue = open_queue("file", CatalogLayout(root))
    planted = set(worker_beside.genomes(home / "catalog"))
    worker_beside.check(root, queue, planted)
    taken = next((root / "jobs" / "done").glob("recycle*"))
    answer = msgspec.json.decode(taken.read_bytes())["result"]["genome_id"]
    for file in worker_beside.genomes(root)[answer]:
        file.unlink()
    with pytest.raises(AssertionError, match="lost"):
        worker_beside.check(root, queue, planted)


@pytest.mark.redis
def test_a_worker_killed_before_its_last_word_to_a_server_is_asked_again(home, tmp_path, server):
    aim = worker_beside.Aim("worker", 1, "forge.before_complete", by_name=True)
    outcome = worker_beside.survive(home, tmp_path, worker_beside.Trial("redis", aim), server.url)
    assert (outcome.was_killed, outcome.left) == (True, "a job in hand")


@pytest.mark.nightly
@pytest.mark.redis
def test_two_hundred_kills_of_arena_worker_or_both_lose_nothing(home, tmp_path, server):
    aims = {
        "file": worker_beside.points(home, tmp_path / "trace-file", "file"),
        "redis": worker_beside.points(home, tmp_path / "trace-redis", f"{server.url}?name=trace"),
    }
    trials = worker_beside.draw(aims, NIGHTLY, np.random.default_rng(7))
    outcomes = list(worker_beside.sweep(home, tmp_path / "kills", trials, server.url))
    print("\n" + worker_beside.table(outcomes))
    assert sum(outcome.was_killed for outcome in outcomes) > 0.9 * NIGHTLY
