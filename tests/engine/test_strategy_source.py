"""Strategies written by hand in a backtest: beside a genome, kept with the run, refused when wrong."""

from __future__ import annotations

import json

import pytest
from support.engine_case import BTC, wandering_market

from apex_nautilus.data import write_events
from apex_nautilus.engine import ConfigError, load_config, run_backtest

STRATEGY = """
from apex_nautilus.engine import ApexStrategy, ApexStrategyConfig


class EveryTenthConfig(ApexStrategyConfig, frozen=True, kw_only=True):
    size: float = 0.002
    every: int = 10


class EveryTenth(ApexStrategy):
    def on_start(self):
        super().on_start()
        self.subscribe_feed("book", 0, ("spread_bps",))

    def on_feed_row(self, feed):
        self.rows += 1
        if self.rows % self.config.every == 0:
            bracket = round(feed.ask + 20.0, 1), round(feed.bid - 20.0, 1)
            self.enter(1, self.config.size, *bracket, 5_000_000_000)


class Alone(ApexStrategy):
    pass


class Stranger:
    pass


class StrangerConfig:
    pass
"""
GENOME = {
    "schema": "apex.genome/1",
    "instrument_id": BTC.id,
    "clock": "book",
    "features": ["ofi_1"],
    "signal": {"primitive": {"Feature": 0}},
    "confidence": {"primitive": {"Constant": 3.0}},
    "bracket": {"stop": {"kind": "bps", "value": 5.0}, "max_hold_s": 8.0},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_hand")
    write_events(folder / "market", BTC, wandering_market(4, 1200))
    (folder / "mine").mkdir()
    (folder / "mine" / "tenth.py").write_text(STRATEGY)
    (folder / "genome.json").write_text(json.dumps(GENOME))
    return folder


def load(folder, *agents):
    config = {"schema": "apex.backtest/1", "name": "by-hand", "catalog": "market", "agents": list(agents)}
    (folder / "run.json").write_text(json.dumps(config))
    return load_config(folder / "run.json")


def by_hand(**changes):
    return {"slot": "hand", "instrument_id": BTC.id, "strategy": "mine/tenth.py:EveryTenth"} | changes


def test_a_strategy_trades_beside_a_genome_and_the_books_add_up(folder):
    genome = {"slot": "gene", "instrument_id": BTC.id, "genome": "genome.json"}
    result = run_backtest(load(folder, by_hand(parameters={"every": 7}), genome))
    hand, gene = result.agents
    assert len(hand.trades) > 5
    assert len(gene.trades) > 0
    assert hand.genome_id == ""
    earned = sum(a.balance - a.capital for a in result.agents)
    assert earned == pytest.approx(result.account_change, abs=0.005)


def test_parameters_reach_the_strategy(folder):
    few = run_backtest(load(folder, by_hand(parameters={"every": 100, "size": 0.01})), write=False)
    many = run_backtest(load(folder, by_hand()), write=False)
    assert len(few.agents[0].trades) < len(many.agents[0].trades)
    assert {t.quantity for t in few.agents[0].trades} == {0.01}


def test_the_run_keeps_the_file_and_runs_again_from_its_own_folder(folder):
    first = run_backtest(load(folder, by_hand()))
    assert first.folder is not None
    assert (first.folder / "strategies" / "hand.py").read_text() == STRATEGY
    kept = json.loads((first.folder / "config.json").read_text())
    assert kept["agents"][0]["strategy"] == "strategies/hand.py:EveryTenth"
    kept["catalog"] = str(folder / "market")
    (first.folder / "again.json").write_text(json.dumps(kept))
    again = run_backtest(load_config(first.folder / "again.json"), write=False)
    assert again.agents[0].fills == first.agents[0].fills


def test_an_edited_file_is_taken_as_it_stands(folder, tmp_path):
    file = tmp_path / "edited.py"
    trades = []
    for every in (10, 200):
        file.write_text(STRATEGY.replace("every: int = 10", f"every: int = {every}"))
        config = load(folder, by_hand(strategy=f"{file}:EveryTenth"))
        trades.append(len(run_backtest(config, write=False).agents[0].trades))
    assert trades[0] > trades[1] > 0


REFUSED = [
    (by_hand(genome="genome.json"), r"agents\[0\]: name either a genome or a strategy"),
    ({"slot": "hand", "instrument_id": BTC.id}, r"agents\[0\]: name either a genome or a strategy"),
    (by_hand(multiplier=2.0), r"agents\[0\]\.multiplier"),
    ({"slot": "a", "instrument_id": BTC.id, "genome": "genome.json", "parameters": {"a": 1}}, r"parameters"),
    (by_hand(strategy="mine/tenth.py"), "write FILE.py:Class"),
    (by_hand(strategy="mine/none.py:EveryTenth"), "cannot be read"),
    (by_hand(strategy="no_such_module:EveryTenth"), "cannot be imported"),
    (by_hand(strategy="mine/tenth.py:Twentieth"), "Twentieth is missing"),
    (by_hand(strategy="mine/tenth.py:Alone"), "AloneConfig is missing"),
    (by_hand(strategy="mine/tenth.py:Stranger"), "is not built on ApexStrategy"),
    (by_hand(parameters={"evry": 3}), r"parameters\.evry.*it has every, size"),
    (by_hand(parameters={"every": "often"}), r"parameters\.every: Expected `int`, got `str`"),
    (by_hand(parameters={"capital": 5.0}), r"parameters\.capital: is a field of the agent"),
]


@pytest.mark.parametrize(("agent", "says"), REFUSED)
def test_wrong_entries_are_refused_and_named(folder, agent, says):
    with pytest.raises(ConfigError, match=says):
        run_backtest(load(folder, agent), write=False)


def test_a_file_that_raises_is_named_with_what_it_raised(folder):
    (folder / "mine" / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"broken\.py: importing it raised ZeroDivisionError"):
        run_backtest(load(folder, by_hand(strategy="mine/broken.py:EveryTenth")), write=False)
