"""`apex ledger`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.arena_case import BTC_ID, catalog

from apex_nautilus.actors import records
from apex_nautilus.actors.watcher import Watcher
from apex_nautilus.cli.apex_commands.ledger import command
from apex_nautilus.store import LedgerWriter

NOW = 1_700_000_000 * 10**9


@pytest.fixture
def root(tmp_path):
    layout = catalog(tmp_path)
    lines = [
        records.Swap(slot="btc-1", epoch=2, outgoing="aaaa", incoming="bbbb"),
        records.Swap(slot="eth-1", epoch=1, outgoing="", incoming="cccc"),
        records.Rejection(name="x.json", reason="not JSON"),
        records.Fill(agent="btc-1.e2", order="O-1", qty=0.1, price=1.0, fee=0.0, position=0.1, cash=200.0),
        records.Job(job="j", slot="btc-1", asset=BTC_ID, terminated="aaaa", seed="bbbb", created_ns=NOW),
    ]
    with LedgerWriter(layout.ledger, "arena") as ledger:
        for k, line in enumerate(lines):
            ledger.append(records.kind_of(line), NOW + k, line)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        ([], ["swap", "swap", "rejection", "job"]),
        (["--kind", "fill"], ["fill"]),
        (["--kind", "swap", "--slot", "eth-1"], ["swap"]),
        (["--slot", "btc-1"], ["swap", "job"]),
        (["--genome", "aa"], ["swap", "job"]),
        (["--kind", "fill", "--agent", "btc-1.e2"], ["fill"]),
        (["--last", "1"], ["job"]),
    ],
)
def test_lines_are_selected_and_printed_for_machines(root, arguments, kinds):
    result = CliRunner().invoke(command, [str(root), "--json", *arguments])
    assert result.exit_code == 0
    assert [json.loads(line)["kind"] for line in result.output.splitlines()] == kinds


def test_the_table_names_time_kind_and_numbers(root):
    result = CliRunner().invoke(command, [str(root)], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in ("2023-11-14 22:13:20.000", "swap", "bbbb", "x.json"):
        assert word in result.output


def test_bad_input_is_one_clear_message(root, tmp_path):
    for arguments, words in (
        ([str(root), "--kind", "nonsense"], "no line of kind nonsense"),
        ([str(root / "strategies")], "no ledger/"),
    ):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code != 0
        assert words in result.output
    (root / "ledger" / "arena.jsonl").write_bytes(
        b"garbage\n" + (root / "ledger" / "arena.jsonl").read_bytes()
    )
    damaged = CliRunner().invoke(command, [str(root)])
    assert damaged.exit_code != 0
    assert "line 1" in damaged.output


def test_the_watcher_wakes_on_a_dropped_file(tmp_path):
    watcher = Watcher(tmp_path)
    assert watcher.woken()  # what lay there before
    watcher.start()
    try:
        (tmp_path / "x.json").write_text("{}")
        assert watcher.wait(30.0)
        assert watcher.woken()
    finally:
        watcher.stop()
    watcher.stop()


def test_text_from_files_is_shown_as_it_is(root):
    line = records.Rejection(name="x.json", reason="'[/bold]' is not a primitive, see [link=file]")
    with LedgerWriter(root / "ledger", "arena") as ledger:
        ledger.append(records.kind_of(line), NOW + 10, line)
    result = CliRunner().invoke(command, [str(root), "--last", "1"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.exception
    assert "'[/bold]' is not a primitive, see [link=file]" in result.output


def test_a_slots_fills_are_those_of_its_champions(root):
    result = CliRunner().invoke(command, [str(root), "--json", "--kind", "fill", "--slot", "btc-1"])
    assert [json.loads(line)["fields"]["order"] for line in result.output.splitlines()] == ["O-1"]
    assert CliRunner().invoke(command, [str(root), "--kind", "fill", "--slot", "btc", "--json"]).output == ""
