"""Genomes whose entries rest, from a configuration file to the account."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.engine_case import BTC, touch_books

from apex_nautilus.data import load_instrument, write_events
from apex_nautilus.data.importers.binance_capture import import_binance_capture
from apex_nautilus.engine import ConfigError, load_config, run_backtest, summary
from apex_nautilus.genome import Genome, GenomeError, encode, sealed
from apex_nautilus.genome.schema import BpsStop, Bracket, Constant, Feature, Node, Platt, Sizing
from apex_nautilus.risk import register_entry_policy
from apex_nautilus.risk.entry_policy import _FACTORIES, IMPROVE, WAIT
from apex_nautilus.strategies.genome_strategy import load_genome


def a_genome(execution: str, **changes) -> Genome:
    """It follows order flow, believes in nearly everything, and trades often."""
    values = {
        "instrument_id": BTC.id,
        "clock": "1s",
        "features": ("ofi_1", "clv"),
        "signal": Node("mul", (Node(Feature(0)), Node(Constant(3.0)))),
        "confidence": Node(Feature(1)),
        "calibration": Platt(a=0.0, b=3.0),
        "bracket": Bracket(stop=BpsStop(value=2.0), max_hold_s=1.0, reward_risk=8.0),
        "sizing": Sizing(kelly_fraction=0.5),
        "entry_threshold": 0.0,
        "execution": execution,
    }
    return sealed(Genome(**values | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root) -> Path:
    """Ninety seconds of Binance's bitcoin perpetual in a catalog."""
    folder = tmp_path_factory.mktemp("recorded")
    import_binance_capture([root / "tests" / "data" / "btcusdt_usdm_20240808.gz"], folder / "market", BTC.id)
    return folder


def run(folder: Path, name: str, one: Genome, **agent):
    (folder / f"{name}.genome.json").write_bytes(encode(one))
    more = {key: agent.pop(key) for key in ("venue", "network") if key in agent}
    one_agent = {"slot": "a", "instrument_id": BTC.id, "genome": f"{name}.genome.json", **agent}
    text = {"schema": "apex.backtest/1", "name": name, "catalog": "market", "agents": [one_agent], **more}
    (folder / f"{name}.json").write_text(json.dumps(text))
    return run_backtest(load_config(folder / f"{name}.json"), write=False)


@pytest.mark.parametrize("legs", ["native", "emulated"])
@pytest.mark.parametrize("fills", ["touch", "queue", "nautilus"])
def test_a_passive_genome_pays_makers_fees_and_its_ledger_is_the_account(folder, fills, legs):
    result = run(
        folder, f"rests-{fills}-{legs}", a_genome("passive"), venue={"fills": fills}, legs=legs,
        reprice_s=0.2, patience_s=2.0,
    )  # fmt: skip
    (agent,) = result.agents
    spec = load_instrument(str(folder / "market"), BTC.id)
    assert spec.maker_fee < spec.taker_fee
    for fill in agent.fills:
        rate = spec.maker_fee if fill.maker else spec.taker_fee
        assert fill.fee == pytest.approx(fill.price * fill.quantity * rate, abs=1e-8)
    entries = [f for f in agent.fills if f.role == "entry"]
    rested = [f for f in entries if f.maker]
    assert len(rested) >= 5
    assert result.account_change == pytest.approx(agent.balance - agent.capital, abs=0.005)
    counts = summary(result)["agents"][0]["reasons"]
    assert counts["rested"] >= 5
    assert counts["crossed"] >= 1
    # Every order that was decided ended in one way, but for one that may be under way at the end.
    ended = counts["rested"] + counts["crossed"] + counts["given_up"]
    assert ended <= counts["order"] <= ended + 1
    assert agent.refusals == 0


def test_the_same_genome_crossing_pays_takers_fees_and_counts_no_ends(folder):
    (agent,) = run(folder, "crosses", a_genome("aggressive")).agents
    assert {f.maker for f in agent.fills if f.role == "entry"} == {False}
    assert "rested" not in agent.reasons


