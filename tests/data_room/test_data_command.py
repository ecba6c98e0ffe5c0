"""`apex data` from a shell: import, simulate, inspect, build; bad input is one clear line and a failing
exit."""

from __future__ import annotations

import json

import pytest
import synthetic_capture as sc
from click.testing import CliRunner

from apex_nautilus.cli.apex_commands.data import command
from apex_nautilus.data import Dataset, inspect_catalog
from apex_nautilus.features import names

BTC = "BTCUSDT-PERP.BINANCE"


def run(*args, ok: bool = True):
    result = CliRunner().invoke(command, [str(a) for a in args], catch_exceptions=False)
    assert (result.exit_code == 0) == ok, result.output
    return result.output


def test_from_a_recording_to_a_dataset(btc_capture, samples, tmp_path):
    catalog = ["--catalog", tmp_path / "market"]
    text = run("import", "binance-capture", btc_capture, "--instrument", BTC, *catalog)
    assert "100.000%" in text
    assert "refused" in text
    reports = json.loads(
        run("import", "freqtrade", samples / "ETH_USDT_USDT-5m-futures.feather", *catalog, "--json")
    )
    assert reports[0]["written"] == {"bars": 2880}
    assert "BTCUSDT-PERP.BINANCE" in run("inspect", *catalog)
    summary = json.loads(run("inspect", *catalog, "--json"))
    assert [s["instrument_id"] for s in summary["streams"]] == [BTC]
    assert summary["streams"][0]["crossed"] == summary["streams"][0]["one_sided"] == 0.0
    assert -1300 < summary["streams"][0]["skew_ms"][1] < -1200
    assert [(b["bars"], b["missing"]) for b in summary["bars"]] == [(2880, 0)]

    out = tmp_path / "dataset"
    card = json.loads(
        run(
            "dataset",
            out,
            "--instrument",
            BTC,
            "--clock",
            "1s",
            "--features",
            "imbalance, clv",
            *catalog,
            "--json",
        )
    )
    assert Dataset.open(out).id == card["id"]
    assert card["feature_names"] == ["imbalance", "clv"]
    text = run("dataset", tmp_path / "bars", "--instrument", "ETHUSDT-PERP.BINANCE", *catalog)
    assert f"of {len(names('bar'))} features at 5m" in text


def test_a_simulated_market_is_written_like_a_recorded_one(tmp_path):
    catalog = ["--catalog", tmp_path]
    written = json.loads(run("synth", *catalog, "--seconds", 5, "--seed", 3, "--json"))
    (stream,) = inspect_catalog(tmp_path).streams
    assert stream.instrument_id == written["instrument_id"]
    assert stream.trades == written["written"]["trades"] > 0
    assert stream.batches == written["written"]["batches"] > 0
    assert (stream.crossed, stream.locked, stream.duplicate_trades) == (0.0, 0.0, 0)


def test_what_a_recording_holds_is_printed_as_it_is(tmp_path):
    lines = sc.small_futures_capture()
    lines += [sc.line(sc.at(10), {"stream": "x@[/bold]", "data": 1}), b"[/red] x\n"]
    capture = sc.write(tmp_path / "[bold]c.gz", lines)
    options = ["import", "binance-capture", capture, "--instrument", BTC, "--max-bad-share", 1]
    output = run(*options, "--catalog", tmp_path / "m")
    assert "[/bold]" in output
    assert "[/red]" in output
    assert "[bold]c.gz" in output
    (report,) = (tmp_path / "m" / "imports" / BTC).iterdir()
    report.write_text("{")
    assert f"{report.name}: not the report" in run("inspect", "--catalog", tmp_path / "m", ok=False)
    assert "for a pattern" in run(*options, "--catalog", tmp_path / "[x]", ok=False)
    assert not (tmp_path / "[x]").exists()


def test_inspect_finds_what_is_wrong(tmp_path):
    lines = [
        *sc.small_futures_capture(),
        sc.depth(2_000, 130, 135, 129),  # after 20 s of silence, with a diff lost
        sc.snapshot(2_001, 140),
    ]
    capture = sc.write(tmp_path / "c.gz", lines)
    run(
        "import",
        "binance-capture",
        capture,
        "--instrument",
        BTC,
        "--catalog",
        tmp_path / "m",
        "--max-bad-share",
        1,
    )
    (stream,) = inspect_catalog(tmp_path / "m").streams
    assert stream.clears == 3
    assert stream.gaps == 1
    assert stream.longest_gap_s == pytest.approx(19.92)
    assert stream.one_sided == pytest.approx(1 / stream.batches)
    assert stream.refused == {"sequence_break": 1}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["import", "binance-capture", "CAPTURE", "--instrument", "ETHUSDT-PERP.BINANCE"], "wrong_symbol"),
        (["import", "binance-capture", "CAPTURE", "--instrument", "BTC"], "expected SYMBOL-PERP.BINANCE"),
        (["import", "binance-capture", "/none.gz", "--instrument", BTC], "does not exist"),
        (["import", "freqtrade", "CAPTURE"], "expected BASE_QUOTE-TIMEFRAME.feather"),
        (["inspect"], "not a market catalog"),
        (["inspect", "--gap", "nan"], "not a finite number"),
        (["synth", "--seconds", "nan"], "not a finite number"),
        (["synth", "--seconds", "inf"], "range"),
        (["import", "freqtrade", "CAPTURE", "--max-bad-share", "nan"], "not a finite number"),
        (["dataset", "OUT", "--instrument", BTC], "not a market catalog"),
    ],
)
def test_bad_input_ends_in_one_clear_message(args, says, btc_capture, tmp_path):
    places = {"CAPTURE": btc_capture, "OUT": tmp_path / "out"}
    output = run(*(places.get(a, a) for a in args), "--catalog", tmp_path / "market", ok=False)
    assert says in output
    assert "Traceback" not in output
    assert not list(tmp_path.rglob("*.parquet"))
