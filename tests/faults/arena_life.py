"""A day of a small arena, as a script that the crash tests kill: swaps, deaths and answered requests.

``python arena_life.py SOURCE RUNS RUN_ID DAY`` runs it on a copy of SOURCE, as every backtest does. The Forge
is a worker in the same process that answers each request the moment the arena waits for it, so that a kill
hits its steps too and a day passes the same points each time it is lived.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds no `support` by itself

from nautilus_trader.backtest.engine import BacktestEngine
from support.arena_case import BTC_ID, ETH_ID, arena_config, catalog, doomed, genome, path, simulate

from apex_nautilus.actors import forge_desk, open_run
from apex_nautilus.genome import Genome, encode
from apex_nautilus.store import CatalogLayout, FileJobQueue, JobQueue, RecycleJob, drop, holds

SLOTS = {"btc-1": BTC_ID, "btc-2": BTC_ID, "eth-1": ETH_ID}


def plant(root: Path) -> CatalogLayout:
    """A catalog whose day brings contested swaps, deaths with requests, and empty slots that are taken."""
    champions = {
        "btc-1": genome(side=-1.0),
        "btc-2": doomed(),
        "eth-1": doomed(1, instrument_id=ETH_ID),
    }
    incoming = [
        genome(side=1.0, stop_bps=30.0, hold_s=6.0, slot="btc-1"),
        genome(side=1.0, stop_bps=35.0, hold_s=6.0, dsr=0.4),
        doomed(2, instrument_id=ETH_ID),
    ]
    layout = catalog(root, champions=champions, incoming=incoming)
    (layout.incoming / "broken.json").write_bytes(b"{")
    return layout


def answer(job: RecycleJob) -> Genome:
    """The genome that answers `job`: two of three die as their forerunners did."""
    drawn = int.from_bytes(hashlib.sha256(job.job_id.encode()).digest()[:4], "big")
    k = 5.0 + drawn / 2**30
    if drawn % 3 == 0:
        return genome(stop_bps=30.0 + k, hold_s=6.0, instrument_id=job.asset, slot=job.slot)
    return doomed(k, instrument_id=job.asset, slot=job.slot)


def work(queue: JobQueue) -> None:
    """Answer all that waits, as a worker does: drop the genome unless it was dropped, then say so."""
    while (claim := queue.claim("forge")) is not None:
        if isinstance(claim.job, RecycleJob):
            found = answer(claim.job)
            if holds(queue.layout, found.id) is None:
                drop(queue.layout, found.id, encode(found))
            queue.complete(claim, {"genome_id": found.id})
        else:
            queue.complete(claim, {})


def live(source: Path, runs: Path, run_id: str, day: int = 0) -> BacktestEngine:
    """Live a day on a copy of `source`; return the engine, ended but not disposed of."""
    run = open_run(source, runs, run_id)
    config = arena_config(
        run.layout,
        SLOTS,
        limits={"decay_psr": 0.0},
        contest={
            "confidence": 0.9,
            "min_trades": 4,
            "min_shadow_s": 3.0,
            "idle_expiry_s": 0.0,
            "every_s": 3.0,
        },
        worker_wait_s=60.0,
    )
    prices = {i: path(70, bps_per_s=7.0, seed=2 * day + k) for k, i in enumerate((BTC_ID, ETH_ID))}
    waiting = forge_desk.wait_for_answer

    def served(queue: JobQueue, job_id: str, timeout_s: float) -> str:
        work(queue)
        return waiting(queue, job_id, timeout_s)

    forge_desk.wait_for_answer = served
    try:
        engine = simulate(config, prices)
    finally:
        forge_desk.wait_for_answer = waiting
    work(
        FileJobQueue(run.layout)
    )  # what was not waited for: news of promotions, requests that came with the copy
    run.finish()
    return engine


if __name__ == "__main__":
    live(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])).dispose()
