"""Random trees from the table, for tests and benchmarks (the Forge grows its own with DEAP)."""

from __future__ import annotations

import numpy as np

from apex_nautilus.genome.primitives import BOOL, FLOAT, PRIMITIVES, WINDOWS, Primitive
from apex_nautilus.genome.schema import Node
from apex_nautilus.genome.trees import call, constant, feature

_BY_RESULT: dict[str, list[Primitive]] = {
    kind: [p for p in PRIMITIVES.values() if p.result == kind] for kind in (FLOAT, BOOL)
}


def random_tree(
    rng: np.random.Generator,
    n_features: int,
    depth: int = 4,
    typed: bool = True,
    *,
    windowed: bool = True,
    full: bool = False,
) -> Node:
    """Grow a random tree.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    n_features : int
        Features to choose from, at least 1.
    depth : int
        Greatest depth, edges from the root.
    typed : bool
        Conditions only where conditions are asked for. Otherwise any primitive anywhere, which the codec
        accepts as well: a number as a condition stands for ``number > 0``.
    windowed : bool
        Whether windowed primitives may appear.
    full : bool
        Grow every branch to `depth` as far as types allow.
    """

    def terminal() -> Node:
        if rng.random() < 0.75:
            return feature(int(rng.integers(n_features)))
        return constant(float(np.round(rng.uniform(-2.0, 2.0), 3)))

    def grow(kind: str, depth: int) -> Node:
        if depth <= 0:
            return terminal()
        if kind == FLOAT and not full and rng.random() < 0.15:
            return terminal()
        if kind == BOOL and depth < 1:
            return terminal()
        choice = _BY_RESULT[kind] if typed else list(PRIMITIVES.values())
        choice = [p for p in choice if windowed or not p.windowed]
        # windowed primitives are many names for one thing: let them have the weight of two
        weights = np.array([2.0 / 6.0 if p.windowed else 1.0 for p in choice])
        primitive = choice[int(rng.choice(len(choice), p=weights / weights.sum()))]
        if primitive.windowed:
            return call(primitive.name, feature(int(rng.integers(n_features))), k=int(rng.choice(WINDOWS)))
        return call(primitive.name, *(grow(argument, depth - 1) for argument in primitive.arguments))

    return grow(FLOAT, depth)
