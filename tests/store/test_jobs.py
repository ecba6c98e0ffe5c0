"""The queue delivers at least once, answers once per id, and puts poison away."""

from __future__ import annotations

import shutil

import pytest

from apex_nautilus.store import (
    MAX_ATTEMPTS,
    CatalogLayout,
    FileJobQueue,
    RecycleJob,
    StoreError,
    file_jobs,
)
from apex_nautilus.store.job_queue import encode_job

BTC = "BTCUSDT-LINEAR.BYBIT"


def job(second: int, slot: str = "btc-1") -> RecycleJob:
    return RecycleJob.create(
        asset=BTC,
        slot=slot,
        created_ns=1_700_000_000_123_456_789 + second * 10**9,
        terminated_model_id="a" * 16,
    )


@pytest.fixture
def queue(tmp_path):
    return FileJobQueue(CatalogLayout(tmp_path))


def test_a_job_goes_from_todo_to_done(queue):
    assert queue.put(job(0))
    assert (queue.layout.jobs_todo / "recycle_job_20231114T221320123456789Z_btc-1.json").exists()
    assert queue.status(job(0).job_id).state == "todo"
    claim = queue.claim("worker-1")
    assert (claim.job, claim.attempt) == (job(0), 1)
    status = queue.status(job(0).job_id)
    assert (status.state, status.owner, status.attempts) == ("doing", "worker-1", 1)
    queue.complete(claim, {"genome_id": "b" * 16})
    status = queue.status(job(0).job_id)
    assert (status.state, status.result) == ("done", {"genome_id": "b" * 16})
    assert queue.claim("worker-1") is None
    assert list(queue.layout.jobs_doing.iterdir()) == []


def test_the_oldest_job_is_claimed_first(queue):
    for second in (5, 1, 3):
        queue.put(job(second))
    assert [queue.claim("w").job for _ in range(3)] == [job(1), job(3), job(5)]


@pytest.mark.parametrize("stage", ["todo", "doing", "done", "failed"])
def test_a_known_id_is_not_taken_twice_in_any_state(queue, stage):
    queue.put(job(0))
    claim = queue.claim("w") if stage != "todo" else None
    if stage == "done":
        queue.complete(claim, {})
    while stage == "failed" and queue.fail(claim, "no").state != "failed":
        claim = queue.claim("w")
    assert queue.put(job(0)) is False
    assert [status.state for status in queue.jobs()] == [stage]


def test_two_jobs_of_one_slot_and_instant_are_refused_rather_than_lost(queue):
    queue.put(job(0))
    other = RecycleJob(job_id="other", asset=BTC, slot="btc-1", created_ns=job(0).created_ns)
    with pytest.raises(StoreError, match="same nanosecond"):
        queue.put(other)


def test_a_job_fails_three_times_and_is_put_away_with_its_reason(queue):
    queue.put(job(0))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claim = queue.claim("w")
        assert claim.attempt == attempt
        queue.fail(claim, f"reason {attempt}")
    status = queue.status(job(0).job_id)
    assert (status.state, status.reason, status.attempts) == ("failed", "reason 3", 3)
    assert queue.claim("w") is None


def test_the_job_of_a_living_worker_is_not_taken_away(queue):
    queue.put(job(0))
    claim = queue.claim("w")
    assert FileJobQueue(queue.layout).recover() == []
    assert queue.status(job(0).job_id).state == "doing"
    queue.complete(claim, {})


def test_a_job_whose_worker_let_go_is_delivered_again_and_counts_its_attempts(queue):
    queue.put(job(0))
    for attempt in (1, 2):
        claim = queue.claim("w")
        assert claim.attempt == attempt
        claim.release()
        assert len(queue.recover()) == 1
    queue.claim("w").release()
    queue.recover()
    status = queue.status(job(0).job_id)
    assert status.state == "failed"
    assert "died during attempt 3 of 3" in status.reason


def test_the_first_answer_stands(queue):
    queue.put(job(0))
    slow = queue.claim("slow")
    path = slow.path
    slow.release()  # as if it had been taken for dead
    queue.recover()
    queue.complete(queue.claim("quick"), {"genome_id": "quick"})
    slow.path = path
    assert queue.complete(slow, {"genome_id": "slow"}).result == {"genome_id": "quick"}
    assert queue.status(job(0).job_id).result == {"genome_id": "quick"}


def test_a_file_that_is_no_job_is_put_away_and_the_next_one_served(queue):
    bad = queue.layout.jobs_todo / "recycle_job_20200101T000000000000000Z_btc-9.json"
    bad.write_bytes(b'{"job_type": "RECYCLE_DNA", "extra": 1}')
    (queue.layout.jobs_todo / "notes.txt").write_text("not ours")
    queue.put(job(0))
    assert queue.claim("w").job == job(0)
    assert (queue.layout.jobs_failed / (bad.name + ".invalid")).exists()
    assert "not a job" in (queue.layout.jobs_failed / (bad.name + ".reason.txt")).read_text()


