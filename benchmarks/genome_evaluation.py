"""Trees per second: many genomes on many rows, one core, float64.

The unit is node evaluations: all nodes of all trees, terminals too, times rows, per second. Ours starts, as
DEAP does, from DEAP individuals: turning them into tokens and compiling them is part of the time. Each peer
gets the same trees, over primitives it has, without our clamping of overflow; outputs are compared where they
are tame.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Iterator
from itertools import chain
from operator import attrgetter

import numpy as np

from apex_nautilus.genome import (
    OP_CONSTANT,
    OP_FEATURE,
    PRIMITIVES,
    Flat,
    compile_flat,
    evaluate_block,
    evaluate_blocks,
    evaluate_row,
    new_state,
)
from benchmarks.harness import MissingPeer, Row, compare, missing_row, peer_version, require_peer

UNIT = "node evaluations/s"
FEATURES = 8
#: Name of the constants that DEAP draws.
EPHEMERAL = "genome_evaluation"
SHARED = ("add", "sub", "mul", "abs", "min", "max")
#: pyoperon 0.6 has min and max too, but answers to each with the other.
OPERON = ("add", "sub", "mul", "abs")


def run(quick: bool) -> Iterator[Row]:
    rows = 10_000
    n_trees = 200 if quick else 1000
    X = np.random.default_rng(3).normal(size=(rows, FEATURES))
    yield from _against_deap("genome_evaluation_deap", SHARED, n_trees, X, goal=10.0)
    everything = tuple(p.name for p in PRIMITIVES.values() if not p.windowed)
    yield from _against_deap("genome_evaluation_deap_all_primitives", everything, n_trees, X, goal=None)
    yield from _against_gplearn(n_trees, X)
    yield from _against_operon(n_trees, X)
    yield _live_row(X)


def _numpy_functions() -> dict:
    def divide(a, b):
        a, b = np.broadcast_arrays(a, b)
        return np.divide(a, b, out=np.ones(a.shape), where=np.abs(b) >= 1e-9)

    return {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "protected_div": divide, "neg": np.negative,
        "abs": np.abs, "min": np.minimum, "max": np.maximum, "if_then_else": np.where, "gt": np.greater,
        "lt": np.less, "and_": np.logical_and, "or_": np.logical_or, "not_": np.logical_not, "tanh": np.tanh,
        "sigmoid": lambda a: 1.0 / (1.0 + np.exp(-a)), "clip": lambda a: np.minimum(np.maximum(a, -1.0), 1.0),
        "signed_log1p": lambda a: np.copysign(np.log1p(np.abs(a)), a),
        "signed_sqrt": lambda a: np.copysign(np.sqrt(np.abs(a)), a),
    }  # fmt: skip


def _population(names: tuple[str, ...], n_trees: int):
    """DEAP's primitive set and half-and-half trees of depth 2 to 6, from a seed."""
    from deap import gp

    functions = _numpy_functions()
    types = {"float": float, "bool": bool}
    pset = gp.PrimitiveSetTyped("MAIN", [float] * FEATURES, float)
    for name in names:
        p = PRIMITIVES[name]
        pset.addPrimitive(functions[name], [types[t] for t in p.arguments], types[p.result], name=name)
    pset.addEphemeralConstant(EPHEMERAL, functools.partial(random.uniform, -1.0, 1.0), float)
    if any(PRIMITIVES[name].result == "bool" for name in names):
        pset.addTerminal(True, bool, name="yes")
    state = random.getstate()
    random.seed(7)
    try:
        return pset, [gp.PrimitiveTree(gp.genHalfAndHalf(pset, 2, 6)) for _ in range(n_trees)]
    finally:
        random.setstate(state)


