"""The queue on a server that dies, hangs, forgets its scripts, or wants a password."""

from __future__ import annotations

import logging

import pytest
import redis
from job_worker import drain, job
from support.redis_server import RedisServer, serve

from apex_nautilus.store import CatalogLayout, FileJobQueue, QueueUnavailable, StoreError, open_queue
from apex_nautilus.store.redis_jobs import RedisJobQueue

HIDDEN = "correct-horse-battery"


def opened(server: RedisServer, **options) -> RedisJobQueue:
    options = {"environment": {}, "patience": 0, "timeout_s": 0.2, "sleep": lambda s: None} | options
    return RedisJobQueue(server.url, **options)


@pytest.fixture
def server(redis_server):
    redis_server.flush()
    return redis_server


@pytest.mark.redis
def test_a_server_that_is_killed_and_started_again_has_every_job_and_every_lease(server, tmp_path):
    queue = opened(server)
    for second in range(4):
        queue.put(job(second))
    done, held = queue.claim("w"), queue.claim("w")
    queue.complete(done, {"genome_id": "x"})
    queue.fail(queue.claim("w"), "no")
    server.kill()
    with pytest.raises(QueueUnavailable, match="no answer"):
        queue.claim("w")
    server.start()
    states = [(s.state, s.attempts) for s in queue.jobs()]
    assert states == [("done", 1), ("doing", 1), ("todo", 1), ("todo", 0)]
    assert queue.heartbeat(held) is True
    assert queue.complete(held, {}).state == "done"
    assert drain(queue, "w", tmp_path) == [job(2).job_id, job(3).job_id]


@pytest.mark.redis
def test_a_call_waits_for_a_server_that_comes_back(server):
    queue = opened(server)
    queue.put(job(0))
    server.kill()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            server.start()

    patient = opened(server, patience=6, sleep=sleep)
    assert patient.claim("w").job == job(0)
    assert waits == [0.05, 0.1, 0.2]


@pytest.mark.redis
def test_a_server_that_hangs_costs_the_time_out_and_no_job(server):
    queue = opened(server, timeout_s=0.1)
    queue.put(job(0))
    server.pause()
    try:
        with pytest.raises(QueueUnavailable):
            queue.put(job(1))  # arrives all the same, once the server goes on
    finally:
        server.go_on()
    assert queue.put(job(1)) is False or queue.status(job(1).job_id).state == "todo"
    assert [s.job for s in queue.jobs()] == [job(0), job(1)]


@pytest.mark.redis
def test_a_reply_that_is_lost_is_asked_for_again_and_changes_nothing_twice(server, monkeypatch):
    queue = opened(server, patience=1)

    def losing(script):
        calls = []

        def call(**arguments):
            reply = script(**arguments)
            calls.append(arguments["args"])
            if len(calls) == 1:
                raise redis.ConnectionError("reply lost")
            assert calls[0] == calls[1]
            return reply

        return call

    for name in ("_put", "_claim", "_close"):
        monkeypatch.setattr(queue, name, losing(getattr(queue, name)))
    assert queue.put(job(0)) is True
    claim = queue.claim("w")
    assert (claim.job, claim.attempt) == (job(0), 1)
    assert queue.complete(claim, {"n": 1}).result == {"n": 1}
    assert [(s.state, s.attempts) for s in queue.jobs()] == [("done", 1)]


@pytest.mark.redis
def test_a_server_that_forgot_its_scripts_is_sent_them_again(server):
    queue = opened(server)
    queue.put(job(0))
    with redis.Redis(port=server.port) as client:
        client.script_flush()
    assert queue.claim("w").job == job(0)