@pytest.mark.parametrize("content", [b"garbage", b'{"job_id":' + b"[" * 200_000, b"\xff"])
def test_a_file_that_is_no_job_does_not_stop_recovery_when_it_was_already_claimed(queue, content):
    bad = queue.layout.jobs_doing / "recycle_job_20200101T000000000000000Z_btc-9.try1.w.json"
    bad.write_bytes(content)
    queue.put(job(0))
    queue.recover()
    assert not bad.exists()
    assert [path.suffix for path in sorted(queue.layout.jobs_failed.iterdir())] == [".invalid", ".txt"]
    assert queue.claim("w").job == job(0)


def test_a_folder_or_a_dead_link_with_the_name_of_a_job_is_passed_over(queue):
    (queue.layout.jobs_todo / "recycle_job_20200101T000000000000000Z_btc-8.json").mkdir()
    (queue.layout.jobs_todo / "recycle_job_20200101T000000000000000Z_btc-9.json").symlink_to("nowhere")
    queue.put(job(0))
    assert queue.claim("w").job == job(0)


def test_a_damaged_answer_is_named(queue):
    queue.put(job(0))
    (queue.layout.jobs_done / job(0).file_name).write_bytes(b"{")
    with pytest.raises(StoreError, match="not the answer to a job"):
        queue.claim("w")


def test_a_slot_that_could_leave_the_folder_is_refused(queue):
    with pytest.raises(StoreError, match="cannot name a file"):
        queue.put(job(0, slot="../../x"))


def test_many_claimers_never_share_a_job(queue):
    from concurrent.futures import ThreadPoolExecutor

    for second in range(30):
        queue.put(job(second))

    def drain(owner):
        other = FileJobQueue(queue.layout)
        taken = []
        while (claim := other.claim(owner)) is not None:
            taken.append(claim.job.created_ns)
            other.complete(claim, {"by": owner})
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [stamp for part in pool.map(drain, ["w1", "w2", "w3", "w4"]) for stamp in part]
    assert sorted(taken) == [job(second).created_ns for second in range(30)]


def test_to_ask_for_a_job_lists_nothing_that_grows_with_the_queue(queue, monkeypatch):
    for second in range(20):
        queue.put(job(second))
        queue.complete(queue.claim("w"), {})
    for second in range(20, 40):
        queue.put(job(second))
    listed, read = [], []
    files, decode = queue._files, file_jobs.decode_job
    monkeypatch.setattr(queue, "_files", lambda state: listed.append(state) or files(state))
    monkeypatch.setattr(file_jobs, "decode_job", lambda data: read.append(1) or decode(data))
    assert queue.put(job(99)) is True
    assert [queue.put(job(second)) for second in (5, 30)] == [False, False]
    assert [queue.status(job(second).job_id).state for second in (5, 30)] == ["done", "todo"]
    assert set(listed) <= {"doing"}  # as long as there are workers
    assert len(read) < 10


def test_a_job_put_by_hand_is_known_by_its_id_from_its_claim_on(queue):
    path = queue.layout.jobs_todo / "recycle_job_20200101T000000000000000Z_btc-9.json"
    path.write_bytes(encode_job(job(3)))
    claim = queue.claim("w")
    assert claim.job == job(3)
    assert queue.put(job(3)) is False  # under its own name it would be another file
    assert queue.complete(claim, {}).state == "done"


def test_one_id_under_two_names_is_done_once(queue):
    queue.put(job(3))
    path = queue.layout.jobs_todo / "recycle_job_20500101T000000000000000Z_btc-9.json"
    path.write_bytes(encode_job(job(3)))
    queue.complete(queue.claim("w"), {})
    assert queue.claim("w") is None
    assert not path.exists()


def test_a_copy_of_a_catalog_goes_on_where_the_original_stood(queue, tmp_path):
    for second in range(3):
        queue.put(job(second))
    queue.complete(queue.claim("w"), {"n": 1})
    held = queue.claim("w")
    shutil.copytree(queue.layout.root, tmp_path / "copy")
    copy = FileJobQueue(CatalogLayout(tmp_path / "copy"))
    assert [copy.put(job(second)) for second in range(3)] == [False] * 3
    assert copy.recover() == [held.job.job_id]
    assert [copy.claim("w").job for _ in range(2)] == [job(1), job(2)]
    assert [copy.put(job(second)) for second in range(3)] == [False] * 3
    assert copy.claim("w") is None


def test_an_asker_that_died_before_its_job_was_in_the_queue_is_asked_again(queue):
    queue.put(job(0))
    (queue.layout.jobs_todo / job(0).file_name).unlink()  # as if it had died between the two names
    assert queue.put(job(0)) is True
    assert queue.put(job(0)) is False
    assert queue.claim("w").job == job(0)


@pytest.mark.parametrize("job_id", ["../../etc/passwd", "a" * 500, "ein Auftrag", "."])
def test_any_id_is_known_again_and_leaves_no_folder(queue, job_id):
    one = RecycleJob(job_id=job_id, asset=BTC, slot="btc-1", created_ns=5)
    assert queue.put(one) is True
    assert queue.put(one) is False
    assert queue.status(job_id).job == one
    assert [path.parent for path in queue.layout.jobs_ids.rglob("*")] == [queue.layout.jobs_ids]
