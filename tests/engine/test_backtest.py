"""From a configuration file to a kept run: refusals, contents, repeatability, the command and its report."""

from __future__ import annotations

import json
import re

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from support.engine_case import BTC, START, eager_genome, wandering_market

from apex_nautilus.cli.apex import main
from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    ConfigError,
    Curve,
    Happening,
    MarketDataError,
    ReportTable,
    load_config,
    parse_time,
    run_backtest,
    write_report,
)
from apex_nautilus.engine.report_timeline import thinned
from apex_nautilus.genome import Genome, GenomeError, encode, sealed
from apex_nautilus.store.ledger import read_ledger
from apex_nautilus.strategies.genome_strategy import load_genome

GENOME = eager_genome(max_hold_s=8.0)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with a catalog, a genome and a configuration of two agents."""
    folder = tmp_path_factory.mktemp("workshop")
    write_events(folder / "market", BTC, wandering_market(4, 2500))
    (folder / "genome.json").write_bytes(encode(GENOME))
    (folder / "run.json").write_text(json.dumps(configuration()))
    return folder


def configuration(**changes):
    agent = {"instrument_id": BTC.id, "genome": "genome.json"}
    base = {
        "schema": "apex.backtest/1",
        "name": "two",
        "catalog": "market",
        "agents": [
            {"slot": "one", **agent},
            {"slot": "other", "legs": "emulated", "capital": 300.0, **agent},
        ],
    }
    return base | changes


def agents(**changes):
    return [configuration()["agents"][0] | changes]


REFUSED = [
    (configuration(leverage=3), "leverage"),
    (
        configuration(agents=agents(capitol=5)),
        r"agents\[0\]\.capitol: is not a field; did you mean 'capital'\?",
    ),
    (configuration(agents=agents(capital="much")), r"agents\[0\]\.capital: Expected `float`, got `str`"),
    (
        configuration(agents=agents(capital=-1.0)),
        r"agents\[0\]\.capital: must be finite and positive, got -1\.0",
    ),
    (configuration(agents=agents(legs="wooden")), r"agents\[0\]\.legs"),
    (configuration(agents=agents(instrument_id="BTC")), r"agents\[0\]\.instrument_id"),
    (configuration(agents=agents(multiplier=-0.5)), r"agents\[0\]\.multiplier"),
    (configuration(agents=agents() * 2), r"agents\[1\]\.slot: 'one' is taken by agents\[0\]"),
    (configuration(agents=agents(slot="btc/1")), r"agents\[0\]\.slot: slot 'btc/1' cannot name a file"),
    (configuration(agents=[]), "agents: at least one"),
    (configuration(name="../up"), "name: '../up' may hold"),
    (configuration(schema="apex.backtest/2"), "schema"),
    (configuration(start="noon"), "start: 'noon' is not an ISO 8601 time"),
    (configuration(start=5, end=5), "end: must be later than start"),
    (configuration(mark_s=0), "mark_s"),
    (configuration(chunk_size=1), "chunk_size"),
    (configuration(venue={"leverage": 0.0}), "venue.leverage"),
    (configuration(venue={"fills": "all"}), "venue.fills"),
    ({}, "missing required field"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_a_bad_configuration_is_refused_by_file_and_field(config, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"{", "not JSON"), (b"\xff\xfe", "not JSON"), (b"[]", "Expected `object`")]
)
def test_a_file_that_is_no_configuration_is_refused(content, message, tmp_path):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2023-11-14T22:13:20Z", START),
        ("2023-11-14T22:13:20", START),
        ("2023-11-14T23:13:20.000250+01:00", START + 250_000),
        (START, START),
        (None, None),
    ],
)
def test_times_are_utc_to_the_microsecond(text, ns):
    assert parse_time(text, "start") == ns


def test_a_run_is_kept_whole_and_adds_up(workshop):
    config = load_config(workshop / "run.json")
    result = run_backtest(config, run_id="kept")
    folder = workshop / "runs" / "kept"
    assert result.folder == folder
    ledger = read_ledger(folder / "ledger" / "backtest.jsonl")
    assert [r.ts_ns for r in ledger] == sorted(r.ts_ns for r in ledger)
    for agent in result.agents:
        mine = [r for r in ledger if r.fields["slot"] == agent.slot]
        assert [r.kind for r in mine if r.kind in ("birth", "end")] == ["birth", "end"]
        assert sum(r.kind == "trade" for r in mine) == len(agent.trades) > 10
        fills = [r.fields for r in mine if r.kind == "fill"]
        assert len(fills) == len(agent.fills)
        # The ledger alone gives the balance: cash flows, and the open position at its price.
        cash = sum(-f["side"] * f["quantity"] * f["price"] - f["fee"] for f in fills)
        held = sum(f["side"] * f["quantity"] for f in fills)
        cost = next((f["price"] for f in reversed(fills) if f["role"] == "entry"), 0.0)
        assert agent.balance == pytest.approx(agent.capital + cash + held * cost, abs=0.01)
        marks = np.load(folder / "marks" / f"{agent.slot}.npy")
        assert marks["equity"].tolist() == agent.mark_equity.tolist()
        assert (np.diff(marks["ts_ns"]) == 1_000_000_000).all()
        assert len(marks) > 50
        assert load_genome(folder / "genomes" / f"{agent.slot}.json") == GENOME
    assert result.account_change == pytest.approx(
        sum(a.balance - a.capital for a in result.agents), abs=0.005
    )
    assert result.account_change != 0.0
    summary = json.loads((folder / "result.json").read_text())
    assert [a["slot"] for a in summary["agents"]] == ["one", "other"]
    for agent, entry in zip(result.agents, summary["agents"], strict=True):
        assert sum(entry["reasons"].values()) >= len(agent.trades)
        assert entry["equity"] == agent.equity
    # The kept configuration runs from the kept folder, given its catalog.
    kept = json.loads((folder / "config.json").read_text())
    (folder / "again.json").write_text(json.dumps(kept | {"catalog": "../../market"}))
    again = run_backtest(load_config(folder / "again.json"), write=False)
    assert [a.trades for a in again.agents] == [a.trades for a in result.agents]


def test_the_same_run_writes_the_same_bytes(workshop):
    config = load_config(workshop / "run.json")
    other = msgspec.structs.replace(config, runs=str(workshop / "elsewhere"), chunk_size=5_000)
    first, second = run_backtest(config, run_id="same"), run_backtest(other, run_id="same")
    names = sorted(p.relative_to(first.folder) for p in first.folder.rglob("*") if p.is_file())
    assert len(names) == 11
    for name in names:
        if name.name not in ("config.json", "settings_same.json"):  # they say the chunk size
            assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name


def test_runs_are_numbered_and_never_overwritten(workshop, tmp_path):
    config = msgspec.structs.replace(load_config(workshop / "run.json"), runs=str(tmp_path / "runs"))
    assert [run_backtest(config).run_id for _ in range(2)] == ["two-0001", "two-0002"]
    with pytest.raises(ConfigError, match="exists already"):
        run_backtest(config, run_id="two-0002")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["two-0001", "two-0002"]


def test_a_span_cuts_the_data(workshop):
    config = load_config(workshop / "run.json")
    start, end = START + 20_000_000_000, START + 40_000_000_000
    result = run_backtest(msgspec.structs.replace(config, start=start, end=end), write=False)
    fills = [f for a in result.agents for f in a.fills]
    assert fills
    assert all(start <= f.ts_ns < end for f in fills)
    late = msgspec.structs.replace(config, start="2030-01-01T00:00:00Z")
    with pytest.raises(ConfigError, match="no book in this span"):
        run_backtest(late, write=False)


def test_what_an_agent_needs_and_lacks_is_said(workshop, tmp_path):
    def run(genome: Genome, **changes):
        path = tmp_path / "g.json"
        path.write_bytes(encode(sealed(genome)))
        (tmp_path / "c.json").write_text(
            json.dumps(
                configuration(catalog=str(workshop / "market"), agents=agents(genome=str(path), **changes))
            )
        )
        return run_backtest(load_config(tmp_path / "c.json"), write=False)

    eth = msgspec.structs.replace(BTC, id="ETHUSDT-PERP.BINANCE", base="ETH")
    write_events(workshop / "market", eth, wandering_market(9, 50))
    with pytest.raises(GenomeError, match=r"trades BTCUSDT-PERP.BINANCE, slot one trades ETHUSDT-PERP"):
        run(GENOME, instrument_id="ETHUSDT-PERP.BINANCE")
    with pytest.raises(MarketDataError, match=r"no instrument 'SOLUSDT-PERP\.BINANCE'"):
        run(
            msgspec.structs.replace(GENOME, instrument_id="SOLUSDT-PERP.BINANCE"),
            instrument_id="SOLUSDT-PERP.BINANCE",
        )
    with pytest.raises(GenomeError, match=r"clock '5m' needs bars"):
        run(msgspec.structs.replace(GENOME, clock="5m"))
    (tmp_path / "not.json").write_bytes(b"nonsense")
    with pytest.raises(GenomeError, match=r"not a JSON object"):
        load_genome(tmp_path / "not.json")


def test_the_command_prints_a_line_an_agent_and_writes_a_report(workshop):
    outcome = CliRunner().invoke(main, ["backtest", str(workshop / "run.json"), "--run-id", "reported"])
    assert outcome.exit_code == 0, outcome.output
    for slot in ("one", "other"):
        assert re.search(rf"^│ {slot} .*%", outcome.output, re.MULTILINE), outcome.output
    page = (workshop / "runs" / "reported" / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert GENOME.id in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)  # nothing is fetched
    for heading in ("Agents", "Costs of closed trades", "How decisions ended", "Trades"):
        assert f"<h2>{heading}</h2>" in page
    assert 'href="tearsheet.html"' in page
    sheet = (workshop / "runs" / "reported" / "tearsheet.html").read_text()
    assert "Total positions" in sheet
    assert not re.search(r"<(script|link)[^>]+(src|href)=", sheet)


def test_the_command_speaks_json_and_can_leave_no_trace(workshop):
    before = sorted((workshop / "runs").iterdir()) if (workshop / "runs").exists() else []
    outcome = CliRunner().invoke(main, ["backtest", str(workshop / "run.json"), "--dry", "--json"])
    assert outcome.exit_code == 0, outcome.output
    told = json.loads(outcome.output)
    assert told["folder"] is None
    assert [a["slot"] for a in told["agents"]] == ["one", "other"]
    after = sorted((workshop / "runs").iterdir()) if (workshop / "runs").exists() else []
    assert after == before


def test_the_command_refuses_bad_input_with_one_line(workshop, tmp_path):
    (tmp_path / "bad.json").write_text(json.dumps(configuration(catalog="nowhere")))
    outcome = CliRunner().invoke(main, ["backtest", str(tmp_path / "bad.json")])
    assert outcome.exit_code == 1
    assert outcome.output.startswith("Error: ")
    assert "not a market catalog" in outcome.output
    assert outcome.output.count("\n") == 1


def test_a_report_escapes_what_it_is_given_and_thins_long_curves(tmp_path):
    ts = np.arange(50_000, dtype=np.int64) * 1_000_000_000
    values = 200.0 + np.sin(np.arange(50_000) / 500)
    values[31_234] = 17.0  # one deep mark must survive
    write_report(
        tmp_path / "r.html",
        title="<b>&",
        curves=[Curve("a", ts, values), Curve("b", ts[:3], np.array([1.0, np.nan, 2.0]), group="x")],
        happenings=[Happening(int(ts[5]), "birth", "a", "<i>"), Happening(int(ts[9]), "swap", "b")],
        tables=[ReportTable("T", ("x", "y"), [("<script>", float("nan")), (3, 2.5)])],
    )
    page = (tmp_path / "r.html").read_text()
    assert "<b>&" not in page
    assert "<td><script>" not in page
    assert "&lt;script&gt;" in page
    assert len(page) < 6_000_000
    thin_ts, thin_values = thinned(Curve("a", ts, values), 5_000)
    assert len(thin_values) <= 5_002
    assert 17.0 in thin_values
    assert (np.diff(thin_ts) > 0).all()
