"""Trees as flat prefix arrays: what the compiler reads.

A population of a thousand trees is one `Flat`, so that compiling costs no Python per node. Whoever holds
trees in another prefix form (DEAP's individuals are lists in prefix order) writes the token arrays directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from apex_nautilus.genome.primitives import OP_CONSTANT, OP_FEATURE, PRIMITIVES
from apex_nautilus.genome.schema import Constant, Feature, Node

_CODES = {name: primitive.opcode for name, primitive in PRIMITIVES.items()}


class Flat(NamedTuple):
    """Trees of many genomes in prefix order.

    Attributes
    ----------
    codes : ndarray of uint8, shape (tokens,)
        Opcode of each node: `Primitive.opcode`, ``OP_FEATURE`` or ``OP_CONSTANT``.
    values : ndarray of float64, shape (tokens,)
        The feature's index, the constant, or the window k; 0 elsewhere.
    trees : ndarray of int64, shape (n_trees + 1,)
        Where each tree starts.
    genomes : ndarray of int64, shape (n_genomes + 1,)
        Which trees belong to each genome; a tree is an output.
    """

    codes: np.ndarray
    values: np.ndarray
    trees: np.ndarray
    genomes: np.ndarray


def flatten(genomes: Sequence[Sequence[Node]]) -> Flat:
    """Flatten the trees of each genome.

    Parameters
    ----------
    genomes : sequence of sequence of Node
        Each genome's trees in the order of its outputs, already checked.
    """
    codes: list[int] = []
    values: list[float] = []
    trees = [0]
    groups = [0]
    for group in genomes:
        for tree in group:
            _tokens(tree, codes, values)
            trees.append(len(codes))
        groups.append(len(trees) - 1)
    return Flat(
        np.array(codes, np.uint8),
        np.array(values, np.float64),
        np.array(trees, np.int64),
        np.array(groups, np.int64),
    )


def _tokens(tree: Node, codes: list[int], values: list[float]) -> None:
    stack = [tree]
    while stack:
        node = stack.pop()
        head = node.primitive
        if isinstance(head, Feature):
            codes.append(OP_FEATURE)
            values.append(head.index)
        elif isinstance(head, Constant):
            codes.append(OP_CONSTANT)
            values.append(head.value)
        else:
            codes.append(_CODES[head])
            values.append(node.k or 0)
            stack.extend(node.children[::-1])
