"""A study and two recycle jobs in small; as a script it is the victim of the crash tests.

Called again it takes up whatever the crash left.
"""

from __future__ import annotations

import sys
from pathlib import Path

import planted

from apex_nautilus.forge import EvolutionConfig, deploy, evolve, work_once
from apex_nautilus.store import CatalogLayout, FileJobQueue, LedgerWriter, RecycleJob

CONFIG = EvolutionConfig(
    population=12, generations=2, max_holds_s=(30.0,), hall_of_fame=4, min_trades=10, threads=1, lottery=12
)
JOBS = [
    RecycleJob.create(asset=planted.INSTRUMENT.id, slot=slot, created_ns=1_700_003_000 * 10**9)
    for slot in ("btc-1", "btc-2")
]


def live(root: Path) -> None:
    """Finish the study and answer both jobs, from wherever they stand."""
    data = planted.market(2000)
    layout = CatalogLayout(root).ensure()
    with LedgerWriter(layout.ledger, "forge-main") as ledger:
        result = evolve(
            data, CONFIG, 3, clock=lambda: 5, checkpoint=layout.studies / "main.json", ledger=ledger
        )
        deploy(layout, result.genome, clock=lambda: 5, ledger=ledger, keep_refused=True)
    queue = FileJobQueue(layout)
    for job in JOBS:
        queue.put(job)
    while work_once(layout, {data.instrument.id: data}, config=CONFIG, owner="worker") is not None:
        pass


if __name__ == "__main__":
    live(Path(sys.argv[1]))
