"""The feed hub of an instrument whose market is made of bars.

It answers to the same endpoints as `FeedHub` and calls agents the same way:

- `on_feed_path` at the close of every bar that orders meet (the holding time);
- `on_feed_row` when a bar of the agent's clock has closed, once its features are warm;
- `on_feed_open` at the open of the next bar, for agents that wait to send an entry.

Every agent has features of its own; an agent born in mid-run is given all bars there were, so that its
features are those of an agent there from the start. Features from outside have in each row the value that
was in force when the row's bar closed; see `external_data`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.identifiers import InstrumentId

from apex_nautilus.engine.bar_market import BAR_CLOCKS, bar_type_of, clocks_over
from apex_nautilus.engine.external_data import EXTERNAL_TOPIC, ExternalSource, ExternalValue, split_external
from apex_nautilus.engine.feed_hub import Feed, FeedHub, Subscribe, Subscription
from apex_nautilus.features import BarFeatures, FeatureError
from apex_nautilus.features.header import ASK, BID, PRICE_UNITS, SIZE_UNITS

__all__ = ["TOUCH_CLOCK", "BarFeed", "BarHub", "BarHubConfig"]

TOUCH_CLOCK = "touch"
"""A clock without rows, for those who only want the touch."""

_ANY_FEATURE = "bar_return"


class BarFeed(Feed):
    """One agent's view of an instrument on bars: `bid` and `ask` are the modelled touch of the latest open or
    close; `features` are `BarFeatures`."""

    __slots__ = ("_path_count", "_ts_ns")

    defers_entries = True

    def __init__(self, names: Sequence[str], clock: str, source: ExternalSource | None = None) -> None:
        self.source = source
        self.clock = clock
        self.conflate_ms = 0
        self.row_closed = False
        self.unused_since_ns = 0
        self._begun = False
        self._ts_ns = self._path_count = 0
        computed, self._external = split_external(names)
        if self._external and source is None:
            raise FeatureError(f"{', '.join(self._external)}: this feed has no source of external features")
        for name in self._external:
            source.ask(name)  # pyright: ignore[reportOptionalMemberAccess]
        self.features: Any = None
        self.memory = np.zeros(64, dtype=np.int64)
        if names:
            self.features = BarFeatures(
                computed or (_ANY_FEATURE,),  # the rows come of computing something
                clock,  # pyright: ignore[reportArgumentType]
                more_columns=len(self._external),
            )
            self.memory = self.features.memory
        self._floats = self.memory.view(np.float64)
        # No levels are kept; compiled readers divide what there is of them by these.
        self.memory[PRICE_UNITS] = self.memory[SIZE_UNITS] = 1

    @property
    def ts_ns(self) -> int:
        """Time of the latest open or close, 0 before the first."""
        return self._ts_ns

    @property
    def path_count(self) -> int:
        """How many bars that orders meet have closed."""
        return self._path_count

    def close_bar(self, bar: tuple[int, float, float, float, float, float]) -> bool:
        """Compute the row of a closed bar (closing time, open, high, low, close, volume) of the clock; return
        whether the features are warm."""
        self.features.apply(*bar)
        if self._external and self.source is not None:
            self.source.row(self._external, bar[0], self.features.more)
        return self.features.is_warm

    def set_touch(self, ts_ns: int, bid: float, ask: float, path_count: int) -> None:
        """Take over the touch of an open or a close."""
        self._begun = True
        self._ts_ns, self._path_count = ts_ns, path_count
        self._floats[BID], self._floats[ASK] = bid, ask


class BarHubConfig(ActorConfig, frozen=True, kw_only=True):
    """Configuration of a `BarHub`.

    Parameters
    ----------
    instrument_id : InstrumentId
    path : {"1m", "5m", "15m"}
        Clock of the bars that orders meet; agents may use this and longer ones.
    external : str, optional
        The catalog whose external series are read; see `apex_nautilus.engine.external_data`.
    """

    instrument_id: InstrumentId
    path: str
    external: str | None = None


def _number(value: Any) -> float:
    return float(value.as_decimal())


class BarHub(Actor):
    """Serves the agents of one instrument on bars; see the module's description."""

    def __init__(self, config: BarHubConfig) -> None:
        super().__init__(config)
        if config.path not in BAR_CLOCKS:
            raise ValueError(f"bar hub: path {config.path!r} is not one of {', '.join(BAR_CLOCKS)}")
        self.instrument_id = config.instrument_id
        self._clocks = {
            BarType.from_str(bar_type_of(config.instrument_id.value, clock)): clock
            for clock in clocks_over(config.path)
        }
        self._history: dict[str, list[tuple]] = {clock: [] for clock in self._clocks.values()}
        self._subscriptions: list[Subscription] = []
        self._opening = True  # the next quote opens a bar
        self._quote: QuoteTick | None = None
        self._touch = (0, math.nan, math.nan, 0)
        self._external = ExternalSource(config.instrument_id.value, config.external)

    def on_start(self) -> None:
        """Open the endpoints, subscribe to quotes and bars."""
        if self.cache.instrument(self.instrument_id) is None:
            raise RuntimeError(f"bar hub: instrument {self.instrument_id} is not in the cache")
        self.msgbus.register(endpoint=FeedHub.endpoint_of(self.instrument_id), handler=self._on_subscribe)
        self.msgbus.register(endpoint=FeedHub.leave_endpoint_of(self.instrument_id), handler=self.leave)
        self.msgbus.subscribe(topic=EXTERNAL_TOPIC, handler=self.on_external)
        self.subscribe_quote_ticks(self.instrument_id)
        for bar_type in self._clocks:
            self.subscribe_bars(bar_type)

    def on_stop(self) -> None:
        """Close the endpoints."""
        self.msgbus.deregister(endpoint=FeedHub.endpoint_of(self.instrument_id), handler=self._on_subscribe)
        self.msgbus.deregister(endpoint=FeedHub.leave_endpoint_of(self.instrument_id), handler=self.leave)
        self.msgbus.unsubscribe(topic=EXTERNAL_TOPIC, handler=self.on_external)

    def on_external(self, message: ExternalValue) -> None:
        """Take a value published from outside; rows from now on see it."""
        self._external.take(message)

    def _on_subscribe(self, request: Subscribe) -> None:
        request.answer.append(self.join(request.agent, request.clock, request.features))

    def join(self, agent: Any, clock: str, features: tuple[str, ...]) -> Subscription:
        """Serve `agent` from the next bar on.

        Raises
        ------
        FeatureError
            When the clock is none of this hub's, a feature is unknown or of a book, or the catalog holds no
            series of an external one.
        """
        if clock != TOUCH_CLOCK and clock not in self._history:
            raise FeatureError(
                f"clock {clock!r}: {self.instrument_id} is fed by bars of {self.config.path} (clocks: "
                f"{', '.join(self._history)})"
            )
        feed = BarFeed(features, clock, self._external)
        past = self._history.get(clock)
        if past and features:
            feed.features.run(*zip(*past, strict=True))
        if self._touch[3] or self._touch[0]:
            feed.set_touch(*self._touch)
        columns = feed.columns_of(features) if features else np.zeros(0, dtype=np.int64)
        subscription = Subscription(agent, feed, columns, (0, 0, 0))
        self._subscriptions.append(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Serve the agent of `subscription` no more; an unknown subscription is ignored."""
        self._subscriptions = [s for s in self._subscriptions if s is not subscription]

    def on_quote_tick(self, tick: QuoteTick) -> None:
        """Remember it; the first one after a bar opens the next."""
        self._quote = tick
        if not self._opening:
            return
        self._opening = False
        self._take_touch(tick)
        for subscription in tuple(self._subscriptions):
            if subscription.wants_open:
                subscription.wants_open = False
                subscription.agent.on_feed_open(subscription.feed)

    def _take_touch(self, tick: QuoteTick) -> None:
        self._touch = (tick.ts_init, _number(tick.bid_price), _number(tick.ask_price), self._touch[3])
        for subscription in self._subscriptions:
            subscription.feed.set_touch(*self._touch)  # pyright: ignore[reportAttributeAccessIssue]

    def on_bar(self, bar: Bar) -> None:
        """A bar has closed: of those that orders meet, of a clock, or both."""
        clock = self._clocks[bar.bar_type]
        row = (
            bar.ts_init, _number(bar.open), _number(bar.high), _number(bar.low), _number(bar.close),
            _number(bar.volume),
        )  # fmt: skip
        self._history[clock].append(row)
        is_path = clock == self.config.path
        if is_path and self._quote is not None:
            self._opening = True
            self._touch = (*self._touch[:3], self._touch[3] + 1)
            self._take_touch(self._quote)
        for subscription in tuple(self._subscriptions):
            feed = subscription.feed
            if is_path and bar.ts_init >= subscription.wake_ns:
                subscription.agent.on_feed_path(feed)
            if feed.clock == clock and feed.features is not None and feed.close_bar(row):
                subscription.agent.on_feed_row(feed)
