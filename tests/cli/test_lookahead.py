"""`apex lookahead`: leaks that were planted are found and named; what the package ships has none."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.engine_case import BTC, wandering_market

from apex_nautilus.cli.apex import main
from apex_nautilus.data import BARS, Dataset, dataset_from_events, write_bars, write_events
from apex_nautilus.data.book_rows import BookRowsBuilder
from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.features import FeatureSpec, batch_book, get, names
from apex_nautilus.features import registry as features_registry
from apex_nautilus.features.external import ExternalSeries
from apex_nautilus.forge import ForgeError
from apex_nautilus.forge.lookahead import examine_bars, examine_events
from apex_nautilus.forge.lookahead_dataset import (
    compare_dataset,
    examine_dataset,
    peeking_columns,
    published_early,
)
from apex_nautilus.genome import Genome, encode, sealed
from apex_nautilus.genome.schema import BpsStop, Bracket, Constant, Feature, Node, Platt

EVENTS = wandering_market(11, 1500)
SHIPPED = tuple(n for n in names("book") if get(n).kind == "book")


def genome(*features: str, clock: str = "book", signal: Node | None = None) -> Genome:
    return sealed(
        Genome(
            instrument_id=BTC.id,
            clock=clock,
            features=features,
            signal=signal or Node("mul", (Node(Feature(0)), Node(Constant(3.0)))),
            confidence=Node("mean", (Node(Feature(0)),), k=5),
            bracket=Bracket(stop=BpsStop(value=3.0), max_hold_s=8.0, reward_risk=5.0),
        )
    )


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows_of(features: tuple[str, ...], clock: str = "book"):
    def compute(events: np.ndarray):
        return batch_book(
            events,
            features,
            price_precision=BTC.price_precision,
            size_precision=BTC.size_precision,
            clock=clock,
        )

    return compute


# -- what is shipped


@pytest.mark.parametrize("clock", ["book", "1s"])
def test_no_shipped_feature_of_a_book_looks_ahead(clock):
    report = examine_events(genome(*SHIPPED, clock=clock), EVENTS, BTC, moments=6, rng=rng())
    assert report.leaks == []
    assert {"cut", "changed", "start"} <= set(report.compared)
    assert report.compared["cut"] > 100 * len(SHIPPED)


def bars(n: int = 600) -> np.ndarray:
    r = rng(5)
    out = np.zeros(n, dtype=BARS)
    close = 600_000 + np.cumsum(r.integers(-300, 301, size=n))
    out["ts_ns"] = (
        1_700_000_100_000_000_000 // 300_000_000_000 * 300_000_000_000 + np.arange(n) * 300_000_000_000
    )
    out["open"] = np.concatenate([[600_000], close[:-1]])
    out["close"] = close
    out["high"] = np.maximum(out["open"], close) + r.integers(0, 200, size=n)
    out["low"] = np.minimum(out["open"], close) - r.integers(0, 200, size=n)
    out["volume"] = r.integers(1_000, 90_000, size=n)
    return out


def test_no_shipped_feature_of_bars_looks_ahead():
    shipped = tuple(n for n in names("bar") if get(n).kind == "bar")
    report = examine_bars(genome(*shipped, clock="5m"), bars(), BTC, moments=6, rng=rng())
    assert report.leaks == []
    assert report.compared["changed"] > 100 * len(shipped)


# -- leaks that were planted


@pytest.fixture
def leaky_feature():
    """`leaky`, registered as any other: its rows are imbalance centred on the mean of the whole batch."""
    honest = get("imbalance")
    spec = dataclasses.replace(honest, name="leaky", low=-1.0, neutral=0.0, formula="imbalance - its mean")
    features_registry.register(spec)
    yield spec
    del features_registry._registry["leaky"]


def centred(features: tuple[str, ...]):
    """The batch pass with the leak: the last row of the batch moves all others."""
    compute = rows_of(features)

    def leaky(events: np.ndarray):
        rows = compute(events)
        values = rows.features.copy()
        at = features.index("leaky")
        values[:, at] -= values[:, at].mean()
        return dataclasses.replace(rows, features=values)

    return leaky


def test_a_feature_that_uses_the_whole_batch_is_found_and_named(leaky_feature: FeatureSpec):
    features = ("spread_bps", leaky_feature.name)
    signal = Node("mul", (Node(Feature(1)), Node(Constant(3.0))))
    report = examine_events(
        genome(*features, signal=signal), EVENTS, BTC, moments=4, rng=rng(), rows_of=centred(features)
    )
    leaks = {(leak.check, leak.name): leak for leak in report.leaks}
    assert {("cut", "leaky"), ("changed", "leaky"), ("cut", "signal")} <= set(leaks)
    assert not any(name == "spread_bps" for _, name in leaks)
    leak = leaks["cut", "leaky"]
    rows = rows_of(features)(EVENTS)
    assert leak.row == 0
    assert leak.row_ts_ns == rows.ts_ns[0]
    assert leak.whole != leak.other
    assert leak.rows > 100


def test_a_row_that_is_stamped_before_its_last_event_is_found():
    features = ("imbalance",)
    compute = rows_of(features)

    def early(events: np.ndarray):
        rows = compute(events)
        return dataclasses.replace(rows, ts_ns=np.concatenate([rows.ts_ns[:1], rows.ts_ns[:-1]]))

    report = examine_events(genome(*features), EVENTS, BTC, moments=4, rng=rng(), rows_of=early)
    assert {leak.check for leak in report.leaks} >= {"cut"}


def test_a_warm_up_that_is_declared_too_short_is_found():
    features = ("realised_volatility_60s",)
    compute = rows_of(features)

    def too_soon(events: np.ndarray):
        rows = compute(events)
        return dataclasses.replace(rows, warm=np.ones_like(rows.warm))

    assert examine_events(genome(*features), EVENTS, BTC, moments=4, rng=rng()).leaks == []
    report = examine_events(genome(*features), EVENTS, BTC, moments=4, rng=rng(), rows_of=too_soon)
    assert [(leak.check, leak.name) for leak in report.leaks] == [("start", features[0])]


def dataset(clock: str = "book"):
    return dataset_from_events(EVENTS, BTC, clock, ("imbalance", "ofi_1"))


def with_column(data, values: np.ndarray):
    features = np.array(data.features)
    features[:, 0] = values
    return dataclasses.replace(data, features=features)


def test_an_honest_dataset_has_no_leak():
    data = dataset()
    report = examine_dataset(genome("imbalance", "ofi_1"), data, moments=5, rng=rng())
    assert report.leaks == []
    against = compare_dataset(data, EVENTS, ("imbalance", "ofi_1"), moments=5, rng=rng())
    assert against.leaks == []
    assert against.compared["column"] > 1000


@pytest.mark.parametrize("k", [1, 5])
def test_a_column_that_is_the_future_is_found_without_its_data(k):
    data = dataset()
    mid = np.asarray(data.mid)
    ahead = np.concatenate([np.log(mid[k:] / mid[:-k]), np.zeros(k)])
    leaking = with_column(data, ahead + rng().normal(0.0, 0.1 * ahead.std(), ahead.size))
    (leak,) = peeking_columns(leaking, ("imbalance", "ofi_1"))
    assert leak.name == "imbalance"
    assert f"over the next {k} row" in leak.note
    report = examine_dataset(genome("imbalance", "ofi_1"), leaking, moments=3, rng=rng())
    assert [(found.check, found.name) for found in report.leaks] == [("column", "imbalance")]


def test_a_column_that_knows_the_past_is_no_leak():
    data = dataset()
    mid = np.asarray(data.mid)
    behind = np.concatenate([np.zeros(1), np.log(mid[1:] / mid[:-1])])
    assert peeking_columns(with_column(data, behind), ("imbalance",)) == []


def test_a_column_that_was_centred_over_all_rows_is_found_with_its_data():
    data = dataset()
    column = np.asarray(data.features)[:, 0]
    leaking = with_column(data, column - column.mean())
    assert peeking_columns(leaking, ("imbalance",)) == []  # no correlation gives this one away
    (leak,) = compare_dataset(leaking, EVENTS, ("imbalance", "ofi_1"), moments=4, rng=rng()).leaks
    assert (leak.check, leak.name, leak.row) == ("column", "imbalance", 0)
    assert leak.whole == pytest.approx(column[0] - column.mean())
    assert leak.other == column[0]


def outside(names_: tuple[str, ...], early_ns: int = 0) -> ExternalColumns:
    """`dvol` published every ten seconds, joined; `early_ns` before it was."""
    published = EVENTS["ts_init_ns"][0] + np.arange(6, dtype=np.int64) * 10 * 10**9
    series = ExternalSeries("dvol", published - early_ns, 50.0 + np.arange(6.0))
    return ExternalColumns(names_, {"dvol": series})


def test_a_series_from_outside_counts_from_its_publication():
    wanted = ("imbalance", "dvol")
    honest = examine_events(genome(*wanted), EVENTS, BTC, moments=5, rng=rng(), external=outside(wanted))
    assert honest.leaks == []
    columns = rows_of(("imbalance",))(EVENTS)

    def all_of_it(events: np.ndarray):
        """Joined by the day it speaks of: a row knows the value of the ten seconds that it lies in."""
        rows = rows_of(("imbalance",))(events)
        last = int(events["ts_init_ns"][-1])
        series = outside(wanted).series["dvol"]
        after = np.searchsorted(series.published_ns, rows.ts_ns, side="right")
        after = np.minimum(after, np.searchsorted(series.published_ns, last, side="right") - 1)
        return dataclasses.replace(rows, features=np.column_stack([rows.features, series.value[after]]))

    report = examine_events(genome(*wanted), EVENTS, BTC, moments=5, rng=rng(), rows_of=all_of_it)
    assert columns.ts_ns.size == report.rows
    assert {leak.name for leak in report.leaks} >= {"dvol"}
    assert "imbalance" not in {leak.name for leak in report.leaks}


def test_a_dataset_that_was_joined_too_early_is_found_with_its_series():
    wanted = ("imbalance", "dvol")
    for early_ns, found in ((0, []), (3 * 10**9, ["dvol"])):
        builder = BookRowsBuilder(BTC, "book", wanted, 0, external=outside(wanted, early_ns))
        arrays = builder.add(EVENTS)
        data = Dataset(card=builder.card("events"), **arrays)
        report = compare_dataset(data, EVENTS, wanted, moments=4, rng=rng(), external=outside(wanted))
        assert [leak.name for leak in report.leaks] == found


def test_a_series_that_is_known_before_it_happened_is_found():
    event = np.arange(10, dtype=np.int64) * 10**9
    assert list(published_early("funding", event, event)) == []
    assert list(published_early("funding", event, event + 5)) == []
    published = event.copy()
    published[[3, 7]] -= [2_000_000_000, 500_000_000]
    (leak,) = published_early("funding", event, published)
    assert (leak.name, leak.rows, leak.row) == ("funding", 2, 3)
    assert "2 s before" in leak.note


def test_the_same_seed_finds_the_same(leaky_feature: FeatureSpec):
    features = (leaky_feature.name,)
    reports = [
        examine_events(genome(*features), EVENTS, BTC, moments=3, rng=rng(s), rows_of=centred(features))
        for s in (4, 4, 5)
    ]
    assert reports[0] == reports[1]
    assert reports[0].leaks[0].moment_ns != reports[2].leaks[0].moment_ns


def test_too_few_rows_and_the_wrong_clock_are_told():
    with pytest.raises(ForgeError, match="at least 20"):
        examine_events(genome("imbalance"), EVENTS[:150], BTC, moments=3, rng=rng())
    with pytest.raises(ForgeError, match="made of bars"):
        examine_events(genome("imbalance"), EVENTS, BTC, moments=3, rng=rng(), clock="5m")
    with pytest.raises(ForgeError, match="no column pressure"):
        examine_dataset(genome("pressure"), dataset(), moments=3, rng=rng())


# -- the command


def run(*arguments: object):
    return CliRunner().invoke(main, ["lookahead", *map(str, arguments)], env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lookahead")
    write_events(folder / "market", BTC, EVENTS)
    (folder / "genome.json").write_bytes(encode(genome("imbalance", "ofi_1")))
    return folder


def test_the_command_examines_a_genome_on_a_catalog(shop):
    answer = run(shop / "genome.json", "--catalog", shop / "market", "--moments", 4)
    assert answer.exit_code == 0, answer.output
    assert "no leak found" in answer.output
    report = json.loads(
        run(shop / "genome.json", "--catalog", shop / "market", "--moments", 4, "--json").output
    )
    assert report["leaks"] == 0
    assert report["reports"][0]["names"] == ["imbalance", "ofi_1", "signal", "confidence"]


def test_the_command_finds_a_leaking_column_of_a_dataset(shop, tmp_path):
    dataset().save(tmp_path / "honest")
    column = np.asarray(dataset().features)[:, 0]
    with_column(dataset(), column - column.mean()).save(tmp_path / "leaking")
    options = ("--catalog", shop / "market", "--moments", 3)
    assert run(shop / "genome.json", "--dataset", tmp_path / "honest", *options).exit_code == 0
    answer = run(shop / "genome.json", "--dataset", tmp_path / "leaking", *options)
    assert answer.exit_code == 1
    assert "imbalance" in answer.output
    assert "1 leak found" in answer.output


def test_the_command_finds_a_series_published_too_early(shop, tmp_path):
    catalog = tmp_path / "market"
    write_events(catalog, BTC, EVENTS)
    series = catalog / "data" / "custom_fear_greed" / "all"
    series.mkdir(parents=True)
    event = np.arange(5, dtype=np.uint64) + 10**9
    for early, code in ((0, 0), (7, 1)):
        table = pa.table({"ts_event": event, "ts_init": event - np.uint64(early), "value": np.arange(5.0)})
        pq.write_table(table, series / "a.parquet")
        answer = run(shop / "genome.json", "--catalog", catalog, "--moments", 2)
        assert answer.exit_code == code, answer.output
    assert "custom_fear_greed/all" in answer.output


def test_the_command_examines_bars(shop, tmp_path):
    write_bars(tmp_path / "market", BTC, bars(), f"{BTC.id}-5-MINUTE-LAST-EXTERNAL")
    some = next(n for n in names("bar") if get(n).kind == "bar")
    (tmp_path / "genome.json").write_bytes(encode(genome(some, clock="5m")))
    answer = run(tmp_path / "genome.json", "--catalog", tmp_path / "market", "--moments", 3)
    assert answer.exit_code == 0, answer.output
    assert "clock 5m" in answer.output


PEEKING = """
import itertools

