"""What a crash cut off is finished from the directories and the ledger."""

from __future__ import annotations

import msgspec
import pytest
from support.arena_case import BTC_ID, ETH_ID, catalog, genome

from apex_nautilus.actors import records
from apex_nautilus.actors.recovery import recover_arena
from apex_nautilus.actors.recycling import best_genome, put_job, wait_for_answer
from apex_nautilus.genome import encode
from apex_nautilus.store import (
    FileJobQueue,
    LedgerWriter,
    RecycleJob,
    install,
    list_champions,
    read_all,
    read_champion,
    retire,
    swap,
    write_atomic,
)

NOW = 1_700_000_000 * 10**9


def birth(agent, role, slot, epoch, one):
    return records.Birth(
        agent=agent,
        role=role,
        slot=slot,
        epoch=epoch,
        instrument_id=BTC_ID,
        genome=one.id,
        strategy_id=f"S-{agent}",
        capital=200.0,
        treasury=0.0,
    )


def verdict(agent, role, slot, epoch, one, kind="ruin"):
    numbers = dict.fromkeys(("equity", "capital", "floor", "smallest_notional", "sharpe", "psr", "dsr"), 0.0)
    return records.VerdictLine(
        agent=agent,
        role=role,
        slot=slot,
        epoch=epoch,
        genome=one.id,
        verdict=kind,
        reason="",
        trades=0,
        trials=0,
        trials_variance=0.0,
        **numbers,
    )


def write(layout, *lines, step=1):
    """One line after the other, `step` nanoseconds apart."""
    with LedgerWriter(layout.ledger, "arena") as ledger:
        for line in lines:
            ledger.append(records.kind_of(line), NOW + step * ledger.next_seq, line)


def burial(agent, role, slot, epoch, one):
    numbers = dict.fromkeys(("cash", "fees", "treasury"), 0.0)
    return records.Burial(
        agent=agent, role=role, slot=slot, epoch=epoch, genome=one.id, cause="ruin", trades=0, **numbers
    )


def recover(layout):
    with LedgerWriter(layout.ledger, "arena") as ledger:
        return [records.kind_of(r) for r in recover_arena(layout, ledger)]


@pytest.mark.parametrize("done", ["nothing", "asked", "retired"])
def test_a_condemned_champion_is_retired_and_its_successor_asked_for_once(tmp_path, done):
    one, best = genome(), genome(p=0.7, dsr=0.8)
    layout = catalog(tmp_path, champions={"btc-1": one})
    (layout.retired / f"btc-1.000000.{best.id}.json").write_bytes(encode(best))
    write(
        layout,
        birth("btc-1.e1", "champion", "btc-1", 1, one),
        verdict("btc-1.e1", "champion", "btc-1", 1, one),
    )
    if done != "nothing":
        job = RecycleJob.create(asset=BTC_ID, slot="btc-1", created_ns=NOW + 5, terminated_model_id=one.id)
        FileJobQueue(layout).put(job)
    if done == "retired":
        retire(layout, BTC_ID, "btc-1")
    assert recover(layout) == (["job", "recovery"] if done == "nothing" else ["recovery"])
    assert list_champions(layout) == []
    assert layout.retired_file("btc-1", 1, one.id).exists()
    (status,) = FileJobQueue(layout).jobs()
    assert (status.job.slot, status.job.terminated_model_id) == ("btc-1", one.id)
    if done == "nothing":
        assert status.job.seed_dna_from == best.id
    assert recover(layout) == []
    assert len(list(FileJobQueue(layout).jobs())) == 1


def test_a_clock_that_was_set_back_kills_nobody_twice(tmp_path):
    """The burial bears an earlier time than the verdict; it was written after it all the same."""
    one = genome()
    layout = catalog(tmp_path, champions={"btc-1": one})
    who = ("btc-1.e1", "champion", "btc-1", 1, one)
    write(layout, birth(*who), verdict(*who), burial(*who), step=-(10**9))
    retire(layout, BTC_ID, "btc-1")
    assert recover(layout) == []
    assert list(FileJobQueue(layout).jobs()) == []


def test_a_request_from_before_the_clock_was_set_forward_is_the_request(tmp_path):
    """It bears an earlier time than the verdict that it followed; a second death is asked for on its own."""
    one = genome()
    layout = catalog(tmp_path, champions={"btc-1": one})
    queue = FileJobQueue(layout)
    queue.put(RecycleJob.create(asset=BTC_ID, slot="btc-1", created_ns=NOW - 99, terminated_model_id=one.id))
    who = ("btc-1.e1", "champion", "btc-1", 1, one)
    write(layout, birth(*who), verdict(*who))
    assert recover(layout) == ["recovery"]
    assert len(list(queue.jobs())) == 1
    install(layout, "btc-1", encode(one))
    again = ("btc-1.e2", "champion", "btc-1", 2, one)
    write(layout, birth(*again), verdict(*again))
    assert recover(layout) == ["job", "recovery"]
    assert len(list(queue.jobs())) == 2


