"""The contender: a strategy under test inside the market's compiled loop.

A contender is an agent with a feed, a genome and a ledger of its own. It hears what the venue publishes after
a delay of its own, computes features, program and decision by the kernels that the replay and the live
strategy use, and trades its bracket through orders that take time, may be filled in part, and may be lost.
Nothing of it runs in Python. See docs/contender.md for what it assumes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..features import BookFeatures, FeatureError
from ..genome import Genome, Program, compile_genome
from ..risk import PASSIVE_TIMERS, REASONS, RULES, InstrumentSpec, PassiveTimers, trading_rules
from ..risk.entry_policy import AGGRESSIVE, EXECUTION_POLICY, PASSIVE
from ._contender_records import CONTENDER, CONTENDER_TRADE, ENTRY_ENDS, EXIT_KINDS, Pit, new_pit
from ._contest import equity_now
from .population import Population

__all__ = [
    "CONTENDER_EXITS",
    "CONTENDER_TRADE",
    "Contender",
    "ContenderError",
    "ContenderResult",
    "lay_out",
    "results_of",
    "room_for_marks",
]

CONTENDER_EXITS = EXIT_KINDS


class ContenderError(ValueError):
    """A contender is not what it must be; the message names the field."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Contender:
    """A strategy under test: what it sees, what it decides by, and how it is connected.

    `Contender.of` makes one of a genome. It holds arrays only, so it can be sent to another process.

    Parameters
    ----------
    program : Program
        The compiled genome; outputs signal, confidence and, if it has one, size.
    rules : numpy.void
        Its record of dtype `risk.RULES` on the instrument of the market, from `risk.trading_rules`.
    features : tuple of str
        The book features that the program reads, in order.
    clock : {"book", "1s"}
    conflate_ms : int
        Least time between two rows of the book clock.
    capital : float
        Money at birth, quote units.
    multiplier : float
        Scales every order.
    latency_shift : float
        Added to the population's `latency_mu`, beside its shifts for cancels and data; -2.3 is a tenth of the
        delay.
    latency_sigma, loss : float, optional
        Width of the delays' logarithm, and probability that a message to the venue is lost; the population's
        where left out.
    timeout_ns : int
        How long it waits for the answer to a command before it takes it for lost.
    entry_retries : int
        How often an entry that was not answered is sent again while the signal holds.
    mark_ns : int
        Time between two points of the equity curve.
    record : bool
        Keep every row, every batch heard and every message sent, for tests and studies.

    Raises
    ------
    ContenderError
        When a field is out of range; the message names it. FeatureError when a feature is unknown.
    """

    program: Program
    rules: np.void
    features: tuple[str, ...]
    clock: str = "book"
    conflate_ms: int = 0
    capital: float = 200.0
    multiplier: float = 1.0
    latency_shift: float = 0.0
    latency_sigma: float | None = None
    loss: float | None = None
    timeout_ns: int = 1_000_000_000
    entry_retries: int = 1
    mark_ns: int = 1_000_000_000
    record: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        if getattr(self.rules, "dtype", None) != RULES:
            raise ContenderError("rules: need a record of dtype RULES; make it with risk.trading_rules()")
        if self.rules["execution"] == EXECUTION_POLICY:
            raise ContenderError(
                "rules: the genome enters by a policy registered in Python; the market is compiled and "
                f"knows {AGGRESSIVE} and {PASSIVE}"
            )
        if self.program.n_features > len(self.features):
            raise ContenderError(
                f"features: the program reads {self.program.n_features}, {len(self.features)} are named"
            )
        if self.program.n_outputs not in (2, 3):
            raise ContenderError(
                f"program: {self.program.n_outputs} outputs; signal and confidence are needed, and size at "
                "most beside them"
            )
        if self.clock not in ("book", "1s"):
            raise ContenderError(f"clock: {self.clock!r} is not one of book, 1s: a market publishes no bars")
        for name, low, high in (
            ("capital", 1e-9, 1e15),
            ("multiplier", 0.0, 1e6),
            ("latency_shift", -10.0, 10.0),
            ("latency_sigma", 0.0, 5.0),
            ("loss", 0.0, 1.0),
            ("timeout_ns", 1, 1 << 60),
            ("entry_retries", 0, 1_000_000),
            ("mark_ns", 1_000_000, 1 << 60),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # also catches NaN
                raise ContenderError(f"{name}: {value!r} is outside [{low:g}, {high:g}]")

    @classmethod
    def of(
        cls,
        genome: Genome,
        instrument: InstrumentSpec,
        *,
        timers: PassiveTimers = PASSIVE_TIMERS,
        **options: Any,
    ) -> Contender:
        """Make a contender of a genome that trades `instrument`, the one of the market (`options` as fields).

        The genome may have been made for the same contract elsewhere: it trades by the steps, limits and fees
        of the instrument given. `timers` are those of a passive entry.

        Raises
        ------
        GenomeError, ContenderError, ValueError
            When the genome has no trees, its clock is one of bars, or a field is out of range.
        """
        return cls(
            program=compile_genome(genome),
            rules=trading_rules(genome, instrument, timers=timers),
            features=tuple(genome.features),
            clock=genome.clock,
            conflate_ms=genome.conflate_ms,
            **options,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ContenderResult:
    """What became of a contender.

    Trades, curve and recordings are those of one tape; counts and money are since the market's birth.

    Attributes
    ----------
    agent : its number on the tape (`Tape.trades_of`).
    trades : CONTENDER_TRADE[n], closed positions in order; columns as the replay's.
    mark_ts_ns, equity : int64[m], float64[m]: equity at equally spaced marks, an open position at the touch
        it would close on as the contender sees it.
    final_equity : the same at the end of the tape.
    position : base units still held, signed.
    realised, fees, funding : quote units; realised before fees, funding received.
    decisions : how often a decision ended for each reason (`risk.REASONS`).
    entries : how often an entry was filled whole while it rested, ended by crossing, or was given up
        (`rested`, `crossed`, `given_up`); what was filled before the end is held.
    rows : warm rows seen; `invalid` of the feature values read were no numbers.
    orders, lost : orders sent, and messages (cancellations too) that never arrived.
    timeouts, retries : answers waited for in vain, and commands sent again. An order that is asked about
        counts when it is known to be lost.
    late_fills : fills reported after the time-out of their order.
    ruin_ts_ns : when its equity could no longer pay the smallest order; -1 while it can.
    row_log, heard, sent : ROW, HEARD and SENT lines where the contender records, else empty.
    """

    agent: int
    trades: np.ndarray
    mark_ts_ns: np.ndarray
    equity: np.ndarray
    final_equity: float
    position: float
    realised: float
    fees: float
    funding: float
    decisions: dict[str, int]
    entries: dict[str, int]
    rows: int
    invalid: int
    orders: int
    lost: int
    timeouts: int
    retries: int
    late_fills: int
    ruin_ts_ns: int
    row_log: np.ndarray
    heard: np.ndarray
    sent: np.ndarray


def lay_out(contenders: Sequence[Contender], population: Population, first_agent: int, start_ns: int) -> Pit:
    """Return the arrays of a market's contenders.

    Raises
    ------
    ContenderError
        When one trades by the rules of another instrument.
    """
    p, i = population, population.instrument
    grid = {
        "tick_units": i.tick_units,
        "lot_units": i.lot_units,
        "price_scale": 10.0**i.price_precision,
        "size_scale": 10.0**i.size_precision,
    }
    records = np.zeros(len(contenders), CONTENDER)
    machines = []
    for place, contender in enumerate(contenders):
        for name, value in grid.items():
            if contender.rules[name] != value:
                raise ContenderError(
                    f"contenders[{place}].rules: {name} is {contender.rules[name]!r}, {i.id} has {value!r}; "
                    "make the rules with the instrument of the market"
                )
        record = records[place]
        mu = p.latency_mu + contender.latency_shift
        record["agent"] = first_agent + place
        record["order_mu"] = mu
        record["cancel_mu"] = mu + p.latency_cancel
        record["data_mu"] = mu + p.latency_data
        record["sigma"] = p.latency_sigma if contender.latency_sigma is None else contender.latency_sigma
        record["loss"] = p.loss if contender.loss is None else contender.loss
        record["records"] = contender.record
        for name in ("timeout_ns", "entry_retries", "multiplier", "mark_ns"):
            record[name] = getattr(contender, name)
        try:
            machine = BookFeatures(
                contender.features,
                price_precision=i.price_precision,
                size_precision=i.size_precision,
                clock=contender.clock,  # pyright: ignore[reportArgumentType]
                conflate_ms=contender.conflate_ms,
                buffer_size=1,
            )
        except FeatureError as error:
            raise ContenderError(f"contenders[{place}]: {error}") from None
        machines.append(machine)
    return new_pit(
        records,
        [c.program for c in contenders],
        machines,
        np.array([c.rules for c in contenders], RULES),
        np.array([c.capital for c in contenders]),
        start_ns,
    )


def room_for_marks(pit: Pit, end_ns: int) -> Pit:
    """Return the same contenders with a curve that holds all marks up to a time, beside those written."""
    c = pit.contenders
    needed = int((c["n_marks"] + (end_ns - c["next_mark_ns"]) // c["mark_ns"] + 1).max())
    if needed <= pit.curves.shape[1]:
        return pit
    curves = np.full((len(c), needed), math.nan)
    curves[:, : pit.curves.shape[1]] = pit.curves
    return pit._replace(curves=curves)


def results_of(pit: Pit) -> tuple[ContenderResult, ...]:
    """Take the lines written since the last call, and say what became of each contender."""
    return tuple(_result(pit, place) for place in range(len(pit.contenders)))


def _result(pit: Pit, place: int) -> ContenderResult:
    c, ledger = pit.contenders[place], pit.ledgers[place]

    def taken(lines: np.ndarray, count: str) -> np.ndarray:
        n, c[count] = int(c[count]), 0
        return lines[place, :n].copy()

    equity = taken(pit.curves, "n_marks")
    last_mark = int(c["next_mark_ns"] - c["mark_ns"])
    marks = last_mark - int(c["mark_ns"]) * np.arange(len(equity) - 1, -1, -1, dtype=np.int64)
    return ContenderResult(
        agent=int(c["agent"]),
        trades=taken(pit.trades, "n_trades"),
        mark_ts_ns=marks,
        equity=equity,
        final_equity=equity_now(pit, place),
        position=int(ledger["position_units"]) / float(ledger["size_scale"]),
        realised=float(ledger["realised"]),
        fees=float(ledger["fees"]),
        funding=float(ledger["funding"]),
        decisions=dict(zip(REASONS, pit.reasons[place].tolist(), strict=True)),
        entries=dict(zip(ENTRY_ENDS, pit.entry_ends[place].tolist(), strict=True)),
        rows=int(c["n_rows"]),
        invalid=int(c["invalid"]),
        orders=int(c["orders"]),
        lost=int(c["lost"]),
        timeouts=int(pit.pending[place]["timeouts"].sum()),
        retries=int(c["retries"]),
        late_fills=int(c["late_fills"]),
        ruin_ts_ns=int(c["ruin_ts_ns"]),
        row_log=taken(pit.rows, "n_row_lines"),
        heard=taken(pit.heard, "n_heard_lines"),
        sent=taken(pit.sent, "n_sent_lines"),
    )
