"""A study repeats to the byte, resumes as if it had never stopped, and finds what is there to be found."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import planted
import pytest

from apex_nautilus.features import names
from apex_nautilus.forge import EvolutionConfig, ForgeError, evolve
from apex_nautilus.forge.replay import replay
from apex_nautilus.genome import (
    BpsStop,
    Feature,
    Node,
    Span,
    VolatilityStop,
    compile_genomes,
    decode,
    encode,
    sealed,
    walk,
)
from apex_nautilus.risk import rules_array
from apex_nautilus.store import LedgerWriter, read_ledger

CONFIG = EvolutionConfig(
    population=24, generations=4, max_holds_s=(30.0, 60.0), hall_of_fame=5, min_trades=10, threads=1
)
SEED = 11


def clock() -> int:
    return 1_700_100_000 * 10**9


@pytest.fixture(scope="module")
def data():
    return planted.market(4000)


@pytest.fixture(scope="module")
def result(data):
    return evolve(data, CONFIG, SEED, clock=clock)


def test_a_passive_study_judges_what_it_writes(data, result):
    config = msgspec.structs.replace(CONFIG, execution="passive")
    passive = evolve(data, config, SEED, clock=clock)
    genome = passive.genome
    assert genome.execution == "passive"
    assert result.genome.execution == "aggressive"
    assert passive.study_id != result.study_id
    # Its evidence is the replay of entries that rest: fees of a maker going in, on the rows of the test part.
    parts = data.splits(70 * 10**9, config.train, config.validation)
    programs, rules = compile_genomes([genome_over(genome, data)]), rules_array([genome], data.instrument)
    record = replay(data, programs, rules, parts.test)[0]
    evidence = genome.evidence.out_of_sample
    assert evidence.trades == record["n_trades"] == record["n_rested"] + record["n_crossed"] > 0
    assert record["n_rested"] > 0
    assert evidence.sharpe == record["sharpe"]
    assert evidence.costs_usd == record["costs"]


def genome_over(genome, data):
    """The genome with its features numbered as the dataset's columns are."""
    places = [list(data.feature_names).index(name) for name in genome.features]

    def moved(tree):
        if isinstance(tree.primitive, Feature):
            return Node(Feature(places[tree.primitive.index]))
        return Node(tree.primitive, tuple(moved(child) for child in tree.children), tree.k)

    return msgspec.structs.replace(
        genome,
        features=tuple(data.feature_names),
        signal=moved(genome.signal),
        confidence=moved(genome.confidence),
    )


class _OfBars:
    """A dataset that says its path is one of bars."""

    is_bars = True

    def __init__(self, data):
        self._data = data

    def __getattr__(self, name):
        return getattr(self._data, name)


def test_a_study_of_entries_that_cannot_be_is_refused(data):
    with pytest.raises(ForgeError, match=r"execution is 'learned-7'.*'aggressive' and 'passive'"):
        EvolutionConfig(execution="learned-7")
    with pytest.raises(ForgeError, match="'passive' rests in an order book and bars have none"):
        evolve(_OfBars(data), msgspec.structs.replace(CONFIG, execution="passive"), SEED, clock=clock)


def test_the_result_is_a_whole_genome_with_its_evidence(data, result):
    genome = result.genome
    assert decode(encode(genome), known_features=names()) == genome
    assert genome.provenance.study_trials == result.trials.count == result.reports[-1].trials
    assert genome.provenance.dataset_id == data.card.id
    assert genome.provenance.study_sharpe_variance == result.trials.sharpe_variance
    assert genome.provenance.created_at == "2023-11-16T02:00:00+00:00"
    for part in (genome.evidence.in_sample, genome.evidence.out_of_sample):
        assert part.trades > 0
        assert part.costs_usd > 0.0
        assert 0.0 <= part.psr <= 1.0
        assert part.dsr <= part.psr
    assert (genome.evidence.gate == "passed") == (not genome.evidence.gate_reasons)
    used = {
        n.primitive.index for tree in genome.trees for n in walk(tree) if isinstance(n.primitive, Feature)
    }
    assert used == set(range(len(genome.features)))


def test_a_planted_edge_is_found_and_survives_out_of_sample(result):
    genome = result.genome
    signal_features = {
        genome.features[n.primitive.index] for n in walk(genome.signal) if isinstance(n.primitive, Feature)
    }
    assert "imbalance" in signal_features
    assert genome.evidence.out_of_sample.sharpe > 0.3
    assert genome.evidence.out_of_sample.final_equity_usd > 210.0


