"""The arena over a market catalog: configuration in, run folder out."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from support.arena_case import BTC_ID, ETH_ID, books, catalog, doomed, genome, path, perpetual

from apex_nautilus.actors import load_arena_config, read_result, read_run, run_arena
from apex_nautilus.cli.apex_commands.arena import command
from apex_nautilus.engine import ConfigError, MarketDataError
from apex_nautilus.genome import GenomeError
from apex_nautilus.store import LedgerWriter, StoreError, list_champions

SLOTS = [{"slot": "btc-1", "instrument_id": BTC_ID}, {"slot": "eth-1", "instrument_id": ETH_ID}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A market of 40 s on two instruments, a catalog of strategies, and the configuration of a run on
    them."""
    root = tmp_path_factory.mktemp("arena")
    market = ParquetDataCatalog(str(root / "market"))
    for k, instrument_id in enumerate((BTC_ID, ETH_ID)):
        market.write_data([perpetual(instrument_id)])
        deltas = [d for batch in books(instrument_id, path(40, bps_per_s=7.0, seed=k)) for d in batch.deltas]
        market.write_data(deltas)
    catalog(
        root / "catalog",
        champions={"btc-1": genome(), "eth-1": doomed(instrument_id=ETH_ID)},
        incoming=[genome(side=1.0, instrument_id=ETH_ID)],
    )
    write(root, "arena.json")
    return root


def write(root, file, /, **changes):
    config = {
        "schema": "apex.arena/1",
        "name": "small",
        "market": "market",
        "strategies": "catalog",
        "slots": SLOTS,
        "limits": {"max_leverage": 50.0},
        "contest": {"min_shadow_s": 2.0},
        "ledger_mark_s": 1.0,
        **changes,
    }
    (root / file).write_text(json.dumps(config))
    return root / file


@pytest.fixture(scope="module")
def result(folder):
    return run_arena(load_arena_config(folder / "arena.json"), run_id="first")


def test_a_run_reconciles_kills_replaces_and_leaves_its_source_alone(folder, result):
    assert result.finish.mismatches == 0
    assert abs(result.finish.account_cash - result.finish.ledger_cash) < 0.005
    assert [v.agent for _, v in result.deaths] == ["eth-1.e1"]
    assert [(s.slot, s.epoch) for _, s in result.swaps] == [("eth-1", 2)]
    assert len(result.agents["btc-1.e1"].equity) >= 38
    assert read_run(folder / "runs" / "first").state == "finished"
    source = {c.slot: c.epoch for c in list_champions(catalog(folder / "catalog"))}
    assert source == {"btc-1": 1, "eth-1": 1}


