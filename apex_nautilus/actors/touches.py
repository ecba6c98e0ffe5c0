"""The latest touch of each instrument, as the agents see it: from the feed hub, not from a book of our
own."""

from __future__ import annotations

import math

from nautilus_trader.common.component import MessageBus
from nautilus_trader.model.identifiers import InstrumentId

from apex_nautilus.engine import TOUCH_CLOCK, Feed, FeedHub, Subscribe

__all__ = ["Touches"]


class Touches:
    """Keeps the last two-sided, uncrossed touch of every instrument it was told to watch.

    Parameters
    ----------
    on_bars : bool
        Whether the hubs are fed by bars; then the touch is the modelled one of the latest open or close.
    """

    def __init__(self, *, on_bars: bool = False) -> None:
        self._on_bars = on_bars
        self._feeds: dict[str, Feed] = {}
        self._last: dict[str, tuple[float, float]] = {}

    def subscribe(self, bus: MessageBus, instrument_id: InstrumentId) -> None:
        """Join the instrument's hub.

        Raises
        ------
        ValueError
            When the node has no feed hub for the instrument.
        """
        answer: list = []
        endpoint = FeedHub.endpoint_of(instrument_id)
        if endpoint not in bus.endpoints():
            raise ValueError(
                f"arena: no feed hub serves {instrument_id}; add a FeedHub actor for it to the node"
            )
        # The slowest clock and one cheap feature: what is wanted is the touch that every feed keeps.
        clock, features = (TOUCH_CLOCK, ()) if self._on_bars else ("1s", ("spread_bps",))
        request = Subscribe(agent=self, clock=clock, conflate_ms=0, features=features, answer=answer)
        bus.send(endpoint=endpoint, msg=request)
        self._feeds[instrument_id.value] = answer[0].feed

    def on_feed_row(self, feed: Feed) -> None:
        """Nothing is decided on rows; marks are the clock's."""

    def on_feed_path(self, feed: Feed) -> None:
        """Not asked for."""

    def of(self, instrument_id: str) -> tuple[float, float]:
        """(bid, ask) now, or the last two-sided one while the book is not; nan before the first."""
        feed = self._feeds.get(instrument_id)
        if feed is not None and feed.bid < feed.ask:
            self._last[instrument_id] = (float(feed.bid), float(feed.ask))
        return self._last.get(instrument_id, (math.nan, math.nan))