from apex_nautilus.engine import ApexStrategy, ApexStrategyConfig

made = itertools.count()


class PeekingConfig(ApexStrategyConfig, frozen=True, kw_only=True):
    pass


class Peeking(ApexStrategy):
    \"\"\"Does not depend on what it has seen alone: the second of two runs is not the first.\"\"\"

    def on_start(self):
        super().on_start()
        self.every = 40 + next(made)
        self.subscribe_feed("book", 0, ("spread_bps",))

    def on_feed_row(self, feed):
        self.rows += 1
        if self.rows % self.every == 0:
            self.enter(1, 0.002, round(feed.ask + 20.0, 1), round(feed.bid - 20.0, 1), 1_000_000_000)
"""


def backtest(shop, **agent) -> None:
    config = {
        "schema": "apex.backtest/1",
        "name": "look",
        "catalog": "market",
        "agents": [{"slot": "a", "instrument_id": BTC.id} | agent],
    }
    (shop / "run.json").write_text(json.dumps(config))


def test_a_backtest_of_an_honest_genome_passes(shop):
    traded = msgspec.structs.replace(genome("ofi_1", "clv"), calibration=Platt(a=0.0, b=3.0), id="")
    (shop / "trader.json").write_bytes(encode(sealed(traded)))
    backtest(shop, genome="trader.json")
    answer = run(shop / "run.json", "--moments", 3, "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output)["reports"][0]["compared"]["orders"] > 10


def test_a_strategy_by_hand_whose_past_moves_is_found(shop):
    (shop / "peeking.py").write_text(PEEKING)
    backtest(shop, strategy="peeking.py:Peeking")
    answer = run(shop / "run.json", "--moments", 2)
    assert answer.exit_code == 1, answer.output
    assert "a: 1 rows, first" not in answer.output
    assert "fill 1 is buy 0.002 at" in answer.output
