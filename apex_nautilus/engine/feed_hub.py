"""One feed hub an instrument: it decodes the market once and serves every agent.

The hub is a Nautilus actor that subscribes to book deltas and trades of its instrument. It decodes them into `EVENT`
records, runs the features that its agents ask for (their union, one `Feed` a clock) and calls each agent back, in the
order in which they registered:

- `on_feed_path(feed)` at every book event that leaves a two-sided, uncrossed book, while the agent's subscription is
  `watching` (an agent with a position: resting exits, holding time);
- `on_feed_row(feed)` when a row of the agent's clock was closed by this event, after its `on_feed_path`.

An agent born in mid-run is served from the next event on, and its features have the history of the whole run where the
hub computed them from the start (`FeedHubConfig.preload`).

Agents reach their hub over the message bus (`FeedHub.endpoint_of`), so that a hub and its agents belong to one trading
node and never to another one in the same process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.model.data import OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import ComponentId, InstrumentId

from apex_nautilus.engine.decode import EventDecoder
from apex_nautilus.features import FLAG_LAST, BookFeatures

__all__ = ["Feed", "FeedAgent", "FeedHub", "FeedHubConfig", "Subscribe", "Subscription"]


class FeedAgent(Protocol):
    """What the hub calls."""

    def on_feed_row(self, feed: Feed) -> None:
        """A row of the agent's clock was closed; `feed` describes it until the next event."""

    def on_feed_path(self, feed: Feed) -> None:
        """The book is whole, two-sided and uncrossed; called only while the subscription is `watching`."""


@dataclass(slots=True, eq=False)
class Subscription:
    """An agent's place at a hub.

    Attributes
    ----------
    columns : ndarray of intp
        Where the agent's features stand in ``feed.row``, in the order in which it named them.
    watching : bool
        Set by the agent: whether it wants `on_feed_path`.
    """

    agent: FeedAgent
    feed: Feed
    columns: np.ndarray
    watching: bool = False


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
    preload : dict of str to list of str
        Features that are computed from the first event on, though no agent asks yet: clock (``book``, ``book@100`` for
        rows at least 100 ms apart, ``1s``) to feature names. Agents born later then see the values they would have seen
        from the start.
    mids : int
        How many mid prices of clock rows are kept, the longest window of a volatility stop.
    """

    instrument_id: InstrumentId
    preload: dict[str, list[str]] = {}
    mids: int = 4096


class Feed:
    """One clock of one instrument: the latest row and the state of the book.

    Attributes
    ----------
    clock, conflate_ms : str, int
        When rows are closed.
    names : tuple of str
        The features of `row`, in order.
    row : (F,) float64
        Features of the latest row. A view of the extractor's memory: copy what must outlive the callback.
    row_ts_ns : int
        `ts_init` of the event that closed the latest row.
    bid, ask : float
        Touch after the latest whole book.
    top : (4, DEPTH) float64
        Bid prices, bid sizes, ask prices, ask sizes; NaN and 0 where empty.
    mids : (n,) float64
        Mids of the latest clock rows, oldest first, the current row's last.
    ts_ns : int
        `ts_init` of the latest event.
    event_number, row_number : int
        Path events (whole, two-sided, uncrossed books) and rows seen by this feed.
    is_warm : bool
        Whether every feature has the history its definition asks for.
    """

    __slots__ = (
        "_extractor",
        "_mids",
        "ask",
        "bid",
        "clock",
        "conflate_ms",
        "event_number",
        "names",
        "row",
        "row_number",
        "row_ts_ns",
        "subscriptions",
        "top",
        "ts_ns",
    )

    def __init__(
        self, names: Sequence[str], *, price_precision: int, size_precision: int, clock: str, conflate_ms: int, mids: int
    ) -> None:
        self.clock = clock
        self.conflate_ms = conflate_ms
        self.names = tuple(names)
        self._extractor = BookFeatures(
            list(names), price_precision=price_precision, size_precision=size_precision, clock=clock, conflate_ms=conflate_ms
        )
        self._mids = MidWindow(mids)
        self.row = self._extractor.row
        self.top = self._extractor.top
        self.row_ts_ns = 0
        self.bid = self.ask = float("nan")
        self.ts_ns = 0
        self.event_number = 0
        self.row_number = 0
        self.subscriptions: list[Subscription] = []

    @property
    def mids(self) -> np.ndarray:
        return self._mids.values

    @property
    def is_warm(self) -> bool:
        return self._extractor.is_warm

    def apply(self, events: np.ndarray) -> tuple[bool, bool]:
        """Feed events of one batch; return (a path event happened, a row was closed), by the last event."""
        extractor = self._extractor
        closed = extractor.apply(events)
        last = events[-1]
        self.ts_ns = int(last["ts_init_ns"])
        self.bid, self.ask = extractor.bid, extractor.ask
        is_path = bool(last["flags"] & FLAG_LAST) and self.bid < self.ask
        self.event_number += is_path
        if closed:
            self.row_ts_ns = extractor.row_ts_ns
            self.row_number += 1
            self._mids.push(0.5 * (self.bid + self.ask))
        return is_path, closed


class FeedHub(Actor):
    """Serves the agents of one instrument; see the module's description."""

    def __init__(self, config: FeedHubConfig) -> None:
        super().__init__(config)
        self.instrument_id = config.instrument_id
        self._feeds: dict[tuple[str, int], Feed] = {}
        self._subscriptions: list[Subscription] = []

    @staticmethod
    def endpoint_of(instrument_id: InstrumentId) -> str:
        """The message bus endpoint at which the hub of an instrument takes `Subscribe` messages."""
        return f"FeedHub.{instrument_id}"
