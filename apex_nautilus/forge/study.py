"""A study: one evolution from its data to one judged genome.

The rows are cut in time into three parts. Trees are bred on **train**. The hall of fame is ranked, and the p
of the one chosen calibrated, on **validation**. **Test** is opened once, when everything is decided, for the
chosen genome and for the lottery's; what it says goes into the evidence and to the gate, and nothing is
chosen by it. The ledger records the opening.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from deap import tools

from apex_nautilus import __version__
from apex_nautilus.forge.calibration import PlattFit
from apex_nautilus.forge.checkpoint import load_checkpoint, save_checkpoint
from apex_nautilus.forge.config import EvolutionConfig, Stop, default_brackets
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.evaluation import Evaluator, StudyData, Trial
from apex_nautilus.forge.evolution import Evolution, GenerationReport
from apex_nautilus.forge.individual import Individual, compile_population
from apex_nautilus.forge.journal import Clock, StudyJournal
from apex_nautilus.forge.operators import Breeder
from apex_nautilus.forge.primitive_set import TreeSet
from apex_nautilus.forge.promote import Lottery, Trials, judge, result_of
from apex_nautilus.forge.randomness import deap_random
from apex_nautilus.genome import (
    Evidence,
    Feature,
    Genome,
    Node,
    Platt,
    Provenance,
    Result,
    Span,
    sealed,
    walk,
)
from apex_nautilus.risk import PASSIVE_TIMERS, check_execution
from apex_nautilus.risk.entry_policy import AGGRESSIVE
from apex_nautilus.store import LedgerWriter

__all__ = ["StudyResult", "evolve", "judged_from_ns", "study_id_of"]

_LOTTERY_BATCH = 256


class StudyResult(msgspec.Struct, frozen=True):
    """What a study found.

    Attributes
    ----------
    study_id : digest of data, seed and configuration.
    genome : the one chosen, sealed, with its evidence and the gate's verdict.
    validation : its result on the validation part with the train calibration, by which it was chosen.
    trials : N and V of the deflation.
    dsr_all_trials : the deflated Sharpe ratio out of sample with the variance over all measured trials, those
        beyond luck among them, for V; None below two trades.
    lottery : the pretest, None when the configuration left it out.
    reports : one line a generation.
    hall : ids of the hall of fame in the order of choice, the chosen one first.
    """

    study_id: str
    genome: Genome
    validation: Result
    trials: Trials
    dsr_all_trials: float | None
    lottery: Lottery | None
    reports: tuple[GenerationReport, ...]
    hall: tuple[str, ...]


def study_id_of(data: StudyData, config: EvolutionConfig, seed: int, seeds: Sequence[Genome] = ()) -> str:
    """Digest of all that decides a study's course, 12 hex digits; how long it runs and on how many threads do
    not.
    """
    plain = msgspec.structs.replace(config, generations=0, threads=None)
    terms = [data.card.id, data.instrument.id, plain, seed, [genome.id for genome in seeds], __version__]
    return hashlib.sha256(msgspec.json.encode(terms)).hexdigest()[:12]


def judged_from_ns(data: StudyData, config: EvolutionConfig) -> int:
    """Time of the first row of the test part: what a seed has seen from there on spoils the judgement.

    Raises
    ------
    ForgeError
        The dataset cannot be split.
    """
    _, holds = _brackets(data, config, ())
    return int(data.ts_ns[_split(data, config, holds).test[0]])


def evolve(
    data: StudyData,
    config: EvolutionConfig,
    seed: int,
    *,
    clock: Clock,
    seeds: Sequence[Genome] = (),
    progress: Callable[[GenerationReport], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    ledger: LedgerWriter | None = None,
    exclude: Collection[str] = (),
    job_id: str | None = None,
    slot: str | None = None,
    reopen_test: bool = False,
) -> StudyResult:
    """Breed strategies on a dataset and judge the best.

    Parameters
    ----------
    data : a dataset of one instrument.
    config : sizes, rates, choices.
    seed : of every random number.
    clock : time for the ledger and for ``provenance.created_at``.
    seeds : genomes to start from, by kind ``tree``; one that needs a feature the dataset lacks is left out.
    progress : called with each generation's line.
    checkpoint : file that is written after each generation, and taken up from when it exists. After an
        interruption (Ctrl-C, kill) call again with the same arguments; a larger ``config.generations`` goes
        on.
    ledger : records the study, every trial, the opening of the test part and the verdict.
    exclude : ids that may not be chosen (a genome that just died).
    job_id, slot : of the recycle job that asked, for the provenance.
    reopen_test : open the test part again where the ledger says that this study has opened it for another
        genome, as when it goes on for more generations after it had ended. The ledger records that too.

    Returns
    -------
    StudyResult: the same bytes for the same data, seed, configuration and clock.

    Raises
    ------
    ForgeError
        The dataset cannot be split, has no features, the checkpoint belongs to another study, or the study
        has opened its test part before.
    """
    if seed < 0:
        raise ForgeError(f"seed is {seed}; it must not be negative")
    study_id = study_id_of(data, config, seed, seeds)
    stops, holds = _brackets(data, config, seeds)
    parts = _split(data, config, holds)
    tree_set = TreeSet(data.feature_names)
    evaluator = Evaluator(data, config, tree_set, stops, holds, parts.train)
    breeding, drawing = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    evolution = Evolution(evaluator, config, breeding)
    journal = StudyJournal(ledger, study_id, clock)
    if not reopen_test:
        journal.check_test_part(data.card.id, config.generations)
    ancestors = [_individual(genome, evaluator) for genome in seeds]
    taken = [genome for genome, one in zip(seeds, ancestors) if one is not None]
    inherited = _trials_behind(taken)
    journal.write(
        "study",
        0,
        {
            "dataset_id": data.card.id,
            "instrument_id": data.instrument.id,
            "seed": seed,
            "config": config,
            "rows": {"train": parts.train, "validation": parts.validation, "test": parts.test},
            "seeds": [genome.id for genome in taken],
            "seeds_left_out": [genome.id for genome, one in zip(seeds, ancestors) if one is None],
            "inherited_trials": inherited,
            "job_id": job_id,
        },
    )

    def finished(trials: Sequence[Trial]) -> None:
        best = evolution.hall[0]
        fit = evolution.archive[best.key].calibration
        record = evaluator.replay(compile_population([best], tree_set), [best], [fit], parts.validation)[0]
        so_far = Trials.of(list(evolution.archive.values()), config.min_trades, inherited=inherited)
        seen = result_of(record, 0, so_far)
        enough = (seen.trades or 0) >= config.min_trades
        report = msgspec.structs.replace(
            evolution.reports[-1], validation=seen.time_to_target, validation_dsr=seen.dsr if enough else None
        )
        evolution.reports[-1] = report
        journal.trials(trials)
        journal.generation(report)
        if checkpoint is not None:
            save_checkpoint(checkpoint, evolution, study_id)
        if progress is not None:
            progress(report)

    if checkpoint is None or not load_checkpoint(checkpoint, evolution, study_id):
        finished(evolution.start([one for one in ancestors if one is not None]))
    if evolution.generation > config.generations:
        raise ForgeError(
            f"{checkpoint}: study {study_id} has reached generation {evolution.generation} and cannot end at "
            f"{config.generations}; ask for at least {evolution.generation} generations, or begin elsewhere"
        )
    while evolution.generation < config.generations:
        finished(evolution.step())

    judge_ = _Judge(evaluator, parts, evolution, journal, study_id, taken, inherited, reopen_test)
    return judge_.verdict(
        drawing, seed=seed, clock=clock, exclude=frozenset(exclude), job_id=job_id, slot=slot
    )


class _Judge:
    """From a finished evolution to one genome with its evidence."""

    def __init__(
        self,
        evaluator: Evaluator,
        parts: Any,
        evolution: Evolution,
        journal: StudyJournal,
        study_id: str,
        seeds: Sequence[Genome],
        inherited: int,
        reopen_test: bool,
    ) -> None:
        self._reopen_test = reopen_test
        self._evaluator = evaluator
        self._config = evaluator.config
        self._parts = parts
        self._evolution = evolution
        self._journal = journal
        self._study_id = study_id
        self._peeked = _that_saw(seeds, evaluator.data, parts.test)
        self._trials = Trials.of(
            list(evolution.archive.values()), self._config.min_trades, inherited=inherited
        )

    def verdict(
        self,
        rng: np.random.Generator,
        *,
        seed: int,
        clock: Clock,
        exclude: frozenset[str],
        job_id: str | None,
        slot: str | None,
    ) -> StudyResult:
        """Choose, calibrate, open the test part, ask the gate."""
        ranked = self._ranked(list(self._evolution.hall), self._evolution.archive)
        genomes = [self._genome(one, fit) for one, fit, _ in ranked]
        place = next((i for i, genome in enumerate(genomes) if genome.id not in exclude), None)
        if place is None:
            raise ForgeError(
                f"study {self._study_id}: all {len(genomes)} candidates are genomes that may not be chosen "
                "again; use another seed, or a larger hall_of_fame"
            )
        one, fit, on_validation = ranked[place]
        ticket = self._ticket(rng)

        self._journal.open_test_part(
            self._evaluator.data.card.id,
            genomes[place].id,
            self._parts.test,
            self._evolution.generation,
            force=self._reopen_test,
        )
        test, ruined = self._results(one, fit, self._parts.test)
        strict = self._trials.deflated(test, self._trials.sharpe_variance_all)
        lottery = None
        if ticket is not None:
            lottery = self._draw(ticket, test)
        reasons = judge(
            test,
            ruined=ruined,
            lottery=lottery,
            min_trades=self._config.min_trades,
            dsr_threshold=self._config.dsr_threshold,
            peeked=self._peeked,
        )
        data = self._evaluator.data
        genome = sealed(
            msgspec.structs.replace(
                genomes[place],
                provenance=Provenance(
                    parents=one.parents,
                    generation=one.generation,
                    seed=seed,
                    created_at=datetime.fromtimestamp(clock() / 1e9, tz=UTC).isoformat(),
                    package_version=__version__,
                    dataset_id=data.card.id,
                    dataset_span=Span(int(data.ts_ns[0]), int(data.ts_ns[-1]) + 1),
                    job_id=job_id,
                    slot=slot,
                    study_trials=self._trials.count,
                    study_sharpe_variance=self._trials.sharpe_variance,
                ),
                evidence=Evidence(
                    in_sample=self._results(one, fit, self._parts.train)[0],
                    out_of_sample=test,
                    gate="refused" if reasons else "passed",
                    gate_reasons=reasons,
                ),
            )
        )
        self._journal.write(
            "gate",
            self._evolution.generation,
            {
                "genome_id": genome.id,
                "gate": genome.evidence.gate,
                "reasons": reasons,
                "in_sample": genome.evidence.in_sample,
                "validation": on_validation,
                "out_of_sample": test,
                "lottery": lottery,
                "trials": self._trials,
                "dsr_all_trials": strict,
            },
        )
        order = [genome.id] + [other.id for i, other in enumerate(genomes) if i != place]
        return StudyResult(
            study_id=self._study_id,
            genome=genome,
            validation=on_validation,
            trials=self._trials,
            dsr_all_trials=strict,
            lottery=lottery,
            reports=tuple(self._evolution.reports),
            hall=tuple(order),
        )

    def _ranked(
        self, hall: list[Individual], archive: dict[str, Trial]
    ) -> list[tuple[Individual, PlattFit, Result]]:
        """Individuals in the order of choice, each with its final calibration and its result on validation.

        Ranked by time-to-target on the validation part with the train calibration, which has not seen it.
        Those that trade there come first: one that does not trade cannot pass the gate. Equals keep the order
        of the train part.
        """
        evaluator = self._evaluator
        batch = compile_population(hall, evaluator.tree_set)
        on_train = [archive[one.key].calibration for one in hall]
        records = evaluator.replay(batch, hall, on_train, self._parts.validation)
        final = evaluator.calibrate(batch, hall, self._parts.validation, on_train)
        start = self._start_ns(self._parts.validation)
        ranked = [
            (one, fit, result_of(record, start, self._trials))
            for one, fit, record in zip(hall, final, records)
        ]
        return sorted(ranked, key=lambda item: (item[2].trades == 0, -(item[2].time_to_target or 0.0)))

    def _results(self, one: Individual, fit: PlattFit, rows: tuple[int, int]) -> tuple[Result, bool]:
        record = self._evaluator.replay(
            compile_population([one], self._evaluator.tree_set), [one], [fit], rows
        )[0]
        return result_of(record, self._start_ns(rows), self._trials), int(record["ruin_ts_ns"]) >= 0

    def _start_ns(self, rows: tuple[int, int]) -> int:
        data = self._evaluator.data
        return int(data.path_ts_ns[data.row_event[rows[0]]])

    def _ticket(self, rng: np.random.Generator) -> tuple[Individual, PlattFit, Trial, Result, int] | None:
        """The best of as many random individuals as the study evaluated, chosen as the evolved one was."""
        config, evaluator = self._config, self._evaluator
        budget = len(self._evolution.archive) if config.lottery is None else config.lottery
        if budget == 0:
            return None
        breeder = Breeder(evaluator.tree_set, config, len(evaluator.stops), len(evaluator.holds))
        hall = tools.HallOfFame(config.hall_of_fame, similar=lambda one, other: one.key == other.key)
        archive: dict[str, Trial] = {}
        # Random trees repeat each other; after ten times the budget there is little new to be drawn.
        for _ in range(1 + 10 * budget // _LOTTERY_BATCH):
            if len(archive) >= budget:
                break
            with deap_random(rng):
                drawn = [breeder.create(0) for _ in range(_LOTTERY_BATCH)]
            fresh: dict[str, Individual] = {}
            for one, key in zip(drawn, evaluator.keys(drawn)):
                one.key = key
                if key not in archive and len(archive) + len(fresh) < budget:
                    fresh.setdefault(key, one)
            trials = evaluator.trials(list(fresh.values()), list(fresh), 0, first_number=len(archive))
            archive.update((trial.key, trial) for trial in trials)
            for one in fresh.values():
                trial = archive[one.key]
                one.fitness.setValues((trial.fitness, trial.promise, one.nodes))
            hall.update(list(fresh.values()))
        one, fit, on_validation = self._ranked(list(hall), archive)[0]
        return one, fit, archive[one.key], on_validation, len(archive)

    def _draw(self, ticket: tuple[Individual, PlattFit, Trial, Result, int], evolved: Result) -> Lottery:
        one, fit, trial, on_validation, count = ticket
        test, _ = self._results(one, fit, self._parts.test)
        return Lottery(
            trials=count,
            train=trial.fitness,
            validation=on_validation.time_to_target or 0.0,
            test=test.time_to_target or 0.0,
            trades=test.trades or 0,
            beaten=bool(evolved.trades) and (evolved.time_to_target or 0.0) > (test.time_to_target or 0.0),
        )

    def _genome(self, one: Individual, fit: PlattFit) -> Genome:
        """The genome of an individual, over the features that it reads."""
        evaluator = self._evaluator
        trees = one.trees(evaluator.tree_set)
        used = sorted(
            {n.primitive.index for tree in trees for n in walk(tree) if isinstance(n.primitive, Feature)}
        )
        used = used or [0]
        places = {index: place for place, index in enumerate(used)}
        signal, confidence = (_renumbered(tree, places) for tree in trees)
        names = evaluator.data.feature_names
        return sealed(
            msgspec.structs.replace(
                evaluator.genome(signal, confidence, one.stop, one.hold),
                features=tuple(names[index] for index in used),
                calibration=Platt(a=fit.a, b=fit.b),
            )
        )


def _trials_behind(seeds: Sequence[Genome]) -> int:
    """Trials that were made to find the seeds; those of one study count once, and theirs hold those before.

    A seed is the survivor of its study: what is bred from it has been chosen among these trials as well.
    """
    studies = {}
    for genome in seeds:
        bred = genome.provenance
        studies[bred.dataset_id, bred.seed, bred.study_trials] = bred.study_trials or 0
    return sum(studies.values())


def _that_saw(seeds: Sequence[Genome], data: StudyData, test: tuple[int, int]) -> tuple[str, ...]:
    """Seeds from another dataset of the instrument that goes on into the test part: it may hold their train
    rows. On this very dataset theirs was the same train part.
    """
    opens = int(data.ts_ns[test[0]])
    return tuple(
        genome.id
        for genome in seeds
        if genome.instrument_id == data.instrument.id
        and genome.provenance.dataset_id != data.card.id
        and genome.provenance.dataset_span is not None
        and genome.provenance.dataset_span.end_ns > opens
    )


def _brackets(
    data: StudyData, config: EvolutionConfig, seeds: Sequence[Genome]
) -> tuple[tuple[Stop, ...], tuple[float, ...]]:
    """The stops and time-outs of a study: configured or of the clock, and the seeds' own stops."""
    stops, holds = default_brackets(data.clock)
    if not config.max_holds_s:
        # Time-outs are purged and embargoed at each border, so on short data only short ones leave rows to
        # use.
        longest = (int(data.ts_ns[-1]) - int(data.ts_ns[0])) / 1e9 / 40.0
        holds = tuple(hold for hold in holds if hold <= longest) or (max(longest, 1.0),)
    stops, holds = config.stops or stops, config.max_holds_s or holds
    for genome in seeds:
        if genome.kind == "tree" and genome.bracket.stop not in stops:
            stops = (*stops, genome.bracket.stop)
    return stops, holds


