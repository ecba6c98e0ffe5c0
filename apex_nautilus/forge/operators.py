"""How individuals are made and changed: DEAP's operators on the trees, small steps on the bracket.

Every function here draws from Python's global `random` through DEAP and must be called inside `deap_random`.
"""

from __future__ import annotations

import random
from functools import partial

from deap import gp

from apex_nautilus.forge.config import EvolutionConfig
from apex_nautilus.forge.individual import Individual
from apex_nautilus.forge.primitive_set import Number, TreeSet

__all__ = ["Breeder"]

_TRIES = 20


class Breeder:
    """Makes, crosses and mutates individuals within the limits of a configuration.

    Parameters
    ----------
    tree_set : what trees may be made of.
    config : rates and limits.
    n_stops, n_holds : how many stops and time-outs there are to choose from.
    """

    def __init__(self, tree_set: TreeSet, config: EvolutionConfig, n_stops: int, n_holds: int) -> None:
        self._set = tree_set
        self._config = config
        self._n_stops = n_stops
        self._n_holds = n_holds
        self._subtree = partial(gp.genGrow, min_=0, max_=2)

    def create(self, generation: int) -> Individual:
        """A new individual: trees half full and half grown, a bracket at random."""
        return Individual(
            self._new_tree(),
            self._new_tree(),
            random.randrange(self._n_stops),
            random.randrange(self._n_holds),
            generation=generation,
        )

    def _new_tree(self) -> gp.PrimitiveTree:
        config = self._config
        for _ in range(_TRIES):
            tree = gp.PrimitiveTree(
                gp.genHalfAndHalf(self._set.deap, config.min_depth, config.max_initial_depth, Number)
            )
            if self._fits(tree):
                return tree
        return gp.PrimitiveTree(gp.genGrow(self._set.deap, 0, 0, Number))

    def _fits(self, tree: gp.PrimitiveTree) -> bool:
        return len(tree) <= self._config.max_nodes and tree.height <= self._config.max_depth

    def cross(self, first: Individual, second: Individual) -> None:
        """Exchange parts of two offspring in place: subtrees of one or both trees, and parts of the bracket.

        A tree that would break a limit stays as it was.
        """
        parents = tuple(dict.fromkeys(first.parents + second.parents))
        what = random.choice(("signal", "confidence", "both"))
        for name in ("signal", "confidence"):
            if what in (name, "both"):
                ours, theirs = getattr(first, name), getattr(second, name)
                left, right = gp.cxOnePoint(gp.PrimitiveTree(ours), gp.PrimitiveTree(theirs))
                if self._fits(left):
                    setattr(first, name, left)
                if self._fits(right):
                    setattr(second, name, right)
        if random.random() < 0.5:
            first.stop, second.stop = second.stop, first.stop
        if random.random() < 0.5:
            first.hold, second.hold = second.hold, first.hold
        first.parents = second.parents = parents

    def mutate(self, individual: Individual) -> None:
        """Change one thing of an offspring in place: a tree, or its bracket."""
        where = random.choice(("signal", "signal", "confidence", "confidence", "bracket"))
        if where == "bracket":
            if random.random() < 0.5:
                individual.stop = random.randrange(self._n_stops)
            else:
                individual.hold = random.randrange(self._n_holds)
            return
        tree = gp.PrimitiveTree(getattr(individual, where))
        pset = self._set.deap
        how = random.randrange(5)
        if how == 0:
            (tree,) = gp.mutUniform(tree, self._subtree, pset)
        elif how == 1:
            (tree,) = gp.mutNodeReplacement(tree, pset)
        elif how == 2:
            (tree,) = gp.mutEphemeral(tree, "one")
        elif how == 3:
            (tree,) = gp.mutInsert(tree, pset)
        else:
            (tree,) = gp.mutShrink(tree)
        if self._fits(tree):
            setattr(individual, where, tree)
