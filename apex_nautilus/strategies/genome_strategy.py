"""The strategy that trades a genome: row, program, decision, bracket."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
from numba import njit

from apex_nautilus.engine.base_strategy import ApexStrategy, ApexStrategyConfig, Phase
from apex_nautilus.engine.feed_hub import Feed
from apex_nautilus.engine.records import TradeRecord
from apex_nautilus.features import names as feature_names
from apex_nautilus.genome import Genome, GenomeError, Program, compile_genome, decode, new_state, row_kernel
from apex_nautilus.risk import ORDER, REASONS, decide_kernel, trading_rules
from apex_nautilus.store.champions import CHAMPION_SCHEMA, read_champion

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
    """

    genome: str
    multiplier: float = 1.0


class _Schema(msgspec.Struct):
    schema: str = ""


def load_genome(path: str | Path) -> Genome:
    """Read a genome from a genome file or a champion file.

    Raises
    ------
    GenomeError
        When the file holds no genome, or one that breaks a limit or names an unknown feature; the message
        names the file.
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
    return decode(data, known_features=feature_names("book"), source=str(source))


@njit(cache=True)
def evaluate_kernel(row, columns, opcodes, operands, constants, state, inputs, outputs):
    """Take the agent's columns out of the hub's row and evaluate the program on them; return the signal."""
    for i in range(columns.shape[0]):
        inputs[i] = row[columns[i]]
    row_kernel(opcodes, operands, constants, inputs, state, outputs)
    return outputs[0]


@njit(cache=True)
def decision_kernel(rules, outputs, bid, ask, book, mids, equity, multiplier):
    """Decide on the program's outputs; `rules` is an array of one `RULES` record."""
    return decide_kernel(
        rules[0], outputs[0], outputs[1], outputs[2], bid, ask, book, mids, equity, multiplier
    )


class GenomeStrategy(ApexStrategy):
    """Trades one genome in one slot.

    Every row of the genome's clock moves its program on, whether or not the agent holds a position. When it
    is flat, the outputs, the touch and the agent's equity go into `risk.decide_kernel`; an order of it goes
    to `enter`.

    Attributes
    ----------
    genome : Genome
    program : Program
    reasons : (len(REASONS),) int64
        How often a decision ended for each reason (`apex_nautilus.risk.REASONS`).
    """

    def __init__(self, config: GenomeStrategyConfig) -> None:
        super().__init__(config)
        self.genome = load_genome(config.genome)
        if self.genome.instrument_id != config.instrument_id.value:
            raise GenomeError(
                f"{config.genome}: the genome trades {self.genome.instrument_id}, slot {config.slot} trades "
                f"{config.instrument_id}"
            )
        if self.genome.clock not in ("book", "1s"):
            raise GenomeError(
                f"{config.genome}: clock {self.genome.clock!r} needs bars; slot {config.slot} is fed by an "
                "order book (clocks: book, 1s)"
            )
        self.program: Program = compile_genome(self.genome)
        self.reasons = np.zeros(len(REASONS), dtype=np.int64)
        self.genome_id = self.genome.id
        self.set_multiplier(config.multiplier)
        self._threshold = float(self.genome.entry_threshold)
        self._inputs = np.zeros(max(len(self.genome.features), 1))
        self._outputs = np.zeros(3)
        self._state = new_state(self.program)
        self._deferred_at = 0  # the whole book of a row that waits for the position to be closed
        self._rules: np.ndarray | None = None
        self._columns: np.ndarray | None = None

    def on_start(self) -> None:
        super().on_start()
        record = trading_rules(self.genome, self.spec)
        self._rules = np.array([record], dtype=record.dtype)
        self._max_hold_ns = int(record["max_hold_ns"])
        self._columns = self.subscribe_feed(
            self.genome.clock, self.genome.conflate_ms, tuple(self.genome.features)
        ).columns

    def decision_counts(self) -> dict[str, int]:
        """How often a decision ended for each reason, by name."""
        return dict(zip(REASONS, map(int, self.reasons), strict=True))

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
        program, features = self.program, feed.features
        self.rows += 1
        evaluate_kernel(
            features.row, self._columns, program.opcodes, program.operands, program.constants, self._state,
            self._inputs, self._outputs,
        )  # fmt: skip
        if self.phase is Phase.IDLE:
            self._decide(feed)
        elif self.phase is Phase.CLOSING:
            self._deferred_at = features.path_count

    def on_flat(self, trade: TradeRecord) -> None:
        """Decide on the row of this very book, if its agent was still closing when it came."""
        if self._deferred_at and self._deferred_at == self.feed.features.path_count:
            self._deferred_at = 0
            self._decide(self.feed)

    def _decide(self, feed: Feed) -> None:
        if self._retiring:
            return
        mids = feed.mids.values[
            -self.rows :
        ]  # the rows of this agent: a volatility stop waits for its window
        decision = decision_kernel(
            self._rules,
            self._outputs,
            feed.bid,
            feed.ask,
            feed.features.top,
            mids,
            self.account.balance,
            self.multiplier,
        )
        self.reasons[decision.reason] += 1
        if decision.reason == ORDER:
            self.enter(
                decision.side,
                decision.quantity,
                decision.take_profit,
                decision.stop,
                self._max_hold_ns,
                p=decision.p,
                fraction=decision.fraction,
            )
