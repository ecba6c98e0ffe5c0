"""Closed trades and delays in the arena's ledger, and the pages and answers made of them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil

import pytest
from click.testing import CliRunner
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from support.arena_case import BTC_ID, ETH_ID, books, catalog, doomed, genome, path, perpetual

from apex_nautilus.actors import read_result
from apex_nautilus.cli.apex_commands.arena import command
from apex_nautilus.cli.apex_commands.ledger import command as ledger
from apex_nautilus.store import read_all

NETWORK = {"seed": 3, "loss": 0.03, "timeout_ms": 300.0, "feed": {"loss": 0.02}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs alike of 50 s on a network: a champion that lives, one that dies, a challenger; two folders of
    runs, so that both have one name."""
    root = tmp_path_factory.mktemp("lines")
    market = ParquetDataCatalog(str(root / "market"))
    for k, instrument_id in enumerate((BTC_ID, ETH_ID)):
        market.write_data([perpetual(instrument_id)])
        prices = path(50, bps_per_s=7.0, seed=k)
        market.write_data([d for batch in books(instrument_id, prices) for d in batch.deltas])
    catalog(
        root / "catalog",
        champions={"btc-1": genome(hold_s=1.0, p=0.4), "eth-1": doomed(instrument_id=ETH_ID)},
        incoming=[genome(instrument_id=ETH_ID, hold_s=0.8)],
    )
    for runs in ("one", "two"):
        config = {
            "schema": "apex.arena/1",
            "name": "lines",
            "market": "market",
            "strategies": "catalog",
            "runs": runs,
            "slots": [{"slot": "btc-1", "instrument_id": BTC_ID}, {"slot": "eth-1", "instrument_id": ETH_ID}],
            "contest": {"min_shadow_s": 2.0},
            "ledger_mark_s": 1.0,
            "allocator": {"every_s": 5.0},
            "network": NETWORK,
        }
        (root / f"{runs}.json").write_text(json.dumps(config))
        done = CliRunner().invoke(command, [str(root / f"{runs}.json"), "--run-id", "run"])
        assert done.exit_code == 0, done.output
    return root


@pytest.fixture(scope="module")
def result(folder):
    return read_result(folder / "one" / "run")


def test_each_time_an_agents_fills_go_flat_there_is_one_trade_with_their_money(result):
    """The trades are told by the strategies, the fills by the venue: each is held against the other."""
    closed = 0
    for agent in result.agents.values():
        cash, opened, fees, trades = agent.birth.capital, 0.0, 0.0, iter(agent.trades)
        for fill in agent.fills:
            fees += fill.fee
            opened = opened or fill.qty
            if fill.position:
                continue
            trade = next(trades)
            closed += 1
            assert trade.side == math.copysign(1, opened)
            assert trade.fees == pytest.approx(fees)
            assert trade.pnl == pytest.approx(fill.cash - cash)
            assert trade.exit_price > 0.0
            assert trade.entry_ts_ns < trade.exit_ts_ns
            assert 0.0 < trade.p < 1.0
            assert 0.0 < trade.fraction < 1.0
            cash, opened, fees = fill.cash, 0.0, 0.0
        assert next(trades, None) is None
    assert closed > 20


def test_costs_and_shortfall_add_up_in_the_ledger(result):
    trades = [t for agent in result.agents.values() for t in agent.trades]
    assert all(t.spread >= 0.0 and math.isfinite(t.slippage) for t in trades)
    assert sum(t.spread for t in trades) > 0.0
    gross = sum(t.side * t.quantity * (t.exit_price - t.entry_price) for t in trades)
    assert sum(t.pnl + t.fees for t in trades) == pytest.approx(gross, abs=1e-6)


def test_every_command_that_was_sent_is_counted_once(folder, result):
    """Against the trade log: submissions are inserts."""
    (log,) = (folder / "one" / "run" / "logs").rglob("*.jsonl")
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    delays = {d.name: d for d in result.delays}
    insert = delays["insert"]
    assert insert.arrived + insert.lost + insert.late == events.count("OrderSubmitted")
    refusals = sum(agent.timeouts for agent in result.agents.values())
    assert insert.lost + insert.late == refusals
    assert refusals > 0
    books_sent = 2 * 50 * 4
    assert delays["data"].arrived <= books_sent
    assert delays["data"].lost > 0


def test_two_runs_alike_write_the_same_ledger_and_pages(folder):
    for name in ("ledger/arena.jsonl", "report.html", "tearsheet.html"):
        one, two = ((folder / runs / "run" / name).read_bytes() for runs in ("one", "two"))
        assert one == two, name


