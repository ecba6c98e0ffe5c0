"""The arena: agents that live, die and are replaced, inside a Nautilus node.

In: a catalog (``strategies/``, ``jobs/``, ``ledger/``) and a node with a feed hub an instrument. Out: agents
that trade their own money, verdicts and swaps in the ledger, jobs for the Forge, champion files that say who
trades.

- `ArenaController` is the node's one controller; it translates between the engine and what decides.
- `Watchtower` (`judge`), `Allocator` and `PitCrew` decide, on numbers and directories alone.
- `reconcile` holds the agents' ledgers against the venue's account; `rebuild_books` makes them again from the
  journal.
- `run_arena` runs a backtest of it on a copy of a catalog (`open_run`); `read_result` reads what came of it.

The names that need the engine (`ArenaController`, `ArenaConfig`, `run_arena`, ...) are imported when first
used, so that reading a ledger does not wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from apex_nautilus.actors.allocator import ALLOCATION_TOPIC, Allocation, Allocator, AllocatorRules
from apex_nautilus.actors.books import AgentBook, Books, rebuild_books
from apex_nautilus.actors.contest import ContestRules, decide_contest
from apex_nautilus.actors.reconciliation import Balance, Reconciliation, reconcile
from apex_nautilus.actors.result import AgentResult, ArenaResult, read_result
from apex_nautilus.actors.runs import Run, mark_aborted, open_run, read_run
from apex_nautilus.actors.watchtower import (
    Limits,
    TrialBook,
    Trials,
    Verdict,
    Vitals,
    Watchtower,
    judge,
)

if TYPE_CHECKING:
    from apex_nautilus.actors.arena import ArenaController
    from apex_nautilus.actors.arena_backtest import ArenaRunConfig, load_arena_config, run_arena
    from apex_nautilus.actors.arena_config import ArenaConfig, SlotConfig
    from apex_nautilus.actors.pit_crew import PitCrew

__all__ = [
    "ALLOCATION_TOPIC",
    "AgentBook",
    "AgentResult",
    "Allocation",
    "Allocator",
    "AllocatorRules",
    "ArenaConfig",
    "ArenaController",
    "ArenaResult",
    "ArenaRunConfig",
    "Balance",
    "Books",
    "ContestRules",
    "Limits",
    "PitCrew",
    "Reconciliation",
    "Run",
    "SlotConfig",
    "TrialBook",
    "Trials",
    "Verdict",
    "Vitals",
    "Watchtower",
    "decide_contest",
    "judge",
    "load_arena_config",
    "mark_aborted",
    "open_run",
    "read_result",
    "read_run",
    "rebuild_books",
    "reconcile",
    "run_arena",
]

_LATE = {
    "ArenaConfig": "arena_config",
    "ArenaController": "arena",
    "SlotConfig": "arena_config",
    "ArenaRunConfig": "arena_backtest",
    "load_arena_config": "arena_backtest",
    "run_arena": "arena_backtest",
    "PitCrew": "pit_crew",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