def _split(data: StudyData, config: EvolutionConfig, holds: Sequence[float]) -> Any:
    # Here, because it imports Nautilus, which whoever holds a dataset has done already.
    from apex_nautilus.data import DataError

    reach_ns = round(max(holds) * 1e9)
    try:
        check_execution(config.execution, on_bars=bool(getattr(data, "is_bars", False)))
        if config.execution != AGGRESSIVE:
            reach_ns += PASSIVE_TIMERS.patience_ns  # so much later its holding time may begin
        return data.splits(reach_ns, config.train, config.validation)
    except (DataError, ValueError) as error:
        raise ForgeError(f"dataset {data.card.id[:16]}: {error}") from None


def _individual(genome: Genome, evaluator: Evaluator) -> Individual | None:
    """A seed as an individual over the dataset's features, or None when it cannot be one."""
    names = list(evaluator.data.feature_names)
    if genome.kind != "tree" or genome.signal is None or genome.confidence is None:
        return None
    if not set(genome.features) <= set(names):
        return None
    places = {place: names.index(name) for place, name in enumerate(genome.features)}
    trees = [
        evaluator.tree_set.from_node(_renumbered(tree, places)) for tree in (genome.signal, genome.confidence)
    ]
    hold = min(range(len(evaluator.holds)), key=lambda i: abs(evaluator.holds[i] - genome.bracket.max_hold_s))
    stop = evaluator.stops.index(genome.bracket.stop)
    return Individual(trees[0], trees[1], stop, hold, parents=(genome.id,))


def _renumbered(tree: Node, places: dict[int, int]) -> Node:
    """A tree with its features' places exchanged."""
    if isinstance(tree.primitive, Feature):
        return Node(Feature(places[tree.primitive.index]))
    return Node(tree.primitive, tuple(_renumbered(child, places) for child in tree.children), tree.k)