def test_agents_of_one_name_in_two_lives_are_not_taken_for_each_other(tmp_path):
    """After a start with the clock set back, the name's last birth is not the one with the latest time."""
    mine, other = genome(instrument_id=ETH_ID), genome()
    layout = catalog(tmp_path, incoming=[])
    path = layout.challenger_file(ETH_ID, mine.id)
    path.parent.mkdir(parents=True)
    write_atomic(path, encode(mine))
    past, present = (("shadow-1", "shadow", "", 0, one) for one in (other, mine))
    eth = msgspec.structs.replace(birth(*present), instrument_id=ETH_ID)
    write(layout, birth(*past), verdict(*past), burial(*past), eth, verdict(*present), step=-(10**9))
    assert recover(layout) == ["recovery"]
    assert not path.exists()
    assert (layout.retired / path.name).exists()


def test_the_buried_the_promoted_and_the_successor_are_left_alone(tmp_path):
    one, two = genome(), genome(p=0.7)
    layout = catalog(tmp_path, champions={"btc-1": one})
    retire(layout, BTC_ID, "btc-1")
    staged = layout.challenger_file(BTC_ID, two.id)
    staged.parent.mkdir(exist_ok=True)
    write_atomic(staged, encode(two))
    swap(layout, "btc-1", staged)
    burial = records.Burial(
        agent="btc-1.e1",
        role="champion",
        slot="btc-1",
        epoch=1,
        genome=one.id,
        cause="ruin",
        cash=0.0,
        fees=0.0,
        trades=0,
        treasury=0.0,
    )
    write(
        layout,
        birth("btc-1.e1", "champion", "btc-1", 1, one),
        verdict("btc-1.e1", "champion", "btc-1", 1, one),
        burial,
        birth("btc-1.e2", "champion", "btc-1", 2, two),
        verdict("btc-1.e2", "champion", "btc-1", 2, two, kind="promote"),
    )
    assert recover(layout) == []
    assert [c.genome_id for c in list_champions(layout)] == [two.id]
    assert list(FileJobQueue(layout).jobs()) == []


def test_a_swap_that_the_files_know_and_the_ledger_does_not_is_told(tmp_path):
    one, two = genome(), genome(p=0.7)
    layout = catalog(tmp_path, champions={"btc-1": one})
    write(layout, birth("btc-1.e1", "champion", "btc-1", 1, one))
    staged = layout.challenger_file(BTC_ID, two.id)
    write_atomic(staged, encode(two))
    swap(layout, "btc-1", staged)
    assert recover(layout) == ["recovery"]
    (line,) = read_all(layout.ledger, kinds=("recovery",))
    assert (line.fields["epoch"], line.fields["genome"], line.fields["action"]) == (2, two.id, "swapped")
    assert recover(layout) == []
    assert read_champion(layout.champion_file(BTC_ID, "btc-1")).epoch == 2


def test_a_condemned_challenger_is_retired_without_a_job(tmp_path):
    one = genome()
    layout = catalog(tmp_path)
    staged = layout.challenger_file(BTC_ID, one.id)
    staged.parent.mkdir(exist_ok=True)
    write_atomic(staged, encode(one))
    write(layout, birth("shadow-1", "shadow", "", 0, one), verdict("shadow-1", "shadow", "", 0, one))
    assert recover(layout) == ["recovery"]
    assert not staged.exists()
    assert (layout.retired / staged.name).exists()
    assert list(FileJobQueue(layout).jobs()) == []
    assert recover(layout) == []


def test_the_best_genome_is_by_its_life_here_before_its_own_evidence(tmp_path):
    one, two, three = genome(p=0.6, dsr=0.9), genome(p=0.7, dsr=0.5), genome(p=0.8)
    layout = catalog(tmp_path, champions={"btc-1": one}, incoming=[two, three])
    assert best_genome(layout, BTC_ID, {}, default=None) == one.id
    assert best_genome(layout, BTC_ID, {three.id: 0.95}, default=None) == three.id
    assert best_genome(layout, BTC_ID, {one.id: 0.1}, default=None) == two.id
    assert best_genome(layout, "ETHUSDT-LINEAR.SIM", {}, default="mine") == "mine"
    (layout.retired / "btc-1.000009.junk.json").write_bytes(b"\xff{")
    assert best_genome(layout, BTC_ID, {}, default=None) == one.id


def test_two_requests_of_one_slot_at_one_time_are_both_asked(tmp_path):
    queue = FileJobQueue(catalog(tmp_path))
    first = RecycleJob.create(asset=BTC_ID, slot="btc-1", created_ns=NOW, terminated_model_id="a")
    second = RecycleJob.create(asset=BTC_ID, slot="btc-1", created_ns=NOW, terminated_model_id="b")
    assert put_job(queue, first) == first
    assert put_job(queue, first) == first
    assert put_job(queue, second).created_ns == NOW + 1
    assert len(list(queue.jobs())) == 2
    assert wait_for_answer(queue, first.job_id, 0.0) == "todo"
    assert wait_for_answer(queue, "nobody", 0.0) == "unknown"
    queue.complete(queue.claim("w"), {})
    assert wait_for_answer(queue, first.job_id, 60.0) == "done"
