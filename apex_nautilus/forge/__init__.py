"""Where strategies are evolved, calibrated, judged and handed out.

In: a `Dataset`, an `EvolutionConfig`, a seed; or recycle jobs from the catalog. Out: genomes with their
evidence, as files in ``incoming/``; and the ledger of every trial that was made to find them.

`evolve` breeds (DEAP's typed trees, `evolution`), values each behaviour once by replaying it (`replay`,
`fitness`) with a probability learnt from its own events (`calibration`), chooses on the validation part,
opens the test part once and asks the gate (`promote`). `deploy` writes what may be written. `work_once` does
all of it for a recycle job. The Forge knows nothing of engines: it meets the arena in files.
"""

from __future__ import annotations

from apex_nautilus.forge.calibration import PlattFit, fit_platt
from apex_nautilus.forge.config import EvolutionConfig, default_brackets
from apex_nautilus.forge.conversion import convert_legacy
from apex_nautilus.forge.elite import Elite, elite_seeds, file_elite, list_elites
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.evaluation import StudyData, Trial
from apex_nautilus.forge.events import Events, events_of
from apex_nautilus.forge.evolution import GenerationReport
from apex_nautilus.forge.fitness import time_to_target
from apex_nautilus.forge.promote import Lottery, Trials, deploy, judge
from apex_nautilus.forge.replay import (
    EXIT_KINDS,
    RESULT,
    TRADE,
    MarketArrays,
    bar_market,
    book_market,
    dataset_market,
    replay,
    replay_curves,
    replay_trades,
)
from apex_nautilus.forge.study import StudyResult, evolve, study_id_of
from apex_nautilus.forge.worker import WORKER_CONFIG, find_genome, job_seed, work_once

__all__ = [
    "EXIT_KINDS",
    "RESULT",
    "TRADE",
    "WORKER_CONFIG",
    "Elite",
    "Events",
    "EvolutionConfig",
    "ForgeError",
    "GenerationReport",
    "Lottery",
    "MarketArrays",
    "PlattFit",
    "StudyData",
    "StudyResult",
    "Trial",
    "Trials",
    "bar_market",
    "book_market",
    "convert_legacy",
    "dataset_market",
    "default_brackets",
    "deploy",
    "elite_seeds",
    "events_of",
    "evolve",
    "file_elite",
    "find_genome",
    "fit_platt",
    "job_seed",
    "judge",
    "list_elites",
    "replay",
    "replay_curves",
    "replay_trades",
    "study_id_of",
    "time_to_target",
    "work_once",
]
