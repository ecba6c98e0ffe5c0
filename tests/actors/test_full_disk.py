"""An arena whose disk is full: a backtest stops and says so, a live one guards what is open and waits."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from support.arena_case import (
    BTC_ID,
    START_NS,
    account_cash,
    arena_config,
    books,
    catalog,
    doomed,
    genome,
    path,
    perpetual,
    simulate,
)

from apex_nautilus.actors import arena as arena_module
from apex_nautilus.actors import read_result
from apex_nautilus.actors.journal import Journal
from apex_nautilus.actors.records import Reconciled
from apex_nautilus.cli.apex import main
from apex_nautilus.store import FileJobQueue, LedgerError, LedgerWriter, list_champions, read_ledger

SECOND = 1_000_000_000
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    """Refuses to write below `root` while `is_full` says so; the first write of each time fails half-way."""

    def __init__(self, monkeypatch, root: Path, is_full):
        self.refused = 0
        self._halves = True
        write, link, rename = os.write, os.link, os.rename

        def where(descriptor) -> Path:
            return Path(os.readlink(f"/proc/self/fd/{descriptor}"))

        def checked_write(descriptor, data):
            if where(descriptor).is_relative_to(root) and is_full():
                self.refused += 1
                if self._halves and len(data) > 20:
                    self._halves = False
                    return write(descriptor, bytes(data)[:10])
                raise NO_SPACE
            self._halves = True
            return write(descriptor, data)

        def checked(call):
            def checked_call(source, target, *rest, **named):
                if Path(target).is_relative_to(root) and is_full():
                    raise NO_SPACE
                return call(source, target, *rest, **named)

            return checked_call

        monkeypatch.setattr(os, "write", checked_write)
        monkeypatch.setattr(os, "link", checked(link))
        monkeypatch.setattr(os, "rename", checked(rename))


def test_a_backtest_stops_with_the_ledgers_name_and_can_be_gone_on_from(tmp_path, monkeypatch):
    market = ParquetDataCatalog(str(tmp_path / "market"))
    market.write_data([perpetual(BTC_ID)])
    market.write_data([d for batch in books(BTC_ID, path(30)) for d in batch.deltas])
    catalog(tmp_path / "catalog", champions={"btc-1": genome(), "btc-2": doomed()})
    slots = [{"slot": name, "instrument_id": BTC_ID} for name in ("btc-1", "btc-2")]
    body = {
        "schema": "apex.arena/1",
        "name": "a",
        "market": "market",
        "strategies": "catalog",
        "slots": slots,
    }
    (tmp_path / "a.json").write_text(json.dumps(body))
    run = tmp_path / "runs" / "one"
    ledger = run / "ledger" / "arena.jsonl"
    with monkeypatch.context() as patch:
        Disk(patch, run, lambda: ledger.exists() and ledger.stat().st_size > 5_000)
        told = CliRunner().invoke(main, ["arena", str(tmp_path / "a.json"), "--run-id", "one"])
    assert told.exit_code == 1
    message = " ".join(told.output.split())
    assert message.startswith("Error: ")
    assert "arena.jsonl: cannot be written (No space left on device); make room" in message
    lines = read_ledger(ledger)
    assert len(lines) > 10
    assert ledger.read_bytes().endswith(b"}\n")  # nothing half-written
    assert read_result(run).finish is None

    again = ["arena", str(tmp_path / "a.json"), "--run-id", "two", "--from", str(run)]
    told = CliRunner().invoke(main, again)
    assert told.exit_code == 0, told.output
    assert json.loads((run / "run.json").read_text())["state"] == "aborted"


@pytest.fixture
def live(monkeypatch):
    """The arena takes the test clock for a real one."""
    monkeypatch.setattr(arena_module, "TestClock", type("NoClock", (), {}))


def full_between(monkeypatch, root: Path, first_s: float, last_s: float):
    """Let the disk be full for a stretch of engine time; return what to hand to `simulate`."""
    controllers = []

    def is_full():
        now = controllers[0].clock.timestamp_ns() if controllers else 0
        return START_NS + first_s * SECOND <= now < START_NS + last_s * SECOND

    return Disk(monkeypatch, root, is_full), [controllers.append]


def test_a_live_arena_opens_nothing_while_its_ledger_cannot_be_written(tmp_path, live, monkeypatch):
    layout = catalog(
        tmp_path, champions={"btc-1": genome(hold_s=2.0), "btc-2": genome(side=-1.0, hold_s=2.0)}
    )
    config = arena_config(layout, {"btc-1": BTC_ID, "btc-2": BTC_ID}, limits={"decay_psr": 0.0})
    disk, before = full_between(monkeypatch, tmp_path, 10.1, 20.1)
    engine = simulate(config, {BTC_ID: path(40, wave_bps=5.0)}, before=before)
    assert disk.refused > 10
    lines = read_ledger(layout.ledger_file("arena"))  # whole lines without a gap, or it would raise
    result = read_result(tmp_path)
    assert result.finish.mismatches == 0
    assert result.finish.account_cash == pytest.approx(account_cash(engine), abs=1e-9)
    engine.dispose()
    # In the order in which it happened, also what happened while nothing could be written.
    assert [line.ts_ns for line in lines] == sorted(line.ts_ns for line in lines)
    marks = {line.ts_ns for line in lines if line.kind == "mark"}
    assert {START_NS + k * SECOND for k in range(2, 39)} <= marks
    positions, opened = {}, []
    for line in lines:
        if line.kind != "fill":
            continue
        agent = line.fields["agent"]
        if positions.get(agent, 0.0) == 0.0:
            opened.append((line.ts_ns - START_NS) / SECOND)
        positions[agent] = line.fields["position"]
    # The first line that fails is what tells; after it nothing is opened until there is room again.
    assert not [t for t in opened if 11.0 <= t < 20.0]
    assert len([t for t in opened if t < 10.0]) >= 4
    assert len([t for t in opened if t > 21.0]) >= 4


def test_a_death_on_a_full_disk_is_told_and_asked_for_once_when_there_is_room(tmp_path, live, monkeypatch):
    poor = doomed()
    layout = catalog(tmp_path, champions={"btc-1": poor, "btc-2": genome()})
    config = arena_config(layout, {"btc-1": BTC_ID, "btc-2": BTC_ID}, limits={"decay_psr": 0.0})
    prices = {BTC_ID: path(60, bps_per_s=5.0)}
    simulate(config, prices).dispose()
    ((died_ns, _),) = read_result(tmp_path).deaths
    first = (died_ns - START_NS) / SECOND - 0.05

    other = tmp_path / "full"
    layout = catalog(other, champions={"btc-1": poor, "btc-2": genome()})
    config["catalog"] = str(other)
    _, before = full_between(monkeypatch, other, first, first + 8.0)
    simulate(config, prices, before=before).dispose()
    result = read_result(other)
    ((told_ns, verdict),) = result.deaths
    assert (told_ns, verdict.agent) == (died_ns, "btc-1.e1")
    assert result.agents["btc-1.e1"].buried_ns >= died_ns + 7 * SECOND
    assert [champion.slot for champion in list_champions(layout)] == ["btc-2"]
    (status,) = FileJobQueue(layout).jobs()
    assert status.job.terminated_model_id == poor.id
    assert len(result.jobs) == 1
    assert result.finish.mismatches == 0


def test_a_line_whose_flush_alone_failed_is_not_written_twice(tmp_path, monkeypatch):
    writer = LedgerWriter(tmp_path, "arena", group_commit=256)
    journal = Journal(writer, must_go_on=True)

    def full(descriptor):
        raise NO_SPACE

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        journal.write(1, Reconciled(account_cash=1.0, ledger_cash=1.0), flush=True)
        assert journal.is_failing
        journal.write(2, Reconciled(account_cash=2.0, ledger_cash=2.0))
    journal.retry()
    assert not journal.is_failing
    journal.close()
    assert [line.ts_ns for line in read_ledger(tmp_path / "arena.jsonl")] == [1, 2]


def test_lines_that_never_found_room_are_told_at_the_end(tmp_path, monkeypatch):
    journal = Journal(LedgerWriter(tmp_path, "arena"), must_go_on=True)
    Disk(monkeypatch, tmp_path, lambda: True)
    for k in range(3):
        journal.write(k, Reconciled(account_cash=1.0, ledger_cash=1.0))
    assert "3 lines wait" in journal.trouble
    with pytest.raises(LedgerError, match=r"arena\.jsonl: cannot be written \(No space left"):
        journal.close()
    LedgerWriter(tmp_path, "arena").close()  # it was let go of
    assert read_ledger(tmp_path / "arena.jsonl") == []
