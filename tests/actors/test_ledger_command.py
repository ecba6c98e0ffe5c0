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


@pytest.fixture
def life(tmp_path):
    """Two agents: one closes two trades and is ended by its drawdown, one is a challenger that takes over."""
    layout = catalog(tmp_path)
    birth = {"instrument_id": BTC_ID, "strategy_id": "S", "capital": 200.0, "treasury": 0.0}
    lines = [
        records.Birth(agent="btc-1.e1", role="champion", slot="btc-1", epoch=1, genome="aaaa", **birth),
        records.Birth(agent="shadow-1", role="shadow", slot="", epoch=0, genome="bbbb", **birth),
        *(
            records.Fill(
                agent="btc-1.e1", order=f"O{k}", qty=q, price=1.0, fee=0.5, position=position, cash=cash
            )
            for k, (q, position, cash) in enumerate(
                [(1.0, 1.0, 199.5), (-1.0, 0.0, 210.0), (1.0, 1.0, 209.5), (-1.0, 0.0, 90.0)]
            )
        ),
        records.Mark(agent="shadow-1", cash=200.0, equity=205.0, position=1.0, trades=0),
        records.Allocation(
            agents=("btc-1.e1",), weights=(1.0,), multipliers=(1.0,), gains=(0.0,), turnover=0.0, floor=0.05,
            cap=1.0,
        ),
        records.VerdictLine(
            agent="btc-1.e1", role="champion", slot="btc-1", epoch=1, genome="aaaa", verdict="drawdown",
            reason="equity 90.00 is below 100.00", equity=90.0, capital=200.0, floor=100.0,
            smallest_notional=50.0, trades=2, sharpe=float("nan"), psr=float("nan"), dsr=float("nan"),
            trials=2, trials_variance=0.25,
        ),
        records.Burial(
            agent="btc-1.e1", role="champion", slot="btc-1", epoch=1, genome="aaaa", cause="drawdown",
            cash=90.0, fees=2.0, trades=2, treasury=0.0,
        ),
        records.SwapBegin(
            slot="btc-1", epoch=0, outgoing="", incoming="bbbb", probability=0.97, marks=12, reason="better"
        ),
        records.Swap(slot="btc-1", epoch=2, outgoing="", incoming="bbbb"),
    ]  # fmt: skip
    with LedgerWriter(layout.ledger, "arena") as ledger:
        for k, line in enumerate(lines):
            ledger.append(records.kind_of(line), NOW + k * 10**9, line)
    with LedgerWriter(layout.ledger, "forge") as ledger:
        for k, ratio in enumerate((0.0, 0.2, -0.1)):
            fields = {"study_id": "s1", "number": k, "sharpe": ratio, "trades": 5, "generation": 0}
            ledger.append("trial", NOW, fields)
    return tmp_path


def asked(root, *arguments):
    result = CliRunner().invoke(command, [arguments[0], str(root), *arguments[1:], "--json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_agents_are_told_with_their_money_trades_and_end(life):
    first, second = asked(life, "agents")
    assert (first["agent"], first["end"], first["fills"], first["trades"]) == ("btc-1.e1", "drawdown", 4, 2)
    assert (first["equity"], first["fees"], first["weight"]) == (90.0, 2.0, 1.0)
    assert first["growth_percent"] == pytest.approx(-55.0)
    returns = (10.0 / 200.0, -120.0 / 210.0)
    assert first["sharpe"] == pytest.approx(sum(returns) / (returns[0] - returns[1]))
    assert (second["agent"], second["end"], second["equity"]) == ("shadow-1", None, 205.0)
    assert [row["agent"] for row in asked(life, "agents", "--living")] == ["shadow-1"]
    assert [row["agent"] for row in asked(life, "agents", "--slot", "btc-1")] == ["btc-1.e1"]


def test_verdicts_and_swaps_are_told_with_the_numbers_they_were_made_from(life):
    (verdict,) = asked(life, "verdicts")
    assert (verdict["verdict"], verdict["trials"], verdict["trials_variance"]) == ("drawdown", 2, 0.25)
    assert asked(life, "verdicts", "--kind", "promote") == []
    (swap,) = asked(life, "swaps")
    assert (swap["incoming"], swap["probability"], swap["marks"], swap["seconds"]) == ("bbbb", 0.97, 12, 1.0)


def test_trials_are_counted_whole(life):
    assert [row["number"] for row in asked(life, "trials")] == [0, 1, 2]
    (study,) = asked(life, "trials", "--summary")
    assert (study["trials"], study["best_sharpe"]) == (3, 0.2)
    assert study["variance"] == pytest.approx(0.0233333, rel=1e-4)
    assert asked(life, "trials", "--study", "x") == []


@pytest.mark.parametrize("verb", ["agents", "verdicts", "swaps", "trials", "lines"])
def test_every_verb_prints_a_table_and_refuses_what_is_no_ledger(life, verb):
    result = CliRunner().invoke(command, [verb, str(life)], env={"COLUMNS": "250"})
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 4
    refused = CliRunner().invoke(command, [verb, str(life / "strategies")])
    assert refused.exit_code != 0
    assert "no ledger/" in refused.output


def test_allocations_are_among_the_many_lines(life):
    kinds = [row["kind"] for row in asked(life, "lines")]
    assert "allocation" not in kinds
    assert [row["kind"] for row in asked(life, "lines", "--kind", "allocation")] == ["allocation"]
    refused = CliRunner().invoke(command, ["verdicts", str(life), "--kind", "odd"])
    assert "'odd' is not one of 'ruin', 'drawdown'" in refused.output
