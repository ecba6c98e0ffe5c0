"""The loop on real recordings: imported, evolved, traded in Nautilus, both samples reported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from apex_nautilus.data import Dataset
from apex_nautilus.store import read_ledger


@pytest.fixture(scope="module")
def run(shared_data, tmp_path_factory):
    folder = shared_data / "binance-capture-2024-08" / "usdm"
    out = tmp_path_factory.mktemp("recorded") / "out"
    command = [sys.executable, "-m", "apex_nautilus.cli.apex", "recorded", "--out", str(out), "--seed", "3"]
    command += ["--population", "60", "--generations", "4"]
    command += [f"{s.upper()}-PERP.BINANCE={folder / f'{s}_20240808.gz'}" for s in ("btcusdt", "ethusdt")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return out, process.stdout


@pytest.mark.parametrize("symbol", ["btcusdt", "ethusdt"])
def test_the_genome_carries_what_it_did_in_and_out_of_sample(run, symbol):
    genome = json.loads((run[0] / "run" / "genomes" / f"{symbol}_forge.json").read_text())
    evidence = genome["evidence"]
    assert {"in_sample", "out_of_sample", "gate"} <= set(evidence)
    assert genome["provenance"]["study_trials"] > 50


@pytest.mark.parametrize("symbol", ["btcusdt", "ethusdt"])
def test_the_backtest_trades_only_what_the_forge_had_not_seen(run, symbol):
    data = Dataset.open(run[0] / "run" / "datasets" / f"{symbol.upper()}-PERP.BINANCE")
    records = read_ledger(run[0] / "run" / "runs" / "real" / "ledger" / "backtest.jsonl")
    trades = [r.fields for r in records if r.kind == "trade" and r.fields["slot"].startswith(symbol)]
    assert trades, "the genome drawn by lot trades"
    (study,) = [
        r.fields
        for r in read_ledger(run[0] / "run" / "ledger" / f"forge-{symbol}.jsonl")
        if r.kind == "study"
    ]
    first_unseen = int(data.ts_ns[study["rows"]["validation"][1]])
    assert all(t["entry_ts_ns"] >= first_unseen for t in trades)


def test_five_minutes_of_data_are_not_called_an_edge(run):
    out = run[1]
    assert "far too little to believe in" in out or "could not prove an edge" in out


def test_a_capture_that_is_not_there_is_named():
    command = [sys.executable, "-m", "apex_nautilus.cli.apex", "recorded", "BTCUSDT-PERP.BINANCE=absent.gz"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 2
    assert "absent.gz: no such file" in process.stderr
