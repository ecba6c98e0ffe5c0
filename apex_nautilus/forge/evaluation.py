"""Evaluation: what each individual is worth on the train part, computed once per behaviour."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from apex_nautilus.forge.calibration import PlattFit, fit_platt
from apex_nautilus.forge.config import EvolutionConfig, Stop
from apex_nautilus.forge.events import events_of
from apex_nautilus.forge.individual import Individual, compile_population
from apex_nautilus.forge.primitive_set import TreeSet
from apex_nautilus.forge.replay import MarketArrays, dataset_market, replay
from apex_nautilus.genome import WINDOWS, Bracket, Genome, Node, ProgramBatch, Sizing, evaluate_block
from apex_nautilus.risk import InstrumentSpec, trading_rules

__all__ = ["Evaluator", "StudyData", "Trial"]

_PROBE_SEGMENT = 64


class StudyData(Protocol):
    """What the Forge reads of a dataset; `apex_nautilus.data.Dataset` has this shape."""

    @property
    def instrument(self) -> InstrumentSpec: ...
    @property
    def clock(self) -> str: ...
    @property
    def feature_names(self) -> Sequence[str]: ...
    @property
    def ts_ns(self) -> NDArray[np.int64]: ...
    @property
    def features(self) -> NDArray[np.float64]: ...
    @property
    def row_event(self) -> NDArray[np.int64]: ...
    @property
    def path_ts_ns(self) -> NDArray[np.int64]: ...
    @property
    def path_bid(self) -> NDArray[np.float64]: ...
    @property
    def path_ask(self) -> NDArray[np.float64]: ...
    @property
    def path_depth(self) -> NDArray[np.float64]: ...
    @property
    def card(self) -> Any: ...
    def splits(self, max_hold_ns: int, train: float = 0.6, validation: float = 0.2) -> Any: ...


class Trial(msgspec.Struct, frozen=True):
    """One evaluation: a behaviour on the train part, its p calibrated there.

    Attributes
    ----------
    number : counts the evaluations of the study from 0.
    generation : in which it came up.
    key : digest of the behaviour.
    fitness : time-to-target.
    promise : how far the win rate of its events stands above a fair game's, in standard errors, when it made
        no trade; 0 when it did. Without an edge beyond its costs a genome stakes nothing and its fitness is
        0, as that of any other; this says which of them came closest to betting.
    trades : made in the replay.
    sharpe : per trade; 0 below two trades.
    events, wins : what the calibration was learnt from.
    nodes : of both trees.
    a, b : the train calibration.
    """

    number: int
    generation: int
    key: str
    fitness: float
    promise: float
    trades: int
    sharpe: float
    events: int
    wins: int
    nodes: int
    a: float
    b: float

    @property
    def calibration(self) -> PlattFit:
        """The train calibration."""
        return PlattFit(self.a, self.b, self.events, self.wins)


class Evaluator:
    """Evaluates individuals on one dataset.

    Parameters
    ----------
    data : the dataset.
    config : of the study.
    tree_set : what trees are made of; its features are the dataset's.
    stops, holds : the choices that an individual's `stop` and `hold` point into.
    train : row range that fitness sees.
    """

    def __init__(
        self,
        data: StudyData,
        config: EvolutionConfig,
        tree_set: TreeSet,
        stops: Sequence[Stop],
        holds: Sequence[float],
        train: tuple[int, int],
    ) -> None:
        self.data = data
        self.config = config
        self.tree_set = tree_set
        self.stops = tuple(stops)
        self.holds = tuple(holds)
        self.train = train
        self.market: MarketArrays = dataset_market(data)
        self._rules: dict[tuple[int, int], np.void] = {}
        self._probe_features, self._probes = _probe_rows(data.features, train, config.probe_rows)

    @property
    def fair_rate(self) -> float:
        """Win rate of a game without an edge: 1 / (1 + reward to risk)."""
        return 1.0 / (1.0 + self.config.reward_risk)

    def genome(self, signal: Node, confidence: Node, stop: int, hold: int) -> Genome:
        """An unsealed genome of the study's kind; its calibration is still to be set."""
        config = self.config
        return Genome(
            instrument_id=self.data.instrument.id,
            clock=self.data.clock,
            conflate_ms=getattr(self.data.card, "conflate_ms", 0),
            features=tuple(self.data.feature_names),
            signal=signal,
            confidence=confidence,
            entry_threshold=config.entry_threshold,
            bracket=Bracket(
                stop=self.stops[stop], max_hold_s=self.holds[hold], reward_risk=config.reward_risk
            ),
            sizing=Sizing(kelly_fraction=config.kelly_fraction, max_leverage=config.max_leverage),
            execution=config.execution,
        )

    def rules(self, individual: Individual, fit: PlattFit) -> np.void:
        """The rules an individual trades by, with a calibration."""
        place = (individual.stop, individual.hold)
        if place not in self._rules:
            leaf = Node("neg", ())  # rules do not look at the trees
            self._rules[place] = trading_rules(self.genome(leaf, leaf, *place), self.data.instrument)
        record = self._rules[place].copy()
        record["platt_a"], record["platt_b"] = fit.a, fit.b
        return record

    def keys(self, individuals: Sequence[Individual]) -> list[str]:
        """Digests of behaviour: outputs on the probe rows and the bracket chosen, 16 hex digits."""
        if not individuals:
            return []
        batch = compile_population(individuals, self.tree_set)
        outputs, _ = evaluate_block(batch, self._probe_features, threads=self.config.threads or 1)
        outputs = outputs[:, :, self._probes] + 0.0  # -0.0 and 0.0 act alike
        return [
            hashlib.sha256(outputs[i].tobytes() + bytes((one.stop, one.hold))).hexdigest()[:16]
            for i, one in enumerate(individuals)
        ]

    def calibrate(
        self, batch: ProgramBatch, individuals: Sequence[Individual], rows: tuple[int, int], starts=None
    ) -> list[PlattFit]:
        """Fit each individual's calibration on the events of `rows`, from `starts` (earlier fits) if
        given.
        """
        config = self.config
        blank = PlattFit(0.0, 0.0, 0, 0)

        def one(i: int) -> PlattFit:
            events = events_of(self.market, batch[i], self.rules(individuals[i], blank), rows)
            return fit_platt(
                events.scores,
                events.wins,
                prior_rate=self.fair_rate,
                prior_events=config.prior_events,
                slope_penalty=config.slope_penalty,
                start=None if starts is None else starts[i],
            )

        threads = config.threads or 0
        if threads == 1 or len(individuals) < 2:
            return [one(i) for i in range(len(individuals))]
        with ThreadPoolExecutor(threads or None) as pool:
            return list(pool.map(one, range(len(individuals))))

    def replay(
        self,
        batch: ProgramBatch,
        individuals: Sequence[Individual],
        fits: Sequence[PlattFit],
        rows: tuple[int, int],
    ) -> NDArray[np.void]:
        """Results of the replay of calibrated individuals on `rows`."""
        rules = np.array([self.rules(one, fit) for one, fit in zip(individuals, fits)])
        config = self.config
        return replay(
            self.market,
            batch,
            rules,
            rows,
            equity=config.equity_usd,
            target=config.target,
            threads=config.threads,
        )

    def trials(
        self, individuals: Sequence[Individual], keys: Sequence[str], generation: int, first_number: int
    ) -> list[Trial]:
        """Calibrate and replay individuals on the train part."""
        if not individuals:
            return []
        batch = compile_population(individuals, self.tree_set)
        fits = self.calibrate(batch, individuals, self.train)
        results = self.replay(batch, individuals, fits, self.train)
        return [
            Trial(
                number=first_number + i,
                generation=generation,
                key=keys[i],
                fitness=float(result["fitness"]),
                promise=0.0 if result["n_trades"] else self._promise(fit),
                trades=int(result["n_trades"]),
                sharpe=float(result["sharpe"]),
                events=fit.events,
                wins=fit.wins,
                nodes=one.nodes,
                a=fit.a,
                b=fit.b,
            )
            for i, (one, fit, result) in enumerate(zip(individuals, fits, results))
        ]

    def _promise(self, fit: PlattFit) -> float:
        """(wins - n r) / sqrt((n + prior) r (1 - r)): the prior keeps a few lucky events from standing
        out.
        """
        rate = self.fair_rate
        spread = math.sqrt((fit.events + self.config.prior_events + 1.0) * rate * (1.0 - rate))
        return (fit.wins - fit.events * rate) / spread


def _probe_rows(features: NDArray[np.float64], train: tuple[int, int], wanted: int):
    """Short stretches spread evenly over the train part, each with the rows that windows look back on.

    Returns the stacked rows, and which of them are probes (about `wanted`, fewer when the part is short).
    """
    lo, hi = train
    length = min(_PROBE_SEGMENT, max(hi - lo, 1))
    count = max(1, min(wanted // length, (hi - lo) // length))
    pieces, probes, at = [], [], 0
    for start in np.linspace(lo, hi - length, count).astype(int):
        first = max(int(start) - max(WINDOWS), 0)
        pieces.append(np.asarray(features[first : start + length], np.float64))
        probes.append(np.arange(at + start - first, at + start - first + length))
        at += int(start) + length - first
    return np.ascontiguousarray(np.concatenate(pieces)), np.concatenate(probes)
