"""DEAP's trees and the genome's are the same trees."""

from __future__ import annotations

import random

import numpy as np
import pytest
from deap import gp

from apex_nautilus.forge.config import EvolutionConfig
from apex_nautilus.forge.individual import compile_population
from apex_nautilus.forge.operators import Breeder
from apex_nautilus.forge.primitive_set import Condition, Number, TreeSet
from apex_nautilus.forge.randomness import deap_random, generator_from_state, generator_state
from apex_nautilus.genome import (
    PRIMITIVES,
    WINDOWS,
    call,
    check_tree,
    compile_trees,
    constant,
    evaluate_block,
    feature,
    pack,
    random_tree,
    walk,
)

FEATURES = [f"x{i}" for i in range(6)]


@pytest.fixture
def tree_set():
    return TreeSet(FEATURES)


@pytest.fixture
def bred(tree_set):
    """Individuals after many rounds of every operator."""
    config = EvolutionConfig(max_nodes=40, max_depth=9)
    breeder = Breeder(tree_set, config, 3, 2)
    with deap_random(np.random.default_rng(5)):
        population = [breeder.create(0) for _ in range(60)]
        for generation in range(25):
            population = [one.offspring(generation) for one in random.choices(population, k=60)]
            for first, second in zip(population[::2], population[1::2]):
                breeder.cross(first, second)
            for one in population:
                breeder.mutate(one)
    return population, config


def test_the_set_holds_every_primitive_of_the_table_and_no_other(tree_set):
    assert set(tree_set.deap.mapping) - {"constant"} >= set(PRIMITIVES)
    primitives = {p.name for p in tree_set.deap.mapping.values() if isinstance(p, gp.Primitive)}
    assert primitives == set(PRIMITIVES)


def test_everything_that_can_be_drawn_is_drawn(tree_set):
    breeder = Breeder(tree_set, EvolutionConfig(), 3, 2)
    seen: set[str] = set()
    windows: set[int | None] = set()
    with deap_random(np.random.default_rng(0)):
        for _ in range(3000):
            for node in walk(tree_set.to_node(breeder.create(0).signal)):
                seen.add(str(node.primitive))
                windows.add(node.k)
    assert set(PRIMITIVES) <= seen
    assert windows == {None, *WINDOWS}
    assert {f"Feature(index={i})" for i in range(len(FEATURES))} <= seen


def test_bred_trees_keep_the_limits_and_the_genomes_rules(tree_set, bred):
    population, config = bred
    for one in population:
        for tree in (one.signal, one.confidence):
            assert len(tree) <= config.max_nodes
            assert tree.height <= config.max_depth
            check_tree(tree_set.to_node(tree), len(FEATURES))
    assert max(one.nodes for one in population) > 10  # the operators do something


def test_trees_pass_from_one_form_to_the_other_and_back_unchanged(tree_set, bred):
    for one in bred[0]:
        for tree in (one.signal, one.confidence):
            node = tree_set.to_node(tree)
            again = tree_set.from_node(node)
            assert tree_set.to_node(again) == node
            assert [(i.name, getattr(i, "value", None)) for i in again] == [
                (i.name, getattr(i, "value", None)) for i in tree
            ]


def test_trees_compiled_without_nodes_compute_the_same_bits(tree_set, bred):
    rows = np.random.default_rng(1).normal(size=(200, len(FEATURES)))
    direct, _ = evaluate_block(compile_population(bred[0], tree_set), rows)
    through_nodes, _ = evaluate_block(
        pack([compile_trees(one.trees(tree_set), len(FEATURES)) for one in bred[0]]), rows
    )
    assert np.array_equal(direct, through_nodes)


def test_foreign_trees_that_mix_numbers_and_conditions_keep_their_meaning(tree_set):
    rng = np.random.default_rng(3)
    foreign = [random_tree(rng, len(FEATURES)) for _ in range(60)]
    foreign.append(call("add", call("gt", feature(0), constant(0.0)), constant(1.0)))
    foreign.append(call("if_then_else", call("sub", feature(0), feature(1)), feature(2), feature(3)))
    foreign.append(call("not_", constant(-0.5)))
    rows = rng.normal(size=(100, len(FEATURES)))
    for tree in foreign:
        typed = tree_set.to_node(tree_set.from_node(tree))
        before, after = (
            evaluate_block(pack([compile_trees([t], len(FEATURES))]), rows)[0] for t in (tree, typed)
        )
        assert np.array_equal(before, after), tree


def test_operators_leave_the_parents_alone(tree_set, bred):
    population, config = bred
    before = [one.trees(tree_set) for one in population]
    breeder = Breeder(tree_set, config, 3, 2)
    with deap_random(np.random.default_rng(9)):
        children = [one.offspring(1) for one in population]
        for first, second in zip(children[::2], children[1::2]):
            breeder.cross(first, second)
        for child in children:
            breeder.mutate(child)
    assert [one.trees(tree_set) for one in population] == before
    assert [child.trees(tree_set) for child in children] != before


def test_global_random_state_is_put_back_also_after_an_error():
    random.seed(42)
    state = random.getstate()
    rng = np.random.default_rng(1)
    with deap_random(rng):
        first = random.random()
    assert random.getstate() == state
    with pytest.raises(KeyError), deap_random(rng):
        raise KeyError
    assert random.getstate() == state
    random.seed(7)  # whatever others do to it, the run's own stream decides
    with deap_random(np.random.default_rng(1)):
        assert random.random() == first


def test_a_generator_goes_on_from_its_saved_state():
    rng = np.random.default_rng(3)
    rng.integers(0, 9, size=5, dtype=np.int32)  # leaves half a word behind
    twin = generator_from_state(generator_state(rng))
    assert np.array_equal(rng.integers(0, 1000, size=7), twin.integers(0, 1000, size=7))
    assert np.array_equal(rng.normal(size=7), twin.normal(size=7))


def test_types_hash_alike_in_every_process():
    """DEAP chooses from sets of types; their order must not hang on memory addresses."""
    assert hash(Number) == hash(type(Number)("Number", (), {}))
    assert hash(Number) != hash(Condition)


def test_a_set_without_features_is_refused():
    with pytest.raises(ValueError, match="at least one feature"):
        TreeSet([])
