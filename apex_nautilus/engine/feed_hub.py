"""One feed hub an instrument: it decodes the market once and serves every agent.

The hub is a Nautilus actor that subscribes to book deltas and trades of its instrument. It decodes them
into `EVENT` records, runs the features that its agents ask for (their union, one `Feed` a clock) and calls
each agent back, in the order in which they registered:

- `on_feed_path(feed)` at every book event that leaves a two-sided, uncrossed book, from the time on that the
  agent's subscription names in `wake_ns` (an agent with a position: exits that it watches, holding time);
- `on_feed_row(feed)` when a row of the agent's clock was closed by this event, after its `on_feed_path`.

With a network (`FeedHubConfig.network`) the hub sees the market late: what it is given waits in a
`DelayedLine` until it is due, and only then enters the features, the ladder and the agents' view. There is no
way round it: the data engine keeps no book of its own (``managed=False``), so none can be looked up early.

An agent born in mid-run is served from the next event on, and its features have the history of the whole
run where the hub computed them from the start (`FeedHubConfig.preload`).

Agents reach their hub over the message bus (`FeedHub.endpoint_of`), so that a hub and its agents belong to
one trading node and never to another one in the same process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.model.data import OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId

from apex_nautilus.engine._network_config import NetworkConfig, check_network, stable_key
from apex_nautilus.engine._network_feed import DelayedLine
from apex_nautilus.engine.decode import EventDecoder
from apex_nautilus.engine.delays import tell_delays
from apex_nautilus.engine.external_data import EXTERNAL_TOPIC, ExternalSource, ExternalValue, split_external
from apex_nautilus.features import (
    KIND_LEVEL,
    SIDE_ASK,
    SIDE_BID,
    STATUS_PATH,
    STATUS_ROW,
    BookFeatures,
    FeatureError,
    apply_buffer,
    apply_events,
    get,
    make_events,
    scale,
    top_levels,
)
from apex_nautilus.features.header import (
    ASK,
    ASK_COUNT,
    BID,
    BID_COUNT,
    EVALUATIONS,
    FIRST_NS,
    NEXT_BOUNDARY_NS,
    NOW_NS,
    PERIOD_NS,
    TRADE_COUNT,
)

__all__ = [
    "NEVER_NS",
    "Feed",
    "FeedAgent",
    "FeedHub",
    "FeedHubConfig",
    "Subscribe",
    "Subscription",
    "check_preload",
]

NEVER_NS = 2**63 - 1
"""A time that does not come."""

_ANY_FEATURE = "imbalance"

_IDLE_FEED_NS = 60_000_000_000
"""How long a feed that nobody uses is kept up: a successor finds the history of its predecessor's features,
while a feed for each genome that ever came would make every event slower for good."""


class FeedAgent(Protocol):
    """What the hub calls."""

    def on_feed_row(self, feed: Feed) -> None:
        """A row of the agent's clock was closed; `feed` describes it until the next event."""

    def on_feed_path(self, feed: Feed) -> None:
        """The book is whole, two-sided and uncrossed; called only from the subscription's `wake_ns` on."""


