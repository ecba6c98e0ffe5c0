"""A recycle job ends in a new challenger, once, whatever happens to the worker."""

from __future__ import annotations

import msgspec
import planted
import pytest

from apex_nautilus.features import names
from apex_nautilus.forge import EvolutionConfig, evolve, find_genome, job_seed, work_once
from apex_nautilus.genome import decode, encode
from apex_nautilus.store import CatalogLayout, FileJobQueue, RecycleJob, drop, install, read_all, retire

CONFIG = EvolutionConfig(
    population=16, generations=2, max_holds_s=(30.0,), hall_of_fame=5, min_trades=10, threads=1, lottery=20
)
BTC = planted.INSTRUMENT.id


@pytest.fixture(scope="module")
def data():
    return planted.market(3000)


@pytest.fixture(scope="module")
def ancestor(data):
    return evolve(data, CONFIG, 1, clock=lambda: 0).genome


@pytest.fixture
def layout(tmp_path):
    return CatalogLayout(tmp_path).ensure()


def job(second=0, **fields):
    fields = {"asset": BTC, "slot": "btc-1", "terminated_model_id": "d" * 16} | fields
    return RecycleJob.create(created_ns=1_700_003_000 * 10**9 + second, **fields)


def test_a_job_becomes_a_challenger_that_descends_from_the_named_dna(layout, data, ancestor):
    install(layout, "btc-1", encode(ancestor))
    retire(layout, BTC, "btc-1")
    asked = job(seed_dna_from=ancestor.id, terminated_model_id=ancestor.id)
    FileJobQueue(layout).put(asked)
    status = work_once(layout, {BTC: data}, config=CONFIG)
    assert (status.state, status.job) == ("done", asked)
    path = layout.incoming_file(status.result["genome_id"])
    genome = decode(path.read_bytes(), known_features=names())
    assert genome.id != ancestor.id
    assert (genome.provenance.job_id, genome.provenance.slot) == (asked.job_id, "btc-1")
    assert genome.provenance.seed == job_seed(asked)
    assert genome.evidence.gate == status.result["gate"]
    (study,) = read_all(layout.ledger, kinds=["study"])
    assert study.fields["seeds"] == [ancestor.id]
    assert study.fields["job_id"] == asked.job_id
    assert study.ts_ns == asked.created_ns
    assert work_once(layout, {BTC: data}, config=CONFIG) is None


def test_the_same_job_gives_the_same_bytes_anywhere(tmp_path, data):
    written = []
    for name in ("one", "two"):
        layout = CatalogLayout(tmp_path / name)
        FileJobQueue(layout).put(job())
        status = work_once(layout, {BTC: data}, config=CONFIG, owner=name)
        written.append(layout.incoming_file(status.result["genome_id"]).read_bytes())
    assert written[0] == written[1]


def test_refused_genomes_are_written_and_say_so(layout):
    noise = planted.market(3000, edge=0.0)
    FileJobQueue(layout).put(job())
    status = work_once(layout, {BTC: noise}, config=CONFIG)
    assert status.result["gate"] == "refused"
    genome = find_genome(layout, status.result["genome_id"])
    assert genome.evidence.gate == "refused"
    assert not genome.evidence.forced
    assert list(genome.evidence.gate_reasons) == status.result["reasons"]


def test_the_dead_genome_and_the_living_ones_are_not_offered_again(layout, data):
    queue = FileJobQueue(layout)
    queue.put(job())
    first = work_once(layout, {BTC: data}, config=CONFIG).result["genome_id"]
    twin = RecycleJob(job_id=job().job_id + "-b", asset=BTC, slot="btc-2", created_ns=5)
    queue.put(msgspec.structs.replace(twin, terminated_model_id=first))
    second = work_once(layout, {BTC: data}, config=CONFIG).result["genome_id"]
    assert second != first


def test_a_job_that_was_answered_before_the_crash_is_not_evolved_again(layout, data):
    queue = FileJobQueue(layout)
    queue.put(job())
    claim = queue.claim("victim")
    done = CatalogLayout(layout.root.parent / "elsewhere")
    FileJobQueue(done).put(job())
    answer = work_once(done, {BTC: data}, config=CONFIG).result["genome_id"]
    drop(layout, answer, done.incoming_file(answer).read_bytes())
    claim.release()  # dead between writing the genome and saying so

    def no_dataset(asset):
        raise AssertionError("evolved again")

    status = work_once(layout, no_dataset, config=CONFIG)
    assert (status.state, status.result["genome_id"], status.attempts) == ("done", answer, 2)


def test_a_job_without_data_fails_three_times_with_the_reason(layout, data):
    FileJobQueue(layout).put(job(asset="ETHUSDT-LINEAR.SIM"))
    states = [work_once(layout, {BTC: data}, config=CONFIG).state for _ in range(3)]
    assert states == ["todo", "todo", "failed"]
    (status,) = FileJobQueue(layout).jobs()
    assert "there is no dataset of ETHUSDT-LINEAR.SIM" in status.reason


def test_a_job_that_breaks_its_worker_in_an_unforeseen_way_fails_and_the_next_is_answered(layout, data):
    poison, good = job(asset="ETHUSDT-LINEAR.SIM", slot="eth-1"), job(1)
    for one in (poison, good):
        FileJobQueue(layout).put(one)

    def datasets(asset):
        if asset != BTC:
            raise ZeroDivisionError("a fault of its data")
        return data

    ended = []
    while (status := work_once(layout, datasets, config=CONFIG)) is not None:
        ended.append((status.job.slot, status.state))
    assert sorted(ended) == [("btc-1", "done")] + [("eth-1", "failed")] + [("eth-1", "todo")] * 2
    assert "a fault of its data" in FileJobQueue(layout).status(poison.job_id).reason


def test_an_interruption_gives_the_job_back(layout, data):
    FileJobQueue(layout).put(job())

    def interrupt(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_once(layout, {BTC: data}, config=CONFIG, progress=interrupt)
    status = work_once(layout, {BTC: data}, config=CONFIG)
    assert (status.state, status.attempts) == ("done", 2)


def test_a_genome_kept_in_the_ledger_is_found_by_its_id(layout, ancestor):
    from apex_nautilus.forge import deploy
    from apex_nautilus.store import LedgerWriter

    refused = msgspec.structs.replace(
        ancestor, evidence=msgspec.structs.replace(ancestor.evidence, gate="refused", gate_reasons=("x",))
    )
    with LedgerWriter(layout.ledger, "forge") as ledger:
        deploy(layout, refused, clock=lambda: 1, ledger=ledger)
    assert find_genome(layout, refused.id) == refused
    assert find_genome(layout, "0" * 16) is None
