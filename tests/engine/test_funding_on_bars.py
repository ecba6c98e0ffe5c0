"""Funding on recorded candles with the recorded rates, from the configuration to the run's folder."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from support.bars_case import on_bars

from apex_nautilus.cli.apex_commands.backtest import command as backtest_command
from apex_nautilus.cli.apex_commands.config import command as config_command
from apex_nautilus.data import import_freqtrade
from apex_nautilus.data.importers.external_funding import import_freqtrade_funding
from apex_nautilus.engine import ConfigError, MarketDataError, load_config, run_backtest
from apex_nautilus.genome import encode

BTC, ETH = "BTCUSDT-PERP.BINANCE", "ETHUSDT-PERP.BINANCE"
PAIRS = {BTC: "BTC_USDT_USDT", ETH: "ETH_USDT_USDT"}
_SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    place = tmp_path_factory.mktemp("funding-bars")
    data = root / "tests" / "data"
    import_freqtrade([data / f"{pair}-5m-futures.feather" for pair in PAIRS.values()], place / "market")
    import_freqtrade_funding(
        [data / f"{pair}-8h-funding_rate.feather" for pair in PAIRS.values()], place / "market"
    )
    for name, instrument_id in (("btc", BTC), ("eth", ETH)):
        # Four and a half hours are held over more than every second settlement.
        genome = on_bars(instrument_id, "5m", stop_bps=150.0, max_hold_s=16_200.0)
        (place / f"{name}.json").write_bytes(encode(genome))
    return place


def write(folder, file="run.json", /, **changes):
    config = {
        "schema": "apex.backtest/1",
        "name": "funding",
        "catalog": "market",
        "bars": {"path": "5m"},
        "agents": [
            {"slot": "btc-1", "instrument_id": BTC, "genome": "btc.json"},
            {"slot": "eth-1", "instrument_id": ETH, "genome": "eth.json"},
        ],
        "start": "2025-04-01T12:00:00Z",
        "mark_s": 300.0,
        **changes,
    }
    (folder / file).write_text(json.dumps(config))
    return folder / file


@pytest.fixture(scope="module")
def result(folder):
    return run_backtest(load_config(write(folder)), run_id="whole")


def recorded(root, instrument_id, what) -> pl.DataFrame:
    return pl.read_ipc((root / "tests" / "data" / f"{PAIRS[instrument_id]}-{what}.feather").open("rb"))


def test_each_settlement_takes_the_rate_of_the_position_at_the_close_before_it(result, root):
    """Made again from the fills, the candles and the recorded rates, without anything of the engine."""
    entered_late = left_in_time = 0
    for agent in result.agents:
        rates = recorded(root, agent.instrument_id, "8h-funding_rate")
        candles = recorded(root, agent.instrument_id, "5m-futures")
        closes = dict(zip((candles["date"].dt.epoch("s") + 300).to_list(), candles["close"], strict=True))
        expected = []
        for seconds, rate in zip(rates["date"].dt.epoch("s").to_list(), rates["open"], strict=True):
            settled = seconds * _SECOND
            if not result.start_ns < settled <= result.end_ns:
                continue
            # At this very time: what closed a position did so in the bar before, an entry is the next one's.
            before = [f for f in agent.fills
                      if f.ts_ns < settled or (f.ts_ns == settled and f.role != "entry")]  # fmt: skip
            entered_late += any(f.ts_ns == settled and f.role == "entry" for f in agent.fills)
            left_in_time += any(f.ts_ns == settled and f.role != "entry" for f in agent.fills)
            held = round(sum(f.side * f.quantity for f in before), 8)
            if held:
                expected.append((settled, held, closes[seconds], rate))
        told = [(p.ts_ns, p.quantity, p.mark, p.rate) for p in agent.payments]
        assert [t[:2] for t in told] == [e[:2] for e in expected]
        np.testing.assert_allclose([t[2:] for t in told], [e[2:] for e in expected], rtol=1e-12)
        amounts = [round(-held * mark * rate, 8) for _, held, mark, rate in expected]
        assert [p.amount for p in agent.payments] == pytest.approx(amounts, abs=1.1e-8)
        assert len(expected) > 8
    assert entered_late > 0
    assert left_in_time > 0


def test_the_account_the_ledgers_and_the_files_say_the_same(result):
    profit = sum(a.balance - a.capital for a in result.agents)
    assert result.account_change == pytest.approx(profit, abs=1e-6)
    for agent in result.agents:
        assert agent.funding == pytest.approx(sum(p.amount for p in agent.payments), abs=1e-9)
        assert agent.funding != 0.0
        closed = sum(t.funding for t in agent.trades)
        ended = agent.trades[-1].exit_ts_ns
        after = sum(p.amount for p in agent.payments if p.ts_ns > ended)
        assert agent.funding == pytest.approx(closed + after, abs=1e-9)
    told = json.loads((result.folder / "result.json").read_text())
    assert [(line["instrument_id"], line["source"], line["gaps"]) for line in told["funding"]] == [
        (BTC, "series", []),
        (ETH, "series", []),
    ]
    assert [a["funding"] for a in told["agents"]] == [a.funding for a in result.agents]
    amounts = defaultdict(list)
    for text in (result.folder / "ledger" / "backtest.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["kind"] == "funding":
            amounts[line["fields"]["slot"]].append(line["fields"]["amount"])
    assert dict(amounts) == {a.slot: [p.amount for p in a.payments] for a in result.agents}


@pytest.mark.parametrize("chunk_size", [1_000, 1_740])  # the second ends a piece at a settlement
def test_the_length_of_the_pieces_read_changes_nothing(folder, result, chunk_size):
    run = run_backtest(load_config(write(folder, "pieces.json", chunk_size=chunk_size)), write=False)
    assert run.account_change == result.account_change
    assert [(a.payments, a.fills, a.trades) for a in run.agents] == [
        (a.payments, a.fills, a.trades) for a in result.agents
    ]


def test_trades_are_the_same_without_funding_but_for_their_profit(folder, result):
    """Sizes follow equity, so that only the first trades can be compared: until one has paid."""
    free = run_backtest(load_config(write(folder, "free.json", funding=False)), write=False)
    assert {line.source for line in free.funding} == {"off"}
    assert all(a.payments == [] and a.funding == 0.0 for a in free.agents)
    for paying, other in zip(result.agents, free.agents, strict=True):
        first = next(i for i, t in enumerate(paying.trades) if t.funding)
        ours, theirs = paying.trades[first], other.trades[first]
        assert (ours.entry_ts_ns, ours.quantity, ours.fees) == (
            theirs.entry_ts_ns,
            theirs.quantity,
            theirs.fees,
        )
        assert ours.pnl - theirs.pnl == pytest.approx(ours.funding, abs=1e-9)


def test_one_of_two_may_be_named(folder):
    run = run_backtest(
        load_config(write(folder, "one.json", funding=[ETH], end="2025-04-04T00:00:00Z")), write=False
    )
    assert [line.source for line in run.funding] == ["off", "series"]
    assert run.agents[0].payments == []
    assert run.agents[1].payments


def test_rates_that_end_before_the_data_are_told(folder, root, tmp_path):
    data = root / "tests" / "data"
    import_freqtrade([data / f"{PAIRS[BTC]}-5m-futures.feather"], tmp_path / "market")
    short = tmp_path / f"{PAIRS[BTC]}-8h-funding_rate.feather"
    recorded(root, BTC, "8h-funding_rate").head(8).write_ipc(short)
    import_freqtrade_funding([short], tmp_path / "market")
    (tmp_path / "btc.json").write_bytes((folder / "btc.json").read_bytes())
    agents = [{"slot": "btc-1", "instrument_id": BTC, "genome": "btc.json"}]
    run = run_backtest(load_config(write(tmp_path, agents=agents)), write=False)
    ((from_ns, to_ns),) = run.funding[0].gaps
    assert from_ns == 1_743_667_200 * _SECOND  # 2025-04-03 08:00, the last rate
    assert to_ns == run.end_ns
    assert run.funding[0].settlements == 6
    shown = CliRunner().invoke(backtest_command, [str(tmp_path / "run.json"), "--dry"]).output
    assert "no rate is stored between 2025-04-03 08:00:00 and 2025-04-11 00:00:00 UTC; nothing was" in shown
    assert f"{run.agents[0].funding:+.2f}" in shown


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (["XRPUSDT-PERP.BINANCE"], r"funding\[0\]: nobody trades 'XRPUSDT-PERP.BINANCE'"),
        ([BTC, BTC], r"funding\[1\]: .* is named twice"),
        (BTC, 'funding: must be "stored", true, false or a list of instrument ids'),
        (3, "funding"),
    ],
)
def test_a_wrong_setting_is_refused_with_file_and_field(folder, setting, words):
    with pytest.raises(ConfigError, match=words) as refused:
        load_config(write(folder, "wrong.json", funding=setting))
    assert "wrong.json" in str(refused.value)


def test_a_named_instrument_without_rates_is_refused_before_anything_runs(folder, root, tmp_path):
    import_freqtrade([root / "tests" / "data" / f"{PAIRS[BTC]}-5m-futures.feather"], tmp_path / "market")
    (tmp_path / "btc.json").write_bytes((folder / "btc.json").read_bytes())
    agents = [{"slot": "btc-1", "instrument_id": BTC, "genome": "btc.json"}]
    config = load_config(write(tmp_path, agents=agents, funding=[BTC]))
    with pytest.raises(
        MarketDataError, match=r"holds no funding rates of BTCUSDT-PERP\.BINANCE; import them"
    ):
        run_backtest(config)
    assert not (tmp_path / "runs").exists()
    stored = run_backtest(
        load_config(write(tmp_path, agents=agents, end="2025-04-02T00:00:00Z")), write=False
    )
    assert [line.source for line in stored.funding] == ["none"]


@pytest.mark.parametrize(("setting", "shown"), [("stored", '"stored"'), (False, "false"), ([BTC], BTC)])
def test_config_show_says_who_pays(folder, setting, shown):
    told = CliRunner().invoke(
        config_command, ["show", str(write(folder, "shown.json", funding=setting))], env={"COLUMNS": "200"}
    )
    assert told.exit_code == 0, told.output
    (line,) = [text for text in told.output.splitlines() if " funding" in text and "name" not in text]
    assert shown in line
