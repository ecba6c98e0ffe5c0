"""Live: five level changes to a decision and to an order at the venue's client, in microseconds.

First our part alone: what the feed hub and the genome strategy do between the arrival of a batch and the
moment an order would be handed to Nautilus. The batch goes into the ladder, eight features are computed, a
genome of some forty nodes is evaluated, and the decision (side, Kelly, bracket, quantity) is taken to its end
on every batch; decoding Nautilus's objects is reported apart.

Then the whole way in a Nautilus engine, part by part, beside a strategy of Nautilus's own that sends a market
order at each batch and decides nothing (`_live_path`).
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, alternate, peer_version

FEATURES = (
    "imbalance",
    "microprice_minus_mid_bps",
    "ofi_1",
    "ofi_5",
    "pressure",
    "realised_volatility_1s",
    "signed_volume_1s",
    "spread_bps",
)
BATCH = 5


def _batches(n: int) -> list[np.ndarray]:
    """Batches of five changes near the touch that leave a whole book, decoded."""
    from apex_nautilus.features import EVENT, FLAG_LAST, KIND_LEVEL

    rng = np.random.default_rng(7)
    events = np.zeros((n, BATCH), dtype=EVENT)
    events["kind"] = KIND_LEVEL
    events["flags"][:, -1] = FLAG_LAST
    events["ts_init_ns"] = 1_700_000_000_000_000_000 + 1_000_000 * np.arange(n)[:, None]
    events["ts_event_ns"] = events["ts_init_ns"]
    events["side"] = rng.choice([-1, 1], (n, BATCH))
    events["price"] = 600_000 - events["side"] * rng.integers(1, 12, (n, BATCH))
    events["size"] = rng.integers(1, 5_000, (n, BATCH))
    return list(events)


def _objects(batches: list[np.ndarray]) -> list:
    """The same batches as Nautilus hands them out."""
    from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
    from nautilus_trader.model.enums import BookAction, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.model.objects import Price, Quantity

    instrument_id = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
    objects = []
    for batch in batches:
        deltas = []
        for e in batch:
            side = OrderSide.BUY if e["side"] > 0 else OrderSide.SELL
            order = BookOrder(side, Price(e["price"] / 10, 1), Quantity(e["size"] / 1000, 3), 0)
            flags, ts = (128 if e["flags"] else 0), int(e["ts_init_ns"])
            deltas.append(OrderBookDelta(instrument_id, BookAction.UPDATE, order, flags, 0, ts, ts))
        objects.append(OrderBookDeltas(instrument_id, deltas))
    return objects


def _spec_and_genome() -> tuple:
    """The instrument, and a genome of some forty nodes that always signals, so that each decision ends."""
    from apex_nautilus.genome import Genome, sealed
    from apex_nautilus.genome.random_trees import random_tree
    from apex_nautilus.genome.schema import BpsStop, Bracket, Constant, Node, Platt
    from apex_nautilus.risk import InstrumentSpec

    rng = np.random.default_rng(3)
    spec = InstrumentSpec(
        id="BTCUSDT-PERP.BINANCE", base="BTC", quote="USDT", price_precision=1, size_precision=3,
        tick=0.1, lot=0.001, min_qty=0.001, max_qty=120.0, maker_fee=0.0002, taker_fee=0.0005,
    )  # fmt: skip
    genome = Genome(
        instrument_id=spec.id,
        clock="book",
        features=FEATURES,
        signal=Node("max", (random_tree(rng, len(FEATURES), depth=5, full=True), Node(Constant(1.0)))),
        confidence=random_tree(rng, len(FEATURES), depth=3),
        calibration=Platt(0.0, 3.0),
        bracket=Bracket(stop=BpsStop(value=20.0), max_hold_s=60.0),
    )
    return spec, sealed(genome)


class _Agent:
    """The hot path of one agent, as `FeedHub` and `GenomeStrategy` run it."""

    def __init__(self) -> None:
        from apex_nautilus.engine.feed_hub import Feed
        from apex_nautilus.genome import compile_genome
        from apex_nautilus.risk import trading_rules
        from apex_nautilus.strategies._genome_machine import GenomeMachine

        spec, genome = _spec_and_genome()
        self.feed = Feed(FEATURES, price_precision=1, size_precision=3, clock="book", conflate_ms=0)
        rules = trading_rules(genome, spec)
        self.machine = GenomeMachine(compile_genome(genome), rules, self.feed.columns_of(FEATURES))

    def load(self, events: np.ndarray) -> None:
        """Put a decoded batch where the feed reads it."""
        self.feed.features.buffer[:BATCH] = events

    def on_events(self, n: int) -> int:
        """From a decoded batch of `n` records to a decision (its reason code; -1 without a whole book)."""
        feed = self.feed
        return self.machine.step(feed.memory, 200.0, 1.0) if feed.take_buffer(n) else -1

    def on_deltas(self, decoder, deltas) -> int:
        """From Nautilus's object to a decision."""
        feed = self.feed
        return self.machine.step(feed.memory, 200.0, 1.0) if feed.take_deltas(decoder, deltas) else -1


