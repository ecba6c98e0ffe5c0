"""The simulated part: markets, studies, arena, worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from apex_nautilus.actors.arena_backtest import ARENA_SCHEMA, ArenaRunConfig, run_arena
from apex_nautilus.actors.arena_config import SlotConfig
from apex_nautilus.actors.contest import ContestRules
from apex_nautilus.actors.result import ArenaResult
from apex_nautilus.actors.watchtower import Limits
from apex_nautilus.cli._demo.lottery import draw_incumbent
from apex_nautilus.cli._demo.settings import FEATURES, INSTRUMENTS, DemoSettings, turbulent
from apex_nautilus.data import Dataset, build_dataset, to_catalog
from apex_nautilus.forge import EvolutionConfig, StudyResult, deploy, evolve
from apex_nautilus.genome import BpsStop, encode
from apex_nautilus.sim import Market
from apex_nautilus.store import CatalogLayout, LedgerWriter, install, write_atomic

__all__ = ["Say", "SimulatedPart", "run_simulated"]

Say = Callable[[str], None]
_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True)
class SimulatedPart:
    """What the simulated part came to."""

    studies: dict[str, StudyResult]
    arena: ArenaResult
    opened_ns: int


def run_simulated(root: Path, settings: DemoSettings, say: Say) -> SimulatedPart:
    """Simulate, evolve, trade, judge, replace; everything is kept under `root`."""
    layout = CatalogLayout(root / "catalog")
    layout.ensure()
    say(f"[bold]simulating[/bold] {len(INSTRUMENTS)} markets")
    opened_ns = _simulate(layout, settings, say)
    say("[bold]datasets[/bold] of the history, the arena's time excluded")
    datasets = _datasets(root, layout, opened_ns, say)
    say("[bold]evolving[/bold] a challenger for each of six slots")
    studies = _challengers(root, layout, datasets, settings, opened_ns, say)
    _incumbents(layout, datasets, settings, say)
    say(f"[bold]the arena[/bold] trades {settings.arena_minutes:.0f} minutes in Nautilus, a worker beside it")
    arena = _arena(root, layout, settings, opened_ns, say)
    return SimulatedPart(studies, arena, opened_ns)


def slots() -> list[SlotConfig]:
    """Two slots an instrument: ``btc_1``, ``btc_2``, ..."""
    return [
        SlotConfig(slot=f"{instrument[:3].lower()}_{n}", instrument_id=instrument)
        for instrument in INSTRUMENTS
        for n in (1, 2)
    ]


def study_config(settings: DemoSettings) -> EvolutionConfig:
    """A study small enough for a demonstration; stops as wide as the turbulent hour asks for."""
    return EvolutionConfig(
        population=settings.population,
        generations=settings.generations,
        stops=(BpsStop(20.0), BpsStop(40.0), BpsStop(80.0)),
        max_holds_s=(60.0, 180.0),
        min_trades=20,
    )


def _simulate(layout: CatalogLayout, settings: DemoSettings, say: Say) -> int:
    """Write each market into the catalog; return the time at which the arena opens."""
    minutes = settings.history_minutes + settings.arena_minutes
    seeds = np.random.SeedSequence(settings.seed).generate_state(len(INSTRUMENTS))
    opened_ns = 0
    for instrument, seed in zip(INSTRUMENTS, seeds):
        population = turbulent(instrument, settings.turbulence)
        tape = Market(population, int(seed)).run(round(minutes * _MINUTE_NS))
        to_catalog(tape, population.instrument, layout.market)
        opened_ns = int(tape.events["ts_init_ns"][0]) + round(settings.history_minutes * _MINUTE_NS)
        say(
            f"  {instrument}: {len(tape.events):,} events, {len(tape.trades):,} trades in {minutes:.0f} "
            f"minutes of market"
        )
    return opened_ns


def _datasets(root: Path, layout: CatalogLayout, end_ns: int, say: Say) -> dict[str, Dataset]:
    """Datasets of the history alone, the arena's hour excluded."""
    made = {}
    for instrument in INSTRUMENTS:
        folder = root / "datasets" / instrument
        made[instrument] = build_dataset(layout.market, instrument, "1s", FEATURES, folder, end=end_ns)
        say(f"  {instrument}: {len(made[instrument]):,} rows of {len(FEATURES)} features")
    return made


