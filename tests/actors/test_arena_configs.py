"""The arena configurations that are shipped, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from apex_nautilus.actors import AllocatorRules, Limits, load_arena_config
from apex_nautilus.cli.apex import main
from apex_nautilus.engine import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs" / "arena"


def shown(path):
    result = CliRunner().invoke(main, ["config", "show", str(path), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("six-slots*.json")), ids=lambda p: p.stem)
def test_shipped_arenas_have_two_slots_each_for_three_instruments(path):
    config = load_arena_config(path)
    assert len(config.slots) == 6
    assert [config.instrument_ids[k][:3] for k in range(3)] == ["BTC", "ETH", "SOL"]
    assert all(sum(s.instrument_id == i for s in config.slots) == 2 for i in config.instrument_ids)
    assert config.limits.decay_psr == Limits().decay_psr
    assert config.limits.drawdown == 0.5


def test_books_and_both_bar_clocks_have_an_example():
    clocks = {
        path.stem: None if config.bars is None else config.bars.path
        for path in CONFIGS.glob("six-slots*.json")
        if (config := load_arena_config(path))
    }
    assert {"six-slots": None, "six-slots-5m": "5m", "six-slots-15m": "15m"}.items() <= clocks.items()


def test_a_configuration_is_shown_with_its_defaults(tmp_path):
    body = json.loads((CONFIGS / "six-slots.json").read_text())
    del body["allocator"], body["limits"]["decay_psr"]
    path = tmp_path / "arena.json"
    path.write_text(json.dumps(body))
    answer = shown(path)
    assert answer["config"]["allocator"]["cap"] == AllocatorRules().cap
    assert answer["config"]["limits"]["decay_psr"] == 0.02
    sources = {field["field"]: field["source"] for field in answer["fields"]}
    assert sources["allocator.floor"] == sources["limits.decay_psr"] == sources["shrink"] == "default"
    assert sources["limits.drawdown"] == "file"


def test_any_number_of_slots_works(tmp_path):
    body = json.loads((CONFIGS / "six-slots.json").read_text())
    for n in (1, 2, 25):
        body["slots"] = [{"slot": f"s{k}", "instrument_id": "BTCUSDT-LINEAR.SIM"} for k in range(n)]
        path = tmp_path / f"{n}.json"
        path.write_text(json.dumps(body))
        assert len(load_arena_config(path).slots) == n


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"allocater": {}}, "allocater"),
        ({"allocator": {"celing": 0.3}}, "celing"),
        ({"allocator": {"floor": 0.5}}, "floor"),
        ({"allocator": {"every_s": "often"}}, "every_s"),
        ({"limits": {"decay_psr": 2.0}}, "decay_psr"),
        ({"limits": {"drawdown": 0.2}}, "drawdown"),
        ({"shrink": 1}, "shrink"),
        ({"slots": []}, "slot"),
    ],
)
def test_what_is_unknown_or_impossible_is_refused_by_name(tmp_path, change, words):
    body = json.loads((CONFIGS / "six-slots.json").read_text()) | change
    path = tmp_path / "arena.json"
    path.write_text(json.dumps(body))
    with pytest.raises(ConfigError, match=words):
        load_arena_config(path)
    refused = CliRunner().invoke(main, ["config", "show", str(path)])
    assert refused.exit_code != 0
    assert words in refused.output


def test_an_arena_may_do_without_an_allocator(tmp_path):
    body = json.loads((CONFIGS / "six-slots.json").read_text()) | {"allocator": None}
    path = tmp_path / "arena.json"
    path.write_text(json.dumps(body))
    assert load_arena_config(path).allocator is None
