"""Settings of an arena, as a node takes them."""

from __future__ import annotations

import msgspec
from nautilus_trader.common.config import ActorConfig

from apex_nautilus.actors.allocator import AllocatorRules
from apex_nautilus.actors.contest import YEAR_S, ContestRules
from apex_nautilus.actors.watchtower import Limits
from apex_nautilus.engine import FundingCoverage, entry_timers

__all__ = ["ArenaConfig", "SlotConfig", "check_settings"]


class SlotConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slot: its name (letters, digits, ``_``, ``-``) and the instrument it trades."""

    slot: str
    instrument_id: str


class ArenaConfig(ActorConfig, frozen=True, kw_only=True):
    """Configuration of an `ArenaController`.

    Parameters
    ----------
    catalog : str
        Root of the catalog whose ``strategies/``, ``jobs/`` and ``ledger/`` the arena owns; in a backtest the
        run's own copy.
    slots : list of SlotConfig
        The places for champions.
    capital : float
        USD at birth.
    currency : str
        Currency of the account.
    limits : Limits
        What ends an agent.
    allocator : AllocatorRules, optional
        How weights move between the champions; None leaves all multipliers at 1.
    shrink : bool
        Shrink Kelly's fraction by the uncertainty of each agent's edge; see `GenomeStrategyConfig`.
    entry_retries, reprice_s, patience_s : int, float, float
        Of every agent's entries; see `ApexStrategyConfig`.
    contest : ContestRules
        When a challenger takes a slot.
    mark_s : float
        Seconds of engine time between two marks.
    intake_s : float
        Seconds of engine time between two looks into ``incoming/``; live, a file event shortens it.
    ledger_mark_s : float
        Seconds between two marks of an agent that are written to the ledger; all of them are judged.
    worker_wait_s : float
        Wall seconds that a recycle job is waited for, engine time standing still; 0 does not wait.
    ask_for_empty_slots : bool
        Ask the Forge for genomes for slots that are empty at the start.
    bars : bool
        The hubs are fed by bars and not by order books.
    watch : bool
        Wake on file events (live). A backtest leaves it off and looks at marks.
    writer : str
        Name of the ledger file.
    queue : str
        Where the Forge is asked: ``file`` (the catalog's own jobs), or a Redis server, see
        `store.open_queue`. A backtest asks in the run's own folder.
    funding : tuple of FundingCoverage
        What is known of the traded perpetuals' funding; written down when the arena opens.
    """

    catalog: str
    slots: list[SlotConfig]
    capital: float = 200.0
    currency: str = "USDT"
    limits: Limits = Limits()
    allocator: AllocatorRules | None = AllocatorRules()
    shrink: bool = False
    entry_retries: int = 2
    reprice_s: float = 1.0
    patience_s: float = 10.0
    contest: ContestRules = ContestRules()
    mark_s: float = 1.0
    intake_s: float = 5.0
    ledger_mark_s: float = 60.0
    worker_wait_s: float = 0.0
    ask_for_empty_slots: bool = False
    bars: bool = False
    watch: bool = False
    writer: str = "arena"
    queue: str = "file"
    funding: tuple[FundingCoverage, ...] = ()


def check_settings(config: ArenaConfig) -> None:
    """Raise ValueError, naming the field, where a number of `config` is not possible."""
    for name in ("mark_s", "intake_s", "ledger_mark_s"):
        value = getattr(config, name)
        if not 0.001 <= value <= YEAR_S:
            raise ValueError(f"{name}: must be in [0.001, {YEAR_S:.0f}] seconds, got {value!r}")
    if not 0.0 <= config.worker_wait_s <= YEAR_S:
        raise ValueError(f"worker_wait_s: must be in [0, {YEAR_S:.0f}] seconds, got {config.worker_wait_s!r}")
    entry_timers(config.entry_retries, config.reprice_s, config.patience_s)
