"""DEAP's typed primitive set, derived from the genome's table, and trees from one form to the other.

Four types: `Number`, `Condition`, `History` (a feature as it was read, which windowed primitives work on) and
`Window` (their k). The last two have terminals only. DEAP's generators ask for a primitive of a type as long
as a branch may grow, so the terminals of these types stand in the list of primitives too, with no arguments:
a branch that reaches them simply ends there.

A feature may stand where a condition is asked for: it holds where the feature is positive.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from zlib import crc32

from deap import gp

from apex_nautilus.genome import PRIMITIVES, WINDOWS, Constant, Feature, Node
from apex_nautilus.genome.primitives import BOOL, FLOAT, OP_CONSTANT, OP_FEATURE, RAW

__all__ = ["Condition", "Number", "TreeSet"]

#: Share of the numeric terminals that are drawn constants; the rest are features.
_CONSTANT_SHARE = 0.2


class _StableHash(type):
    """Types whose hash follows from their name.

    DEAP's crossover keeps types in sets and chooses from their iteration order, which for ordinary classes is
    their address in memory: another one in every process.
    """

    def __hash__(cls) -> int:
        return crc32(cls.__name__.encode())


class Number(metaclass=_StableHash):
    """A float."""


class Condition(metaclass=_StableHash):
    """True or false, as 1.0 and 0.0."""


class History(metaclass=_StableHash):
    """A feature together with its past rows."""


class Window(metaclass=_StableHash):
    """How many rows a windowed primitive looks back."""


_TYPES = {FLOAT: Number, BOOL: Condition, RAW: History}


class _Leaf(gp.Terminal):
    """A feature or a window. `args` lets DEAP's generators take it where they look for a primitive."""

    args: tuple[type, ...] = ()

    def __init__(self, name: str, value: int, ret: type) -> None:
        super().__init__(name, True, ret)
        self.number = value


class _TypedSet(gp.PrimitiveSetTyped):
    """DEAP's set, with leaves of our own and a grow rate that does not drown in the terminals of minor
    types.
    """

    def add_leaf(self, leaf: _Leaf) -> None:
        self._add(leaf)
        self.terms_count += 1

    @property
    def terminalRatio(self) -> float:
        terminals, primitives = len(self.terminals[Number]), len(self.primitives[Number])
        return terminals / (terminals + primitives)


class TreeSet:
    """What trees over a list of features may be made of.

    Parameters
    ----------
    features : sequence of str
        Feature names; a tree refers to them by place.
    """

    def __init__(self, features: Sequence[str]) -> None:
        if not features:
            raise ValueError("a tree needs at least one feature; the dataset has none")
        self.features = tuple(features)
        self.deap = _TypedSet("tree", [], Number)
        self._primitives: dict[str, gp.Primitive] = {}
        for primitive in PRIMITIVES.values():
            arguments = [_TYPES[kind] for kind in primitive.arguments]
            if primitive.windowed:
                arguments.append(Window)
            self.deap.addPrimitive(None, arguments, _TYPES[primitive.result], name=primitive.name)
            self._primitives[primitive.name] = self.deap.mapping[primitive.name]

        self._leaves: dict[tuple[type, int], _Leaf] = {}
        for ret, prefix in ((Number, "f"), (Condition, "c"), (History, "h")):
            for index in range(len(features)):
                self._add_leaf(f"{prefix}{index}", index, ret)
        for k in WINDOWS:
            self._add_leaf(f"k{k}", k, Window)
        for ret in (History, Window):
            self.deap.primitives[ret] = list(self.deap.terminals[ret])

        self.deap.addEphemeralConstant("constant", partial(random.uniform, -1.0, 1.0), Number)
        self._constant = self.deap.terminals[Number][-1]
        copies = round(_CONSTANT_SHARE / (1.0 - _CONSTANT_SHARE) * len(features))
        self.deap.terminals[Number].extend([self._constant] * (max(copies, 1) - 1))

    def _add_leaf(self, name: str, value: int, ret: type) -> None:
        leaf = _Leaf(name, value, ret)
        self.deap.add_leaf(leaf)
        self._leaves[ret, value] = leaf

    def to_node(self, tree: Sequence) -> Node:
        """The genome's form of a DEAP tree (a list in prefix order)."""
        stack: list = []  # nodes, and the windows of those to come
        for item in reversed(tree):
            if isinstance(item, gp.Primitive):
                arguments = [stack.pop() for _ in range(item.arity)]
                k = arguments.pop() if PRIMITIVES[item.name].windowed else None
                stack.append(Node(item.name, tuple(arguments), k))
            elif isinstance(item, _Leaf):
                stack.append(item.number if item.ret is Window else Node(Feature(item.number)))
            else:
                stack.append(Node(Constant(item.value)))
        (root,) = stack
        return root

    def from_node(self, node: Node, ret: type = Number) -> gp.PrimitiveTree:
        """The DEAP form of a genome's tree.

        The inverse of `to_node` for trees that were bred here. Elsewhere a number may stand for a condition
        or the other way round; then ``gt(x, 0)`` or ``if_then_else(x, 1, 0)`` is put in, which computes the
        same.

        Raises
        ------
        ValueError
            A feature's place is outside this set's features.
        """
        items: list = []
        self._append(items, node, ret)
        return gp.PrimitiveTree(items)

    def _append(self, items: list, node: Node, ret: type) -> None:
        head = node.primitive
        if isinstance(head, Feature):
            if not 0 <= head.index < len(self.features):
                raise ValueError(f"feature {head.index} is not one of {len(self.features)}")
            items.append(self._leaves[ret, head.index])
        elif isinstance(head, Constant):
            if ret is Condition:
                self._append(items, Node("gt", (node, Node(Constant(0.0)))), ret)
                return
            items.append(self._constant_of(head.value))
        else:
            primitive = self._primitives[head]
            if primitive.ret is not ret:
                if ret is Condition:
                    node = Node("gt", (node, Node(Constant(0.0))))
                else:
                    node = Node("if_then_else", (node, Node(Constant(1.0)), Node(Constant(0.0))))
                self._append(items, node, ret)
                return
            items.append(primitive)
            for child, kind in zip(node.children, primitive.args, strict=False):
                self._append(items, child, kind)
            if node.k is not None:
                items.append(self._leaves[Window, node.k])

    def _constant_of(self, value: float) -> gp.Terminal:
        constant = self._constant.__new__(self._constant)  # its __init__ would draw a new value
        constant.value = value
        return constant

    def tokens(self, tree: Sequence) -> tuple[list[int], list[float]]:
        """A DEAP tree as the compiler's prefix tokens (see `apex_nautilus.genome.Flat`), without making
        nodes.
        """
        codes: list[int] = []
        values: list[float] = []
        for position, item in enumerate(tree):
            if isinstance(item, gp.Primitive):
                primitive = PRIMITIVES[item.name]
                codes.append(primitive.opcode)
                # A windowed primitive's children are a feature and, after it, the window.
                values.append(tree[position + 2].number if primitive.windowed else 0.0)
            elif not isinstance(item, _Leaf):
                codes.append(OP_CONSTANT)
                values.append(item.value)
            elif item.ret is not Window:
                codes.append(OP_FEATURE)
                values.append(item.number)
        return codes, values