def test_the_page_shows_all_parts_and_fetches_nothing(folder):
    page = (folder / "one" / "run" / "report.html").read_text()
    for heading in ("Stated probability and outcome", "Delays of the network", "Costs of closed trades",
                    "Delays and losses", "Verdicts", "Trades"):  # fmt: skip
        assert f"<h2>{heading}</h2>" in page, heading
    assert "lost orders" in page
    assert '"title":{"text":"weight"}' in page
    assert 'href="tearsheet.html"' in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


def test_a_ledger_of_before_trades_were_written_is_read_and_shown(folder, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(folder / "one" / "run", old)
    file = old / "ledger" / "arena.jsonl"
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [line for line in kept if line["kind"] not in ("trade", "delays")]
    file.write_text("".join(json.dumps(line | {"seq": k}) + "\n" for k, line in enumerate(kept)))
    result = read_result(old)
    assert result.delays == []
    assert all(agent.trades == [] and agent.equity.size for agent in result.agents.values())
    from apex_nautilus.cli._arena_report import write_arena_report

    write_arena_report(tmp_path / "old.html", result)
    page = (tmp_path / "old.html").read_text()
    assert "Stated probability" not in page
    assert "Costs of closed trades" in page
    assert asked(old, "trades") == []


def test_a_run_without_fills_or_an_end_says_so(folder, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(folder / "one" / "run", cut)
    file = cut / "ledger" / "arena.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    births = next(k for k, line in enumerate(lines) if b'"kind":"fill"' in line)
    file.write_bytes(b"".join(lines[:births]) + lines[births][:40])  # and a torn line
    from apex_nautilus.cli._arena_report import write_arena_report

    write_arena_report(tmp_path / "cut.html", read_result(cut))
    page = (tmp_path / "cut.html").read_text()
    assert "Nobody traded" in page
    assert "did not end" in page


def test_an_arena_without_agents_leaves_a_page_that_says_so(folder):
    catalog(folder / "empty")
    config = json.loads((folder / "one.json").read_text()) | {"strategies": "empty", "runs": "nobody"}
    (folder / "nobody.json").write_text(json.dumps(config))
    done = CliRunner().invoke(command, [str(folder / "nobody.json"), "--run-id", "run", "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.output)
    assert summary["agents"] == []
    assert [d["name"] for d in summary["delays"]] == ["data"]
    page = (folder / "nobody" / "run" / "report.html").read_text()
    assert "No agent was born" in page
    assert (folder / "nobody" / "run" / "tearsheet.html").exists()


def asked(root, *arguments):
    done = CliRunner().invoke(ledger, [arguments[0], str(root), *arguments[1:], "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.output.splitlines()]


def test_trades_are_queried_by_agent_slot_genome_and_end(folder, result):
    run = folder / "one" / "run"
    rows = asked(run, "trades")
    assert len(rows) == sum(len(agent.trades) for agent in result.agents.values())
    assert [row["exit_ts_ns"] for row in rows] == sorted(row["exit_ts_ns"] for row in rows)
    assert {row["agent"] for row in asked(run, "trades", "--slot", "eth-1")} <= {"eth-1.e1", "eth-1.e2"}
    first = result.agents["btc-1.e1"]
    mine = asked(run, "trades", "--agent", "btc-1.e1")
    assert [row["pnl"] for row in mine] == [t.pnl for t in first.trades]
    assert mine == asked(run, "trades", "--genome", first.birth.genome[:8])
    held = asked(run, "trades", "--by", "max_hold")
    assert held
    assert {row["exit_kind"] for row in held} == {"max_hold"}
    worst = asked(run, "trades", "--sort", "profit")
    assert worst[0]["pnl"] == min(row["pnl"] for row in rows)
    assert len(asked(run, "trades", "--last", "3")) == 3


def test_trades_as_csv_keep_every_digit(folder):
    run = folder / "one" / "run"
    done = CliRunner().invoke(ledger, ["trades", str(run), "--csv"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.output)))
    told = [line.fields for line in read_all(run / "ledger", kinds=("trade",))]
    assert [float(row["pnl"]) for row in rows] == [fields["pnl"] for fields in told]
    assert rows[0]["exit_time"].startswith("2023-11-14 22:13:")
    both = CliRunner().invoke(ledger, ["trades", str(run), "--csv", "--json"])
    assert both.exit_code == 2
    assert "exclude" in both.output
