"""`apex doctor`: each thing that can be wrong is found, told with how to mend it, and changed by nobody."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from support.engine_case import BTC, wandering_market

from apex_nautilus.cli import _doctor
from apex_nautilus.cli._doctor import Finding, Place, run_checks
from apex_nautilus.cli._doctor.checks import (
    arrow_scans,
    clock,
    folders,
    kernels,
    keys,
    ledgers,
    leftovers,
    machine,
    market,
    packages,
    runs_and_jobs,
    services,
)
from apex_nautilus.cli._workspace import lay_out
from apex_nautilus.cli.apex import main
from apex_nautilus.data import write_events
from apex_nautilus.store import CatalogLayout, FileJobQueue, LedgerWriter, RecycleJob


@pytest.fixture
def place(tmp_path):
    lay_out(tmp_path / "w")
    return Place(tmp_path / "w")


def states(findings) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def only(findings) -> Finding:
    (finding,) = findings
    return finding


def test_every_module_is_a_check_and_a_new_workspace_has_nothing_to_mend(place):
    findings = list(run_checks(place))
    assert [f for f in findings if f.state == "fail"] == []
    modules = {p.stem for p in Path(_doctor.__file__).with_name("checks").glob("*.py")} - {"__init__"}
    assert len(modules) == 12
    assert {"python", "packages", "disk", "clock", "kernels", "memory", "runs", "ledgers"} <= states(
        findings
    ).keys()
    assert all(f.mend for f in findings if f.state != "ok")


def test_a_check_that_breaks_is_a_finding_and_hides_no_other(place, monkeypatch):
    def broken(place):
        raise RuntimeError("out of ideas")
        yield

    monkeypatch.setattr(machine, "check", broken)
    found = {f.check: f for f in run_checks(place)}
    assert found["machine"].state == "fail"
    assert "out of ideas" in found["machine"].found
    assert "python" in found


@pytest.mark.parametrize(
    ("version", "bounds", "held"),
    [
        ("1.231.0", ">=1.231,<2", True), ("2.0", ">=1.231,<2", False), ("1.230.9", ">=1.231,<2", False),
        ("0.61.2", ">=0.61", True), ("3.0.0rc1", "<3", False), ("1.4.2", "~=1.4", True),
        ("1.10", ">=1.9", True),
        ("2.0", "!=2.0.0", False), ("1.2", "==1.2.0", True), ("1", "", True),
    ],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(version, bounds, held):
    assert packages.meets(version, bounds) is held


def test_a_package_that_is_missing_old_or_broken_is_named(place, monkeypatch, tmp_path):
    (tmp_path / "brokenpkg.py").write_text("import no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    versions = {"old_one": "1.0", "brokenpkg": "2.0", "nautilus_trader": "1.231.0"}

    def version(name):
        if name not in versions:
            raise packages.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(packages.metadata, "version", version)
    wanted = ["old_one>=2", "no_package>=1", "brokenpkg", 'absent>=1; extra == "nn"']
    monkeypatch.setattr(packages.metadata, "requires", lambda name: wanted)
    found = {f.check: f for f in packages.check(place)}
    assert found["packages"].state == "fail"
    for text in (
        "old_one 1.0 (needs >=2)",
        "no_package is not installed",
        "brokenpkg 2.0 cannot be imported",
    ):
        assert text in found["packages"].found
    assert (found["extra nn"].state, found["extra nn"].found) == ("warn", "absent is not installed")


def test_folders_that_cannot_be_written_and_a_full_disk_are_told(place, monkeypatch):
    def refuse(self, *args):
        raise PermissionError(13, "Permission denied", str(self))

    assert set(states(folders.check(place)).values()) == {"ok"}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        found = {f.check: f for f in folders.check(place)}
        assert found["folder catalog"].state == "fail"
        assert "chmod" in found["folder catalog"].mend
    for free, state in ((10 << 20, "fail"), (500 << 20, "warn"), (50 << 30, "ok")):
        monkeypatch.setattr(folders.shutil, "disk_usage", lambda p, free=free: _Usage(free))
        assert states(folders.check(place))["disk"] == state
    assert list(place.root.rglob(".apex-doctor*")) == []


class _Usage:
    total = 100 << 30

    def __init__(self, free: int) -> None:
        self.free = free


def test_market_data_that_overlap_or_are_damaged_are_told(place):
    assert only(market.check(place)).state == "warn"  # empty
    write_events(place.market, BTC, wandering_market(3, 300))
    assert only(market.check(place)).state == "ok"
    (book,) = (place.market / "data" / "order_book_deltas").rglob("*.parquet")
    twin = book.with_name(book.name.replace("T22-13-20", "T22-13-19", 1))
    assert twin != book
    twin.write_bytes(book.read_bytes())
    overlap = only(market.check(place))
    assert overlap.state == "fail"
    assert "overlap in time" in overlap.found
    twin.unlink()
    book.write_bytes(book.read_bytes()[:200])
    damaged = only(market.check(place))
    assert (damaged.state, str(book) in damaged.found) == ("fail", True)


def test_kernels_are_compiled_and_their_answer_checked(place):
    found = states(kernels.check(place))
    assert found["compiler"] == "ok"
    off = Place(place.root, {"NUMBA_DISABLE_JIT": "1"})
    assert states(kernels.check(off))["kernels"] == "fail"


def test_clocks_that_jump_or_are_of_another_year_are_told(place):
    def steps(*values):
        rest = list(values)
        return lambda: rest.pop(0) if len(rest) > 1 else rest[0]

    now = 1_800_000_000.0
    jumping = Place(place.root, wall=steps(now, now + 3.2), monotonic=steps(5.0, 5.2))
    assert states(clock.check(jumping))["clock"] == "warn"
    past = Place(place.root, wall=steps(1_000.0, 1_000.2), monotonic=steps(5.0, 5.2))
    found = states(clock.check(past))
    assert (found["clock"], found["clock of the disk"]) == ("fail", "warn")
    assert states(clock.check(place))["clock of the disk"] == "ok"


def test_runs_that_were_killed_are_told_from_those_that_go_on(place):
    folder = place.runs / "six-0001"
    folder.mkdir()
    state = {"run_id": "six-0001", "source": "x", "state": "running", "schema": "apex.run/1"}
    (folder / "run.json").write_text(json.dumps(state))
    (folder / ".run.lock").touch()
    for name, schema in (("forge-1", "apex.forge-run/1"), ("forge-old", "apex.run/1")):
        (place.runs / name).mkdir()
        written = json.dumps({"schema": schema, "dataset": "d", "seed": 1})
        (place.runs / name / "run.json").write_text(written)
    killed = {f.check: f for f in runs_and_jobs.check(place)}["runs"]
    assert (killed.state, "six-0001" in killed.found, "forge" in killed.found) == ("warn", True, False)
    with (folder / ".run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        going = {f.check: f for f in runs_and_jobs.check(place)}["runs"]
    assert (going.state, going.found) == ("ok", "going on: six-0001")
    (folder / "run.json").write_text("{")
    damaged, others = (f for f in runs_and_jobs.check(place) if f.check == "runs")
    assert (damaged.state, others.state) == ("fail", "ok")
    assert "six-0001/run.json: not the state of a run" in damaged.found
    assert damaged.mend.startswith("move it away: mv ")


def test_jobs_whose_worker_died_are_told_from_those_in_work(place):
    queue = FileJobQueue(CatalogLayout(place.catalog))
    queue.put(RecycleJob.create(asset=BTC.id, slot="btc-1", created_ns=1))
    claim = queue.claim("me")
    assert claim is not None
    assert states(runs_and_jobs.check(place))["jobs"] == "ok"
    claim.release()
    assert states(runs_and_jobs.check(place))["jobs"] == "warn"


def test_half_written_files_of_the_dead_are_told_and_those_of_the_living_are_not(place):
    assert only(leftovers.check(place)).state == "ok"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (place.root / "configs" / f".a.json.{dead.pid}.3.tmp").touch()
    (place.root / "configs" / f".b.json.{os.getpid()}.3.tmp").touch()
    (place.catalog / "market" / ".staging-x").mkdir()
    old = place.root / "data" / "x.gz.part"
    old.touch()
    os.utime(old, (0, 0))
    (place.root / "data" / "fresh.gz.part").touch()
    os.utime(place.catalog / "market" / ".staging-x", (0, 0))
    finding = only(leftovers.check(place))
    assert finding.state == "warn"
    for name, told in (
        (f"{dead.pid}.3.tmp", True),
        (".b.json", False),
        ("x.gz.part", True),
        ("fresh", False),
    ):
        assert (name in finding.found) is told
    assert ".staging-x" in finding.found
    assert old.exists()


def test_ledgers_that_are_torn_or_broken_are_told(place):
    path = place.catalog / "ledger" / "arena.jsonl"
    with LedgerWriter(path, "arena") as ledger:
        for i in range(3):
            ledger.append("mark", i, {"x": i})
    assert "3 lines" in only(ledgers.check(place)).found
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"torn')
    assert only(ledgers.check(place)).state == "warn"
    path.write_bytes(b"nonsense\n" + whole)
    assert only(ledgers.check(place)).state == "fail"


def test_keys_are_told_by_name_and_never_by_value(place):
    held = Place(
        place.root, {"BYBIT_API_KEY": "hush-hush", "BINANCE_API_SECRET": " ", "HOME": "/x", "API_KEY": "z"}
    )
    findings = list(keys.check(held))
    text = " ".join(f.found + f.mend for f in findings)
    assert "BYBIT_API_KEY" in text
    assert "set, but empty: BINANCE_API_SECRET" in text
    assert "hush" not in text
    assert "HOME" not in text


def test_services_are_asked_only_when_they_are_named(place):
    assert set(states(services.check(place)).values()) == {"ok"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        there = Place(place.root, {"APEX_REDIS_URL": f"redis://user:hunter2@127.0.0.1:{port}/0"})
        finding = next(iter(services.check(there)))
        assert finding.state == "ok"
        assert "hunter2" not in finding.found
    gone = {f.check: f for f in services.check(Place(place.root, {"APEX_HAZELCAST": f"127.0.0.1:{port}"}))}
    assert gone["hazelcast"].state == "fail"
    assert gone["redis"].state == "ok"
    bad = Place(place.root, {"APEX_HAZELCAST": "host:notaport"})
    assert states(services.check(bad))["hazelcast"] == "fail"


def test_the_folder_of_scans_is_looked_at_when_it_is_named(place, tmp_path):
    assert only(arrow_scans.check(place)).state == "ok"
    named = Place(place.root, {"APEX_ARROW_SCANS": str(tmp_path / "scans")})
    assert only(arrow_scans.check(named)).state == "fail"
    (tmp_path / "scans").mkdir()
    assert only(arrow_scans.check(named)).state == "warn"
    scan = tmp_path / "scans" / "1.arrow"
    table = pa.table({"x": [1.0]})
    with pa.OSFile(str(scan), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert only(arrow_scans.check(named)).state == "ok"
    scan.write_bytes(b"not arrow")
    assert only(arrow_scans.check(named)).state == "fail"


def test_the_command_prints_a_table_or_json_and_exits_by_what_it_found(place):
    answer = CliRunner().invoke(main, ["doctor", str(place.root)], env={"COLUMNS": "80"})
    assert answer.exit_code == 0, answer.output
    assert "0 to mend" in answer.output
    assert all(len(line) <= 80 for line in answer.output.splitlines())
    (place.catalog / "ledger" / "arena.jsonl").write_bytes(b'nonsense\n{"x":1}\n')
    writer = LedgerWriter(place.catalog / "ledger" / "b.jsonl", "b")
    writer.append("mark", 1, {})
    writer.close()
    path = place.catalog / "ledger" / "b.jsonl"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    answer = CliRunner().invoke(main, ["doctor", str(place.root), "--json"])
    assert answer.exit_code == 1
    assert any(f["check"] == "ledgers" and f["state"] == "fail" for f in json.loads(answer.output))
