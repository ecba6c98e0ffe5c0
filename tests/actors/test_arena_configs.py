"""The arena configurations that are shipped, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from apex_nautilus.actors import (
    AllocatorRules,
    ArenaConfig,
    ArenaRunConfig,
    ContestRules,
    Limits,
    SlotConfig,
    arena_backtest,
    load_arena_config,
)
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
    assert config.contest.min_trades == ContestRules().min_trades == 30


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
        ({"slots": []}, "slots: there is none"),
        ({"slots": [{"slot": "../up", "instrument_id": "BTCUSDT-LINEAR.SIM"}]}, "'../up'"),
        ({"start": -1}, "start: -1"),
        ({"end": 10**30}, "end: 1000"),
        ({"capital": 1e11, "venue": {"treasury": 9e11}}, "capital: the account would hold 1.5e"),
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


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        *((name, (0, -1, 1e300)) for name in ("capital", "mark_s", "intake_s", "ledger_mark_s")),
        *((name, (0, 10**18)) for name in ("chunk_size", "limits.window", "contest.min_trades")),
        *((f"venue.{name}", (-1, 1e300)) for name in ("treasury", "leverage")),
        *((f"limits.{name}", (-1, 1e300)) for name in ("drawdown", "max_leverage", "decay_psr", "decay_dsr")),
        *((f"contest.{name}", (-1, 1e300)) for name in ("min_shadow_s", "idle_expiry_s", "every_s")),
        *((f"allocator.{name}", (-1, 1e300)) for name in ("every_s", "rate", "clip", "memory")),
        *((f"allocator.{name}", (-1, 10.1)) for name in ("turnover_cost", "risk_parity")),
        ("worker_wait_s", (-1, 1e300)),
        ("limits.min_trades", (2, 10**18)),
        ("limits.promotion_dsr", (0, 1.1)),
        ("contest.confidence", (0.4, 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_number_is_held_to_its_range_before_anything_runs(tmp_path, place, wrong):
    path = tmp_path / "arena.json"
    for value in (*wrong, "NaN"):
        body = json.loads((CONFIGS / "six-slots.json").read_text())
        *within, name = place.split(".")
        target = body
        for step in within:
            target = target.setdefault(step, {})
        target[name] = value
        path.write_text(json.dumps(body).replace('"NaN"', "NaN"))
        with pytest.raises(ConfigError) as refused:
            load_arena_config(path)
        message = str(refused.value).removeprefix(f"{path}: ")
        pair = {"limits.min_trades": ("limits.min_trades", "limits.window")}.get(place, (place,))
        assert message.startswith("not JSON" if value == "NaN" else tuple(f"{field}: " for field in pair))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slotz": []}, "slotz: is not a field; did you mean 'slots'?"),
        ({"limits": {"drawdawn": 0.5}}, "limits.drawdawn: is not a field; did you mean 'drawdown'?"),
        ({"slots": [{"slot": "a", "instrument": "X"}]}, "slots[0].instrument: is not a field; did you mean"),
        ({"allocator": {"zzz": 1}}, "allocator.zzz: is not a field here; known are cap, clip"),
        ({"venue": {"filss": "touch"}}, "venue.filss: is not a field; did you mean 'fills'?"),
    ],
)
def test_a_field_that_does_not_exist_is_answered_by_the_nearest_one(tmp_path, change, message):
    path = tmp_path / "arena.json"
    path.write_text(json.dumps(json.loads((CONFIGS / "six-slots.json").read_text()) | change))
    with pytest.raises(ConfigError) as refused:
        load_arena_config(path)
    assert str(refused.value).removeprefix(f"{path}: ").startswith(message)
    told = CliRunner().invoke(main, ["arena", str(path)])
    assert told.exit_code == 1
    assert message in " ".join(told.output.split())


def test_an_arena_may_do_without_an_allocator(tmp_path):
    body = json.loads((CONFIGS / "six-slots.json").read_text()) | {"allocator": None}
    path = tmp_path / "arena.json"
    path.write_text(json.dumps(body))
    assert load_arena_config(path).allocator is None


OTHERS = {
    "capital": 150.0,
    "limits": Limits(drawdown=0.6),
    "allocator": None,
    "shrink": True,
    "entry_retries": 5,
    "reprice_s": 2.0,
    "patience_s": 20.0,
    "contest": ContestRules(confidence=0.9),
    "mark_s": 2.0,
    "intake_s": 6.0,
    "ledger_mark_s": 30.0,
    "worker_wait_s": 1.0,
    "ask_for_empty_slots": True,
}


def test_every_setting_of_a_backtest_reaches_its_arena(tmp_path):
    both = set(ArenaConfig.__struct_fields__) & set(ArenaRunConfig.__struct_fields__)
    assert set(OTHERS) == both - {"slots", "bars", "funding"}  # these are made, not copied
    slots = [SlotConfig(slot="btc-1", instrument_id="BTCUSDT-LINEAR.SIM")]
    run = {"schema": "apex.arena/1", "name": "a", "market": "m", "strategies": "s", "slots": slots}
    node = {"catalog": str(tmp_path), "slots": slots}
    for change in ({}, OTHERS):
        made = arena_backtest._settings(ArenaRunConfig(**run, **change), tmp_path)
        assert made == ArenaConfig(**node, **change)