def test_the_command_repeats_the_run_to_the_byte_and_writes_a_report(folder, result):
    done = CliRunner().invoke(command, [str(folder / "arena.json"), "--run-id", "second", "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.output)
    assert summary["deaths"] == len(result.deaths)
    assert [a["agent"] for a in summary["agents"]] == list(result.agents)
    ledgers = [
        (folder / "runs" / name / "ledger" / "arena.jsonl").read_bytes() for name in ("first", "second")
    ]
    assert ledgers[0] == ledgers[1]
    assert (folder / "runs" / "second" / "report.html").stat().st_size > 10_000
    again = CliRunner().invoke(command, [str(folder / "arena.json"), "--run-id", "second"])
    assert again.exit_code != 0
    assert "exists" in again.output


def test_a_run_may_go_on_from_what_an_earlier_one_left(folder, result):
    config = folder / "arena.json"
    done = CliRunner().invoke(
        command, [str(config), "--from", str(folder / "runs" / "first"), "--run-id", "third", "--no-report"]
    )
    assert done.exit_code == 0, done.output
    assert read_result(folder / "runs" / "third").agents["eth-1.e2"].birth.role == "champion"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slots": []}, "slots: there is none"),
        ({"slots": [*SLOTS, SLOTS[0]]}, "slot names"),
        ({"slots": [SLOTS[0], {"slot": "x", "instrument_id": "BTCUSDT.OTHER"}]}, "one account"),
        ({"limits": {"drawdown": 0.1}}, "drawdown"),
        ({"contest": {"confidence": 2.0}}, "confidence"),
        ({"surprise": 1}, "surprise"),
        ({"name": "../up"}, "name"),
        ({"start": "yesterday"}, "start"),
        ({"start": 10, "end": 10}, "end"),
        ({"slots": [{"slot": "btc 1", "instrument_id": BTC_ID}]}, "btc 1"),
        ({"slots": [{"slot": "btc-1", "instrument_id": "BTC"}]}, r"slots\[0\].instrument_id"),
        ({"mark_s": 0.0}, "mark_s"),
        ({"worker_wait_s": -1.0}, "worker_wait_s"),
        ({"venue": {"leverage": 0.0}}, "venue.leverage"),
        ({"chunk_size": 1}, "chunk_size"),
        ({"preload": {"1s": ["no_such_feature"]}}, "no_such_feature"),
        ({"preload": {"7h": ["spread_bps"]}}, "7h"),
        ({"capital": "much"}, "capital: "),
    ],
)
def test_a_wrong_configuration_is_refused_with_file_and_field(folder, changes, words):
    with pytest.raises(ConfigError, match=words) as refused:
        load_arena_config(write(folder, "wrong.json", **changes))
    assert "wrong.json" in str(refused.value)


@pytest.mark.parametrize("quote", ["USDC", "usdt", ""])
def test_an_account_in_another_currency_than_the_market_is_refused_before_anything_runs(folder, quote):
    """Its balance would never move, and no ledger agree with it."""
    config = load_arena_config(write(folder, "quote.json", quote=quote))
    with pytest.raises(ConfigError, match=f"quote: is '{quote}', but BTCUSDT-LINEAR.SIM is quoted in 'USDT'"):
        run_arena(config, run_id="never")
    assert not (folder / "runs" / "never").exists()


def test_a_failed_run_is_marked_aborted(folder):
    config = load_arena_config(write(folder, "failing.json", name="failing"))

    def fail():
        raise OSError("no worker to be started")

    with pytest.raises(OSError, match="no worker"):
        run_arena(config, run_id="failed", opened=fail)
    assert read_run(folder / "runs" / "failed").state == "aborted"
    spoilt = catalog(folder / "spoilt", champions={"btc-1": genome()})
    file = spoilt.champion_file(BTC_ID, "btc-1")
    file.write_bytes(file.read_bytes().replace(b"spread_bps", b"spread_xxx"))
    config = load_arena_config(write(folder, "spoilt.json", strategies="spoilt", name="spoilt"))
    with pytest.raises(GenomeError, match="spread_xxx"):
        run_arena(config, run_id="spoilt")
    LedgerWriter(folder / "runs" / "spoilt" / "ledger", "arena").close()  # nobody holds it any more
    with pytest.raises(StoreError, match="no strategies"):
        run_arena(load_arena_config(write(folder, "nostrategies.json", strategies="market")))


def test_a_run_without_a_market_leaves_no_folder(folder):
    config = load_arena_config(write(folder, "nomarket.json", market="nowhere", name="nomarket"))
    with pytest.raises(MarketDataError, match="nowhere: not a market catalog"):
        run_arena(config, run_id="nomarket")
    assert read_run(folder / "runs" / "nomarket") is None


def test_the_shipped_configurations_name_six_slots_on_three_perpetuals(root):
    shipped = sorted((root / "configs" / "arena").glob("*.json"))
    assert shipped
    for file in shipped:
        config = load_arena_config(file)
        assert len(config.slots) == 6
        assert sorted(i.split("USDT")[0] for i in config.instrument_ids) == ["BTC", "ETH", "SOL"]
