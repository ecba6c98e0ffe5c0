"""All features of the arena at once, in two processes that hash differently: the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from support.arena_case import BTC_ID, ETH_ID, books, catalog, doomed, genome, path, perpetual

from apex_nautilus.actors import load_arena_config, read_result, run_arena
from apex_nautilus.genome import Evidence, Result, encode
from apex_nautilus.store import CatalogLayout, FileJobQueue, drop, read_all

SLOTS = {"btc-1": BTC_ID, "btc-2": BTC_ID, "eth-1": ETH_ID, "eth-2": ETH_ID}
SETTINGS = {
    "venue": {"fills": "queue", "treasury": 50_000.0},
    "network": {"seed": 3, "loss": 0.03, "timeout_ms": 300.0, "feed": {"loss": 0.03}, "burst_coupling": 0.5},
    "allocator": {"every_s": 5.0, "rate": 0.5, "risk_parity": 0.25},
    "shrink": True,
    "contest": {
        "confidence": 0.8,
        "min_trades": 3,
        "min_shadow_s": 2.0,
        "idle_expiry_s": 20.0,
        "every_s": 5.0,
    },
    "limits": {"max_leverage": 50.0, "min_trades": 5, "window": 20, "decay_psr": 0.0, "promotion_dsr": 0.05},
    "mark_s": 0.5,
    "ledger_mark_s": 1.0,
    "worker_wait_s": 60.0,
    "ask_for_empty_slots": True,
}


def known(one):
    """A genome that was measured: with `shrink` the others bet nothing."""
    evidence = Evidence(out_of_sample=Result(sharpe=0.3, trades=400, dsr=0.5), gate="passed")
    return msgspec.structs.replace(one, evidence=evidence)


def answer(layout: CatalogLayout, stop: threading.Event) -> None:
    """A worker whose answers follow from the job alone."""
    queue = FileJobQueue(layout)
    while not stop.is_set():
        claim = queue.claim("worker")
        if claim is None:
            stop.wait(0.01)
            continue
        job = claim.job
        if job.job_type == "RECYCLE_DNA":
            k = int(job.job_id[-4:], 16) % 97
            one = known(genome(side=1.0, stop_bps=15.0 + k / 10, instrument_id=job.asset, slot=job.slot))
            drop(layout, one.id, encode(one))
        queue.complete(claim, {})


def everything(root: Path) -> None:
    market = ParquetDataCatalog(str(root / "market"))
    for k, instrument_id in enumerate((BTC_ID, ETH_ID)):
        market.write_data([perpetual(instrument_id)])
        prices = path(60, bps_per_s=6.0, seed=k, noise_bps=2.0)
        market.write_data([d for batch in books(instrument_id, prices) for d in batch.deltas])
    catalog(
        root / "catalog",
        champions={
            "btc-1": known(genome(side=-1.0, hold_s=1.0)),
            "btc-2": known(doomed()),
            "eth-1": known(genome(side=-1.0, hold_s=1.5, p=0.4, instrument_id=ETH_ID)),
        },
        incoming=[
            known(genome(side=1.0, stop_bps=30.0, hold_s=6.0, slot="btc-1")),
            known(genome(side=1.0, stop_bps=33.0, hold_s=7.0, slot="btc-1")),
            known(genome(side=1.0, stop_bps=30.0, hold_s=5.0, instrument_id=ETH_ID)),
            genome(side=1.0, p=0.55, instrument_id=ETH_ID),  # without evidence it never bets, and expires
        ],
    )
    (root / "catalog" / "strategies" / "incoming" / "broken.json").write_bytes(b"{")
    slots = [{"slot": name, "instrument_id": instrument} for name, instrument in SLOTS.items()]
    body = {"schema": "apex.arena/1", "name": "all", "market": "market", "strategies": "catalog"}
    (root / "arena.json").write_text(json.dumps({**body, "slots": slots, **SETTINGS}))
    stop = threading.Event()
    worker = threading.Thread(target=answer, args=(CatalogLayout(root / "runs" / "all"), stop), daemon=True)
    try:
        run_arena(load_arena_config(root / "arena.json"), run_id="all", opened=worker.start)
    finally:
        stop.set()
        worker.join()


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    found = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")]
    code = (
        "import sys; from pathlib import Path; import test_everything_repeats as t; "
        "t.everything(Path(sys.argv[1]))"
    )
    running = []
    for k, root in enumerate(found):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(k + 1),
            "PYTHONPATH": os.pathsep.join([*sys.path, *map(str, Path(__file__).parents[:2])]),
        }
        running.append(subprocess.Popen([sys.executable, "-c", code, str(root)], env=environment))
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    return found


def test_ledgers_and_logs_are_the_same_to_the_byte(roots):
    runs = [root / "runs" / "all" for root in roots]
    patterns = ("ledger/*.jsonl", "logs/**/*.jsonl", "logs/**/*.csv")
    names = [sorted(p.relative_to(run) for glob in patterns for p in run.glob(glob)) for run in runs]
    assert names[0] == names[1]
    assert len(names[0]) >= 3
    for name in names[0]:
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes(), name
    folders = [
        {str(p.relative_to(run)): p.read_bytes() for p in (run / "strategies").rglob("*.json")}
        for run in runs
    ]
    assert folders[0] == folders[1]


def test_everything_that_can_differ_was_in_it(roots):
    run = roots[0] / "runs" / "all"
    result = read_result(run)
    lines = read_all(run / "ledger")
    kinds = {line.kind for line in lines}
    assert {"swap", "burial", "job", "job_end", "allocation", "rejection", "order_refusal"} <= kinds
    assert len(result.deaths) >= 1
    assert any(swap.outgoing for _, swap in result.swaps)  # a contest, not an empty slot alone
    assert {line.fields["status"] for line in lines if line.kind == "job_end"} == {"done"}
    assert any("NETWORK_TIMEOUT" in line.fields["reason"] for line in lines if line.kind == "order_refusal")
    weights = [line.fields["multipliers"] for line in lines if line.kind == "allocation"]
    assert any(max(found) > 1.05 for found in weights)
    assert any(
        agent.burial is not None and agent.burial.cause == "expired" for agent in result.agents.values()
    )
    assert result.finish.mismatches == 0
    born = [agent for agent in result.agents.values() if agent.birth.role == "shadow"]
    assert any(agent.born_ns in {ts_ns for ts_ns, _ in result.jobs} for agent in born)  # a worker's answer
