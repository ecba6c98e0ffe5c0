"""The state of an evolution as a file, written whole after each generation.

JSON: trees in the genome's form, the generator's state, every trial. Nothing in it is executed, and a study
that is taken up from it goes on as if it had never stopped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.evaluation import Trial
from apex_nautilus.forge.evolution import Evolution, GenerationReport
from apex_nautilus.forge.individual import Individual
from apex_nautilus.forge.primitive_set import TreeSet
from apex_nautilus.forge.randomness import generator_from_state, generator_state
from apex_nautilus.genome import GenomeError, check_tree, tree_from_json, tree_to_json
from apex_nautilus.store import fault_point, write_atomic

__all__ = ["load_checkpoint", "save_checkpoint"]

_SCHEMA = "apex.checkpoint/1"


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One individual."""

    signal: dict[str, Any]
    confidence: dict[str, Any]
    stop: int
    hold: int
    generation: int
    parents: tuple[str, ...]
    key: str


class _Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    study_id: str
    generation: int
    random_state: dict[str, str]
    population: list[_Saved]
    hall: list[_Saved]
    trials: list[Trial]
    reports: list[GenerationReport]


def save_checkpoint(path: str | os.PathLike[str], evolution: Evolution, study_id: str) -> None:
    """Write the state of `evolution` to `path`, atomically."""
    tree_set = evolution.evaluator.tree_set
    state = _Checkpoint(
        schema=_SCHEMA,
        study_id=study_id,
        generation=evolution.generation,
        random_state=generator_state(evolution.rng),
        population=[_saved(one, tree_set) for one in evolution.population],
        hall=[_saved(one, tree_set) for one in evolution.hall],
        trials=list(evolution.archive.values()),
        reports=evolution.reports,
    )
    write_atomic(path, msgspec.json.encode(state))
    fault_point("forge.checkpoint")


def load_checkpoint(path: str | os.PathLike[str], evolution: Evolution, study_id: str) -> bool:
    """Put the state in `path` into a fresh `evolution`; False when there is no file.

    Raises
    ------
    ForgeError
        The file is not a checkpoint, or of another study (other data, seed or configuration).
    """
    source = Path(path)
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        return False
    try:
        state = msgspec.json.decode(data, type=_Checkpoint)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ForgeError(f"{source}: not a checkpoint ({error}); remove it to start again") from None
    if state.schema != _SCHEMA or state.study_id != study_id:
        raise ForgeError(
            f"{source}: a checkpoint of study {state.study_id}, not of {study_id}: the data, the seed or the "
            "configuration differs; choose another run folder, or repeat what the run was started with"
        )
    evolution.archive = {trial.key: trial for trial in state.trials}
    try:
        _check_whole(state, evolution)
        evolution.population = [_restored(saved, evolution) for saved in state.population]
        hall = [_restored(saved, evolution) for saved in state.hall]
        rng = generator_from_state(state.random_state)
    except (GenomeError, ValueError, KeyError, OverflowError) as error:
        raise ForgeError(f"{source}: damaged checkpoint ({error}); remove it to start again") from None
    evolution.hall.clear()
    for one in reversed(hall):  # DEAP puts a newcomer ahead of its equals
        evolution.hall.insert(one)
    evolution.rng = rng
    evolution.generation = state.generation
    evolution.reports = list(state.reports)
    return True


def _check_whole(state: _Checkpoint, evolution: Evolution) -> None:
    """Raise ValueError where the parts of a checkpoint contradict each other or the study."""
    count = len(state.reports)
    if count != state.generation + 1 or [r.generation for r in state.reports] != list(range(count)):
        raise ValueError(f"generation {state.generation} with {len(state.reports)} reports")
    # A trial that went missing would make N too small and the gate too easy.
    made = state.reports[-1].trials if state.reports else 0
    numbers = [trial.number for trial in state.trials]
    if numbers != list(range(len(numbers))) or not len(numbers) == len(evolution.archive) == made:
        raise ValueError(f"{made} trials were made, the file has {len(state.trials)}")
    if len(state.population) != evolution.config.population or not state.hall:
        raise ValueError(f"a population of {len(state.population)}, a hall of fame of {len(state.hall)}")
    stops, holds = len(evolution.evaluator.stops), len(evolution.evaluator.holds)
    for one in (*state.population, *state.hall):
        if not (0 <= one.stop < stops and 0 <= one.hold < holds):
            raise ValueError(f"stop {one.stop} of {stops}, time-out {one.hold} of {holds}")


def _saved(one: Individual, tree_set: TreeSet) -> _Saved:
    signal, confidence = one.trees(tree_set)
    return _Saved(
        tree_to_json(signal),
        tree_to_json(confidence),
        one.stop,
        one.hold,
        one.generation,
        one.parents,
        one.key,
    )


def _restored(saved: _Saved, evolution: Evolution) -> Individual:
    tree_set = evolution.evaluator.tree_set
    trees = []
    for name, value in (("signal", saved.signal), ("confidence", saved.confidence)):
        node = tree_from_json(value, name, "checkpoint")
        check_tree(node, len(tree_set.features), name, "checkpoint")
        trees.append(tree_set.from_node(node))
    one = Individual(
        trees[0], trees[1], saved.stop, saved.hold, generation=saved.generation, parents=saved.parents
    )
    one.tokens(tree_set)  # nodes are counted on them, so before the fitness is set
    one.key = saved.key
    trial = evolution.archive[saved.key]
    one.fitness.setValues((trial.fitness, trial.promise, one.nodes))
    return one
