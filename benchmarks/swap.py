"""Taking a challenger in: from the file in ``incoming/`` to a genome that may trade, in milliseconds.

What is timed is what the Pit Crew does between finding a file and bearing its agent: claim, read, decode
within the limits, check, compile to bytecode. Decoding stands beside `json.loads`, which looks at no limit
and no name. Every file must be taken, and give the genome that was written. Flattening the agents that leave
is a matter of the market and is reported apart, in engine time: from the line that begins a swap to the one
that ends it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Row

GOAL_MS = 10.0
_FEATURES = (
    "imbalance",
    "microprice_minus_mid_bps",
    "ofi_1",
    "ofi_5",
    "pressure",
    "signed_volume_1s",
    "spread_bps",
)
_INSTRUMENT = "BTCUSDT-LINEAR.SIM"


def _genomes(n: int) -> list:
    """Genomes of all sizes up to the limits of the format, each another."""
    from apex_nautilus.genome import BpsStop, Bracket, Genome, Platt, sealed
    from apex_nautilus.genome.random_trees import random_tree

    rng = np.random.default_rng(11)
    return [
        sealed(
            Genome(
                instrument_id=_INSTRUMENT,
                clock="1s",
                features=_FEATURES,
                signal=random_tree(rng, len(_FEATURES), depth=3 + k % 5, full=k % 2 == 0),
                confidence=random_tree(rng, len(_FEATURES), depth=3 + k % 4),
                calibration=Platt(1.0, -0.5),
                bracket=Bracket(stop=BpsStop(10.0 + k / 1000.0), max_hold_s=60.0),
            )
        )
        for k in range(n)
    ]


def _row(
    name: str,
    values: np.ndarray,
    rounds: int,
    unit: str,
    goal: float | None,
    work: str,
    peer: str = "",
    theirs: float | None = None,
) -> Row:
    ours = float(np.median(values))
    return Row(
        name=name, unit=unit, ours=ours, peer=peer, theirs=theirs,
        ratio=None if theirs is None else theirs / ours,
        goal="" if goal is None else f"<= {goal:g} {unit}", holds=None if goal is None else ours <= goal,
        same_work=work, repeats=rounds, spread=float((values.max() - values.min()) / ours) if ours else None,
    )  # fmt: skip


def run(quick: bool) -> Iterator[Row]:
    """Yield p50 and p99 of taking a file in, of its parts, and of the change of a champion's file."""
    from apex_nautilus.actors.intake import Intake
    from apex_nautilus.features import names
    from apex_nautilus.genome import compile_genome, decode, encode
    from apex_nautilus.store import CatalogLayout, drop, swap

    n, rounds = (200, 3) if quick else (1_000, 5)
    genomes = _genomes(n)
    files = [encode(g) for g in genomes]
    known = frozenset(names("book"))
    work = f"{n:,} genomes of {min(map(len, files)):,} to {max(map(len, files)):,} bytes"
    taken, whole, decoded, compiled, changed, parsed = [], [], [], [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            layout = CatalogLayout(Path(scratch)).ensure()
            intake = Intake(layout, known_features=known, instruments=(_INSTRUMENT,))
            micros, seconds, swaps = [], [], []
            for genome, data in zip(genomes, files, strict=True):
                drop(layout, genome.id, data)
                start = time.perf_counter()
                (arrival,) = intake.poll(lambda _: None)
                seconds.append(time.perf_counter() - start)
                if arrival.genome is None:
                    raise RuntimeError(f"a genome that should pass was refused: {arrival.reason}")
                if arrival.genome.id != genome.id:
                    raise RuntimeError(f"genome {genome.id} came in as {arrival.genome.id}")
                micros.append(arrival.micros)
                if len(swaps) < n // 10:
                    start = time.perf_counter()
                    swap(layout, f"slot-{len(swaps)}", arrival.path)
                    swaps.append(time.perf_counter() - start)
            taken.append(np.percentile(micros, [50, 99]) / 1e3)
            whole.append(np.percentile(seconds, [50, 99]) * 1e3)
            changed.append(np.percentile(swaps, [50, 99]) * 1e3)
        parts = [[], [], []]
        for data in files:
            start = time.perf_counter()
            json.loads(data)
            parts[2].append(time.perf_counter() - start)
            start = time.perf_counter()
            genome = decode(data, known_features=known)
            middle = time.perf_counter()
            compile_genome(genome)
            parts[0].append(middle - start)
            parts[1].append(time.perf_counter() - middle)
        decoded.append(np.percentile(parts[0], [50, 99]) * 1e3)
        compiled.append(np.percentile(parts[1], [50, 99]) * 1e3)
        parsed.append(np.percentile(parts[2], [50, 99]) * 1e3)
    plain = np.median(parsed, axis=0).tolist()
    for name, rows, goal in (
        ("challenger: load, validate, compile", taken, GOAL_MS),
        ("challenger: the same and its file moved, flushed to disk", whole, None),
        ("challenger: decode and validate alone", decoded, None),
        ("challenger: compile alone", compiled, None),
        ("champion's file changed, flushed to disk", changed, None),
    ):
        table = np.array(rows)
        for k, (q, bound) in enumerate(((50, None), (99, goal))):
            peer = ("json.loads alone", plain[k]) if rows is decoded else ()
            yield _row(f"{name}, p{q}", table[:, k], rounds, "ms", bound, work, *peer)
    yield from _flattening()


def _flattening() -> Iterator[Row]:
    """Engine time from the beginning of a swap to its end, in a market made for it."""
    import sys

    tests = Path(__file__).resolve().parents[1] / "tests"
    sys.path.insert(0, str(tests))
    try:
        from support.arena_case import BTC_ID, arena_config, catalog, genome, path, simulate
    finally:
        sys.path.remove(str(tests))
    from apex_nautilus.store import read_all

    with tempfile.TemporaryDirectory() as scratch:
        incoming = [genome(side=1.0, stop_bps=30.0 + k, hold_s=6.0) for k in range(4)]
        layout = catalog(Path(scratch), champions={"btc-1": genome(side=-1.0)}, incoming=incoming)
        rules = {"confidence": 0.6, "min_trades": 4, "idle_expiry_s": 0.0, "every_s": 1.0}
        config = arena_config(layout, {"btc-1": BTC_ID}, limits={"decay_psr": 0.0}, contest=rules)
        simulate(config, {BTC_ID: path(120, bps_per_s=8.0)}).dispose()
        begun, took = {}, []
        for line in read_all(layout.ledger, kinds=("swap_begin", "swap")):
            if line.kind == "swap_begin":
                begun[line.fields["slot"]] = line.ts_ns
            else:
                took.append((line.ts_ns - begun.pop(line.fields["slot"])) / 1e6)
    name = "swap: flattening both agents, engine time to the next mark (1 s), largest"
    yield _row(name, np.array([max(took)]), len(took), "ms", None, f"{len(took)} swaps in a backtest")