class _Tokens:
    """DEAP individuals as prefix arrays, a node by its name."""

    def __init__(self) -> None:
        terminals = [(f"ARG{i}", OP_FEATURE, i) for i in range(FEATURES)]
        terminals += [("yes", OP_CONSTANT, 1.0), (EPHEMERAL, OP_CONSTANT, np.nan)]
        known = [(p.name, p.opcode, 0.0) for p in PRIMITIVES.values()] + terminals
        self.kind = {name: i for i, (name, _, _) in enumerate(known)}
        self.codes = np.array([code for _, code, _ in known], np.uint8)
        self.values = np.array([value for _, _, value in known])

    def __call__(self, individuals) -> Flat:
        nodes = list(chain.from_iterable(individuals))
        kinds = np.frombuffer(bytes(map(self.kind.__getitem__, map(attrgetter("name"), nodes))), np.uint8)
        values = self.values[kinds]
        drawn = np.flatnonzero(np.isnan(values))
        values[drawn] = [nodes[i].value for i in drawn.tolist()]
        ends = np.cumsum([0, *map(len, individuals)])
        return Flat(self.codes[kinds], values, ends, np.arange(len(individuals) + 1))


def _same(ours: np.ndarray, theirs: list, tolerance: float) -> str:
    """Compare outputs where nothing overflowed; raise when the work was not the same."""
    compared = 0
    for mine, other in zip(ours[:, 0], theirs, strict=True):
        other = np.broadcast_to(np.asarray(other, np.float64), mine.shape)
        with np.errstate(invalid="ignore"):
            tame = np.abs(other) < 1e9
            scale = np.maximum(1.0, np.abs(other))
            off = np.abs(mine - other)[tame] / scale[tame]
        if off.size and off.max() > tolerance:
            raise RuntimeError(f"outputs differ by {off.max():.3g}, more than {tolerance:g}")
        compared += int(tame.sum())
    share = compared / ours[:, 0].size
    if share < 0.98:
        raise RuntimeError(f"only {share:.1%} of the outputs could be compared")
    return f"{share:.2%} of {ours[:, 0].size} outputs within {tolerance:g}, rest beyond 1e9"


def _ours(individuals, X):
    tokens = _Tokens()
    out = np.empty((len(individuals), 1, len(X)))

    def work():
        batch = compile_flat(tokens(individuals), FEATURES)
        return evaluate_block(batch, X, out=out)[0]

    return work


def _ours_dropping(individuals, X):
    """As `_ours`, each block's outputs dropped when the next is made, as DEAP's are tree by tree."""
    tokens = _Tokens()

    def work():
        for _ in evaluate_blocks(compile_flat(tokens(individuals), FEATURES), X):
            pass

    return work


def _against_deap(name: str, names: tuple[str, ...], n_trees: int, X, goal: float | None) -> Iterator[Row]:
    from deap import gp

    pset, individuals = _population(names, n_trees)
    nodes = sum(map(len, individuals))
    keeping, dropping = _ours(individuals, X), _ours_dropping(individuals, X)
    columns = [np.ascontiguousarray(column) for column in X.T]

    def theirs_keeping():
        return [gp.compile(individual, pset)(*columns) for individual in individuals]

    def theirs_dropping():
        for individual in individuals:
            gp.compile(individual, pset)(*columns)

    with np.errstate(all="ignore"):
        same = _same(keeping(), theirs_keeping(), 1e-9)
        contests = (
            (name, dropping, theirs_dropping, goal, "both drop their outputs, a block or a tree at a time"),
            (f"{name}_kept", keeping, theirs_keeping, None, "both keep all outputs"),
        )
        for row, ours, theirs, wanted, what in contests:
            yield compare(
                row,
                ours,
                theirs,
                work=float(nodes * len(X)),
                unit=UNIT,
                peer=peer_version("deap"),
                goal_ratio=wanted,
                same_work=f"{same}; compile included; {what}; {', '.join(names)}",
            )


