"""Trees: to and from JSON values, checked against the table, shown as text."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator

from apex_nautilus.genome.errors import GenomeError
from apex_nautilus.genome.primitives import PRIMITIVES, WINDOWS
from apex_nautilus.genome.schema import MAX_CONSTANT, MAX_DEPTH, MAX_NODES, Constant, Feature, Node

_NODE_FIELDS = frozenset({"primitive", "children", "k"})


def feature(index: int) -> Node:
    """The terminal that reads feature number `index`."""
    return Node(Feature(index))


def constant(value: float) -> Node:
    """The terminal that is the number `value`."""
    return Node(Constant(float(value) + 0.0))  # -0.0 acts as 0.0 and is written so


def call(name: str, *children: Node, k: int | None = None) -> Node:
    """The node that applies primitive `name`: ``call("add", feature(0), constant(1.0))``."""
    return Node(name, tuple(children), k)


def tree_from_json(value: object, path: str, source: str) -> Node:
    """Build a tree from parsed JSON. Shape only: `check_tree` judges what the shape says.

    Depth is already bounded by the parser.

    Raises
    ------
    GenomeError
        When a node has unknown or missing fields, or fields of the wrong type.
    """

    def error(reason: str, where: str) -> GenomeError:
        return GenomeError(reason, path=where, source=source)

    def build(value: object, path: str) -> Node:
        if not isinstance(value, dict):
            raise error(f"a tree node is an object, not {_shown(value)}", path)
        for name in value:
            if name not in _NODE_FIELDS:
                raise error(f"unknown field {name[:64]!r} (a node has primitive, children, k)", path)
        if "primitive" not in value:
            raise error("a node needs the field 'primitive'", path)
        children = value.get("children", [])
        if not isinstance(children, list):
            raise error(f"children is a list, not {_shown(children)}", f"{path}.children")
        k = value.get("k")
        if k is not None and (not isinstance(k, int) or isinstance(k, bool)):
            raise error(f"k is a whole number, not {_shown(k)}", f"{path}.k")
        primitive = _primitive(value["primitive"], f"{path}.primitive")
        return Node(
            primitive, tuple(build(child, f"{path}.children[{i}]") for i, child in enumerate(children)), k
        )

    def _primitive(value: object, path: str) -> str | Feature | Constant:
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and len(value) == 1:
            ((name, content),) = value.items()
            if name == "Feature":
                if not isinstance(content, int) or isinstance(content, bool):
                    raise error(f"Feature takes a whole number, not {_shown(content)}", path)
                return Feature(content)
            if name == "Constant":
                if not isinstance(content, int | float) or isinstance(content, bool):
                    raise error(f"Constant takes a number, not {_shown(content)}", path)
                return Constant(float(content) + 0.0)
        raise error(f'primitive is a name, {{"Feature": i}} or {{"Constant": x}}, not {_shown(value)}', path)

    return build(value, path)


def tree_to_json(tree: Node) -> dict[str, object]:
    """The JSON value of a tree, the inverse of `tree_from_json`."""
    if isinstance(tree.primitive, Feature):
        return {"primitive": {"Feature": int(tree.primitive.index)}}
    if isinstance(tree.primitive, Constant):
        return {"primitive": {"Constant": float(tree.primitive.value) + 0.0}}
    value: dict[str, object] = {"primitive": tree.primitive}
    if tree.k is not None:
        value["k"] = int(tree.k)
    value["children"] = [tree_to_json(child) for child in tree.children]
    return value


def check_tree(tree: Node, n_features: int, path: str = "tree", source: str = "<genome>") -> int:
    """Check a tree against the table and the limits.

    Parameters
    ----------
    tree : Node
        The root.
    n_features : int
        How many features the genome names.
    path, source : str
        For error messages.

    Returns
    -------
    int
        Number of nodes.

    Raises
    ------
    GenomeError
        On an unknown primitive, a wrong number of children, a bad window, an unknown feature, a constant out
        of range, more than 512 nodes, or a depth (edges from the root) above 17.
    """
    stack: list[tuple[Node, str, int, bool]] = [(tree, path, 0, False)]
    nodes = 0
    while stack:
        node, where, depth, raw = stack.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise GenomeError(f"more than {MAX_NODES} nodes in the tree, the limit", path=path, source=source)
        if depth > MAX_DEPTH:
            raise GenomeError(f"tree deeper than {MAX_DEPTH}, the limit", path=where, source=source)
        reason, field = _fault(node, n_features, raw)
        if reason:
            raise GenomeError(reason, path=where + field, source=source)
        if isinstance(node.primitive, str):
            raw_below = PRIMITIVES[node.primitive].windowed
            for i, child in enumerate(node.children):
                stack.append((child, f"{where}.children[{i}]", depth + 1, raw_below))
    return nodes


def _fault(node: Node, n_features: int, raw: bool) -> tuple[str, str]:
    """What is wrong with one node and in which field; empty when nothing is."""
    head = node.primitive
    if isinstance(head, Feature):
        if node.children or node.k is not None:
            return "a Feature has neither children nor k", ""
        if not 0 <= head.index < n_features:
            return f"feature {head.index} of {n_features} (0 to {n_features - 1})", ".primitive"
        return "", ""
    if raw:
        return "a windowed primitive takes a Feature, nothing computed", ".primitive"
    if isinstance(head, Constant):
        if node.children or node.k is not None:
            return "a Constant has neither children nor k", ""
        if not (math.isfinite(head.value) and abs(head.value) <= MAX_CONSTANT):
            return (
                f"constant {head.value!r} is not finite or beyond +-{MAX_CONSTANT:g}, the limit",
                ".primitive",
            )
        return "", ""
    primitive = PRIMITIVES.get(head) if isinstance(head, str) else None
    if primitive is None:
        return f"{str(head)[:64]!r} is not a primitive{_near(str(head))}; see docs/genome.md", ".primitive"
    if len(node.children) != primitive.arity:
        return f"{primitive.name} takes {primitive.arity} children, not {len(node.children)}", ".children"
    if primitive.windowed and node.k not in WINDOWS:
        return f"{primitive.name} takes k from {WINDOWS}, not {node.k}", ".k"
    if not primitive.windowed and node.k is not None:
        return f"{primitive.name} has no window, so no k", ".k"
    return "", ""


def _near(name: str) -> str:
    close = difflib.get_close_matches(name[:64], PRIMITIVES, n=3)
    if close:
        return f" (did you mean {', '.join(close)}?)"
    return f" (known: {', '.join(PRIMITIVES)})"


def _shown(value: object) -> str:
    """A short name of a JSON value for messages."""
    if isinstance(value, str):
        return ascii(value[:32])
    if isinstance(value, bool | int | float) or value is None:
        return ascii(value)[:48]
    return "an object" if isinstance(value, dict) else "a list"


def walk(tree: Node) -> Iterator[Node]:
    """All nodes of a tree in prefix order."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def tree_to_text(tree: Node, features: tuple[str, ...] | list[str] = ()) -> str:
    """A tree as one line, ``add(imbalance, lag(pressure, 5))``.

    Parameters
    ----------
    tree : Node
        The root.
    features : sequence of str
        Feature names by place; a place without a name is shown as ``f3``.
    """
    head = tree.primitive
    if isinstance(head, Feature):
        return features[head.index] if 0 <= head.index < len(features) else f"f{head.index}"
    if isinstance(head, Constant):
        return f"{head.value:.6g}"
    arguments = [tree_to_text(child, features) for child in tree.children]
    if tree.k is not None:
        arguments.append(str(tree.k))
    return f"{head}({', '.join(arguments)})"
