"""News of promoted genomes."""

from __future__ import annotations

import msgspec
import pytest
from support.arena_case import BTC_ID, arena_config, catalog, genome, path, simulate

from apex_nautilus.actors import read_result
from apex_nautilus.actors.promotion import promotion_job, tell_promotions
from apex_nautilus.genome import decode
from apex_nautilus.store import CatalogLayout, FileJobQueue, PromoteJob, read_all

#: With these a steadily rising market promotes whoever is long.
EASY = {"decay_psr": 0.0, "min_trades": 5, "window": 20, "promotion_dsr": 0.9}


def promotions(layout):
    return [s.job for s in FileJobQueue(layout).jobs() if isinstance(s.job, PromoteJob)]


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    layout = catalog(
        tmp_path_factory.mktemp("promoted"), champions={"btc-1": genome(side=1.0, stop_bps=20.0)}
    )
    simulate(
        arena_config(layout, {"btc-1": BTC_ID}, limits=EASY), {BTC_ID: path(60, bps_per_s=10.0)}
    ).dispose()
    return layout


def test_a_promotion_tells_the_forge_the_genome_and_what_it_was_judged_by(promoted):
    ((ts_ns, verdict),) = read_result(promoted.root).promotions
    (job,) = promotions(promoted)
    assert (job.job_type, job.slot, job.asset, job.created_ns) == ("PROMOTE_DNA", "btc-1", BTC_ID, ts_ns)
    assert job.genome_id == verdict.genome
    assert job.evidence.dsr == verdict.dsr > 0.9
    assert job.evidence.psr == verdict.psr
    assert job.evidence.sharpe == verdict.sharpe
    assert job.evidence.trades == verdict.judged >= 5
    assert (job.evidence.trials, job.evidence.trials_variance) == (1, 0.0)
    assert job.evidence.equity == verdict.equity > job.evidence.capital == 200.0
    assert sum(r.fields["verdict"] == "promote" for r in read_all(promoted.ledger, kinds=("verdict",))) == 1


def test_the_genome_in_the_news_is_whole(promoted):
    (job,) = promotions(promoted)
    again = decode(msgspec.json.encode(job.genome), known_features=("spread_bps",), source="job")
    assert again.id == job.genome_id


def test_what_a_crash_kept_from_the_queue_is_told_at_the_next_start_once(promoted):
    (job,) = promotions(promoted)
    for file in promoted.jobs_todo.glob("promote_job_*.json"):
        file.unlink()
    verdicts = read_all(promoted.ledger, kinds=("verdict",))
    queue = FileJobQueue(promoted)
    for _ in range(2):
        tell_promotions(promoted, queue, verdicts)
        assert promotions(promoted) == [job]


@pytest.mark.parametrize(("slot", "told"), [("btc-1", "btc-1"), ("", "shadow-3")])
def test_a_challenger_is_told_of_under_the_slot_that_it_came_for_or_its_own_name(slot, told):
    fields = {"slot": slot, "role": "shadow", "agent": "shadow-3", "trades": 40, "trials": 2, "dsr": None}
    job = promotion_job(genome(), fields, 7)
    assert job.slot == told
    assert (job.evidence.trades, job.evidence.dsr, job.evidence.sharpe) == (40, None, None)


def test_a_champion_and_its_challenger_may_be_promoted_at_one_instant(tmp_path):
    """So may the champions of two runs, of which the second was begun on what the first left."""
    queue = FileJobQueue(CatalogLayout(tmp_path))
    fields = {"slot": "btc-1", "agent": "any", "trades": 40, "trials": 2, "dsr": None}
    jobs = [
        promotion_job(one, {**fields, "role": role}, 7)
        for one, role in ((genome(), "champion"), (genome(side=-1.0), "shadow"), (genome(p=0.7), "champion"))
    ]
    assert [queue.put(job) for job in (*jobs, *jobs)] == [True] * 3 + [False] * 3
    assert [s.job for s in queue.jobs()] == sorted(jobs, key=lambda job: job.job_id)
    assert all(queue.status(job.job_id).job == job for job in jobs)


def test_a_genome_that_is_gone_is_left_out(promoted, tmp_path):
    layout = catalog(tmp_path, champions={"btc-1": genome(side=-1.0)})
    tell_promotions(layout, FileJobQueue(layout), read_all(promoted.ledger))
    assert promotions(layout) == []
