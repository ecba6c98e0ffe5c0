"""Events are what the genome's own trades would have been, and they do not overlap."""

from __future__ import annotations

import numpy as np
import planted
import pytest

from apex_nautilus.data import LABEL_CODES
from apex_nautilus.forge import dataset_market, events_of
from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Genome,
    VolatilityStop,
    call,
    compile_trees,
    evaluate_block,
    feature,
    pack,
)
from apex_nautilus.risk import trading_rules

NAMES = planted.FEATURES


@pytest.fixture(scope="module")
def data():
    return planted.market(3000, seed=4)


@pytest.mark.parametrize("stop", [BpsStop(10.0), VolatilityStop(multiple=6.0, window=20)])
@pytest.mark.parametrize("rows", [(0, 3000), (400, 1500)])
def test_events_have_the_outcome_of_the_label_of_their_row_and_side(data, stop, rows):
    trees = (call("mean", feature(0), k=5), call("abs", feature(1)))
    bracket = Bracket(stop=stop, max_hold_s=45.0)
    genome = Genome(
        instrument_id=data.instrument.id, clock="1s", features=NAMES, signal=trees[0], confidence=trees[1],
        bracket=bracket,
    )  # fmt: skip
    rules = trading_rules(genome, data.instrument)
    program = compile_trees(trees, len(NAMES))
    events = events_of(dataset_market(data), program, rules, rows)
    assert len(events.rows) > 20

    outputs = evaluate_block(pack([program]), data.features)[0][0]
    signal = outputs[0, events.rows]
    assert np.all(np.abs(signal) > 0.5)
    assert np.array_equal(events.scores, outputs[1, events.rows])
    labels = data.labels(rules)
    label = labels[events.rows, np.where(signal > 0.0, 0, 1)]
    assert np.array_equal(events.wins, (label["code"] == LABEL_CODES.index("take_profit")).astype(float))
    exits = label["exit_event"]
    assert np.all(data.row_event[events.rows[1:]] >= exits[:-1])  # flat before it enters again
    assert np.all(events.rows >= rows[0])
    assert np.all(exits <= data.row_event[rows[1] - 1])


def test_between_events_no_row_was_passed_over_that_would_have_entered(data):
    trees = (feature(0), feature(1))
    genome = Genome(
        instrument_id=data.instrument.id, clock="1s", features=NAMES, signal=trees[0], confidence=trees[1],
        bracket=Bracket(stop=BpsStop(15.0), max_hold_s=30.0),
    )  # fmt: skip
    rules = trading_rules(genome, data.instrument)
    events = events_of(dataset_market(data), compile_trees(trees, len(NAMES)), rules, (0, 3000))
    signal = data.features[:, 0]
    labels = data.labels(rules)
    free = 0
    for row in events.rows:
        assert not np.any(np.abs(signal[free:row]) > 0.5), row
        side = 0 if signal[row] > 0 else 1
        free = int(np.searchsorted(data.row_event, labels[row, side]["exit_event"]))


def test_a_signal_that_never_fires_has_no_events(data):
    trees = (call("sub", feature(0), feature(0)), feature(1))
    genome = Genome(
        instrument_id=data.instrument.id, clock="1s", features=NAMES, signal=trees[0], confidence=trees[1],
        bracket=Bracket(stop=BpsStop(15.0), max_hold_s=30.0),
    )  # fmt: skip
    rules = trading_rules(genome, data.instrument)
    events = events_of(dataset_market(data), compile_trees(trees, len(NAMES)), rules, (0, 3000))
    assert events.rows.size == events.scores.size == events.wins.size == 0