def test_an_obvious_edge_is_not_deflated_away():
    """Many trials hold it: the variance over all of them would call luck what each of them proves."""
    config = msgspec.structs.replace(CONFIG, population=40, min_trades=30)
    found = evolve(planted.market(14_000), config, SEED, clock=clock)
    out = found.genome.evidence.out_of_sample
    assert not any("deflated" in reason for reason in found.genome.evidence.gate_reasons)
    assert found.dsr_all_trials < 0.5 < 0.95 <= out.dsr <= out.psr


def test_noise_is_refused():
    for seed in (1, 2, 3):
        found = evolve(planted.market(3000, edge=0.0, seed=seed), CONFIG, seed, clock=clock)
        assert found.genome.evidence.gate == "refused"
        assert found.genome.evidence.gate_reasons


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_and_foreign_random_numbers_do_not_matter(data, result, threads):
    random.seed(99)

    def disturb(_report):
        random.random()
        random.seed(5)

    state = random.getstate()
    again = evolve(
        data, msgspec.structs.replace(CONFIG, threads=threads), SEED, clock=clock, progress=disturb
    )
    assert encode(again.genome) == encode(result.genome)
    assert again == result
    assert random.getstate() != state  # disturb did; the study put back what it found each time


def test_another_process_with_another_hash_seed_gives_the_same_bytes(result, tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import planted, test_study as t\n"
        "from apex_nautilus.forge import evolve\n"
        "from apex_nautilus.genome import encode\n"
        "found = evolve(planted.market(4000), t.CONFIG, t.SEED, clock=t.clock)\n"
        "sys.stdout.buffer.write(encode(found.genome))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == encode(result.genome)


def test_another_seed_gives_another_course(data, result):
    other = evolve(data, msgspec.structs.replace(CONFIG, generations=0), SEED + 1, clock=clock)
    assert other.reports[0] != result.reports[0]


def test_two_generations_and_two_more_equal_four(data, result, tmp_path):
    checkpoint = tmp_path / "checkpoint.json"
    half = msgspec.structs.replace(CONFIG, generations=2)
    evolve(data, half, SEED, clock=clock, checkpoint=checkpoint)
    shown = []
    resumed = evolve(data, CONFIG, SEED, clock=clock, checkpoint=checkpoint, progress=shown.append)
    assert [report.generation for report in shown] == [3, 4]
    assert resumed == result
    straight = tmp_path / "straight.json"
    evolve(data, CONFIG, SEED, clock=clock, checkpoint=straight)
    assert straight.read_bytes() == checkpoint.read_bytes()


def test_an_interruption_keeps_the_last_generation_and_the_ledger_counts_no_trial_twice(
    data, result, tmp_path
):
    checkpoint = tmp_path / "checkpoint.json"

    def stop_at_two(report):
        if report.generation == 2:
            raise KeyboardInterrupt

    with LedgerWriter(tmp_path, "forge-x") as ledger, pytest.raises(KeyboardInterrupt):
        evolve(data, CONFIG, SEED, clock=clock, checkpoint=checkpoint, ledger=ledger, progress=stop_at_two)
    # As if killed after the ledger was written and before the checkpoint was.
    earlier = tmp_path / "earlier.json"
    evolve(data, msgspec.structs.replace(CONFIG, generations=1), SEED, clock=clock, checkpoint=earlier)
    with LedgerWriter(tmp_path, "forge-x") as ledger:
        again = evolve(data, CONFIG, SEED, clock=clock, checkpoint=earlier, ledger=ledger)
    assert again == result

    records = read_ledger(tmp_path / "forge-x.jsonl")
    numbers = [record.fields["number"] for record in records if record.kind == "trial"]
    assert numbers == list(range(result.trials.count))
    kinds = [record.kind for record in records]
    assert kinds.count("study") == kinds.count("test_opened") == kinds.count("gate") == 1
    assert kinds.count("generation") == CONFIG.generations + 1
    (gate,) = (record.fields for record in records if record.kind == "gate")
    assert gate["genome_id"] == result.genome.id
    assert gate["trials"]["count"] == result.trials.count
    sharpes = [
        record.fields["sharpe"]
        for record in records
        if record.kind == "trial" and record.fields["trades"] >= CONFIG.min_trades
    ]
    assert result.trials.sharpe_variance_all == pytest.approx(np.var(sharpes, ddof=1))
    assert len(sharpes) == result.trials.measured > result.trials.skilled > 0


def test_the_test_part_is_opened_after_the_last_generation(data, tmp_path):
    with LedgerWriter(tmp_path, "forge-x") as ledger:
        evolve(data, CONFIG, SEED, clock=clock, ledger=ledger)
    kinds = [record.kind for record in read_ledger(tmp_path / "forge-x.jsonl")]
    opened = kinds.index("test_opened")
    assert set(kinds[:opened]) == {"study", "trial", "generation"}
    assert kinds[opened + 1 :] == ["gate"]


def test_the_test_part_decides_nothing_but_the_verdict(data, result):
    """Spoil the test part: the same genome comes out, with other evidence."""
    lo = data.splits(60 * 10**9, CONFIG.train, CONFIG.validation).test[0]
    features = data.features.copy()
    features[lo:] = -features[lo:]
    spoiled = evolve(dataclasses.replace(data, features=features), CONFIG, SEED, clock=clock)
    assert spoiled.genome.id == result.genome.id
    assert spoiled.hall == result.hall
    assert spoiled.genome.evidence.in_sample == result.genome.evidence.in_sample
    assert spoiled.genome.evidence.out_of_sample != result.genome.evidence.out_of_sample


def test_a_checkpoint_of_another_study_or_a_damaged_one_is_refused(data, tmp_path):
    checkpoint = tmp_path / "checkpoint.json"
    brief = msgspec.structs.replace(CONFIG, generations=0, lottery=0)
    evolve(data, brief, SEED, clock=clock, checkpoint=checkpoint)
    with pytest.raises(ForgeError, match="the seed or the configuration differs"):
        evolve(data, brief, SEED + 1, clock=clock, checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ForgeError, match="not a checkpoint"):
        evolve(data, brief, SEED, clock=clock, checkpoint=checkpoint)


def test_each_behaviour_is_evaluated_once(data, result):
    for report in result.reports:
        assert report.new_trials + report.duplicates <= CONFIG.population
    assert sum(report.new_trials for report in result.reports) == result.trials.count
    assert any(report.duplicates for report in result.reports[1:])


def test_the_best_never_gets_worse(result):
    best = [report.best for report in result.reports]
    assert best == sorted(best)


def test_seeds_take_part_and_are_named(data, result, tmp_path):
    brief = msgspec.structs.replace(CONFIG, generations=0, lottery=0)
    with LedgerWriter(tmp_path, "forge-x") as ledger:
        seeded = evolve(data, brief, SEED + 5, clock=clock, seeds=(result.genome,), ledger=ledger)
    plain = evolve(data, brief, SEED + 5, clock=clock)
    assert seeded.reports[0].best >= result.reports[-1].best >= plain.reports[0].best
    assert seeded.genome.provenance.parents == (result.genome.id,)
    assert read_ledger(tmp_path / "forge-x.jsonl")[0].fields["seeds"] == [result.genome.id]


def test_trials_made_to_find_a_seed_count_once_a_study(data, result):
    brief = msgspec.structs.replace(CONFIG, generations=0, lottery=8)
    twin = msgspec.structs.replace(result.genome, entry_threshold=0.4, id="")
    seeded = evolve(data, brief, SEED + 5, clock=clock, seeds=(result.genome, sealed(twin)))
    assert seeded.trials.count == seeded.reports[-1].trials + result.trials.count
    assert seeded.genome.provenance.study_trials == seeded.trials.count
    assert seeded.lottery.trials == 8


def test_a_seed_bred_on_rows_of_the_test_part_is_said_by_the_gate(data, result):
    brief = msgspec.structs.replace(CONFIG, generations=0, lottery=0)
    opens = int(data.ts_ns[data.splits(60 * 10**9).test[0]])

    def reasons(end_ns, **changes):
        bred = msgspec.structs.replace(
            result.genome.provenance, dataset_id="other", dataset_span=Span(0, end_ns)
        )
        seed = msgspec.structs.replace(result.genome, provenance=bred, **changes)
        found = evolve(data, brief, SEED, clock=clock, seeds=(seed,))
        return [reason for reason in found.genome.evidence.gate_reasons if seed.id in reason]

    assert reasons(opens) == []
    assert len(reasons(opens + 1)) == 1
    assert reasons(opens + 1, instrument_id="ETHUSDT-LINEAR.SIM") == []


def test_a_study_cannot_end_before_the_generation_it_has_reached(data, tmp_path):
    brief = msgspec.structs.replace(CONFIG, generations=1, lottery=0)
    evolve(data, brief, SEED, clock=clock, checkpoint=tmp_path / "c.json")
    with pytest.raises(ForgeError, match="has reached generation 1 and cannot end at 0"):
        evolve(
            data,
            msgspec.structs.replace(brief, generations=0),
            SEED,
            clock=clock,
            checkpoint=tmp_path / "c.json",
        )


def test_a_seed_that_needs_an_unknown_feature_is_left_out_and_said_so(data, result, tmp_path):
    stranger = msgspec.structs.replace(
        result.genome,
        features=tuple("spread_bps" for _ in result.genome.features[:1]) + result.genome.features[1:],
    )
    brief = msgspec.structs.replace(CONFIG, generations=0, lottery=0)
    with LedgerWriter(tmp_path, "forge-x") as ledger:
        evolve(data, brief, SEED, clock=clock, seeds=(stranger,), ledger=ledger)
    assert read_ledger(tmp_path / "forge-x.jsonl")[0].fields["seeds_left_out"] == [stranger.id]


def test_an_excluded_genome_is_not_chosen_again(data, result):
    other = evolve(data, CONFIG, SEED, clock=clock, exclude={result.genome.id})
    assert other.genome.id == result.hall[1]
    with pytest.raises(ForgeError, match="may not be chosen again"):
        evolve(data, CONFIG, SEED, clock=clock, exclude=set(result.hall))


def test_data_too_short_to_split_is_refused_with_the_reason(data):
    short = planted.market(60)
    with pytest.raises(ForgeError, match="part would be empty"):
        evolve(short, CONFIG, SEED, clock=clock)


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c["population"][0].update(stop=99),
        lambda c: c["hall"][0].update(hold=-1),
        lambda c: c.update(random_state={}),
        lambda c: c["random_state"].update(state="x"),
        lambda c: c["random_state"].update(state="9" * 5000),
        lambda c: c["random_state"].update(inc=str(2**200)),
        lambda c: c.update(population=[]),
        lambda c: c.update(hall=[]),
        lambda c: c.update(generation=10**9),
        lambda c: c.update(generation=-5),
        lambda c: c.update(reports=[]),
        lambda c: c["trials"].pop(0),
        lambda c: c["trials"].append(c["trials"][0]),
        lambda c: c["population"][0].update(key="?"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(data, tmp_path, damage):
    checkpoint = tmp_path / "checkpoint.json"
    brief = msgspec.structs.replace(CONFIG, generations=0, lottery=0)
    evolve(data, brief, SEED, clock=clock, checkpoint=checkpoint)
    state = msgspec.json.decode(checkpoint.read_bytes())
    damage(state)
    checkpoint.write_bytes(msgspec.json.encode(state))
    with pytest.raises(ForgeError, match="damaged checkpoint"):
        evolve(data, brief, SEED, clock=clock, checkpoint=checkpoint)


def test_data_without_any_movement_is_refused_by_the_gate_and_breaks_nothing(data):
    still = dataclasses.replace(
        data,
        features=np.zeros_like(data.features),
        path_bid=np.full_like(data.path_bid, 60_000.0),
        path_ask=np.full_like(data.path_ask, 60_000.1),
    )
    found = evolve(still, msgspec.structs.replace(CONFIG, generations=1), SEED, clock=clock)
    assert found.genome.evidence.gate == "refused"
    assert found.genome.evidence.out_of_sample.trades == 0
    assert not found.lottery.beaten


def test_features_that_are_not_numbers_act_as_zero(data):
    holes = data.features.copy()
    holes[:, 2] = np.nan
    holes[::7, 3] = np.inf
    found = evolve(
        dataclasses.replace(data, features=holes),
        msgspec.structs.replace(CONFIG, generations=1),
        SEED,
        clock=clock,
    )
    assert decode(encode(found.genome), known_features=names()) == found.genome


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prior_events", 0.0),
        ("kelly_fraction", -1.0),
        ("kelly_fraction", 1.5),
        ("reward_risk", float("inf")),
        ("target", float("nan")),
        ("threads", 0),
        ("threads", -2),
        ("max_holds_s", (0.0,)),
        ("max_holds_s", (30.0, float("nan"))),
        ("max_holds_s", (1e300,)),
        ("stops", (BpsStop(-1.0),)),
        ("stops", (VolatilityStop(1.0, 0),)),
        ("stops", tuple(BpsStop(float(i)) for i in range(1, 300))),
        ("population", 2),
        ("mutation", 1.5),
        ("train", 0.9),
        ("max_nodes", 1000),
        ("elites", 24),
        ("max_depth", 18),
    ],
)
def test_a_configuration_that_cannot_work_says_so(field, value):
    with pytest.raises(ForgeError):
        msgspec.structs.replace(CONFIG, **{field: value})
