"""The arena on a network that loses one command in twenty: the books agree at every mark."""

from __future__ import annotations

import json

import pytest
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from support.arena_case import BTC_ID, ETH_ID, START_NS, books, catalog, doomed, genome, path, perpetual

from apex_nautilus.actors import load_arena_config, run_arena
from apex_nautilus.data.external import write_external
from apex_nautilus.engine import ConfigError
from apex_nautilus.features.external import ExternalSeries

NETWORK = {"seed": 3, "loss": 0.05, "timeout_ms": 300.0, "feed": {"loss": 0.05}, "burst_coupling": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A minute of two instruments with funding every second, and genomes of which one dies and is
    replaced."""
    root = tmp_path_factory.mktemp("arena")
    market = ParquetDataCatalog(str(root / "market"))
    for k, instrument_id in enumerate((BTC_ID, ETH_ID)):
        market.write_data([perpetual(instrument_id)])
        deltas = [d for batch in books(instrument_id, path(60, bps_per_s=7.0, seed=k)) for d in batch.deltas]
        market.write_data(deltas)
        times = [START_NS + s * 10**9 for s in range(3, 60)]
        rates = [2e-4 * (-1) ** n * (1 + k) for n in range(len(times))]
        write_external(root / "market", ExternalSeries("funding_rate", times, rates), instrument_id)
    catalog(
        root / "catalog",
        champions={
            "btc-1": genome(hold_s=1.0),
            "btc-2": genome(side=-1.0, hold_s=1.2, p=0.4),
            "eth-1": doomed(instrument_id=ETH_ID),
        },
        incoming=[genome(instrument_id=ETH_ID, hold_s=0.7)],
    )
    return root


def run(folder, name, **changes):
    config = {
        "schema": "apex.arena/1",
        "name": name,
        "market": "market",
        "strategies": "catalog",
        "slots": [
            {"slot": "btc-1", "instrument_id": BTC_ID},
            {"slot": "btc-2", "instrument_id": BTC_ID},
            {"slot": "eth-1", "instrument_id": ETH_ID},
        ],
        "limits": {"max_leverage": 50.0},
        "contest": {"min_shadow_s": 2.0},
        "mark_s": 0.25,
        "ledger_mark_s": 1.0,
        "network": NETWORK,
        **changes,
    }
    (folder / f"{name}.json").write_text(json.dumps(config))
    return run_arena(load_arena_config(folder / f"{name}.json"), run_id=name)


@pytest.mark.parametrize("fills", ["touch", "queue"])
def test_the_books_agree_at_every_mark_and_a_run_repeats_to_the_byte(fills, folder):
    first, second = (
        run(folder, f"{fills}-{k}", venue={"fills": fills, "treasury": 100_000.0}) for k in (1, 2)
    )
    assert first.finish.marks >= 230
    assert first.finish.mismatches == 0
    assert abs(first.finish.account_cash - first.finish.ledger_cash) < 0.005
    ledgers = [(folder / "runs" / f"{fills}-{k}" / "ledger" / "arena.jsonl").read_bytes() for k in (1, 2)]
    assert ledgers[0] == ledgers[1]
    assert b"NETWORK_TIMEOUT" in ledgers[0]
    assert ledgers[0].count(b'"kind":"funding"') > 5
    assert len(first.deaths) >= 1
    assert second.finish == first.finish


def test_a_network_does_not_go_with_bars(folder):
    with pytest.raises(ConfigError, match="network: a run on bars has none"):
        run(folder, "bars", bars={})
