"""The generational loop: evaluate, select, cross, mutate, keep the best."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import numpy as np
from deap import tools

from apex_nautilus.forge.config import EvolutionConfig
from apex_nautilus.forge.evaluation import Evaluator, Trial
from apex_nautilus.forge.individual import Individual
from apex_nautilus.forge.operators import Breeder
from apex_nautilus.forge.randomness import deap_random

__all__ = ["Evolution", "GenerationReport"]


#: Share of the first generation that is made of mutants of the seeds, when there are seeds.
_VARIANTS = 0.2


class GenerationReport(msgspec.Struct, frozen=True):
    """One line of the progress table.

    Attributes
    ----------
    generation : 0 for the first population.
    best, median : time-to-target on the train part, of the hall of fame's first and of the population.
    trials : evaluations so far; `new_trials` of them in this generation, `duplicates` were spared.
    nodes : of the best individual.
    trades : of the best individual, on the train part.
    validation : its time-to-target on the validation part with the train calibration.
    validation_dsr : its deflated Sharpe ratio there, None without enough trades. Nothing is chosen by these
        two while evolution runs.
    """

    generation: int
    best: float
    median: float
    trials: int
    new_trials: int
    duplicates: int
    nodes: int
    trades: int
    validation: float | None = None
    validation_dsr: float | None = None


class Evolution:
    """A population and its history. `start` once (or restore a checkpoint), then `step` per generation.

    The result depends on the seed, the data and the configuration alone: not on threads, on the process, or
    on what else draws random numbers.

    Attributes
    ----------
    generation : the last one finished, -1 before `start`.
    population : its individuals.
    hall : DEAP hall of fame, the best of different behaviours.
    archive : trial by behaviour; a behaviour seen before is not evaluated again.
    """

    def __init__(self, evaluator: Evaluator, config: EvolutionConfig, rng: np.random.Generator) -> None:
        self.evaluator = evaluator
        self.config = config
        self.rng = rng
        self.breeder = Breeder(evaluator.tree_set, config, len(evaluator.stops), len(evaluator.holds))
        self.generation = -1
        self.population: list[Individual] = []
        self.hall = tools.HallOfFame(config.hall_of_fame, similar=lambda one, other: one.key == other.key)
        self.archive: dict[str, Trial] = {}
        self.reports: list[GenerationReport] = []

    def start(self, seeds: Sequence[Individual] = ()) -> list[Trial]:
        """Make and evaluate the first generation, `seeds` among it; returns its new trials."""
        if self.generation >= 0:
            raise RuntimeError("this evolution has started already; call step()")
        size = self.config.population
        population = list(seeds)[:size]
        variants = min(round(_VARIANTS * size), size - len(population)) if seeds else 0
        with deap_random(self.rng):
            for i in range(variants):
                child = seeds[i % len(seeds)].offspring(0)
                child.parents = seeds[i % len(seeds)].parents
                self.breeder.mutate(child)
                population.append(child)
            population += [self.breeder.create(0) for _ in range(size - len(population))]
        return self._finish(population)

    def step(self) -> list[Trial]:
        """Breed and evaluate the next generation; returns its new trials."""
        if self.generation < 0:
            raise RuntimeError("call start() before step()")
        config, generation = self.config, self.generation + 1
        elites = self._elites()
        immigrants = round(config.immigrants * config.population)
        wanted = max(config.population - len(elites) - immigrants, 0)
        with deap_random(self.rng):
            parents = tools.selTournament(self.population, wanted, tournsize=config.tournament)
            children = [parent.offspring(generation) for parent in parents]
            for first, second in zip(children[::2], children[1::2]):
                if random.random() < config.crossover:
                    self.breeder.cross(first, second)
            for child in children:
                if random.random() < config.mutation:
                    self.breeder.mutate(child)
            born = config.population - len(elites) - len(children)
            children += [self.breeder.create(generation) for _ in range(born)]
        return self._finish(elites + children)

    def _elites(self) -> list[Individual]:
        """The best individuals of different behaviour."""
        chosen: dict[str, Individual] = {}
        for one in sorted(self.population, key=lambda one: one.fitness, reverse=True):
            if len(chosen) >= self.config.elites:
                break
            chosen.setdefault(one.key, one)
        return list(chosen.values())

    def _finish(self, population: list[Individual]) -> list[Trial]:
        generation = self.generation + 1
        fresh = [one for one in population if not one.key]
        for one, key in zip(fresh, self.evaluator.keys(fresh)):
            one.key = key
        unseen: dict[str, Individual] = {}
        for one in fresh:
            if one.key not in self.archive:
                unseen.setdefault(one.key, one)
        trials = self.evaluator.trials(
            list(unseen.values()), list(unseen), generation, first_number=len(self.archive)
        )
        self.archive.update((trial.key, trial) for trial in trials)
        for one in population:
            trial = self.archive[one.key]
            one.fitness.setValues((trial.fitness, trial.promise, one.nodes))
        self.population = population
        self.generation = generation
        self.hall.update(population)
        best = self.archive[self.hall[0].key]
        self.reports.append(
            GenerationReport(
                generation=generation,
                best=best.fitness,
                median=float(np.median([one.fitness.values[0] for one in population])),
                trials=len(self.archive),
                new_trials=len(trials),
                duplicates=len(fresh) - len(trials),
                nodes=self.hall[0].nodes,
                trades=best.trades,
            )
        )
        return trials
