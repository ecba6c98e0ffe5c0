"""Recorded books through importer, Forge and Nautilus, in and out of sample side by side.

Beside what the Forge chooses trades a genome drawn by lot that claims to win in 40 % of its trades: the
Forge's may
well decline every trade, and what the market does to those who do not is worth seeing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apex_nautilus.cli._demo.lottery import draw_incumbent
from apex_nautilus.cli._demo.settings import DemoSettings
from apex_nautilus.cli._demo.simulated import Say
from apex_nautilus.data import Dataset, build_dataset, import_binance_capture
from apex_nautilus.engine.backtest import BacktestResult, run_backtest
from apex_nautilus.engine.config import AgentConfig, BacktestConfig
from apex_nautilus.features import get
from apex_nautilus.forge import EvolutionConfig, StudyResult, evolve, replay
from apex_nautilus.genome import Genome, compile_genome, encode, pack
from apex_nautilus.risk import rules_array
from apex_nautilus.store import LedgerWriter, write_atomic

__all__ = ["EXCERPTS", "MAX_HOLD_S", "RealAgent", "RealPart", "run_real"]

EXCERPTS = {
    "BTCUSDT-PERP.BINANCE": "btcusdt_usdm_20240808.gz",
    "ETHUSDT-PERP.BINANCE": "ethusdt_usdm_20240808.gz",
}

#: No window of a minute here: it would leave little of a recording of minutes.
_FEATURES = (
    "imbalance",
    "pressure",
    "clv",
    "ofi_1",
    "ofi_5",
    "microprice_minus_mid_bps",
    "spread_bps",
    "signed_volume_1s",
    "signed_volume_10s",
    "realised_volatility_10s",
)
_CONFLATE_MS = 100
MAX_HOLD_S = 5.0
"""Time-out on the excerpts: each border between the parts costs two of it."""


@dataclass(frozen=True)
class RealAgent:
    """One genome on the recording: what the replay says of the train part and of the test part."""

    name: str
    in_sample: np.void
    out_of_sample: np.void


@dataclass(frozen=True)
class RealPart:
    """What the real part came to; `seconds` is the length of the shortest recording."""

    studies: dict[str, StudyResult]
    agents: dict[str, RealAgent]
    backtest: BacktestResult
    seconds: float


def run_real(
    root: Path,
    captures: Mapping[str, Sequence[Path]],
    settings: DemoSettings,
    say: Say,
    *,
    max_hold_s: float = MAX_HOLD_S,
) -> RealPart:
    """Import, evolve on the first part, trade the last part in Nautilus. Everything is kept under `root`.

    Parameters
    ----------
    root : a folder that does not exist yet.
    captures : files of Binance captures by instrument id, in the order of time.
    settings : seed, population and generations are used.
    say : told of each step.
    max_hold_s : time-out of every genome.

    Raises
    ------
    ImportRefused, DataError, ForgeError
        When a capture cannot be read, or is too short to be split.
    """
    market = root / "market"
    for folder in ("genomes", "ledger"):
        (root / folder).mkdir(parents=True)
    studies, agents, configs, starts, spans = {}, {}, [], [], []
    config = EvolutionConfig(
        population=settings.population,
        generations=settings.generations,
        max_holds_s=(max_hold_s,),
        min_trades=20,
    )
    for number, (instrument, files) in enumerate(captures.items()):
        symbol = instrument.partition("-")[0].lower()
        imported = import_binance_capture(list(files), market, instrument)
        data = build_dataset(
            market, instrument, "book", _FEATURES, root / "datasets" / instrument, conflate_ms=_CONFLATE_MS
        )
        now_ns = int(data.ts_ns[-1])
        with LedgerWriter(root / "ledger", f"forge-{symbol}", group_commit=1000) as ledger:
            study = evolve(
                data,
                config,
                settings.seed * 1000 + 100 + number,
                clock=lambda now_ns=now_ns: now_ns,
                ledger=ledger,
            )
        studies[symbol] = study
        lot = draw_incumbent(
            data,
            np.random.default_rng([settings.seed, 2, number]),
            stops_bps=(20.0, 30.0),
            max_hold_s=max_hold_s,
        )
        parts = data.splits(round(max_hold_s * 1e9), config.train, config.validation)
        starts.append(int(data.ts_ns[parts.test[0]]))
        spans.append((now_ns - int(data.ts_ns[0])) / 1e9)
        for slot, genome in ((f"{symbol}_forge", study.genome), (f"{symbol}_by_lot", lot)):
            agents[slot] = RealAgent(
                slot, *(_replayed(data, genome, rows) for rows in (parts.train, parts.test))
            )
            file = root / "genomes" / f"{slot}.json"
            write_atomic(file, encode(genome))
            configs.append(AgentConfig(slot=slot, instrument_id=instrument, genome=str(file)))
        say(
            f"  {instrument}: {sum(imported.kept.values()):,} messages kept, {len(data):,} rows; "
            f"{study.trials.count} trials, "
            f"gate {study.genome.evidence.gate}"
        )
    backtest = run_backtest(
        BacktestConfig(
            schema="apex.backtest/1",
            name="real",
            catalog=str(market),
            agents=configs,
            # windows fill before the first decision, so that it falls on the first row the Forge had not seen
            start=max(starts) - max(get(name).warmup_ns for name in _FEATURES),
            runs=str(root / "runs"),
        ),
        run_id="real",
    )
    say(f"  traded the last {(backtest.end_ns - backtest.start_ns) / 1e9:.0f} s in Nautilus")
    return RealPart(studies, agents, backtest, min(spans))


def _replayed(data: Dataset, genome: Genome, rows: tuple[int, int]) -> np.void:
    return replay(data, pack([compile_genome(genome)]), rules_array([genome], data.instrument), rows)[0]
