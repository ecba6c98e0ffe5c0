"""`apex trades` shows what the trade log of a run holds."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from click.testing import CliRunner

from apex_nautilus.cli.apex_commands.trades import command
from apex_nautilus.engine import LOG_FOLDER
from apex_nautilus.engine.trade_files import Execution, Payment, TradeFiles


@pytest.fixture
def run(tmp_path):
    files = TradeFiles(tmp_path / LOG_FOLDER, "s1", "arena", {})
    for k, (strategy, side, price) in enumerate(
        [("A-1", "BUY", "100.0"), ("B-1", "SELL", "101.5"), ("A-1", "SELL", "110.0")]
    ):
        files.execution(
            Execution(
                ts_ns=1_700_000_000 * 10**9 + k,
                session="s1",
                desk="arena",
                account_id="SIM-001",
                strategy_id=strategy,
                instrument_id="BTCUSDT-LINEAR.SIM",
                client_order_id=f"O-{k}",
                venue_order_id=f"V-{k}",
                trade_id=f"T-{k}",
                position_id="",
                side=side,
                order_type="MARKET",
                liquidity="TAKER",
                quantity=Decimal("0.010"),
                price=Decimal(price),
                currency="USDT",
                commission=Decimal("0.0005"),
                commission_currency="USDT",
                reconciliation=False,
            )
        )
    files.close()
    return tmp_path


def invoke(*arguments, code=0):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


def test_every_execution_is_a_line_with_its_own_digits(run):
    rows = [json.loads(line) for line in invoke(run, "--json").splitlines()]
    assert [row["price"] for row in rows] == ["100.0", "101.5", "110.0"]
    assert rows[0]["time"] == "2023-11-14T22:13:20.000000000Z"
    assert rows[0]["commission"] == "0.0005 USDT"
    assert "110.0" in invoke(run)


def test_executions_are_chosen_and_added_up(run):
    (row,) = [
        json.loads(line) for line in invoke(run, "--strategy", "A-1", "--last", 1, "--json").splitlines()
    ]
    assert row["order"] == "O-2"
    totals = [json.loads(line) for line in invoke(run, "--totals", "--json").splitlines()]
    assert totals[0] == {
        "strategy": "A-1",
        "instrument": "BTCUSDT-LINEAR.SIM",
        "executions": "2",
        "net quantity": "0.000",
        "cash": "0.1000",
        "commission": "0.0010 USDT",
        "funding": "0 USDT",
    }
    assert "no executions" in invoke(run, "--instrument", "ETHUSDT-LINEAR.SIM")


def test_funding_is_listed_and_part_of_the_totals(run):
    assert "no funding payments" in invoke(run, "--funding")
    files = TradeFiles(run / LOG_FOLDER, "s1", "arena", {})
    for k, (strategy, amount) in enumerate([("A-1", "-0.05"), ("B-1", "0.07407420"), ("A-1", "0.01000001")]):
        files.payment(
            Payment(
                ts_ns=1_700_000_000 * 10**9 + k,
                session="s1",
                desk="arena",
                account_id="SIM-001",
                strategy_id=strategy,
                instrument_id="BTCUSDT-LINEAR.SIM",
                position_id="P",
                quantity=Decimal("0.01"),
                mark=Decimal("60000.1"),
                rate=Decimal("0.0001"),
                funding=Decimal(amount),
                currency="USDT",
            )
        )
    files.close()
    rows = [json.loads(line) for line in invoke(run, "--funding", "--json").splitlines()]
    assert [row["funding"] for row in rows] == ["-0.05 USDT", "0.07407420 USDT", "0.01000001 USDT"]
    assert rows[0]["mark"] == "60000.1"
    totals = [json.loads(line) for line in invoke(run, "--totals", "--json").splitlines()]
    assert {row["strategy"]: row["funding"] for row in totals} == {
        "A-1": "-0.03999999 USDT",
        "B-1": "0.07407420 USDT",
    }
    assert "give one of them" in invoke(run, "--totals", "--funding", code=2)


def test_a_folder_without_a_log_and_a_session_that_is_not_there_are_told(run, tmp_path_factory):
    assert "no trade log here" in invoke(tmp_path_factory.mktemp("empty"), code=1)
    assert "no session 's2' (there are: s1)" in invoke(run, "--session", "s2", code=1)


def test_a_damaged_log_is_named(run):
    path = run / LOG_FOLDER / "trades_s1.csv"
    path.write_text(path.read_text().replace("110.0", "a lot"))
    assert "line 4 is no execution" in invoke(run, code=1)