def test_on_a_network_a_passive_genome_keeps_its_books_and_repeats(folder):
    network = {"seed": 3, "loss": 0.05, "timeout_ms": 150.0, "feed": {"loss": 0.01}}
    first, second = (
        run(folder, f"late-{k}", a_genome("passive"), network=network, reprice_s=0.2, patience_s=1.0)
        for k in (1, 2)
    )
    (agent,) = first.agents
    assert first.account_change == pytest.approx(agent.balance - agent.capital, abs=0.005)
    assert agent.timeouts > 0
    assert len(agent.trades) >= 10
    assert agent.fills == second.agents[0].fills


def test_a_genome_may_name_a_registered_policy(folder):
    class Inside:
        def choose(self, state):
            return IMPROVE if state.resting_price != state.resting_price else WAIT

    register_entry_policy("inside", Inside())
    try:
        (agent,) = run(folder, "hook", a_genome("inside")).agents
    finally:
        del _FACTORIES["inside"]
    assert any(f.maker for f in agent.fills if f.role == "entry")


def test_more_patience_means_more_makers_and_fewer_crossings(folder):
    hasty, patient = (
        run(folder, f"patience-{k}", a_genome("passive"), patience_s=patience).agents[0].reasons
        for k, patience in enumerate((0.05, 30.0))
    )
    assert hasty["crossed"] > patient["crossed"]
    assert patient["rested"] > 0


# -- refusals, and what the configuration says


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"execution": "sorcery"}, r"x\.json: execution: no entry policy 'sorcery' .*aggressive, passive"),
        (
            {"execution": "passive", "clock": "5m", "features": ()},
            r"x\.json: execution: 'passive' rests in an order book and bars have none",
        ),
    ],
)
def test_a_genome_that_cannot_trade_as_it_says_is_refused_when_it_is_read(changes, message, tmp_path):
    if "features" in changes:
        changes = changes | {"signal": Node(Constant(1.0)), "confidence": Node(Constant(1.0))}
    execution = changes.pop("execution")
    (tmp_path / "x.json").write_bytes(encode(a_genome(execution, **changes)))
    with pytest.raises(GenomeError, match=message):
        load_genome(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("entry_retries", -1, r"agents\[0\]\.entry_retries: must not be negative"),
        ("reprice_s", 0.0, r"agents\[0\]\.reprice_s: must be in"),
        ("patience_s", -1.0, r"agents\[0\]\.patience_s: must be in"),
        ("shrink", 1, r"agents\[0\]\.shrink: Expected `bool`"),
    ],
)
def test_a_setting_that_is_not_possible_is_named(field, value, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, "bad", a_genome("passive"), **{field: value})


def test_only_genomes_shrink_their_bets(tmp_path):
    agent = {"slot": "a", "instrument_id": BTC.id, "strategy": "x.py:X", "shrink": True}
    text = {"schema": "apex.backtest/1", "name": "s", "catalog": "market", "agents": [agent]}
    (tmp_path / "s.json").write_text(json.dumps(text))
    with pytest.raises(ConfigError, match=r"agents\[0\]\.shrink: is for the bets of genomes"):
        load_config(tmp_path / "s.json")


def test_with_shrink_a_genome_without_evidence_bets_nothing(tmp_path):
    touches = [(100 * k, 60000.0, 60000.1 + k % 2) for k in range(50)]
    write_events(tmp_path / "market", BTC, touch_books(touches))
    always = a_genome("passive", features=(), signal=Node(Constant(1.0)), confidence=Node(Constant(1.0)))
    bold, timid = (run(tmp_path, f"shrink-{k}", always, shrink=k).agents[0].reasons for k in (False, True))
    assert bold["order"] > 0
    assert (timid["order"], timid["no_edge"] > 0) == (0, True)


def test_retries_of_the_configuration_reach_the_strategy(folder):
    network = {"seed": 9, "loss": 0.5, "timeout_ms": 100.0, "feed": None}
    none, many = (
        run(folder, f"retries-{n}", a_genome("passive"), network=network, entry_retries=n).agents[0].reasons
        for n in (0, 8)
    )
    assert none["given_up"] > many["given_up"]
