"""A day of a small arena, as a script that the crash tests kill: swaps, deaths and jobs in a Nautilus
backtest.

``python arena_life.py SOURCE RUNS RUN_ID`` runs it on a copy of SOURCE, as every backtest does.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds no `support` by itself

from support.arena_case import BTC_ID, ETH_ID, arena_config, catalog, doomed, genome, path, simulate

from apex_nautilus.actors import open_run

SLOTS = {"btc-1": BTC_ID, "btc-2": BTC_ID, "eth-1": ETH_ID}


def plant(root: Path):
    """A catalog whose day brings one contested swap, deaths with jobs, and an empty slot that is taken."""
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


def live(source: Path, runs: Path, run_id: str) -> None:
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
    )
    prices = {i: path(70, bps_per_s=7.0, seed=k) for k, i in enumerate((BTC_ID, ETH_ID))}
    simulate(config, prices).dispose()
    run.finish()


if __name__ == "__main__":
    live(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
