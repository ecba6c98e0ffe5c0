"""A backtest of agents with a rogue on its node: it comes to what it comes to alone."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from support.engine_case import BTC, eager_genome, wandering_market
from support.rogue import Rogue

from apex_nautilus.data import write_events
from apex_nautilus.engine import backtest, load_config, run_backtest
from apex_nautilus.genome import encode

GENOME = eager_genome(max_hold_s=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("guarded")
    write_events(root / "market", BTC, wandering_market(4, 1500))
    (root / "genome.json").write_bytes(encode(GENOME))
    return root


def run(folder, monkeypatch, way=None, **more):
    agent = {"slot": "a", "instrument_id": BTC.id, "genome": "genome.json", "capital": 20_000.0}
    text = {"schema": "apex.backtest/1", "name": "guarded", "catalog": "market", "agents": [agent], **more}
    (folder / "guarded.json").write_text(json.dumps(text))
    rogues = [] if way is None else [Rogue(BTC.id, way, every_s=0.1, first_s=0.2)]
    real = backtest.open_engine

    @contextmanager
    def opened(config):
        with real(config) as engine:
            for rogue in rogues:
                engine.add_strategy(rogue)
            yield engine

    with monkeypatch.context() as patch:
        patch.setattr(backtest, "open_engine", opened)
        result = run_backtest(load_config(folder / "guarded.json"), write=False)
    return result.agents[0], rogues


@pytest.mark.parametrize("network", [None, {"seed": 1, "loss": 0.02, "timeout_ms": 100.0}])
@pytest.mark.parametrize(
    "way", ["cancel", "amend", "cancel all", "cancel in its name", "order in its name", "stop it"]
)
def test_a_rogue_changes_no_fill_of_a_backtest(folder, monkeypatch, way, network):
    alone, _ = run(folder, monkeypatch, network=network)
    beside, (rogue,) = run(folder, monkeypatch, way, network=network)
    assert len(alone.fills) > 60
    assert beside.fills == alone.fills
    assert beside.refusals == alone.refusals
    assert rogue.tries > 20


@pytest.mark.parametrize("way", ["cancel", "cancel all", "order in its name"])
def test_without_the_guard_it_does(folder, monkeypatch, way):
    alone, _ = run(folder, monkeypatch)
    monkeypatch.setattr(backtest, "install_guard", lambda *args: None)
    beside, _ = run(folder, monkeypatch, way)
    assert beside.fills != alone.fills
