"""The worker on a queue of a server: the same answers, a heartbeat while it breeds, and its command."""

from __future__ import annotations

import json
import os

import planted
import pytest
from click.testing import CliRunner
from support.redis_server import serve

from apex_nautilus.cli.forge import main
from apex_nautilus.forge import EvolutionConfig, work_once
from apex_nautilus.store import CatalogLayout, FileJobQueue, RecycleJob
from apex_nautilus.store.redis_jobs import RedisJobQueue

pytestmark = pytest.mark.redis
CONFIG = EvolutionConfig(
    population=12, generations=2, max_holds_s=(30.0,), hall_of_fame=4, min_trades=10, threads=1, lottery=12
)
BTC = planted.INSTRUMENT.id
JOB = RecycleJob.create(asset=BTC, slot="btc-1", created_ns=1_700_003_000 * 10**9)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="module")
def data():
    return planted.market(2000)


def test_a_job_of_a_server_gets_the_genome_that_a_job_of_the_catalog_gets(tmp_path, server, data):
    server.flush()
    answers = []
    for name, queue in (
        ("files", FileJobQueue(CatalogLayout(tmp_path / "files"))),
        ("server", RedisJobQueue(server.url, environment={})),
    ):
        layout = CatalogLayout(tmp_path / name).ensure()
        queue.put(JOB)
        status = work_once(layout, {BTC: data}, config=CONFIG, queue=queue)
        assert queue.status(JOB.job_id) == status
        answers.append((status.result, layout.incoming_file(status.result["genome_id"]).read_bytes()))
        assert work_once(layout, {BTC: data}, config=CONFIG, queue=queue) is None
    assert answers[0] == answers[1]


def test_a_worker_that_breeds_for_many_leases_keeps_its_job(tmp_path, server, data):
    server.flush()
    queue = RedisJobQueue(server.url, environment={}, lease_s=0.1)
    rival = RedisJobQueue(server.url, environment={}, lease_s=0.1)
    queue.put(JOB)
    beats = []
    real = queue.heartbeat

    def heartbeat(claim):
        beats.append(1)
        return real(claim)

    queue.heartbeat = heartbeat

    def progress(report):
        # Each generation goes on until the server has heard of the worker four times: longer than a lease.
        wanted = len(beats) + 4
        while len(beats) < wanted:
            assert rival.recover() == []
        assert rival.claim("rival") is None

    status = work_once(
        CatalogLayout(tmp_path).ensure(), {BTC: data}, config=CONFIG, queue=queue, progress=progress
    )
    assert (status.state, status.attempts) == ("done", 1)
    assert len(beats) >= 12


def test_the_commands_work_on_a_server(tmp_path, server, monkeypatch):
    server.flush()
    monkeypatch.setitem(os.environ, "APEX_REDIS_URL", server.url)
    RedisJobQueue(server.url, environment={}).put(JOB)
    (tmp_path / "data").mkdir()
    (tmp_path / "catalog").mkdir()
    arguments = ["worker", "--catalog", tmp_path / "catalog", "--dataset-root", tmp_path / "data", "--once"]
    result = CliRunner().invoke(main, [*map(str, arguments), "--queue", "redis", "--json"])
    assert result.exit_code == 0, result.output
    states = [json.loads(line)["state"] for line in result.output.splitlines() if '"state"' in line]
    assert states == ["todo", "todo", "failed"]  # there is no dataset
    shown = CliRunner().invoke(main, ["jobs", "--queue", server.url, "--json"])
    assert shown.exit_code == 0, shown.output
    (job,) = json.loads(shown.output)
    assert (job["state"], job["job"]["job_type"]) == ("failed", "RECYCLE_DNA")
    assert "there is no dataset" in job["reason"]


def test_an_address_that_nobody_answers_is_told_without_its_secret(tmp_path):
    address = "redis://:hunter2@127.0.0.1:1/0"
    result = CliRunner().invoke(main, ["jobs", "--catalog", str(tmp_path), "--queue", address])
    assert result.exit_code == 1
    assert "holds a password" in result.output
    assert "hunter2" not in result.output