@pytest.mark.redis
def test_entries_of_others_are_put_away_and_the_next_job_is_served(server):
    queue = opened(server)
    with redis.Redis(port=server.port) as client:
        client.xadd(queue.name, {"hello": "world"})
        client.xadd(queue.name, {"id": "never-put"})
        client.hset(
            f"{queue.name}:job:bad", mapping={"job": "{", "state": "todo", "attempts": 0, "token": "t"}
        )
        client.rpush(f"{queue.name}:index", "bad")
        client.xadd(queue.name, {"id": "bad"})
        queue.put(job(0))
        assert queue.claim("w").job == job(0)
        put_away = [line.split(b" ", 1)[1] for line in client.lrange(f"{queue.name}:invalid", 0, -1)]
        assert put_away == [b"hello world", b"id never-put"]
        assert client.hget(f"{queue.name}:job:bad", "state") == b"failed"
        assert b"not a job" in client.hget(f"{queue.name}:job:bad", "reason")
    assert [s.job for s in queue.jobs()] == [job(0)]


@pytest.mark.redis
def test_arenas_with_names_of_their_own_share_a_server_and_no_jobs(server):
    one = RedisJobQueue(f"{server.url}?name=btc", environment={})
    two = RedisJobQueue(f"{server.url}?name=eth", environment={})
    one.put(job(0))
    assert two.claim("w") is None
    assert two.status(job(0).job_id) is None
    assert one.claim("w").job == job(0)


@pytest.mark.redis
def test_a_stale_entry_is_found_behind_many_living_ones(server):
    queue = opened(server)
    for second in range(30):
        queue.put(job(second))
    claims = [queue.claim("w") for _ in range(30)]
    for claim in claims[25:]:
        claim.release()
    assert [queue.claim("w").job for _ in range(5)] == [job(second) for second in range(25, 30)]
    assert queue.claim("w") is None


@pytest.mark.redis
def test_the_password_comes_from_the_environment_and_is_shown_nowhere(tmp_path, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    for server in serve(tmp_path, password=HIDDEN):
        queue = RedisJobQueue(server.url, environment={"APEX_REDIS_PASSWORD": HIDDEN})
        assert queue.put(job(0))
        claim = queue.claim("w")
        by_url = f"redis://:{HIDDEN}@127.0.0.1:{server.port}/0"
        other = open_queue("redis", CatalogLayout(tmp_path), environment={"APEX_REDIS_URL": by_url})
        assert other.status(job(0).job_id).state == "doing"
        texts = [repr(queue), repr(other), repr(claim)]
        for variables in ({}, {"APEX_REDIS_PASSWORD": HIDDEN + "x"}):
            with pytest.raises(StoreError, match="APEX_REDIS_PASSWORD") as refused:
                RedisJobQueue(server.url, environment=variables).claim("w")
            texts.append(str(refused.value))
        server.kill()
        with pytest.raises(QueueUnavailable) as gone:
            RedisJobQueue(
                by_url, environment={}, allow_password=True, patience=0, sleep=lambda s: None
            ).claim("w")
        texts += [str(gone.value), repr(gone.value.__context__), caplog.text, *capsys.readouterr()]
        assert all(HIDDEN not in text for text in texts)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (f"redis://user:{HIDDEN}@localhost/0", "holds a password"),
        (f"http://:{HIDDEN}@localhost", "give file, redis"),
        ("redis://", "give redis://HOST"),
        ("redis://localhost:port/0", "give redis://HOST"),
        ("redis://localhost/zero", "number of a database"),
        ("redis://localhost/0?socket_timeout=9", "only .name= is known"),
        ("redis", "APEX_REDIS_URL is not set"),
        ("kafka", "give file, redis"),
    ],
)
def test_a_setting_that_names_no_queue_is_refused_and_its_secret_not_repeated(tmp_path, where, reason):
    with pytest.raises(StoreError, match=reason) as error:
        open_queue(where, CatalogLayout(tmp_path), environment={})
    assert HIDDEN not in str(error.value)


def test_file_is_the_queue_of_the_catalog(tmp_path):
    queue = open_queue("file", CatalogLayout(tmp_path))
    assert isinstance(queue, FileJobQueue)
    assert queue.lease_s is None


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 1e9, float("nan")])
def test_a_lease_that_is_no_length_of_time_is_refused(lease_s):
    with pytest.raises(StoreError, match="lease_s"):
        RedisJobQueue("redis://localhost/0", lease_s=lease_s, environment={})
