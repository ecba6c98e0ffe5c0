"""What every job queue promises, held against each of them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_worker import BTC, drain, job
from queue_place import Place

from apex_nautilus.store import (
    MAX_ATTEMPTS,
    LiveEvidence,
    PromoteJob,
    StoreError,
)


def promotion(second: int = 0) -> PromoteJob:
    return PromoteJob.create(
        asset=BTC,
        slot="btc-1",
        genome_id="b" * 16,
        genome_json=b'{"id": "bbbbbbbbbbbbbbbb", "signal": {"constants": [0.1, -0.0, 1e300]}}',
        evidence=LiveEvidence(trades=31, dsr=0.995, trials_variance=None),
        created_ns=1_700_000_000 * 10**9 + second,
    )


def test_a_job_goes_from_todo_over_doing_to_done(queue):
    assert queue.put(job(0))
    assert queue.status(job(0).job_id).state == "todo"
    claim = queue.claim("worker-1")
    assert (claim.job, claim.attempt, claim.owner) == (job(0), 1, "worker-1")
    status = queue.status(job(0).job_id)
    assert (status.state, status.owner, status.attempts) == ("doing", "worker-1", 1)
    done = queue.complete(claim, {"genome_id": "b" * 16, "gate": "refused"})
    assert done == queue.status(job(0).job_id)
    assert (done.state, done.result, done.owner) == ("done", {"genome_id": "b" * 16, "gate": "refused"}, None)
    assert queue.claim("worker-1") is None
    assert queue.recover() == []


def test_both_kinds_of_job_come_back_as_they_were_put(queue):
    for one in (job(0), promotion(5)):
        assert queue.put(one)
    claimed = [queue.claim("w").job for _ in range(2)]
    assert sorted(claimed, key=lambda one: one.job_id) == [promotion(5), job(0)]
    assert {status.job.job_id: status.job for status in queue.jobs()} == {
        one.job_id: one for one in (job(0), promotion(5))
    }
    assert queue.status(promotion(5).job_id).job == promotion(5)


def test_who_asked_first_is_served_first(queue):
    for second in range(12):
        queue.put(job(second))
    assert [queue.claim("w").job for _ in range(12)] == [job(second) for second in range(12)]


def test_a_job_that_was_given_back_is_next(queue):
    for second in range(3):
        queue.put(job(second))
    first = queue.claim("w")
    queue.fail(first, "no")
    again = queue.claim("w")
    assert (again.job, again.attempt) == (job(0), 2)


@pytest.mark.parametrize("stage", ["todo", "doing", "given back", "done", "failed"])
def test_a_known_id_is_not_taken_twice_in_any_state(queue, stage):
    queue.put(job(0))
    claim = queue.claim("w") if stage != "todo" else None
    if stage == "done":
        queue.complete(claim, {})
    if stage == "given back":
        queue.fail(claim, "no")
    while stage == "failed" and queue.fail(claim, "no").state != "failed":
        claim = queue.claim("w")
    assert queue.put(job(0)) is False
    assert [s.state for s in queue.jobs()] == ["todo" if stage == "given back" else stage]
    assert queue.status("never-asked") is None


def test_a_job_fails_three_times_and_is_put_away_with_its_last_reason(queue):
    queue.put(job(0))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claim = queue.claim("w")
        assert claim.attempt == attempt
        status = queue.fail(claim, f"reason {attempt}")
        assert (status.state, status.reason) == ("failed" if attempt == 3 else "todo", f"reason {attempt}")
    status = queue.status(job(0).job_id)
    assert (status.state, status.reason, status.attempts) == ("failed", "reason 3", 3)
    assert queue.claim("w") is None


def test_poison_does_not_keep_the_next_job_from_its_answer(queue):
    for second in range(2):
        queue.put(job(second))
    for _ in range(MAX_ATTEMPTS):
        queue.fail(queue.claim("w"), "poison")
    claim = queue.claim("w")
    assert claim.job == job(1)


def test_the_job_of_a_dead_worker_is_delivered_again_and_the_third_death_is_its_own(place, queue):
    queue.put(job(0))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claim = queue.claim(f"w{attempt}")
        assert claim.attempt == attempt
        place.abandon(queue, claim)
        assert queue.recover() == [job(0).job_id]
    status = queue.status(job(0).job_id)
    assert (status.state, status.attempts) == ("failed", 3)
    assert status.reason == "worker w3 died during attempt 3 of 3"
    assert queue.recover() == []


def test_the_job_of_a_living_worker_is_not_taken_away(place, queue):
    queue.put(job(0))
    claim = queue.claim("w")
    other = place.open()
    assert other.recover() == []
    assert other.claim("thief") is None
    assert queue.heartbeat(claim) is True
    assert queue.complete(claim, {}).state == "done"
    other.close()


def test_a_worker_that_lets_go_gives_its_job_back(queue):
    queue.put(job(0))
    claim = queue.claim("w")
    claim.release()
    claim.release()
    queue.recover()
    again = queue.claim("w")
    assert (again.job, again.attempt) == (job(0), 2)


def test_the_first_answer_stands_and_a_lost_claim_fails_nothing(place, queue):
    queue.put(job(0))
    slow = queue.claim("slow")
    place.abandon(queue, slow)
    queue.recover()
    quick = queue.claim("quick")
    assert quick.attempt == 2
    assert queue.heartbeat(slow) is False
    assert queue.fail(slow, "too late").state == "doing"
    assert queue.status(job(0).job_id).owner == "quick"
    assert queue.complete(quick, {"by": "quick"}).result == {"by": "quick"}
    assert queue.complete(slow, {"by": "slow"}).result == {"by": "quick"}
    assert queue.status(job(0).job_id).result == {"by": "quick"}
    assert queue.claim("w") is None


def test_an_answer_that_comes_late_but_first_stands_too(place, queue):
    queue.put(job(0))
    slow = queue.claim("slow")
    place.abandon(queue, slow)
    queue.recover()
    quick = queue.claim("quick")
    assert queue.complete(slow, {"by": "slow"}).state == "done"
    assert queue.complete(quick, {"by": "quick"}).result == {"by": "slow"}
    assert [s.state for s in queue.jobs()] == ["done"]


def test_names_that_could_not_be_those_of_files_are_refused(queue):
    with pytest.raises(StoreError, match="cannot name a file"):
        queue.put(job(0, slot="../../x"))
    with pytest.raises(StoreError, match="owner"):
        queue.claim("a/b")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["put", "again", "claim", "complete", "fail", "die"]), max_size=25))
def test_any_course_of_events_loses_no_job_and_answers_none_twice(request, place, moves):
    """A model of three numbers a job: its state, its attempts and its answer."""
    place = Place(place.kind, place.where)
    if place.kind == "file":
        folder = Path(place.where).parent / f"case-{len(list(Path(place.where).parent.iterdir()))}"
        place.where = str(folder)
    else:
        request.getfixturevalue("redis_server").flush()
    queue = place.open()
    model: dict[str, list] = {}
    held: list = []
    for step, move in enumerate(moves):
        if move == "put":
            one = job(len(model))
            assert queue.put(one)
            model[one.job_id] = ["todo", 0, None]
        elif move == "again" and model:
            assert queue.put(job(0)) is False
        elif move == "claim":
            claim = queue.claim("w")
            waiting = [i for i, (state, _, _) in model.items() if state == "todo"]
            assert (claim is None) == (not waiting)
            if claim is not None:
                assert claim.job.job_id in waiting
                entry = model[claim.job.job_id]
                entry[:2] = ["doing", entry[1] + 1]
                assert claim.attempt == entry[1]
                held.append(claim)
        elif held:
            claim = held.pop(0)
            entry = model[claim.job.job_id]
            if move == "complete":
                queue.complete(claim, {"step": step})
                entry[0], entry[2] = "done", {"step": step}
            else:
                if move == "fail":
                    queue.fail(claim, "no")
                else:
                    place.abandon(queue, claim)
                    assert queue.recover() == [claim.job.job_id]
                entry[0] = "failed" if entry[1] >= MAX_ATTEMPTS else "todo"
    seen = {s.job.job_id: [s.state, s.attempts, s.result] for s in queue.jobs()}
    assert seen == model
    queue.close()


def test_many_threads_share_no_job_and_leave_none(place, tmp_path):
    asked = [job(second) for second in range(40)]
    first = place.open()
    with ThreadPoolExecutor(4) as pool:  # putting as well: each id by two threads
        taken = list(pool.map(first.put, [one for one in asked for _ in range(2)]))
    assert sum(taken) == len(asked)

    def work(owner: str) -> list[str]:
        queue = place.open()
        try:
            return drain(queue, owner, tmp_path)
        finally:
            queue.close()

    with ThreadPoolExecutor(4) as pool:
        done = [job_id for part in pool.map(work, ["w1", "w2", "w3", "w4"]) for job_id in part]
    assert Counter(done) == Counter(one.job_id for one in asked)
    assert all(s.state == "done" and s.attempts == 1 for s in first.jobs())
    first.close()


@pytest.mark.redis
def test_a_claim_goes_back_to_the_kind_of_queue_it_came_from(tmp_path, redis_server):
    redis_server.flush()
    files, server = Place("file", str(tmp_path)).open(), Place("redis", redis_server.url).open()
    for one, other in ((files, server), (server, files)):
        one.put(job(0))
        claim = one.claim("w")
        with pytest.raises(TypeError, match="the queue it came from"):
            other.complete(claim, {})
        one.complete(claim, {})
    server.close()