@dataclass(slots=True, eq=False)
class Subscription:
    """An agent's place at a hub.

    Attributes
    ----------
    columns : ndarray of intp
        Where the agent's features stand in the feed's memory, counted from the row's first column, in the
        order in which it named them.
    warmup : (int, int, int)
        Rows, nanoseconds and trades that the agent's features need before their first row counts.
    wake_ns : int
        Set by the agent: `on_feed_path` is called from this time on; `NEVER_NS` for not at all, 0 for always.
    is_warm : bool
        Whether rows are served yet; once true, true for good.
    wants_open : bool
        Set by the agent, for one time: `on_feed_open` is called at the open of the next bar. Only where the
        market is made of bars.
    """

    agent: FeedAgent
    feed: Feed
    columns: np.ndarray
    warmup: tuple[int, int, int]
    wake_ns: int = NEVER_NS
    is_warm: bool = False
    wants_open: bool = False

    def wants_row(self) -> bool:
        """Whether the row that was just closed is one of the agent's: its own features are past their
        warm-up.

        The machine's own flag speaks for the union of all agents' features; a dataset of one genome's
        features begins earlier, and its agent must begin on the same row.
        """
        if not self.is_warm:
            self.is_warm = all(age >= need for age, need in zip(self.feed.age(), self.warmup, strict=True))
        return self.is_warm


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Message to a hub: serve `agent`; the hub puts the answer into `subscription`."""

    agent: FeedAgent
    clock: str
    conflate_ms: int
    features: tuple[str, ...]
    answer: list


class FeedHubConfig(ActorConfig, frozen=True, kw_only=True):
    """Configuration of a `FeedHub`.

    Parameters
    ----------
    instrument_id : InstrumentId
        The instrument that is served.
    preload : dict of str to list of str, optional
        Features that are computed from the first event on, though no agent asks yet: clock (``book``,
        ``book@100`` for rows at least 100 ms apart, ``1s``) to feature names. Agents born later then see
        the values they would have seen from the start.
    external : str, optional
        The catalog whose external series are read; see `apex_nautilus.engine.external_data`.
    network : NetworkConfig, optional
        Its `feed` says how late the market data come; at once where it is left out.
    """

    instrument_id: InstrumentId
    preload: dict[str, list[str]] | None = None
    external: str | None = None
    network: NetworkConfig | None = None


class Feed:
    """One clock of one instrument: the latest row and the state of the book.

    Attributes
    ----------
    clock, conflate_ms : str, int
        When rows are closed.
    features : BookFeatures
        Runs the features: `names`, `row`, `row_ts_ns`, `bid`, `ask`, `top`, `is_warm`.
    memory : ndarray of int64
        ``features.memory``, for compiled callers.
    row_closed : bool
        Whether the latest event closed a row.
    unused_since_ns : int
        Kept by the hub: since when no agent has used it; `NEVER_NS` while one does.
    """

    __slots__ = (
        "_age",
        "_arguments",
        "_begun",
        "_evaluations",
        "_external",
        "_floats",
        "_period_ns",
        "_trades",
        "clock",
        "conflate_ms",
        "features",
        "memory",
        "row_closed",
        "source",
        "unused_since_ns",
    )

    defers_entries: ClassVar[bool] = False
    """Whether an entry meets the open of the next bar and not the book it was decided on."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        price_precision: int,
        size_precision: int,
        clock: str,
        conflate_ms: int,
        source: ExternalSource | None = None,
    ) -> None:
        self.source = source
        self.clock = clock
        self.conflate_ms = conflate_ms
        self._begun = False
        self.row_closed = False
        self.unused_since_ns = NEVER_NS
        self._arguments = {"price_precision": price_precision, "size_precision": size_precision}
        self._build(names)

    def _build(self, names: Sequence[str]) -> None:
        computed, self._external = split_external(names)
        if self._external and self.source is None:
            raise FeatureError(f"{', '.join(self._external)}: this feed has no source of external features")
        self.features = BookFeatures(
            computed or (_ANY_FEATURE,),  # the rows come of computing something
            clock=self.clock,
            conflate_ms=self.conflate_ms,
            more_columns=len(self._external),
            **self._arguments,
        )
        for name in self._external:
            self.source.ask(name)  # pyright: ignore[reportOptionalMemberAccess]
        self.memory = self.features.memory
        self._floats = self.memory.view(np.float64)
        self._period_ns = int(self.features.memory[PERIOD_NS])
        self._evaluations = self._trades = 0
        self._age = (0, 0, 0)

    def age(self) -> tuple[int, int, int]:
        """Rows before the latest one, nanoseconds and trades since the first book, when it was computed."""
        if self._period_ns:
            return self._age
        memory = self.features.memory
        return int(memory[EVALUATIONS]) - 1, int(memory[NOW_NS] - memory[FIRST_NS]), int(memory[TRADE_COUNT])

    def _note_age(self) -> None:
        """A row of a period is computed before the first event after it, released later: note its age."""
        memory = self.features.memory
        evaluations = int(memory[EVALUATIONS])
        if evaluations != self._evaluations:
            self._evaluations = evaluations
            boundary_ns = int(memory[NEXT_BOUNDARY_NS]) - self._period_ns
            self._age = (evaluations - 1, boundary_ns - int(memory[FIRST_NS]), self._trades)
        self._trades = int(memory[TRADE_COUNT])

    @property
    def ts_ns(self) -> int:
        """`ts_init` of the latest event, 0 before the first."""
        return int(self.memory[NOW_NS])

    @property
    def bid(self) -> float:
        """Best bid of the latest whole book; NaN before the first."""
        return float(self._floats[BID]) or math.nan

    @property
    def ask(self) -> float:
        """Best ask of the latest whole book; NaN before the first."""
        return float(self._floats[ASK]) or math.nan

    @property
    def path_count(self) -> int:
        """How many whole books there were."""
        return self.features.path_count

    @property
    def has_begun(self) -> bool:
        """Whether an event has come."""
        return self._begun

    def grow(self, names: Sequence[str]) -> None:
        """Compute `names` too; possible only before the first event. Columns known so far keep their place.

        Raises
        ------
        RuntimeError
            When events have come: the state of the features would be lost.
        """
        if self.has_begun:
            raise RuntimeError("a feed cannot grow once it has begun; open another one")
        known = self.names
        self._build([*known, *(n for n in dict.fromkeys(names) if n not in known)])

    def covers(self, names: Sequence[str]) -> bool:
        """Whether every feature of `names` is computed."""
        return set(names) <= set(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The features of the row, those from outside last."""
        return (*self.features.names, *self._external)

    def columns_of(self, names: Sequence[str]) -> np.ndarray:
        """Where `names` stand in the row, (len(names),) int64."""
        place = {name: i for i, name in enumerate(self.features.names)}
        place |= {name: self.features.more_at + i for i, name in enumerate(self._external)}
        return np.array([place[name] for name in names], dtype=np.int64)

    def take_deltas(self, decoder: EventDecoder, deltas: OrderBookDeltas) -> bool:
        """Apply a batch; return whether it left a whole, two-sided, uncrossed book."""
        return self._note(decoder.feed_deltas(deltas, self.memory))

    def take_trade(self, decoder: EventDecoder, tick: TradeTick) -> None:
        """Apply a trade."""
        decoder.feed_trade(tick, self.memory)
        self._note(0)

    def take_events(self, events: np.ndarray) -> bool:
        """Apply a batch, or a trade; return whether it left a whole, two-sided, uncrossed book."""
        return self._note(apply_events(self.features.memory, events))

    def take_buffer(self, n: int) -> bool:
        """Apply the first `n` records of ``features.buffer``; as `take_events`."""
        return self._note(apply_buffer(self.memory, n))

    def _note(self, status: int) -> bool:
        self._begun = True
        self.row_closed = status >= STATUS_ROW
        if self._period_ns:
            self._note_age()
        if self.row_closed and self._external and self.source is not None:
            self.source.row(self._external, self.features.row_ts_ns, self.features.more)
        return bool(status & STATUS_PATH)

    def seed_from(self, other: Feed) -> None:
        """Take over the book of a feed that has begun, as it stands; features start from it."""
        memory = other.memory
        depth = max(int(memory[BID_COUNT]), int(memory[ASK_COUNT]), 1)
        top = np.empty((4, depth))
        top_levels(memory, top)
        price_scale, size_scale = (scale(p) for p in self._arguments.values())
        sides = []
        for side, row in ((SIDE_BID, 0), (SIDE_ASK, 2)):
            held = np.isfinite(top[row])
            sides.append(
                make_events(
                    ts_event_ns=other.ts_ns,
                    ts_init_ns=other.ts_ns,
                    price=np.rint(top[row][held] * price_scale).astype(np.int64),
                    size=np.rint(top[row + 1][held] * size_scale).astype(np.int64),
                    kind=KIND_LEVEL,
                    side=side,
                )
            )
        events = np.concatenate(sides)
        if len(events):
            self.take_events(events)  # no FLAG_LAST: a snapshot of what was known closes no row of its own
        self._begun = True


class FeedHub(Actor):
    """Serves the agents of one instrument; see the module's description."""

    def __init__(self, config: FeedHubConfig) -> None:
        super().__init__(config)
        self.instrument_id = config.instrument_id
        self._feeds: list[Feed] = []
        self._preloaded: list[Feed] = []
        self._subscriptions: list[Subscription] = []
        self._decoder: Any = None  # an EventDecoder from the start on
        self._precisions = (0, 0)
        self._external = ExternalSource(config.instrument_id.value, config.external)
        self.line: DelayedLine | None = None  # from the start on, where there is a network
        if config.network is not None:
            check_network(config.network)

    @staticmethod
    def endpoint_of(instrument_id: InstrumentId) -> str:
        """The message bus endpoint at which the hub of an instrument takes `Subscribe` messages."""
        return f"FeedHub.subscribe.{instrument_id}"

    @staticmethod
    def leave_endpoint_of(instrument_id: InstrumentId) -> str:
        """The endpoint that takes a `Subscription` to end."""
        return f"FeedHub.leave.{instrument_id}"

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """What is computed, in order of birth."""
        return tuple(self._feeds)

    def on_start(self) -> None:
        """Find the instrument, begin the preloaded features, open the endpoints, subscribe to the market."""
        instrument = self.cache.instrument(self.instrument_id)
        if instrument is None:
            raise RuntimeError(
                f"feed hub: instrument {self.instrument_id} is not in the cache; check the catalog"
            )
        self._precisions = (instrument.price_precision, instrument.size_precision)
        self._decoder = EventDecoder(*self._precisions)
        for clock, names in (self.config.preload or {}).items():
            self._preloaded.append(self._feed_for(*parse_clock(clock), tuple(names)))
        network = self.config.network
        model = None if network is None else network.feed_model()
        if network is not None and model is not None:
            self.line = line = DelayedLine(
                self.clock,
                f"{self.id}-line",
                model,
                stable_key(f"feed/{self.instrument_id}"),
                network.timeout_ns,
                self._receive,
                network.meter(),
            )
            tell_delays(self.msgbus, lambda: {"data": line.delays})
        self.msgbus.register(endpoint=self.endpoint_of(self.instrument_id), handler=self._on_subscribe)
        self.msgbus.register(endpoint=self.leave_endpoint_of(self.instrument_id), handler=self.leave)
        self.msgbus.subscribe(topic=EXTERNAL_TOPIC, handler=self.on_external)
        # Unmanaged: the features keep their own ladder, so the data engine need not keep a second book.
        self.subscribe_order_book_deltas(self.instrument_id, book_type=BookType.L2_MBP, managed=False)
        self.subscribe_trade_ticks(self.instrument_id)

    def on_stop(self) -> None:
        """Close the endpoints."""
        self.msgbus.deregister(endpoint=self.endpoint_of(self.instrument_id), handler=self._on_subscribe)
        self.msgbus.deregister(endpoint=self.leave_endpoint_of(self.instrument_id), handler=self.leave)
        self.msgbus.unsubscribe(topic=EXTERNAL_TOPIC, handler=self.on_external)

    def on_external(self, message: ExternalValue) -> None:
        """Take a value published from outside; rows from now on see it."""
        self._external.take(message)

    def _on_subscribe(self, request: Subscribe) -> None:
        request.answer.append(self.join(request.agent, request.clock, request.conflate_ms, request.features))

    def join(self, agent: FeedAgent, clock: str, conflate_ms: int, features: Sequence[str]) -> Subscription:
        """Serve `agent` from the next event on; agents are called in the order in which they joined.

        An agent that joins in mid-run shares a running feed that computes all its features. When none does,
        a feed of its own begins with the book as it stands; features with a memory then warm up from there.

        Raises
        ------
        FeatureError
            When a feature or the clock is unknown.
        """
        if clock in ("1m", "5m", "15m"):
            raise FeatureError(
                f"clock {clock!r} needs bars, and {self.instrument_id} is fed by its order book; put `bars` "
                "into the run's configuration"
            )
        if self.line is not None:
            self.line.settle()
        feed = self._feed_for(clock, conflate_ms, tuple(features))
        feed.unused_since_ns = NEVER_NS
        specs = [get(name) for name in features]
        warmup = tuple(
            max((getattr(s, field) for s in specs), default=0)
            for field in ("warmup_rows", "warmup_ns", "warmup_trades")
        )
        subscription = Subscription(agent, feed, feed.columns_of(features), warmup)
        self._subscriptions.append(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Serve the agent of `subscription` no more; an unknown subscription is ignored."""
        if not any(s is subscription for s in self._subscriptions):
            return
        if self.line is not None:
            self.line.settle()
        self._subscriptions = [s for s in self._subscriptions if s is not subscription]
        feed = subscription.feed
        if not any(s.feed is feed for s in self._subscriptions):
            feed.unused_since_ns = feed.ts_ns
        self._drop_unused()

    def _drop_unused(self) -> None:
        """Stop computing feeds that nobody has used for a while. One is always kept: it holds the book."""
        for feed in [f for f in self._feeds if f not in self._preloaded]:
            if len(self._feeds) > 1 and feed.ts_ns - feed.unused_since_ns >= _IDLE_FEED_NS:
                self._feeds.remove(feed)

    def _feed_for(self, clock: str, conflate_ms: int, features: tuple[str, ...]) -> Feed:
        known = [feed for feed in self._feeds if (feed.clock, feed.conflate_ms) == (clock, conflate_ms)]
        for feed in known:
            if feed.covers(features):
                return feed
        for feed in known:
            if not feed.has_begun:
                feed.grow(features)
                return feed
        self._drop_unused()
        price_precision, size_precision = self._precisions
        feed = Feed(
            features,
            price_precision=price_precision,
            size_precision=size_precision,
            clock=clock,
            conflate_ms=conflate_ms,
            source=self._external,
        )
        begun = next((other for other in self._feeds if other.has_begun), None)
        if begun is not None:
            feed.seed_from(begun)
        self._feeds.append(feed)
        return feed

    def on_order_book_deltas(self, deltas: OrderBookDeltas) -> None:
        """Take a batch: apply it, or let it travel first."""
        if self.line is None:
            self._apply_deltas(deltas)
        else:
            self.line.take(deltas)

    def on_trade_tick(self, tick: TradeTick) -> None:
        """Take a trade, as a batch."""
        if self.line is None:
            self._apply_trade(tick)
        else:
            self.line.take(tick, quiet=True)  # it moves features alone: no agent is called before a book

    def _receive(self, packet: OrderBookDeltas | TradeTick) -> None:
        """What travelled is here."""
        if type(packet) is TradeTick:
            self._apply_trade(packet)
        else:
            self._apply_deltas(packet)

    def _apply_deltas(self, deltas: OrderBookDeltas) -> None:
        """Apply a batch to every feed; when the book is whole again, call the agents."""
        decoder, whole = self._decoder, False
        for feed in self._feeds:
            whole |= feed.take_deltas(decoder, deltas)
        if not whole:
            return
        now_ns = self._feeds[0].ts_ns
        # A copy: while it is called an agent may leave, or bring a successor that joins.
        for subscription in tuple(self._subscriptions):
            feed = subscription.feed
            if now_ns >= subscription.wake_ns:
                subscription.agent.on_feed_path(feed)
            if feed.row_closed and subscription.wants_row():
                subscription.agent.on_feed_row(feed)

    def _apply_trade(self, tick: TradeTick) -> None:
        """Apply a trade to every feed."""
        for feed in self._feeds:
            feed.take_trade(self._decoder, tick)


def parse_clock(text: str) -> tuple[str, int]:
    """Return (clock, conflate_ms) of ``book``, ``book@100`` or ``1s``.

    Raises
    ------
    ValueError
        When the part after ``@`` is not a whole number of milliseconds.
    """
    clock, at, milliseconds = text.partition("@")
    if at and not milliseconds.isdigit():
        raise ValueError(f"clock {text!r}: expected whole milliseconds after '@', as in book@100")
    return clock, int(milliseconds or 0)


def check_preload(preload: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError, naming the clock or feature, where a hub could not compute `preload`."""
    for clock, names in preload.items():
        name, conflate_ms = parse_clock(clock)
        computed = split_external(tuple(names))[0] or (_ANY_FEATURE,)
        BookFeatures(computed, price_precision=0, size_precision=0, clock=name, conflate_ms=conflate_ms)
