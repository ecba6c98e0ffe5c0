"""The older form of a strategy file, ``{"root": node}``: a signal alone, over three features.

Its names come in snake, camel and capitalised spelling. Its condition means non-zero, which here is
``or_(gt(x, 0), lt(x, 0))``. It says nothing about the probability of winning, so a converted genome needs a
calibration learnt from data.
"""

from __future__ import annotations

from typing import NamedTuple

from apex_nautilus.genome._parser import parse
from apex_nautilus.genome.codec import sealed
from apex_nautilus.genome.errors import GenomeError
from apex_nautilus.genome.schema import (
    MAX_NODES,
    Bracket,
    Calibration,
    Clock,
    Constant,
    Feature,
    Genome,
    Node,
    Provenance,
    Sizing,
)
from apex_nautilus.genome.trees import call, check_tree, constant, tree_from_json
from apex_nautilus.genome.validation import validate

#: Features of the older form, by place.
LEGACY_FEATURES = ("imbalance", "pressure", "clv")

# Compared without underscores and case: protectedDiv, ProtectedDiv and protected_div are one name.
_NAMES = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "protecteddiv": "protected_div",
    "ifthenelse": "if_then_else",
    "neg": "neg",
}
_CLV_NOTE = (
    "clv was the mid's place in the spread in the older form, so a constant 0.5; "
    "here it is the place of the last trade, so the converted strategy acts otherwise"
)


class Legacy(NamedTuple):
    """A converted signal.

    Attributes
    ----------
    signal : Node
        The tree, over `LEGACY_FEATURES`, in today's primitives.
    notes : tuple of str
        What changes its meaning and its owner should know.
    """

    signal: Node
    notes: tuple[str, ...]


def decode_legacy(data: bytes, *, source: str = "<bytes>") -> Legacy:
    """Read the older form ``{"root": node}``.

    Parameters
    ----------
    data : bytes
        The file's content, bounded like a genome's.
    source : str
        File name for error messages.

    Raises
    ------
    GenomeError
        Whatever is wrong, with source, JSON path and limit.
    """
    value = parse(data, source)
    if not isinstance(value, dict) or set(value) != {"root"}:
        raise GenomeError('the older form is {"root": node}', source=source)
    root = tree_from_json(_terminals(value["root"]), "root", source)
    signal, _ = _convert(root, "root", source)
    check_tree(signal, len(LEGACY_FEATURES), "root", source)
    return Legacy(signal, (_CLV_NOTE,) if _reads(root, LEGACY_FEATURES.index("clv")) else ())


def from_legacy(
    legacy: Legacy,
    *,
    instrument_id: str,
    calibration: Calibration,
    bracket: Bracket,
    clock: Clock = "book",
    entry_threshold: float = 0.5,
    sizing: Sizing | None = None,
    provenance: Provenance | None = None,
) -> Genome:
    """A genome of the older form's signal. The size of the signal, either way, is its raw score of winning.

    `calibration` must come from data: the older form has no probability.

    Raises
    ------
    GenomeError
        When the result would break a limit, such as a depth above 17.
    """
    genome = sealed(
        Genome(
            instrument_id=instrument_id,
            clock=clock,
            features=LEGACY_FEATURES,
            signal=legacy.signal,
            confidence=call("abs", legacy.signal),
            entry_threshold=entry_threshold,
            calibration=calibration,
            bracket=bracket,
            sizing=sizing or Sizing(),
            provenance=provenance or Provenance(),
        )
    )
    validate(genome, LEGACY_FEATURES, "converted genome")
    return genome


def _terminals(value: object) -> object:
    """Older files may name a feature instead of giving its place; depth is bounded by the parser."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    head = value.get("primitive")
    if isinstance(head, dict) and isinstance(head.get("Feature"), str):
        name = head["Feature"].lower()
        if name in LEGACY_FEATURES:
            value["primitive"] = {**head, "Feature": LEGACY_FEATURES.index(name)}
    children = value.get("children")
    if isinstance(children, list):
        value["children"] = [_terminals(child) for child in children]
    return value


def _convert(node: Node, path: str, source: str) -> tuple[Node, int]:
    """The node in today's primitives, and its size.

    A condition is doubled, so nested conditions could grow without bound: the size is counted as it grows.
    """
    if isinstance(node.primitive, Feature | Constant):
        return node, 1
    name = _NAMES.get(node.primitive.replace("_", "").lower())
    if name is None:
        known = "add, sub, mul, protectedDiv, ifThenElse, neg"
        raise GenomeError(
            f"{node.primitive[:64]!r} is not a primitive of the older form (known: {known})",
            path=f"{path}.primitive",
            source=source,
        )
    pairs = [_convert(child, f"{path}.children[{i}]", source) for i, child in enumerate(node.children)]
    children = [child for child, _ in pairs]
    size = 1 + sum(n for _, n in pairs)
    if name == "if_then_else" and children:
        x = children[0]
        children[0] = call("or_", call("gt", x, constant(0.0)), call("lt", x, constant(0.0)))
        size += pairs[0][1] + 5
    if size > MAX_NODES:
        raise GenomeError(
            f"more than {MAX_NODES} nodes after conversion, the limit", path=path, source=source
        )
    return Node(name, tuple(children), node.k), size


def _reads(node: Node, index: int) -> bool:
    if isinstance(node.primitive, Feature):
        return node.primitive.index == index
    return any(_reads(child, index) for child in node.children)
