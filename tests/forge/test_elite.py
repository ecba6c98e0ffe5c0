"""The elite pool: filed once, later evidence over earlier, and no seed that saw what it is judged by."""

from __future__ import annotations

import json

import msgspec
import planted
import pytest

from apex_nautilus.forge import EvolutionConfig, elite_seeds, evolve, file_elite, list_elites, work_once
from apex_nautilus.forge.study import judged_from_ns
from apex_nautilus.genome import GenomeError, Span, encode
from apex_nautilus.store import (
    CatalogLayout,
    FileJobQueue,
    LiveEvidence,
    PromoteJob,
    RecycleJob,
    read_all,
)

CONFIG = EvolutionConfig(
    population=12, generations=1, max_holds_s=(30.0,), hall_of_fame=4, min_trades=10, threads=1, lottery=12
)
BTC = planted.INSTRUMENT.id


@pytest.fixture(scope="module")
def data():
    return planted.market(3000)


@pytest.fixture(scope="module")
def bred(data):
    return [evolve(data, CONFIG, seed, clock=lambda: 0).genome for seed in (1, 2)]


@pytest.fixture
def layout(tmp_path):
    return CatalogLayout(tmp_path).ensure()


def promoted(genome, ns: int, dsr: float | None = 0.995, **changes) -> PromoteJob:
    fields = {
        "asset": BTC,
        "slot": "btc-1",
        "genome_id": genome.id,
        "genome_json": encode(genome),
        "evidence": LiveEvidence(trades=40, dsr=dsr),
        "created_ns": ns,
    }
    return PromoteJob.create(**fields | changes)


def recycle(data, second: int = 0, **fields) -> RecycleJob:
    return RecycleJob.create(asset=BTC, slot="btc-1", created_ns=int(data.ts_ns[-1]) + second, **fields)


def test_a_promotion_is_filed_by_a_worker_and_later_studies_start_from_it(layout, data, bred):
    queue = FileJobQueue(layout)
    news = promoted(bred[0], int(data.ts_ns[10]))
    queue.put(news)
    status = work_once(layout, {}, config=CONFIG)  # needs no dataset
    assert (status.state, status.result["genome_id"], status.result["elite"]) == ("done", bred[0].id, True)
    (elite,) = list_elites(layout, BTC)
    assert (elite.genome, elite.live, elite.promoted_ns) == (bred[0], news.evidence, news.created_ns)
    queue.put(recycle(data))
    assert work_once(layout, {BTC: data}, config=CONFIG).state == "done"
    (study,) = read_all(layout.ledger, kinds=["study"])
    assert study.fields["seeds"] == [bred[0].id]
    assert study.fields["inherited_trials"] == bred[0].provenance.study_trials


def test_filing_again_changes_nothing_and_the_later_evidence_stands_in_any_order(tmp_path, bred):
    early, late = promoted(bred[0], 5, 0.991), promoted(bred[0], 9, 0.999)
    written = []
    for order in ((early, late), (late, early), (early, late, late, early)):
        layout = CatalogLayout(tmp_path / str(len(written))).ensure()
        for news in order:
            assert file_elite(layout, news) == bred[0]
        written.append(layout.elite_file(BTC, bred[0].id).read_bytes())
    assert written[0] == written[1] == written[2]
    assert json.loads(written[0])["live"]["dsr"] == 0.999


def test_the_best_come_first_and_the_unknown_last(layout, bred):
    file_elite(layout, promoted(bred[0], 5, None))
    file_elite(layout, promoted(bred[1], 5, 0.99))
    assert [e.genome.id for e in list_elites(layout, BTC)] == [bred[1].id, bred[0].id]
    assert list_elites(layout, "ETHUSDT-LINEAR.SIM") == []


def test_a_genome_that_saw_the_test_part_is_no_seed_neither_by_birth_nor_by_life(layout, data, bred):
    judged_ns = judged_from_ns(data, CONFIG)
    job = recycle(data)

    def seeds(genome, ns):
        layout.elite_file(BTC, genome.id).unlink(missing_ok=True)
        file_elite(layout, promoted(genome, ns))
        return [seed.id for seed in elite_seeds(layout, job, data, CONFIG)]

    def bred_on(dataset, end_ns):
        provenance = msgspec.structs.replace(
            bred[0].provenance, dataset_id=dataset, dataset_span=Span(0, end_ns)
        )
        return msgspec.structs.replace(bred[0], provenance=provenance)

    assert seeds(bred[0], judged_ns) == [bred[0].id]
    assert seeds(bred[0], judged_ns + 1) == []  # its live evidence reaches into the test part
    assert seeds(bred_on("f" * 64, judged_ns), judged_ns) == [bred[0].id]
    assert seeds(bred_on("f" * 64, judged_ns + 1), judged_ns) == []  # it was bred on the test part


def test_what_was_promoted_after_the_job_was_asked_is_no_seed(layout, data, bred):
    file_elite(layout, promoted(bred[0], 100))
    job = RecycleJob.create(asset=BTC, slot="btc-1", created_ns=99)
    assert elite_seeds(layout, job, data, CONFIG) == []


@pytest.mark.parametrize("field", ["terminated_model_id", "seed_dna_from"])
def test_the_dead_and_the_named_ancestor_are_not_seeded_a_second_time(layout, data, bred, field):
    file_elite(layout, promoted(bred[0], 1))
    assert elite_seeds(layout, recycle(data, **{field: bred[0].id}), data, CONFIG) == []


def test_an_attempt_starts_from_what_the_first_one_started_from(layout, data, bred):
    queue = FileJobQueue(layout)
    file_elite(layout, promoted(bred[0], 1))
    queue.put(recycle(data))

    def interrupt(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_once(layout, {BTC: data}, config=CONFIG, progress=interrupt)
    file_elite(layout, promoted(bred[1], 1, 0.999))  # the pool grows between two attempts
    assert work_once(layout, {BTC: data}, config=CONFIG).attempts == 2
    seeds = {tuple(r.fields["seeds"]) for r in read_all(layout.ledger, kinds=["study"])}
    assert seeds == {(bred[0].id,)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"genome_id": "0" * 16}, "the job says 0000000000000000"),
        ({"asset": "ETHUSDT-LINEAR.SIM"}, "the job says ETHUSDT"),
        ({"genome_json": b'{"schema": "apex.genome/1"}'}, ""),
    ],
)
def test_a_promotion_that_contradicts_itself_is_put_away_after_three_attempts(layout, bred, changes, reason):
    FileJobQueue(layout).put(promoted(bred[0], 1, **changes))
    states = [work_once(layout, {}, config=CONFIG) for _ in range(3)]
    assert [s.state for s in states] == ["todo", "todo", "failed"]
    assert reason in states[-1].reason
    assert list_elites(layout, BTC) == []


def test_a_damaged_file_of_the_pool_is_left_out_and_named_when_written_over(layout, bred):
    file_elite(layout, promoted(bred[0], 1))
    layout.elite_file(BTC, bred[0].id).write_bytes(b"{")
    assert list_elites(layout, BTC) == []
    FileJobQueue(layout).put(promoted(bred[0], 2))
    assert "not the file of an elite genome" in work_once(layout, {}, config=CONFIG).reason


def test_a_genome_whose_file_was_changed_is_refused(bred):
    altered = json.loads(encode(bred[0]))
    altered["entry_threshold"] = 0.25
    job = promoted(bred[0], 1, genome_json=json.dumps(altered).encode())
    with pytest.raises(GenomeError, match="id"):
        file_elite(CatalogLayout("unused"), job)
