"""The gate refuses with reasons, and nothing leaves the Forge but through it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from apex_nautilus.forge import RESULT, Lottery, Trial, Trials, deploy, judge
from apex_nautilus.forge.promote import result_of
from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Evidence,
    Genome,
    Provenance,
    Result,
    decode,
    feature,
    sealed,
)
from apex_nautilus.stats import deflated_sharpe_ratio
from apex_nautilus.store import CatalogLayout, LedgerWriter, read_ledger

GOOD = Result(time_to_target=0.4, trades=80, sharpe=0.5, dsr=0.97)
BEATEN = Lottery(trials=100, train=0.1, validation=0.1, test=0.1, trades=40, beaten=True)
LOST = Lottery(trials=100, train=0.9, validation=0.9, test=0.9, trades=40, beaten=False)
RULES = {"min_trades": 30, "dsr_threshold": 0.95}


def clock() -> int:
    return 77


@pytest.mark.parametrize(
    ("changes", "ruined", "lottery", "reasons"),
    [
        ({}, False, BEATEN, []),
        ({"dsr": 0.95}, False, BEATEN, []),
        ({"dsr": 0.9499}, False, BEATEN, ["deflated Sharpe ratio 0.9499"]),
        ({"dsr": None, "trades": 1}, False, BEATEN, ["1 trades", "deflated Sharpe ratio none"]),
        ({"trades": 29}, False, BEATEN, ["29 trades out of sample, fewer than 30"]),
        ({}, True, BEATEN, ["ruined"]),
        ({}, False, LOST, ["the lottery's is 0.9000"]),
        ({}, False, None, ["not compared"]),
        ({"dsr": float("nan")}, False, BEATEN, ["deflated Sharpe ratio none"]),
    ],
)
def test_the_gate_gives_every_reason(changes, ruined, lottery, reasons):
    result = msgspec.structs.replace(GOOD, **changes)
    found = judge(result, ruined=ruined, lottery=lottery, **RULES)
    assert len(found) == len(reasons)
    for reason, part in zip(found, reasons):
        assert part in reason


def test_a_seed_that_has_seen_the_test_part_is_a_reason_against():
    (reason,) = judge(GOOD, ruined=False, lottery=BEATEN, **RULES, peeked=("a" * 16,))
    assert reason == f"seed {'a' * 16} was bred on data that reaches into the test part"


def _trial(number, trades, sharpe):
    return Trial(number, 0, f"{number:016x}", 0.0, 0.0, trades, sharpe, 10, 3, 5, 0.0, 0.0)


def test_every_trial_counts_and_those_with_enough_trades_give_the_variance():
    sharpes = [0.1, -0.2, 0.3, 0.05]
    trials = [_trial(i, 40, s) for i, s in enumerate(sharpes)]
    trials += [_trial(4 + i, 3, 25.0) for i in range(6)]  # three lucky trades are no Sharpe ratio
    summed = Trials.of(trials, min_trades=30)
    assert (summed.count, summed.measured) == (10, 4)
    assert summed.sharpe_variance == pytest.approx(np.var(sharpes, ddof=1))
    assert summed.sharpe_variance_all == summed.sharpe_variance
    assert Trials.of(trials[4:], min_trades=30).sharpe_variance == pytest.approx(1 / 30)
    assert Trials.of(trials, min_trades=30, inherited=90).count == 100


def test_trials_beyond_luck_count_but_do_not_widen_what_luck_can_do():
    rng = np.random.default_rng(5)
    lucky = [_trial(i, 101, s) for i, s in enumerate(0.1 * rng.normal(size=60))]
    skilled = [_trial(60 + i, 101, 0.9) for i in range(60)]
    alone, mixed = Trials.of(lucky, min_trades=30), Trials.of(lucky + skilled, min_trades=30)
    assert (alone.skilled, mixed.skilled, mixed.measured, mixed.count) == (0, 60, 120, 120)
    assert mixed.sharpe_variance == alone.sharpe_variance
    assert mixed.sharpe_variance_all > 10 * mixed.sharpe_variance
    result = Result(trades=87, sharpe=0.97)
    assert mixed.deflated(result) > 0.99
    assert mixed.deflated(result, mixed.sharpe_variance_all) < 0.2


def test_in_studies_without_an_edge_the_variance_is_that_over_all_trials():
    rng = np.random.default_rng(4)
    left_out = 0
    for _ in range(200):
        sizes = rng.integers(30, 300, 100)
        sharpes = rng.normal(size=100) / np.sqrt(sizes - 1)
        left_out += Trials.of(
            [_trial(i, int(n), s) for i, (n, s) in enumerate(zip(sizes, sharpes))], 30
        ).skilled
    assert 2 <= left_out <= 20  # of 20,000 trials; 5 in 100 studies leave one out


def test_near_copies_do_not_make_luck_small():
    copies = [_trial(i, 51, 0.2 + 1e-6 * i) for i in range(50)]
    assert Trials.of(copies, min_trades=30).sharpe_variance == pytest.approx(1 / 50)


def test_the_evidence_is_the_deflated_sharpe_ratio_of_the_replay():
    record = np.zeros(1, RESULT)[0]
    record["n_trades"], record["sharpe"], record["skew"], record["kurtosis"] = 120, 0.3, -0.5, 4.0
    record["target_ts_ns"], record["fitness"], record["costs"] = -1, 0.25, 3.5
    trials = Trials(count=500, sharpe_variance=0.01, measured=400)
    result = result_of(record, 0, trials)
    assert result.dsr == deflated_sharpe_ratio(
        0.3, 120, trial_variance=0.01, n_trials=500, skew=-0.5, kurtosis=4.0
    )
    assert (result.time_to_target, result.time_to_target_s, result.costs_usd) == (0.25, None, 3.5)
    record["target_ts_ns"] = 5 * 10**9
    assert result_of(record, 2 * 10**9, trials).time_to_target_s == 3.0


def test_two_trades_have_an_evidence_despite_rounding():
    record = np.zeros(1, RESULT)[0]
    record["n_trades"], record["sharpe"], record["skew"], record["kurtosis"] = 2, 0.3, 1e-9, 1.0 - 1e-9
    record["target_ts_ns"] = -1
    assert 0.0 <= result_of(record, 0, Trials(10, 0.01, 5)).dsr <= 1.0


@pytest.fixture
def layout(tmp_path):
    return CatalogLayout(tmp_path).ensure()


def _genome(gate):
    reasons = ("too short",) if gate == "refused" else ()
    return sealed(
        Genome(
            instrument_id="BTCUSDT-LINEAR.SIM",
            clock="1s",
            features=("imbalance",),
            signal=feature(0),
            confidence=feature(0),
            bracket=Bracket(stop=BpsStop(10.0), max_hold_s=60.0),
            provenance=Provenance(slot="btc-1"),
            evidence=Evidence(gate=gate, gate_reasons=reasons),
        )
    )


@pytest.mark.parametrize(
    ("gate", "options", "written", "forced", "kind"),
    [
        ("passed", {}, True, False, "deployed"),
        ("refused", {}, False, False, "refused"),
        ("none", {}, False, False, "refused"),
        ("refused", {"force": True}, True, True, "deployed"),
        ("refused", {"keep_refused": True}, True, False, "deployed"),
        ("passed", {"force": True}, True, False, "deployed"),
    ],
)
def test_only_what_passed_or_was_forced_is_written(layout, gate, options, written, forced, kind):
    genome = _genome(gate)
    with LedgerWriter(layout.ledger, "forge") as ledger:
        path = deploy(layout, genome, clock=clock, ledger=ledger, **options)
    (record,) = read_ledger(layout.ledger_file("forge"))
    assert (record.kind, record.ts_ns, record.fields["genome_id"]) == (kind, 77, genome.id)
    if not written:
        assert path is None
        assert list(layout.incoming.iterdir()) == []
        kept = decode(record.fields["genome"].encode(), known_features={"imbalance"})
        assert kept == genome
        assert record.fields["reasons"] == list(genome.evidence.gate_reasons)
        return
    assert path == layout.incoming_file(genome.id)
    found = decode(path.read_bytes(), known_features={"imbalance"})
    assert found.id == genome.id
    assert (found.evidence.gate, found.evidence.forced) == (gate, forced)


def test_a_genome_that_lives_in_the_catalog_is_not_written_twice_but_a_dead_one_is(layout):
    genome = _genome("passed")
    first = deploy(layout, genome, clock=clock)
    shadow = layout.challenger_file(genome.instrument_id, genome.id)
    shadow.parent.mkdir(parents=True)
    first.rename(shadow)
    assert deploy(layout, genome, clock=clock) == shadow
    assert list(layout.incoming.iterdir()) == []
    shadow.rename(layout.retired_file("btc-1", 1, genome.id))
    assert deploy(layout, genome, clock=clock) == layout.incoming_file(genome.id)
