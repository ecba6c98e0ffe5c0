"""A catalog's life in small: slots die, jobs are asked for and answered, genomes move in and are swapped.

Run as a script it is the victim of the crash tests; called again it takes up whatever the crash left.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from apex_nautilus.store import (
    CatalogLayout,
    FileJobQueue,
    LedgerWriter,
    RecycleJob,
    drop,
    holds,
    list_champions,
    move,
    recover,
    retire,
    swap,
)

INSTRUMENT = "BTCUSDT-LINEAR.BYBIT"
JOBS = [
    RecycleJob.create(asset=INSTRUMENT, slot=f"btc-{k % 2 + 1}", created_ns=1_700_000_000 * 10**9 + k)
    for k in range(6)
]


def genome_id(job: RecycleJob) -> str:
    return hashlib.sha256(job.job_id.encode()).hexdigest()[:16]


def genome(job: RecycleJob) -> bytes:
    provenance = {"job_id": job.job_id, "slot": job.slot}
    return json.dumps({"id": genome_id(job), "instrument_id": INSTRUMENT, "provenance": provenance}).encode()


def live(root: Path) -> None:
    """Bring the catalog to its last day, from wherever it stands."""
    layout = CatalogLayout(root)
    recover(layout)
    queue = FileJobQueue(layout)
    queue.recover()
    with LedgerWriter(layout.ledger, "life") as ledger:
        for k, job in enumerate(JOBS):
            if k == 4:  # one slot dies, the others are contested
                for champion in list_champions(layout):
                    if champion.genome_id == genome_id(JOBS[2]):
                        retire(layout, INSTRUMENT, champion.slot)
            if queue.put(job):
                ledger.append("asked", k, {"job_id": job.job_id})
            while (claim := queue.claim("worker")) is not None:
                answer = genome_id(claim.job)
                if holds(layout, answer) is None:
                    drop(layout, answer, genome(claim.job))
                queue.complete(claim, {"genome_id": answer})
                ledger.append("answered", k, {"genome_id": answer})
            for path in sorted(layout.incoming.glob("strategy_*.json")):
                layout.challengers(INSTRUMENT).mkdir(parents=True, exist_ok=True)
                move(path, layout.challengers(INSTRUMENT) / path.name)
            for path in sorted(layout.challengers(INSTRUMENT).glob("strategy_*.json")):
                slot = json.loads(path.read_bytes())["provenance"]["slot"]
                swap(layout, slot, path)
                ledger.append("swapped", k, {"slot": slot})


if __name__ == "__main__":
    live(Path(sys.argv[1]))