def _challengers(
    root: Path,
    layout: CatalogLayout,
    datasets: dict[str, Dataset],
    settings: DemoSettings,
    now_ns: int,
    say: Say,
) -> dict[str, StudyResult]:
    """One study a slot; what each found goes into ``incoming/``, with the gate's verdict in it."""
    studies = {}
    (root / "studies").mkdir()
    for number, slot in enumerate(slots()):
        with LedgerWriter(layout.ledger, f"forge-{slot.slot}", group_commit=1000) as ledger:
            result = evolve(
                datasets[slot.instrument_id],
                study_config(settings),
                settings.seed * 1000 + number,
                clock=lambda: now_ns,
                checkpoint=root / "studies" / f"{slot.slot}.json",
                ledger=ledger,
                slot=slot.slot,
            )
            deploy(layout, result.genome, clock=lambda: now_ns, ledger=ledger, keep_refused=True)
        studies[slot.slot] = result
        inside, outside = result.genome.evidence.in_sample, result.genome.evidence.out_of_sample
        say(
            f"  {slot.slot}: {result.trials.count} trials, time-to-target {_ttt(inside)} in sample, "
            f"{_ttt(outside)} out; "
            f"gate {result.genome.evidence.gate}"
        )
    return studies


def _ttt(result) -> str:
    return "-" if result is None or result.time_to_target is None else f"{result.time_to_target:.2f}"


def _incumbents(
    layout: CatalogLayout, datasets: dict[str, Dataset], settings: DemoSettings, say: Say
) -> None:
    rng = np.random.default_rng([settings.seed, 1])
    for slot in slots():
        genome = draw_incumbent(datasets[slot.instrument_id], rng)
        install(layout, slot.slot, encode(genome))
    say("  six incumbents drawn by lot, each claiming a win in 40 % of its trades")


def _arena(
    root: Path, layout: CatalogLayout, settings: DemoSettings, opened_ns: int, say: Say
) -> ArenaResult:
    config = ArenaRunConfig(
        schema=ARENA_SCHEMA,
        name="arena",
        market=str(layout.market),
        strategies=str(layout.root),
        runs=str(root / "runs"),
        slots=slots(),
        start=opened_ns,
        # Stricter than the defaults, and asking for fewer trades: an hour is short.
        limits=Limits(drawdown=0.5, decay_psr=0.05),
        contest=ContestRules(min_trades=10, min_shadow_s=60.0),
        preload={"1s": list(FEATURES)},
        ledger_mark_s=10.0,
        worker_wait_s=settings.worker_wait_s,
    )
    write_atomic(root / "arena.json", msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
    worker_config = root / "worker.json"
    write_atomic(worker_config, msgspec.json.encode(study_config(settings)))
    run_root = root / "runs" / "arena"
    with _worker(run_root, root, worker_config) as started:
        result = run_arena(config, run_id="arena", opened=started)
    say(
        f"  {len(result.agents)} agents lived, {len(result.deaths)} died, {len(result.swaps)} changes of "
        f"champion"
    )
    return result


@contextmanager
def _worker(run_root: Path, root: Path, config: Path):
    """A worker process beside the arena, from the moment the run's folder is there until the arena ends."""
    process: list[subprocess.Popen] = []
    log = (root / "worker.log").open("wb")

    def start() -> None:
        command = [sys.executable, "-m", "apex_nautilus.cli.forge", "worker", "--catalog", str(run_root)]
        command += ["--dataset-root", str(root / "datasets"), "--config", str(config)]
        process.append(
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        )

    try:
        yield start
    finally:
        for p in process:
            p.terminate()
            p.wait()
        log.close()