def _against_gplearn(n_trees: int, X) -> Iterator[Row]:
    try:
        functions = require_peer("gplearn.functions")
        program = require_peer("gplearn._program")
    except MissingPeer as missing:
        yield missing_row("genome_evaluation_gplearn", UNIT, "gplearn", "", str(missing))
        return
    _, individuals = _population(SHARED, n_trees)
    table = {name: functions._function_map[name] for name in SHARED}

    def token(node):
        if node.name in table:
            return table[node.name]
        return int(node.name[3:]) if node.name.startswith("ARG") else float(node.value)

    programs = [
        program._Program(
            list(table.values()), {}, (2, 6), "half and half", FEATURES, (-1.0, 1.0), None, 0.0, 0.0, None,
            program=[token(node) for node in individual],
        )
        for individual in individuals
        if len(individual) > 1
    ]  # fmt: skip
    individuals = [individual for individual in individuals if len(individual) > 1]
    ours = _ours(individuals, X)
    same = _same(ours(), [p.execute(X) for p in programs], 1e-9)

    def theirs():
        for p in programs:
            p.execute(X)

    yield compare(
        "genome_evaluation_gplearn",
        ours,
        theirs,
        work=float(sum(map(len, individuals)) * len(X)),
        unit=UNIT,
        peer=peer_version("gplearn"),
        goal_ratio=None,
        same_work=f"{same}; {', '.join(SHARED)}",
    )


def _against_operon(n_trees: int, X) -> Iterator[Row]:
    try:
        operon = require_peer("pyoperon")
    except MissingPeer as missing:
        yield missing_row("genome_evaluation_pyoperon_f32", UNIT, "pyoperon", "", str(missing))
        return
    _, individuals = _population(OPERON, n_trees)
    kinds = operon.NodeType
    types = {"add": kinds.Add, "sub": kinds.Sub, "mul": kinds.Mul, "abs": kinds.Abs}
    single = np.asfortranarray(X, np.float32)  # the dataset is a view of it and does not keep it alive
    dataset = operon.Dataset(single)
    hashes = {v.Index: v.Hash for v in dataset.Variables}

    def convert(individual):
        """Prefix to operon's postfix, in which a node's first argument stands last."""
        nodes = []
        for node in individual:
            if node.name in types:
                nodes.append(operon.Node(types[node.name]))
            elif node.name.startswith("ARG"):
                variable = operon.Node.Variable(1.0)
                variable.HashValue = variable.CalculatedHashValue = hashes[int(node.name[3:])]
                nodes.append(variable)
            else:
                nodes.append(operon.Node.Constant(node.value))
        return operon.Tree(nodes[::-1]).UpdateNodes()

    trees = [convert(individual) for individual in individuals]
    span = operon.Range(0, len(X))
    theirs_out = np.zeros((len(trees), len(X)), np.float32)
    ours = _ours(individuals, X)

    def theirs():
        operon.EvaluateTrees(trees, dataset, span, theirs_out, 1)

    theirs()
    same = _same(ours(), list(theirs_out), 1e-2)
    yield compare(
        "genome_evaluation_pyoperon_f32",
        ours,
        theirs,
        work=float(sum(map(len, individuals)) * len(X)),
        unit=UNIT,
        peer=f"{peer_version('pyoperon')} (float32)",
        goal_ratio=None,
        same_work=f"{same} (it computes in float32, ours in float64); {', '.join(OPERON)}",
    )


def _live_row(X) -> Row:
    """One genome, one row at a time, called from Python."""
    _, individuals = _population(SHARED, 50)
    flat = _Tokens()(individuals)
    batch = compile_flat(flat, FEATURES)
    program = batch[int(np.argsort(np.diff(flat.trees))[25])]
    out = np.zeros(1)

    def once() -> float:
        state = new_state(program)
        start = time.perf_counter()
        for row in rows:
            evaluate_row(program, row, state, out)
        return (time.perf_counter() - start) / len(rows)

    rows = list(X[:5000])
    once()
    seconds = [once() for _ in range(5)]
    median = sorted(seconds)[2]
    return Row(
        "genome_evaluation_live_row", "us/row", median * 1e6, "bound", 2.0, 2.0 / (median * 1e6),
        "<= 2 us a row",
        median <= 2e-6, f"one tree of {len(program.opcodes)} instructions, called from Python", 5,
        (max(seconds) - min(seconds)) / median,
    )  # fmt: skip