def _latencies(
    call: Callable[[object], object], arguments: list, before: Callable[[object], object] | None
) -> np.ndarray:
    """Microseconds of each call; the timer's own cost (about 0.05 us) is in it, `before` is not."""
    clock = time.perf_counter_ns
    out = np.empty(len(arguments))
    for i, argument in enumerate(arguments):
        if before is not None:
            before(argument)
            argument = BATCH
        start = clock()
        call(argument)
        out[i] = clock() - start
    return out / 1e3


def _percentiles(
    call: Callable[[object], object],
    arguments: list,
    repeats: int,
    before: Callable[[object], object] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    _latencies(call, arguments[: len(arguments) // 4], before)
    rounds = [_latencies(call, arguments, before) for _ in range(repeats)]
    return np.array([np.percentile(r, 50) for r in rounds]), np.array([np.percentile(r, 99) for r in rounds])


def _row(
    name: str,
    values: np.ndarray,
    bound: float | None,
    same_work: str,
    peer: str = "",
    theirs: float | None = None,
) -> Row:
    ours = float(np.median(values))
    return Row(
        name=name,
        unit="us",
        ours=ours,
        peer=peer,
        theirs=theirs,
        ratio=None if theirs is None else theirs / ours,
        goal="" if bound is None else f"<= {bound:g} us",
        holds=None if bound is None else ours <= bound,
        same_work=same_work,
        repeats=len(values),
        spread=float((values.max() - values.min()) / ours),
    )


def run(quick: bool) -> Iterator[Row]:
    """Yield p50 and p99 of a decision, and of decoding against Nautilus's own attributes."""
    from apex_nautilus.engine.decode import EventDecoder
    from apex_nautilus.risk import ORDER

    n, repeats = (4_000, 5) if quick else (20_000, 7)
    batches = _batches(n)
    agent = _Agent()
    orders = 0
    for batch in batches:
        agent.load(batch)
        orders += agent.on_events(BATCH) == ORDER
    work = f"{orders:,} of {n:,} batches end in an order"
    p50, p99 = _percentiles(agent.on_events, batches, repeats, before=agent.load)
    yield _row("live decision from decoded events, p50", p50, 2.0, work)
    yield _row("live decision from decoded events, p99", p99, 5.0, work)

    objects = _objects(batches)
    decoder = EventDecoder(1, 3)
    p50, p99 = _percentiles(lambda deltas: agent.on_deltas(decoder, deltas), objects, repeats)
    yield _row("live decision from Nautilus's OrderBookDeltas, p50", p50, None, work)
    yield _row("live decision from Nautilus's OrderBookDeltas, p99", p99, None, work)

    slow = EventDecoder(1, 3, direct=False)
    equal = all((decoder.deltas(o) == slow.deltas(o)).all() for o in objects[:500])
    some = objects[: n // 4]
    direct, attributes = alternate(
        lambda: [decoder.deltas(o) for o in some], lambda: [slow.deltas(o) for o in some], repeats=repeats
    )
    yield _row(
        "decode five deltas",
        np.array(direct.seconds) / len(some) * 1e6,
        None,
        "same records" if equal else "RECORDS DIFFER",
        f"attributes of {peer_version('nautilus_trader')}",
        attributes.median / len(some) * 1e6,
    )
    yield from _whole_way(objects[: n // 2], 3 if quick else 5)


def _whole_way(objects: list, repeats: int) -> Iterator[Row]:
    """Yield p50 and p99 from the callback to the client, and p50 of the parts."""
    from benchmarks._live_path import PARTS, bare_path, our_path

    spec, genome = _spec_and_genome()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        our_path(folder, spec, genome, objects[:500])  # compiles, and fills what is cached
        bare_path(folder, spec, objects[:500])
        rounds = [
            (our_path(folder, spec, genome, objects), bare_path(folder, spec, objects))
            for _ in range(repeats)
        ]
    sent = {(len(ours.rows), len(theirs.rows)) for ours, theirs in rounds}
    work = f"orders of ours and of the peer's: {', '.join(f'{a:,} and {b:,}' for a, b in sorted(sent))}"
    work += f" from {len(objects):,} batches (ours begin when their features are warm)"
    nautilus = f"{peer_version('nautilus_trader')}, bare strategy"

    def between(first: str, last: str, q: float, side: int) -> np.ndarray:
        return np.array([np.percentile(pair[side].micros(first, last), q) for pair in rounds])

    for q in (50, 99):
        theirs = float(np.median(between("callback", "client", q, 1)))
        ours = between("callback", "client", q, 0)
        yield _row(f"live, callback to order at the client, p{q}", ours, None, work, nautilus, theirs)
    names = {
        "features": "decode, ladder, features",
        "decision": "genome and decision",
        "order": "making the order, the entry around it",
        "handover": "our note of it",
        "client": "guard and Nautilus to the client",
    }
    for first, last in itertools.pairwise(PARTS):
        peer, theirs = "", None
        if last in ("order", "client"):
            begin = {"order": ("decision", "handover"), "client": ("handover", "client")}[last]
            peer, theirs = nautilus, float(np.median(between(*begin, 50, 1)))
        yield _row(f"of it: {names[last]}, p50", between(first, last, 50, 0), None, work, peer, theirs)
