"""Works on a queue until it is empty; as a script it is the victim of the crash tests.

Arguments: `file FOLDER` or `redis URL`, the lease in seconds, the worker's name, and a folder where each job
that was worked on leaves a line. With `APEX_FAULT` set it dies at the point that names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from apex_nautilus.store import CatalogLayout, FileJobQueue, JobQueue, RecycleJob

BTC = "BTCUSDT-LINEAR.BYBIT"
START_NS = 1_700_000_000 * 10**9


def job(second: int, slot: str = "btc-1") -> RecycleJob:
    return RecycleJob.create(
        asset=BTC, slot=slot, created_ns=START_NS + second * 10**9, terminated_model_id="a" * 16
    )


def open_queue(kind: str, where: str, lease_s: float) -> JobQueue:
    if kind == "file":
        return FileJobQueue(CatalogLayout(where))
    from apex_nautilus.store.redis_jobs import RedisJobQueue

    return RedisJobQueue(where, lease_s=lease_s)


def drain(queue: JobQueue, owner: str, traces: Path) -> list[str]:
    """Answer every job that is to be had; each leaves a line in the worker's own file before it is closed."""
    taken = []
    queue.recover()
    while (claim := queue.claim(owner)) is not None:
        with (traces / f"{owner}.{os.getpid()}").open("a", encoding="utf-8") as trace:
            trace.write(f"{claim.job.job_id} {claim.attempt}\n")
        status = queue.complete(claim, {"genome_id": claim.job.job_id, "by": owner})
        taken.append(status.job.job_id)
    return taken


if __name__ == "__main__":
    queue = open_queue(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    if sys.argv[5] == "put":  # asks, and dies on the way where a fault says so
        for second in range(6):
            queue.put(job(second))
    else:
        drain(queue, sys.argv[4], Path(sys.argv[5]))
