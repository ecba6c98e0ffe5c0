"""One individual: a signal tree, a confidence tree and the choice of a bracket."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from deap import base, gp

from apex_nautilus.forge.primitive_set import TreeSet
from apex_nautilus.genome import Flat, Node, ProgramBatch, compile_flat

__all__ = ["Individual", "Rank", "compile_population"]


class Rank(base.Fitness):
    """Order of individuals: time-to-target, then promise, then fewer nodes.

    Promise tells apart those that never traded, whose time-to-target is zero alike (see `Trial.promise`).
    """

    weights = (1.0, 1.0, -1.0)


class Individual:
    """What evolution breeds. Operators change copies, never an individual that has been evaluated.

    Attributes
    ----------
    signal, confidence : DEAP trees (lists in prefix order).
    stop, hold : places in the study's lists of stops and time-outs.
    parents : keys of the behaviours it descends from.
    generation : when it was bred.
    key : digest of its behaviour on the probe rows; empty until evaluated.
    fitness : `Rank`; invalid until evaluated.
    """

    __slots__ = ("_tokens", "confidence", "fitness", "generation", "hold", "key", "parents", "signal", "stop")

    def __init__(
        self,
        signal: gp.PrimitiveTree,
        confidence: gp.PrimitiveTree,
        stop: int,
        hold: int,
        *,
        generation: int = 0,
        parents: tuple[str, ...] = (),
    ) -> None:
        self.signal = signal
        self.confidence = confidence
        self.stop = stop
        self.hold = hold
        self.parents = parents
        self.generation = generation
        self.key = ""
        self.fitness = Rank()
        self._tokens: tuple[tuple[list[int], list[float]], ...] | None = None

    @property
    def nodes(self) -> int:
        """Nodes of both trees, a window's k not counted."""
        return sum(len(codes) for codes, _ in self._tokens or ()) or len(self.signal) + len(self.confidence)

    def offspring(self, generation: int) -> Individual:
        """A copy that operators may change, of which this one is a parent."""
        child = Individual(
            gp.PrimitiveTree(self.signal),
            gp.PrimitiveTree(self.confidence),
            self.stop,
            self.hold,
            generation=generation,
            parents=(self.key,) if self.key else (),
        )
        return child

    def __deepcopy__(self, memo: dict) -> Individual:
        """For DEAP's hall of fame: trees are shared, since evaluated individuals do not change."""
        copy = Individual(
            self.signal,
            self.confidence,
            self.stop,
            self.hold,
            generation=self.generation,
            parents=self.parents,
        )
        copy.key = self.key
        copy.fitness.setValues(self.fitness.values)
        copy._tokens = self._tokens
        return copy

    def trees(self, tree_set: TreeSet) -> tuple[Node, Node]:
        """Signal and confidence in the genome's form."""
        return tree_set.to_node(self.signal), tree_set.to_node(self.confidence)

    def tokens(self, tree_set: TreeSet) -> tuple[tuple[list[int], list[float]], ...]:
        """Prefix tokens of signal and confidence, kept after the first call."""
        if self._tokens is None:
            self._tokens = (tree_set.tokens(self.signal), tree_set.tokens(self.confidence))
        return self._tokens


def compile_population(individuals: Sequence[Individual], tree_set: TreeSet) -> ProgramBatch:
    """Compile individuals into one batch, output 0 the signal, 1 the confidence."""
    codes: list[int] = []
    values: list[float] = []
    starts = [0]
    for individual in individuals:
        for tree_codes, tree_values in individual.tokens(tree_set):
            codes.extend(tree_codes)
            values.extend(tree_values)
            starts.append(len(codes))
    flat = Flat(
        np.array(codes, np.uint8),
        np.array(values, np.float64),
        np.array(starts, np.int64),
        np.arange(0, 2 * len(individuals) + 1, 2, dtype=np.int64),
    )
    return compile_flat(flat, len(tree_set.features))
