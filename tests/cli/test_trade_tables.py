"""Closed trades as rows of a report: one by one, or the worst and the best of very many."""

from __future__ import annotations

import math

import pytest

from apex_nautilus.cli._trades import COST_HEADERS, CostSum, trade_row, trade_tables


def line(number: int, **changes) -> dict:
    """A trade as the arena's ledger has it."""
    known = {
        "agent": "btc-1.e1", "genome": "abcd", "number": number, "side": -1, "quantity": 2.0,
        "entry_ts_ns": 1_700_000_000 * 10**9 + number, "exit_ts_ns": 1_700_000_001 * 10**9 + number,
        "entry_price": 100.0, "exit_price": 98.0, "exit_kind": "stop", "p": 0.4, "fraction": 0.1,
        "pnl": 3.0 + number, "fees": 0.2, "spread": 0.1, "slippage": -0.05, "funding": -0.3,
    }  # fmt: skip
    return known | changes


def test_costs_of_trades_add_up_by_hand():
    costs = CostSum()
    for number in (0, 1):
        costs.add(trade_row(line(number)))
    told = dict(zip(COST_HEADERS, costs.row(), strict=True))
    assert told["trades"] == 2
    assert told["turnover"] == pytest.approx(2 * 2.0 * 198.0)
    assert (told["fees"], told["spread"], told["slippage"]) == pytest.approx((0.4, 0.2, -0.1))
    assert told["funding paid"] == pytest.approx(0.6)
    assert told["gain"] == pytest.approx(7.0)
    assert told["gain before costs"] == pytest.approx(7.0 + 0.4 + 0.2 - 0.1 + 0.6)
    assert told["all in bps"] == pytest.approx(1e4 * 1.1 / 792.0, abs=5e-4)
    assert math.isnan(dict(zip(COST_HEADERS, CostSum().row(), strict=True))["all in bps"])


def test_a_part_that_one_trade_does_not_know_is_not_known_of_their_sum():
    costs = CostSum()
    costs.add(trade_row(line(0)))
    costs.add(trade_row(line(1, spread=None)))
    told = dict(zip(COST_HEADERS, costs.row(), strict=True))
    assert math.isnan(told["spread"])
    assert math.isnan(told["gain before costs"])
    assert told["fees"] == pytest.approx(0.4)


def test_a_line_of_a_backtest_says_the_same():
    row = trade_row({"slot": "one", "genome_id": "ff", **line(3), "agent": "one"})
    assert (row["agent"], row["side"], row["pnl"]) == ("one", "short", 6.0)


@pytest.mark.parametrize("total", [1, 300, 301, 5_000])
def test_few_trades_are_listed_by_time_and_of_many_the_worst_and_best(total):
    rows = [trade_row(line(number)) for number in range(total)]
    tables = trade_tables(lambda: iter(rows[::-1]), total, more="Ask elsewhere.")
    if total <= 300:
        (table,) = tables
        assert [row[1] for row in table.rows] == list(range(total))
        return
    worst, best = tables
    assert [row[1] for row in worst.rows] == list(range(15))
    assert [row[1] for row in best.rows] == list(range(total - 1, total - 16, -1))
    assert worst.note == f"Of {total:,}. Ask elsewhere."
