"""The `apex sim` verbs, through the command line's own door."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from apex_nautilus.cli.apex_commands.sim import command
from apex_nautilus.data import read_events
from apex_nautilus.sim import PARAMETERS, Market, profile

BITCOIN = "BTCUSDT-LINEAR.SIM"


def invoke(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.fixture
def config(tmp_path):
    def write(**content):
        path = tmp_path / "sim.json"
        path.write_text(json.dumps({"schema": "apex.sim/1", **content}))
        return path

    return write


def test_run_writes_a_market_that_reads_back_as_it_was_simulated(tmp_path, config):
    market = {"profile": BITCOIN, "parameters": {"makers": 2, "limit_rate": 6.0}}
    path = config(markets=[market], seed=5, minutes=0.5)
    result = invoke("run", "--config", path, "--out", tmp_path / "catalog", "--json")
    assert result.exit_code == 0, result.output
    line = json.loads(result.stdout)
    tape = Market(profile(BITCOIN).replace(makers=2, limit_rate=6.0), 5).run(30_000_000_000)
    assert line["digest"] == tape.digest()
    stored = np.concatenate(list(read_events(tmp_path / "catalog", BITCOIN, None, None)))
    assert len(stored) == line["events"]
    for name in tape.events.dtype.names:
        assert (stored[name] == tape.events[name]).all(), name


def test_facts_measures_every_market_asked_for():
    result = invoke("facts", "--market", BITCOIN, "--minutes", 3, "--seed", 2, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["instrument_id"] == BITCOIN
    assert 10.0 < facts["updates_per_s"] < 100.0
    assert facts["sign_memory_1"] > 0.0


def test_facts_of_a_market_too_short_to_say_are_null():
    result = invoke("facts", "--market", BITCOIN, "--minutes", 0.1, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["move_60s_bps"] is None


def test_parameters_lists_the_whole_table():
    result = invoke("parameters", "--json")
    assert [row["name"] for row in json.loads(result.stdout)["parameters"]] == [
        row.name for row in PARAMETERS
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"markets": []}, "markets: is empty"),
        ({"markets": [{"profile": "X"}]}, r"markets[0]: no simulated market 'X'"),
        (
            {"markets": [{"profile": BITCOIN, "parameters": {"makers": -1}}]},
            "markets[0]: makers: -1 is outside [0",
        ),
        (
            {"markets": [{"profile": BITCOIN, "parameters": {"maker": 1}}]},
            "markets[0]: maker: no such parameter",
        ),
        ({"markets": [{"profile": BITCOIN, "colour": 1}]}, "colour"),
        ({"markets": [{"profile": BITCOIN}], "seed": -1}, "seed: -1"),
        ({"markets": [{"profile": BITCOIN}], "minutes": 0}, "minutes: 0"),
        ({"markets": [{"profile": BITCOIN}], "schema": "apex.sim/9"}, "schema"),
    ],
)
def test_bad_configuration_is_refused_in_one_clear_line(config, content, says):
    result = invoke("facts", "--config", config(**content))
    assert result.exit_code != 0
    assert says in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("minutes", ["nan", "inf", "0", "1e9"])
def test_a_length_that_is_none_is_refused(minutes):
    result = invoke("facts", "--minutes", minutes)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_agents_that_quote_too_far_apart_are_told_of_in_one_line(config):
    wide = {"maker_half_spread_bps": 100.0, "maker_step_bps": 100.0, "maker_levels": 20}
    market = {"profile": BITCOIN, "parameters": wide, "start_price": 9e6}
    result = invoke("facts", "--minutes", "0.1", "--config", config(markets=[market]))
    assert result.exit_code == 1
    assert f"{BITCOIN}: the agents quote too far apart" in result.output
