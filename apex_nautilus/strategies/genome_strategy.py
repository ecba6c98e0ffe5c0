"""The strategy that trades a genome: row, program, decision, bracket."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.engine.bar_market import BAR_CLOCKS
from apex_nautilus.engine.base_strategy import ApexStrategy, ApexStrategyConfig, Entry, Phase
from apex_nautilus.engine.feed_hub import Feed
from apex_nautilus.engine.records import TradeRecord
from apex_nautilus.features import names as feature_names
from apex_nautilus.genome import Genome, GenomeError, Program, compile_genome, decode
from apex_nautilus.risk import ORDER, REASONS, Certainty, check_execution, trading_rules
from apex_nautilus.risk.entry_policy import AGGRESSIVE
from apex_nautilus.store.champions import CHAMPION_SCHEMA, read_champion
from apex_nautilus.strategies._genome_machine import GenomeMachine

__all__ = ["GenomeStrategy", "GenomeStrategyConfig", "load_genome"]


class GenomeStrategyConfig(ApexStrategyConfig, frozen=True, kw_only=True):
    """Configuration of a `GenomeStrategy`.

    Parameters
    ----------
    genome : str
        Path of a genome file (``apex.genome/1``) or of a champion file (``apex.champion/1``).
    multiplier : float
        Scales every order, beside the genome's own sizing: posture times the allocator's weight.
        `set_multiplier` changes it in mid-run.
    shrink : bool
        Shrink Kelly's fraction by the uncertainty of the edge (`apex_nautilus.risk.Certainty`): T and SR are
        the genome's out-of-sample trades and the agent's own closed ones. Without either nothing is bet.
    max_leverage : float, optional
        Largest notional over equity, where that is less than the genome's own.
    """

    genome: str
    multiplier: float = 1.0
    shrink: bool = False
    max_leverage: float | None = None


class _Schema(msgspec.Struct):
    schema: str = ""


def load_genome(path: str | Path) -> Genome:
    """Read a genome from a genome file or a champion file.

    Raises
    ------
    GenomeError
        When the file holds no genome, or one that breaks a limit or names an unknown feature or entry
        policy; the message names the file.
    OSError
        When the file cannot be read.
    """
    source = Path(path)
    data = source.read_bytes()
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise GenomeError(f"{source}: not a JSON object ({error})") from None
    if schema == CHAMPION_SCHEMA:
        data = read_champion(source).genome_json()
    # Which of them a clock may use is known when the clock is.
    known = feature_names()
    genome = decode(data, known_features=known, source=str(source))
    kind = "bar" if genome.clock in BAR_CLOCKS else "book"
    wrong = sorted(set(genome.features) - {*feature_names(kind), *feature_names("external")})
    if wrong:
        need = "bars and their features" if kind == "bar" else "features of a book"
        raise GenomeError(
            f"{source}: features: clock {genome.clock!r} needs {need}, and {', '.join(wrong)} is none of them"
        )
    try:
        check_execution(genome.execution, on_bars=kind == "bar")
    except ValueError as error:
        raise GenomeError(f"{source}: {error}") from None
    return genome


class GenomeStrategy(ApexStrategy):
    """Trades one genome in one slot.

    Every row of the genome's clock moves its program on, whether or not the agent holds a position. When it
    is flat, the outputs, the touch and the agent's equity go into `risk.decide_kernel`; an order of it goes
    to `enter`. An entry that rests is wanted as long as the latest row signals its side; every row asks its
    policy again.

    Attributes
    ----------
    genome : Genome
    program : Program
    reasons : list of int, as long as REASONS
        How often a decision ended for each reason (`apex_nautilus.risk.REASONS`).
    max_leverage : float
        Largest notional over equity that its orders may have, from the start on.
    """

    max_leverage: float

    def __init__(self, config: GenomeStrategyConfig) -> None:
        super().__init__(config)
        self.genome = load_genome(config.genome)
        if self.genome.instrument_id != config.instrument_id.value:
            raise GenomeError(
                f"{config.genome}: the genome trades {self.genome.instrument_id}, slot {config.slot} trades "
                f"{config.instrument_id}"
            )
        self.program: Program = compile_genome(self.genome)
        self.reasons = [0] * len(REASONS)
        self.genome_id = self.genome.id
        self.execution = self.genome.execution
        self.set_multiplier(config.multiplier)
        self._machine: Any = None  # a GenomeMachine from the start on
        self._certainty: Certainty | None = None
        self._deferred_at = 0  # the whole book of a row that waits for the position to be closed

    def on_start(self) -> None:
        super().on_start()
        certainty = 1.0
        if self.config.shrink:
            known = self.genome.evidence.out_of_sample
            self._certainty = Certainty()
            if known is not None and known.sharpe is not None and known.trades is not None:
                self._certainty = Certainty(known.sharpe, known.trades)
            certainty = self._certainty.value
        rules = trading_rules(self.genome, self.spec, certainty=certainty, timers=self.timers)
        if self.config.max_leverage is not None:
            rules["max_leverage"] = min(rules["max_leverage"], self.config.max_leverage)
        self.max_leverage = float(rules["max_leverage"])
        self._max_hold_ns = int(rules["max_hold_ns"])
        subscription = self.subscribe_feed(
            self.genome.clock, self.genome.conflate_ms, tuple(self.genome.features)
        )
        self._machine = GenomeMachine(self.program, rules, subscription.columns)

    def decision_counts(self) -> dict[str, int]:
        """How often a decision ended for each reason, by name, and how entries that may rest ended."""
        counts: dict[str, int] = dict(zip(REASONS, self.reasons, strict=True))
        return counts if self.execution == AGGRESSIVE else counts | self.entry_ends

    def set_multiplier(self, value: float) -> None:
        """Scale the orders from now on.

        Raises
        ------
        ValueError
            When `value` is negative or not finite.
        """
        if not (math.isfinite(value) and value >= 0.0):
            raise ValueError(f"slot {self.slot}: multiplier must be finite and not negative, got {value!r}")
        self.multiplier = float(value)

    def on_feed_row(self, feed: Feed) -> None:
        """Move the program on; decide when flat, or as soon as the close that is under way is filled."""
        self.rows += 1
        if self.phase is Phase.IDLE and not self._retiring:
            reason = self._machine.step(feed.memory, self.account.balance, self.multiplier)
            self.reasons[reason] += 1
            if reason == ORDER:
                self._order()
            return
        self._machine.evaluate(feed.memory)
        if self.phase is Phase.CLOSING:
            self._deferred_at = feed.path_count
        else:
            self.reconsider_entry()

    def on_flat(self, trade: TradeRecord) -> None:
        """Decide on the row of this very book, if the agent was still closing when it came."""
        if self._certainty is not None:
            before = trade.equity - trade.pnl
            self._certainty.add(trade.pnl / before if before > 0.0 else 0.0)
            self._machine.set_certainty(self._certainty.value)
        if self.feed is None or self._retiring or self._deferred_at != self.feed.path_count:
            return
        self._deferred_at = 0
        reason = self._machine.decide(self.feed.memory, self.account.balance, self.multiplier)
        self.reasons[reason] += 1
        if reason == ORDER:
            self._order()

    def wants_entry(self, side: int) -> bool:
        """Whether the latest row signals `side`."""
        return self._machine.outputs[0] * side > self.genome.entry_threshold

    def renew_entry(self, side: int, entry: Entry) -> Entry | None:
        """Decide again, on the latest row and the book as it is now: only the same side is still wanted."""
        if self.feed is None:
            return None
        reason = self._machine.decide(self.feed.memory, self.account.balance, self.multiplier)
        order = self._machine.order
        if reason != ORDER or order.side != side:
            return None
        return Entry(order.quantity, order.take_profit, order.stop, order.p, order.fraction)

    def _order(self) -> None:
        order = self._machine.order
        self.enter(
            order.side,
            order.quantity,
            order.take_profit,
            order.stop,
            self._max_hold_ns,
            p=order.p,
            fraction=order.fraction,
        )
