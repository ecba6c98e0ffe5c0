"""`apex config`: all that is wrong with a file at once, by field, with the name that was meant; no keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.cli._configs import check_file, known_kinds, resolve_file
from apex_nautilus.cli._configs.secrets import is_secret_name
from apex_nautilus.cli.apex import main
from apex_nautilus.engine import load_config
from apex_nautilus.forge import EvolutionConfig


def run(*arguments: object):
    return CliRunner().invoke(main, ["config", *map(str, arguments)], env={"COLUMNS": "160"})


def agent(**changes):
    return {"slot": "a", "instrument_id": "BTCUSDT-PERP.BINANCE", "genome": "genome.json"} | changes


def backtest(**changes):
    return {"schema": "apex.backtest/1", "name": "x", "catalog": "market", "agents": [agent()]} | changes


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "market" / "data").mkdir(parents=True)
    (tmp_path / "genome.json").write_text("{}")
    return tmp_path


def problems(folder: Path, content: object, kind: str | None = None) -> dict[str, str]:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {problem.field: problem.message for problem in check_file(path, kind).problems}


def test_the_configurations_of_the_repository_are_in_order(root):
    for path in sorted((root / "configs").rglob("*.json")):
        report = check_file(path)
        fields = {problem.field for problem in report.problems}
        # What is made by running something first is not there in a fresh checkout.
        assert fields <= {"catalog", "market", "strategies"}, (path, report.problems)
        assert report.kind in known_kinds()


def test_a_sound_file_has_nothing_wrong(folder):
    assert problems(folder, backtest()) == {}


def test_everything_that_is_wrong_is_told_at_once(folder):
    content = backtest(
        venue={"treasry": 5, "leverage": "much"},
        agents=[agent(capitol=5.0), {"slot": "b", "genome": 3}],
        chunksize=5,
    )
    found = problems(folder, content)
    assert found["agents[0].capitol"] == "is not a field; did you mean 'capital'?"
    assert "did you mean 'treasury'?" in found["venue.treasry"]
    assert "did you mean 'chunk_size'?" in found["chunksize"]
    assert found["venue.leverage"] == 'expected float, got str ("much")'
    assert found["agents[1].genome"].startswith("expected str | null, got int")
    assert found["agents[1].instrument_id"] == "is missing"
    assert len(found) == 6


WRONG = [
    (backtest(agents=[agent(capital=-1.0)]), "agents[0].capital", "must be finite and positive"),
    (backtest(name="a b"), "name", "may hold letters"),
    (backtest(catalog="nowhere"), "catalog", "no such folder"),
    (backtest(catalog="."), "catalog", "no market catalog yet"),
    (backtest(agents=[agent(genome="other.json")]), "agents[0].genome", "no such file"),
    (backtest(agents=[agent(genome=None, strategy="no.py:No")]), "agents[0].strategy", "no such file"),
    (backtest(start="tomorrow"), "start", "not an ISO 8601 time"),
    (backtest(schema="apex.backtets/1"), "schema", "did you mean 'apex.backtest/1'?"),
    (backtest(schema=7), "schema", "not known"),
    ({"name": "x"}, "schema", "missing"),
    ([], "the file", "expected an object"),
    ({"population": 3}, "", "population is 3; it must be at least 4"),
    ({"populaton": 30, "generations": 5, "elites": 1}, "populaton", "did you mean 'population'?"),
    ({"schema": "apex.genome/1"}, "", "instrument_id"),
    ({"schema": "apex.sim/1", "markets": [{"profile": "NONE"}]}, "markets[0].profile", "NONE"),
    ({"schema": "apex.record/1", "name": "x", "venue": []}, "venue", "did you mean 'venues'?"),
    ({"schema": "apex.costs/1", "instrument_id": "X", "bar_minutes": 1}, "costs", "is missing"),
    ('{"schema": "apex.backtest/1",\n "name": "x",\n}', "line 2, column 13", "comma"),
    ("{'name': 1}", "line 1, column 2", "double quotes"),
    ('{"a": 1 // note\n}', "line 1, column 9", "no comments"),
    ('{"name": 1, "name": 2}', "name", "twice"),
    ("", "line 1, column 1", "not JSON"),
    ("[" * 100_000, "", "nested too deeply"),
]


@pytest.mark.parametrize(("content", "field", "says"), WRONG)
def test_each_mistake_is_named_at_its_field(folder, content, field, says):
    found = problems(folder, content)
    where = [name for name, message in found.items() if says in message or says in name]
    assert where, found
    assert field in where or field == ""


def test_keys_in_a_file_are_refused_and_never_shown(folder):
    spelt = "VERY-" + "SECRET"
    content = backtest(
        api_key=spelt,
        venue={"leverage": 10.0, "apiSecret": "VERY-SECRET-TOO"},
        runs="redis://user:hunter2@host:6379/0",
    )
    found = problems(folder, content)
    for field in ("api_key", "venue.apiSecret", "runs"):
        assert "keys come from the environment" in found[field]
    answer = run("check", folder / "config.json")
    assert answer.exit_code == 1
    for secret in ("SECRET", "hunter2"):
        assert secret not in answer.output.replace("apiSecret", "")
    shown = run("show", folder / "config.json")
    assert shown.exit_code == 1
    assert "hunter2" not in shown.output


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("api_key", True), ("API-KEY", True), ("binanceApiSecret", True), ("password", True),
        ("secret", True),
        ("private_key", True), ("access_token", True), ("credentials", True),
        ("key", False), ("order_id_tag", False), ("tokens", False), ("keyboard", False), ("secretary", False),
        ("passive", False),
    ],
)  # fmt: skip
def test_names_of_keys_are_told_from_others(name, secret):
    assert is_secret_name(name) is secret


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["schema", "name", "agents", "venue", "capital", "slot", "x"]), inner, max_size=4
    ),
    max_leaves=12,
))  # fmt: skip
def test_no_json_value_makes_the_check_break_down(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    for kind in ("backtest", "arena", "forge"):
        content = {"schema": known_kinds()[kind].schema, **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(content))
        assert check_file(path, kind).problems or kind == "forge"


def test_what_the_check_passes_the_loader_takes(folder):
    """The check asks the loader, so the two cannot disagree on a sound file."""
    assert problems(folder, backtest(agents=[agent(), agent(slot="b", capital=50.0)])) == {}
    assert len(load_config(folder / "config.json").agents) == 2


def test_show_fills_defaults_in_and_says_where_each_value_is_from(folder):
    problems(folder, backtest(venue={"leverage": 3.0}))
    kind, config, fields = resolve_file(folder / "config.json")
    by_name = {field.field: field for field in fields}
    assert kind == "backtest"
    assert (by_name["venue.leverage"].value, by_name["venue.leverage"].source) == (3.0, "file")
    assert (by_name["venue.treasury"].value, by_name["venue.treasury"].source) == (100_000.0, "default")
    assert by_name["agents[0].capital"].source == "default"
    assert by_name["agents[0].slot"].source == "file"
    assert by_name["catalog"].value == str(folder / "market")
    answer = run("show", folder / "config.json", "--json")
    shown = json.loads(answer.output)
    assert shown["config"] == config
    assert {f["source"] for f in shown["fields"]} == {"file", "default"}


def test_show_of_a_study_has_every_field_of_it(tmp_path):
    (tmp_path / "forge.json").write_text('{"population": 12, "elites": 1}')
    kind, config, fields = resolve_file(tmp_path / "forge.json")
    assert kind == "forge"
    assert set(config) == set(EvolutionConfig.__struct_fields__)
    assert {f.field for f in fields if f.source == "file"} == {"population", "elites"}


def test_show_draws_the_trees_of_a_genome_on_a_line(root):
    answer = run("show", root / "configs" / "backtest" / "genomes" / "btc_imbalance.json")
    assert answer.exit_code == 0, answer.output
    assert "mul(add(Feature 0, Feature 1), 0.6)" in answer.output.replace("\n", "")


def test_show_lists_what_is_wrong_instead(folder):
    problems(folder, backtest(nme="y"))
    answer = run("show", folder / "config.json")
    assert answer.exit_code == 1
    assert "nme: is not a field" in answer.output


def test_a_folder_is_checked_file_by_file(folder):
    (folder / "configs").mkdir()
    (folder / "configs" / "good.json").write_text(json.dumps(backtest(catalog="../market", agents=[
        agent(genome="../genome.json")])))  # fmt: skip
    (folder / "configs" / "bad.json").write_text("{")
    answer = run("check", folder / "configs")
    assert answer.exit_code == 1
    assert "good.json: backtest, nothing wrong" in answer.output
    assert "2 files, 1 with something wrong" in answer.output
    as_json = json.loads(run("check", folder / "configs", "--json").output)
    assert [bool(report["problems"]) for report in as_json] == [True, False]
    (folder / "empty").mkdir()
    assert "no JSON file" in run("check", folder / "empty").output


def test_an_explicit_kind_decides(folder):
    assert "schema" in problems(folder, {"name": "x"})
    assert problems(folder, {"name": "x"}, "backtest")["catalog"] == "is missing"
    refused = run("check", folder / "config.json", "--kind", "nothing")
    assert refused.exit_code == 2
    assert "'nothing' is not one of 'arena', 'backtest'" in refused.output
