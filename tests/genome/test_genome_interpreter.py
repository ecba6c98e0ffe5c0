"""One genome on the same rows gives the same bits live, in ranges, in populations, and in plain Python."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from deap import gp
from genome_trees import rows, trees
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from apex_nautilus.genome import (
    BLOCK,
    BOOL,
    LIMIT,
    PRIMITIVES,
    WINDOWS,
    Flat,
    GenomeError,
    call,
    compile_flat,
    compile_trees,
    constant,
    evaluate_block,
    evaluate_blocks,
    evaluate_row,
    feature,
    flatten,
    new_state,
    pack,
    random_tree,
    range_kernel,
    reference_evaluate,
    reference_invalid,
    row_kernel,
)

F0, F1, F2 = feature(0), feature(1), feature(2)


def live(program, X):
    """Row by row through `evaluate_row`: outputs (n_outputs, rows) and the NaN count."""
    state, out = new_state(program), np.zeros(program.n_outputs)
    result = np.empty((program.n_outputs, len(X)))
    invalid = 0
    for i, row in enumerate(X):
        invalid += evaluate_row(program, row, state, out)
        result[:, i] = out
    return result, invalid


def in_range(program, X, lo, hi, block=BLOCK):
    out = np.full((program.n_outputs, hi - lo), np.nan)
    invalid = range_kernel(
        program.opcodes, program.operands, program.constants, X, lo, hi, program.scratch(block), out
    )
    return out, invalid


@settings(max_examples=120)
@given(signal=trees(), confidence=trees(), X=rows())
def test_live_ranges_blocks_and_plain_python_agree_to_the_last_bit(signal, confidence, X):
    program = compile_trees([signal, confidence], 3)
    expected = np.stack([reference_evaluate(signal, X), reference_evaluate(confidence, X)])
    outputs, invalid = evaluate_block([program], X)
    rowwise, live_invalid = live(program, X)
    ranged, range_invalid = in_range(program, X, 0, len(X), block=16)
    for found in (outputs[0], rowwise, ranged):
        assert found.tobytes() == expected.tobytes()
    assert invalid[0] == live_invalid == range_invalid == reference_invalid([signal, confidence], X)
    assert np.isfinite(expected).all()
    assert (np.abs(expected) <= LIMIT).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_untyped_trees_take_numbers_as_conditions(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 3, 5, typed=False)
    X = rng.normal(size=(60, 3))
    found, _ = evaluate_block([compile_trees([tree], 3)], X)
    assert found[0, 0].tobytes() == reference_evaluate(tree, X).tobytes()


def test_a_range_reads_the_rows_before_it_and_nothing_after_it():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(2000, 3))
    programs = [compile_trees([random_tree(rng, 3, 5), random_tree(rng, 3, 4)], 3) for _ in range(30)]
    whole, _ = evaluate_block(programs, X)
    for lo, hi in ((0, 1), (1, 2), (63, 64), (383, 385), (700, 1900), (1999, 2000), (10, 10)):
        future = X.copy()
        future[hi:] = 1e9
        part, _ = evaluate_block(programs, future, lo=lo, hi=hi)
        assert part.tobytes() == np.ascontiguousarray(whole[:, :, lo:hi]).tobytes()
        for g, program in enumerate(programs):
            assert in_range(program, future, lo, hi, block=100)[0].tobytes() == part[g].tobytes()


@pytest.mark.parametrize("rows", [1, 100, 384, 5000])
def test_blocks_join_to_the_whole_also_where_some_programs_have_fewer_outputs(rows):
    rng = np.random.default_rng(8)
    X = rng.normal(size=(450, 3))
    forest = [[random_tree(rng, 3, 5) for _ in range(1 + g % 3)] for g in range(20)]
    programs = [compile_trees(trees, 3) for trees in forest]
    whole, _ = evaluate_block(programs, X, lo=7)
    found = np.concatenate(
        [out.copy() for _, _, out in evaluate_blocks(programs, X, lo=7, rows=rows)], axis=2
    )
    assert found.tobytes() == whole.tobytes()


def test_blocks_of_no_rows_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        next(evaluate_blocks([compile_trees([feature(0)], 1)], np.zeros((5, 1)), rows=0))


def test_threads_and_batching_do_not_change_a_bit():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(1000, 4))
    X[rng.random(X.shape) < 0.01] = np.nan
    forest = [[random_tree(rng, 4, 6)] for _ in range(37)]
    programs = [compile_trees(trees, 4) for trees in forest]
    alone, alone_invalid = evaluate_block(programs, X)
    for batch in (pack(programs), compile_flat(flatten(forest), 4)):
        for threads in (1, 2, 5, 100):
            found, invalid = evaluate_block(batch, X, threads=threads)
            assert found.tobytes() == alone.tobytes()
            assert (invalid == alone_invalid).all()
    for g, program in enumerate(programs):
        again = compile_flat(flatten(forest), 4)[g]
        assert again.digest == program.digest


def test_a_snapshot_of_the_state_continues_as_if_nothing_had_happened():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(150, 2))
    program = compile_trees([call("add", call("zscore", F0, k=50), call("rank", F1, k=20))], 2)
    expected, _ = live(program, X)
    state, out = new_state(program), np.zeros(1)
    for row in X[:70]:
        evaluate_row(program, row, state, out)
    resumed = state.copy()
    state[:] = np.nan
    for t in range(70, 150):
        evaluate_row(program, X[t], resumed, out)
        assert out[0] == expected[0, t]


@pytest.mark.parametrize(("name", "k", "expected"), [
    ("lag", 2, [0, 0, 1, 2, 4]),
    ("delta", 2, [0, 0, 3, 6, 12]),
    ("mean", 2, [0, 1.5, 3, 6, 12]),
    ("std", 2, [0, 0.5, 1, 2, 4]),
    ("rank", 5, [0, 0, 0, 0, 1]),
    ("rank", 1, [0.5] * 5),
    ("zscore", 2, [0, 1, 1, 1, 1]),
    ("zscore", 1, [0] * 5),
    ("mean", 1, [1, 2, 4, 8, 16]),
])  # fmt: skip
def test_windows_include_this_row_and_yield_zero_until_they_are_full(name, k, expected):
    X = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
    found, _ = evaluate_block([compile_trees([call(name, F0, k=k)], 1)], X)
    assert found[0, 0].tolist() == expected


def test_ties_count_half_in_a_rank():
    X = np.array([[1.0], [1.0], [0.0], [1.0], [1.0]])
    found, _ = evaluate_block([compile_trees([call("rank", F0, k=5)], 1)], X)
    assert found[0, 0, 4] == (1 + 3 * 0.5) / 4


@pytest.mark.parametrize("k", WINDOWS)
def test_windows_match_numpy_over_random_data(k):
    X = np.random.default_rng(k).normal(size=(300, 1))
    names = ("lag", "delta", "mean", "std", "zscore")
    found, _ = evaluate_block([compile_trees([call(n, F0, k=k)], 1) for n in names], X)
    x = X[:, 0]
    view = np.lib.stride_tricks.sliding_window_view(x, k)
    np.testing.assert_allclose(found[0, 0, k:], x[:-k], atol=0)
    np.testing.assert_allclose(found[1, 0, k:], x[k:] - x[:-k], atol=0)
    np.testing.assert_allclose(found[2, 0, k - 1 :], view.mean(axis=1), atol=1e-14)
    np.testing.assert_allclose(found[3, 0, k - 1 :], view.std(axis=1), atol=1e-14)
    if k > 1:
        z = (x[k - 1 :] - view.mean(axis=1)) / view.std(axis=1)
        np.testing.assert_allclose(found[4, 0, k - 1 :], z, atol=1e-10)


def test_a_flat_window_has_no_zscore_even_where_its_mean_rounds():
    X = np.full((60, 1), 0.1) * 3.0
    found, _ = evaluate_block([compile_trees([call("zscore", F0, k=20)], 1)], X)
    assert not found.any()


def test_warm_up_is_the_longest_window():
    assert compile_trees([call("lag", F0, k=5), call("mean", F1, k=5)], 2).warmup == 5
    assert compile_trees([call("mean", F1, k=5)], 2).warmup == 4
    assert compile_trees([F0], 1).warmup == 0


@pytest.mark.parametrize(("x", "expected", "count"), [
    (np.nan, 0.0, 1), (np.inf, LIMIT, 0), (-np.inf, -LIMIT, 0), (1e300, LIMIT, 0), (3.0, 3.0, 0),
])  # fmt: skip
def test_a_feature_is_cleaned_as_it_is_read(x, expected, count):
    found, invalid = live(compile_trees([F0], 1), np.array([[x]]))
    assert found[0, 0] == expected
    assert invalid == count


def test_nan_is_counted_once_a_feature_and_row_whatever_reads_it_and_however_it_folds():
    X = np.array([[np.nan, 1.0], [np.nan, np.nan]])
    for tree in (
        call("sub", F0, F0),
        call("add", call("mul", F0, F0), call("mean", F0, k=2)),
        call("if_then_else", constant(1.0), constant(2.0), F0),
    ):
        program = compile_trees([tree], 2)
        assert live(program, X)[1] == 2
        assert evaluate_block([program], X)[1].tolist() == [2]


@pytest.mark.parametrize(("tree", "expected"), [
    (call("mul", F0, F0), LIMIT),
    (call("mul", F0, F1), -LIMIT),
    (call("add", F0, F0), LIMIT),
    (call("protected_div", F0, constant(1e-9)), LIMIT),
    (call("protected_div", F0, constant(9e-10)), 1.0),
    (call("protected_div", constant(0.0), constant(0.0)), 1.0),
    (call("tanh", F1), -1.0),
    (call("sigmoid", F1), 0.0),
    (call("clip", F0), 1.0),
    (call("signed_sqrt", F1), -1e6),
])  # fmt: skip
def test_what_overflows_is_clamped_and_what_cannot_be_divided_is_one(tree, expected):
    found, _ = live(compile_trees([tree], 2), np.array([[1e12, -1e12]]))
    assert found[0, 0] == pytest.approx(expected, rel=1e-15, abs=1e-300)


def test_the_golden_trees_of_the_older_form():
    add = call("add", constant(10.5), constant(5.5))
    mul = call("mul", call("add", constant(3.0), constant(4.0)), constant(2.0))
    found, _ = evaluate_block([compile_trees([add], 1), compile_trees([mul], 1)], np.zeros((1, 1)))
    assert found.ravel().tolist() == [16.0, 14.0]


def test_common_subtrees_are_computed_once_over_all_trees_of_a_genome():
    common = call("tanh", call("mul", F0, F1))
    program = compile_trees([call("add", common, common), call("sub", common, F0)], 2)
    mul, tanh = PRIMITIVES["mul"].opcode, PRIMITIVES["tanh"].opcode
    assert program.opcodes.tolist().count(mul) == 1
    assert program.opcodes.tolist().count(tanh) == 1


def test_constants_fold_to_what_would_have_been_computed():
    tree = call("tanh", call("protected_div", call("sigmoid", constant(0.3)), constant(-7.0)))
    program = compile_trees([tree], 1)
    assert len(program.opcodes) == 1
    found, _ = live(program, np.zeros((1, 1)))
    assert found[0].tobytes() == reference_evaluate(tree, np.zeros((1, 1))).tobytes()


def test_a_linked_batch_computes_a_window_once_for_the_whole_population():
    forest = [[call("add", call("mean", F0, k=50), constant(i))] for i in range(20)]
    batch = compile_flat(flatten(forest), 1)
    assert len(batch.columns) == 2  # the feature and its mean


def test_the_kernels_run_inside_other_compiled_loops():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(500, 3))
    program = compile_trees([random_tree(rng, 3, 5)], 3)

    @njit
    def both(opcodes, operands, constants, X, state, scratch):
        out = np.zeros((1, 100))
        one = np.zeros(1)
        worst = 0.0
        for start in range(0, len(X), 100):
            range_kernel(opcodes, operands, constants, X, start, start + 100, scratch, out)
            for i in range(100):
                row_kernel(opcodes, operands, constants, X[start + i], state, one)
                worst = max(worst, abs(one[0] - out[0, i]))
        return worst

    arrays = (program.opcodes, program.operands, program.constants)
    assert both(*arrays, X, new_state(program), program.scratch()) == 0.0


def _deap_set(n_features: int) -> gp.PrimitiveSetTyped:
    """DEAP's primitive set from the table, with numpy's own functions: an oracle that shares no code."""

    def clamp(x):
        return np.clip(x, -LIMIT, LIMIT)

    def divide(a, b):
        whole = np.abs(b) >= 1e-9
        return np.where(whole, clamp(a / np.where(whole, b, 1.0)), 1.0)

    functions = {
        "add": lambda a, b: clamp(a + b), "sub": lambda a, b: clamp(a - b), "mul": lambda a, b: clamp(a * b),
        "protected_div": divide, "neg": np.negative, "abs": np.abs, "min": np.minimum, "max": np.maximum,
        "if_then_else": lambda c, a, b: np.where(c, a, b), "gt": operator.gt, "lt": operator.lt,
        "and_": np.logical_and, "or_": np.logical_or, "not_": np.logical_not, "tanh": np.tanh,
        "sigmoid": lambda a: 1.0 / (1.0 + np.exp(-np.clip(a, -700.0, 700.0))),
        "clip": lambda a: np.clip(a, -1.0, 1.0), "signed_log1p": lambda a: np.sign(a) * np.log1p(np.abs(a)),
        "signed_sqrt": lambda a: np.sign(a) * np.sqrt(np.abs(a)),
    }  # fmt: skip
    types = {"float": float, "bool": bool}
    pset = gp.PrimitiveSetTyped("MAIN", [float] * n_features, float)
    for p in PRIMITIVES.values():
        if not p.windowed:
            pset.addPrimitive(
                functions[p.name], [types[t] for t in p.arguments], types[p.result], name=p.name
            )
    pset.addTerminal(0.5, float, name="half")
    pset.addTerminal(True, bool, name="yes")
    return pset


def _to_nodes(individual) -> object:
    """A DEAP individual as our tree."""
    iterator = iter(individual)

    def build():
        head = next(iterator)
        if isinstance(head, gp.Primitive):
            return call(head.name, *(build() for _ in range(head.arity)))
        if head.name in ("yes", "half"):
            return constant({"yes": 1.0, "half": 0.5}[head.name])
        return feature(int(head.value.removeprefix("ARG")))

    return build()


def test_deap_compiles_the_same_trees_to_the_same_numbers():
    import random

    pset = _deap_set(4)
    X = np.random.default_rng(9).normal(size=(300, 4))
    state = random.getstate()
    random.seed(11)
    try:
        individuals = [gp.PrimitiveTree(gp.genHalfAndHalf(pset, 1, 5)) for _ in range(150)]
    finally:
        random.setstate(state)
    programs = [compile_trees([_to_nodes(individual)], 4) for individual in individuals]
    found, _ = evaluate_block(programs, X)
    kinds = set()
    for g, individual in enumerate(individuals):
        expected = np.broadcast_to(np.asarray(gp.compile(individual, pset)(*X.T), np.float64), len(X))
        np.testing.assert_allclose(found[g, 0], expected, rtol=1e-12, atol=1e-12)
        kinds.update(node.name for node in individual if isinstance(node, gp.Primitive))
    assert kinds >= {p.name for p in PRIMITIVES.values() if not p.windowed}


def test_a_typed_random_tree_has_conditions_only_where_they_belong():
    rng = np.random.default_rng(10)
    seen = set()
    for _ in range(200):
        stack = [random_tree(rng, 2, 4)]
        while stack:
            node = stack.pop()
            if not isinstance(node.primitive, str):
                continue
            primitive = PRIMITIVES[node.primitive]
            seen.add(primitive.name)
            for kind, child in zip(primitive.arguments, node.children, strict=True):
                if isinstance(child.primitive, str) and kind != BOOL:
                    assert PRIMITIVES[child.primitive].result != BOOL
            stack.extend(node.children)
    assert seen == set(PRIMITIVES)


def test_broken_tokens_are_refused_and_never_run():
    good = flatten([[call("add", F0, F1)]])
    broken = [
        good._replace(codes=np.array([10, 0], np.uint8), values=np.zeros(2), trees=np.array([0, 2])),
        good._replace(codes=np.array([200, 0, 0], np.uint8)),
        good._replace(values=np.array([0.0, 0.0, 9.0])),
        good._replace(codes=np.array([0, 0, 0], np.uint8)),
        Flat(np.array([1, 8], np.uint8), np.array([5.0, 1.0]), np.array([0, 2]), np.array([0, 1])),
        Flat(np.array([1, 0], np.uint8), np.array([64.0, 0.0]), np.array([0, 2]), np.array([0, 1])),
    ]
    for flat in broken:
        with pytest.raises(GenomeError):
            compile_flat(flat, 2)


def test_wrong_shapes_are_refused():
    program = compile_trees([call("add", F0, F1)], 2)
    with pytest.raises(ValueError, match="features"):
        evaluate_block([program], np.zeros((5, 1)))
    with pytest.raises(ValueError, match="rows"):
        evaluate_block([program], np.zeros((5, 2)), lo=3, hi=9)
    with pytest.raises(ValueError, match="out has shape"):
        evaluate_block([program], np.zeros((5, 2)), out=np.zeros((1, 1, 4)))
    outputs, invalid = evaluate_block([], np.zeros((5, 2)))
    assert outputs.shape == (0, 0, 5)
    assert invalid.shape == (0,)
