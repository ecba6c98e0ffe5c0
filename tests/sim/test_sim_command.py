"""The `apex sim` verbs, through the command line's own door."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from apex_nautilus.cli._market_page import book_image
from apex_nautilus.cli.apex_commands.sim import command
from apex_nautilus.data import import_binance_capture, read_events
from apex_nautilus.sim import PARAMETERS, Market, profile
from apex_nautilus.sim.tape_file import load_tape

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


@pytest.fixture(scope="module")
def excerpt(root, tmp_path_factory):
    catalog = tmp_path_factory.mktemp("market") / "catalog"
    import_binance_capture(
        [root / "tests" / "data" / "btcusdt_usdm_20240808.gz"], catalog, "BTCUSDT-PERP.BINANCE"
    )
    return ("--catalog", catalog, "--instrument", "BTCUSDT-PERP.BINANCE")


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


def test_run_tells_the_digest_and_writes_nothing_unless_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("run", "--market", BITCOIN, "--seconds", 5, "--seed", 3, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["digest"] == Market(profile(BITCOIN), 3).run(5_000_000_000).digest()
    assert list(tmp_path.iterdir()) == []


def test_a_tape_file_gives_back_the_tape_and_the_same_bytes_each_time(tmp_path):
    for folder in ("a", "b"):
        arguments = ("--market", BITCOIN, "--seconds", 5, "--tape", tmp_path / folder)
        assert invoke("run", *arguments).exit_code == 0
    path = tmp_path / "a" / f"{BITCOIN}-1.npz"
    assert path.read_bytes() == (tmp_path / "b" / f"{BITCOIN}-1.npz").read_bytes()
    tape, fresh = load_tape(path), Market(profile(BITCOIN), 1).run(5_000_000_000)
    assert tape.digest() == fresh.digest()
    assert tape.stats == fresh.stats
    assert (tape.value == fresh.value).all()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: b"not a zip", "not a tape written by"),
        (lambda raw: raw[: len(raw) // 2], "not a tape written by"),
        (lambda raw: b"", "not a tape written by"),
    ],
)
def test_a_file_that_is_no_tape_is_refused_in_one_line(tmp_path, spoil, says):
    assert invoke("run", "--market", BITCOIN, "--seconds", 2, "--tape", tmp_path).exit_code == 0
    path = tmp_path / f"{BITCOIN}-1.npz"
    path.write_bytes(spoil(path.read_bytes()))
    for verb in (("facts", "--tape", path), ("plot", "--tape", path, "--out", tmp_path / "p.html")):
        result = invoke(*verb)
        assert result.exit_code == 1
        assert says in result.output
        assert "Traceback" not in result.output


def test_a_tape_file_whose_numbers_were_changed_is_refused(tmp_path):
    assert invoke("run", "--market", BITCOIN, "--seconds", 2, "--tape", tmp_path).exit_code == 0
    path = tmp_path / f"{BITCOIN}-1.npz"
    with np.load(path) as file:
        parts = dict(file)
    parts["events"]["price"][5] += 1
    np.savez(path, **parts)
    assert "the digests differ" in invoke("facts", "--tape", path).output


def test_lobster_files_are_written_beside(tmp_path):
    result = invoke("run", "--market", BITCOIN, "--seconds", 5, "--lobster", tmp_path)
    assert result.exit_code == 0, result.output
    message, orderbook = sorted(tmp_path.glob("*.csv"))
    assert len(message.read_text().splitlines()) == len(orderbook.read_text().splitlines()) > 100


def test_a_market_that_loses_a_side_goes_on_and_that_is_said(tmp_path):
    thin = ("--set", "makers=0", "--set", "limit_rate=0.6", "--set", "limit_lifetime_s=0.7")
    arguments = ("--market", BITCOIN, *thin, "--set", "executors=0", "--seconds", 60)
    result = invoke("run", *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["one_sided_s"] > 1.0
    assert f"{BITCOIN}: one side of the book was empty for" in result.stderr
    assert "one side" not in invoke("run", "--market", BITCOIN, "--seconds", 60).stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("limit_rate=-1", "limit_rate: -1 is outside [0, 1e+06] 1/s"),
        ("limit_rate=nan", "limit_rate: nan is outside [0, 1e+06] 1/s"),
        ("makers=2.5", "makers: 2.5 is not a whole number"),
        ("limit_rat=1", "--set limit_rat: no such parameter; did you mean limit_rate"),
        ("instrument=1", "--set instrument: no such parameter"),
        ("limit_rate", "--set 'limit_rate' is not NAME=NUMBER"),
        ("limit_rate=fast", "--set 'limit_rate=fast' is not NAME=NUMBER"),
        ("market_rate=1000", "market_rate: takers ask for about"),
        ("start_price=0.01", "start_price: 0.01 is outside [10, 1e8] ticks of 0.1"),
    ],
)
def test_a_bad_parameter_is_named_with_value_and_bound_before_anything_runs(tmp_path, given, says):
    for verb in ("run", "facts"):
        result = invoke(verb, "--market", BITCOIN, "--set", given, "--minutes", 1e6)
        assert result.exit_code == 1
        assert says in result.output
        assert "Traceback" not in result.output


# ------------------------------------------------------------------ facts


def test_facts_measures_every_market_asked_for():
    arguments = ("--market", BITCOIN, "--minutes", 3, "--seed", 2, "--resamples", 10)
    result = invoke("facts", *arguments, "--json")
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert measured["market"] == BITCOIN
    facts = measured["facts"]
    assert 10.0 < facts["activity"]["values"]["book updates"] < 100.0
    assert facts["sign_memory"]["values"]["1 orders"] > 0.0
    assert facts["spread"]["errors"]["median"] > 0.0


def test_facts_of_a_tape_and_a_catalog_stand_side_by_side(tmp_path):
    where = ("--tape", tmp_path, "--out", tmp_path / "catalog")
    assert invoke("run", "--market", BITCOIN, "--seconds", 60, *where).exit_code == 0
    tape = tmp_path / f"{BITCOIN}-1.npz"
    both = ("--tape", tape, "--catalog", tmp_path / "catalog", "--resamples", 0)
    result = invoke("facts", *both, "--html", tmp_path / "facts.html", "--json")
    assert result.exit_code == 0, result.output
    recorded, simulated = (json.loads(line)["facts"] for line in result.stdout.splitlines())
    for name in ("order_worth", "order_pause", "sign_memory", "spread"):
        assert recorded[name]["values"] == simulated[name]["values"]
    page = (tmp_path / "facts.html").read_text(encoding="utf-8")
    assert page.count("sign_memory") > 1
    assert "<script src" not in page
    assert invoke("facts", *both).exit_code == 0


def test_facts_of_a_market_too_short_to_say_are_null():
    result = invoke("facts", "--market", BITCOIN, "--minutes", 0.1, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["facts"]["volatility"]["values"]["60 s"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--instrument", "X"), "name it with --catalog"),
        (("--resamples", 1), "--resamples: one tells of no spread"),
        (("--minutes", 1, "--seconds", 1), "--minutes and --seconds: give one"),
    ],
)
def test_options_of_facts_that_contradict_each_other_are_refused(arguments, says):
    result = invoke("facts", *arguments)
    assert result.exit_code == 1
    assert says in result.output


def test_a_catalog_or_an_instrument_that_is_not_there_is_refused(excerpt, tmp_path):
    for catalog, says in ((tmp_path, "not a market catalog"), (excerpt[1], "NONE.SIM")):
        for verb in (("facts",), ("plot", "--out", tmp_path / "p.html"), ("realism",)):
            result = invoke(*verb, "--catalog", catalog, "--instrument", "NONE.SIM")
            assert result.exit_code == 1
            assert says in result.output


# ------------------------------------------------------------------ many


def test_many_seeds_give_the_same_files_with_any_number_of_workers_and_are_not_run_twice(tmp_path):
    market = ("--market", BITCOIN, "--seconds", 20)
    for workers in (1, 2):
        result = invoke(
            "many", *market, "--seeds", "4..6", "--workers", workers, "--out", tmp_path / str(workers)
        )
        assert result.exit_code == 0, result.output
    files = sorted(p.name for p in (tmp_path / "1").iterdir())
    assert files == ["market.json", "seed-000004.json", "seed-000005.json", "seed-000006.json"]
    for name in files:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    stored = json.loads((tmp_path / "1" / "seed-000005.json").read_bytes())
    assert stored["digest"] == Market(profile(BITCOIN), 5).run(20_000_000_000).digest()

    # Taken up: what is there is believed, what is missing is run.
    (tmp_path / "1" / "seed-000004.json").unlink()
    stored["digest"] = "believed"
    (tmp_path / "1" / "seed-000005.json").write_text(json.dumps(stored))
    result = invoke("many", *market, "--seeds", "4..7", "--out", tmp_path / "1", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["seed"] for line in lines] == [4, 5, 6, 7]
    assert [line["digest"] == "believed" for line in lines] == [False, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "makers=2"), "makers was 4 and is now 2"),
        (("--seconds", 6), "seconds was 5.0 and is now 6.0"),
        (("--market", "ETHUSDT-LINEAR.SIM"), "market was 'BTCUSDT-LINEAR.SIM'"),
    ],
)
def test_a_folder_of_another_market_is_refused(tmp_path, arguments, says):
    first = invoke("many", "--seconds", 5, "--seeds", "1", "--out", tmp_path)
    assert first.exit_code == 0, first.output
    length = () if "--seconds" in arguments else ("--seconds", 5)
    result = invoke("many", *length, "--seeds", "1..2", "--out", tmp_path, *arguments)
    assert result.exit_code == 1
    assert says in result.output
    assert not (tmp_path / "seed-000002.json").exists()


@pytest.mark.parametrize("seeds", ["", "x", "3..1", "-1..2", "1..", "0..200000"])
def test_seeds_that_are_no_range_are_refused(tmp_path, seeds):
    result = invoke("many", "--seeds", seeds, "--out", tmp_path / "x")
    assert result.exit_code == 1
    assert "--seeds" in result.output
    assert not (tmp_path / "x").exists()


def test_a_damaged_result_is_named(tmp_path):
    assert invoke("many", "--seconds", 5, "--seeds", "1", "--out", tmp_path).exit_code == 0
    (tmp_path / "seed-000001.json").write_text("{")
    result = invoke("many", "--seconds", 5, "--seeds", "1", "--out", tmp_path)
    assert result.exit_code == 1
    assert "seed-000001.json: not JSON" in result.output.replace("\n", "")


# ------------------------------------------------------------------ realism, theory, plot


def test_realism_sets_the_market_of_the_same_base_and_its_baseline_beside_a_recording(excerpt, tmp_path):
    page = tmp_path / "realism.html"
    arguments = (*excerpt, "--window", 10, "--seconds", 60)
    result = invoke("realism", *arguments, "--html", page, "--json")
    assert result.exit_code == 0, result.output
    lines = {row["fact"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert set(lines["spread"]["markets"]) == {BITCOIN, f"{BITCOIN} zero"}
    assert lines["spread"]["markets"][BITCOIN]["passes"] is False
    assert lines["tail_index"]["markets"][BITCOIN]["passes"] is None
    assert "class=fails" in page.read_text(encoding="utf-8")
    table = invoke("realism", *arguments)
    assert table.exit_code == 0, table.output
    assert "one mood of the market" in table.output


def test_a_recording_too_short_for_its_windows_is_refused(excerpt):
    result = invoke("realism", *excerpt, "--window", 60, "--seconds", 60)
    assert result.exit_code == 1
    assert "too few to compare it with itself" in result.output


def test_theory_stands_beside_the_model(tmp_path):
    arguments = ("--granularity", 0.3, "--granularity", 1, "--market-orders", 2000)
    result = invoke(
        "theory", *arguments, "--svg", tmp_path / "p.svg", "--html", tmp_path / "p.html", "--json"
    )
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["granularity"] for row in rows] == [0.3, 1.0]
    for row in rows:
        assert row["spread"] == pytest.approx(row["spread_mean_field"], rel=0.25)
    assert ElementTree.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")
    assert "mean field" in (tmp_path / "p.html").read_text(encoding="utf-8")
    assert invoke("theory", *arguments).exit_code == 0


def test_plot_draws_a_simulated_and_a_recorded_market_on_a_page_of_its_own(excerpt, tmp_path):
    for name, arguments in (("s", ("--seconds", 30)), ("r", excerpt)):
        path = tmp_path / f"{name}.html"
        result = invoke("plot", *arguments, "--out", path)
        assert result.exit_code == 0, result.output
        page = path.read_text(encoding="utf-8")
        assert '"type":"heatmap"' in page
        assert len(page) < 6_500_000  # 4.8 MB of it is plotly itself
        assert "<script src" not in page


def test_the_heat_map_is_the_book():
    tape = Market(profile(BITCOIN), 1).run(10_000_000_000)
    times = np.array([tape.start_ns, tape.start_ns + 7_000_000_000])
    edges = np.linspace(59_000.0, 61_000.0, 41)
    image = book_image(tape.events, times, edges, price=10.0, size=1000.0)
    for column, time in enumerate(times):
        levels: dict[tuple[int, int], int] = {}
        for e in tape.events[tape.events["ts_init_ns"] <= time]:
            if e["kind"] == 1:
                levels[int(e["side"]), int(e["price"])] = int(e["size"])
        expected = np.zeros(40)
        for (_, price), size in levels.items():
            place = np.searchsorted(edges, price / 10.0, side="right") - 1
            if 0 <= place < 40:
                expected[place] += size / 1000.0
        np.testing.assert_allclose(image[:, column], expected)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--instrument", "X"), "--catalog and --instrument go together"),
        (("--market", BITCOIN, "--market", "ETHUSDT-LINEAR.SIM"), "one market a page"),
    ],
)
def test_options_of_plot_that_do_not_name_one_market_are_refused(tmp_path, arguments, says):
    result = invoke("plot", *arguments, "--out", tmp_path / "p.html")
    assert result.exit_code == 1
    assert says in result.output


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
