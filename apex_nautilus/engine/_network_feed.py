"""Market data on their way to a feed hub: late, in order, and sent again when lost.

Each packet (a book batch or a trade) is delivered by a clock alert at the moment at which it is due:
``due = max(sent + delay, due of the one before)``, as on one connection. Nothing that was sent is ever
delivered before its due time, and nothing is left out.

Only packets that someone is called for are worth an alert. A quiet one (a trade: no agent acts before the
next book) is delivered with the next that is not, in its place before it: whoever is called sees the same.

A lost packet is asked for again. That it is missing shows when the next packet comes; then a request travels
to the venue and the answer back, one draw each. Until then all that follows waits, as it would behind a hole
in a TCP stream or a gap in the sequence numbers: a book with a hole is no book. A request or an answer that
is lost too is repeated after `timeout_ns`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from nautilus_trader.common.component import Clock
from nautilus_trader.common.events import TimeEvent

from apex_nautilus.engine._network_config import RateMeter
from apex_nautilus.engine.delays import DelayCounts
from apex_nautilus.sim import LatencyModel
from apex_nautilus.sim.latency import DATA, ORDER

__all__ = ["DelayedLine"]

_RESEND = 1 << 40  # added to a packet's number in the keys of the draws of its repetitions
_ATTEMPTS = 64  # of one repetition; a line that loses nearly everything must not draw for ever


class DelayedLine:
    """Delivers packets late and in order.

    Parameters
    ----------
    clock : Clock
        One that the engine advances.
    name : str
        Names its alerts; unique for the clock.
    model : LatencyModel
        Draws delay and loss; the key is (seed, `key`, number of the packet).
    key : int
        Stands for the line in the draws.
    timeout_ns : int
        After this time a lost request is repeated.
    deliver : callable
        Called with each packet when it is due.
    meter : RateMeter, optional
        Counts the packets; delays grow with their rate. None where they do not.

    Attributes
    ----------
    packets : int
        Taken so far.
    delays : DelayCounts
        From leaving the venue to delivery, and how many packets were lost the first time.
    """

    __slots__ = (
        "_alert",
        "_armed",
        "_calls",
        "_clock",
        "_deliver",
        "_delivering",
        "_draws",
        "_key",
        "_last_arrival_ns",
        "_last_due_ns",
        "_meter",
        "_missing",
        "_model",
        "_name",
        "_queue",
        "_timeout_ns",
        "delays",
        "packets",
    )

    def __init__(
        self,
        clock: Clock,
        name: str,
        model: LatencyModel,
        key: int,
        timeout_ns: int,
        deliver: Callable[[Any], None],
        meter: RateMeter | None = None,
    ) -> None:
        self._clock = clock
        self._name = name
        self._model = model
        self._key = key
        self._timeout_ns = timeout_ns
        self._deliver = deliver
        self._meter = meter
        self._draws = model.in_turn(key, DATA)
        self._queue: deque[tuple[int, Any]] = deque()
        self._calls: deque[int] = deque()  # when those of the queue are due that are not quiet
        # Lost when, and whether quiet; no later packet has told of it yet.
        self._missing: list[tuple[int, Any, bool]] = []
        self._last_arrival_ns = self._last_due_ns = 0  # they differ behind a hole
        self._armed = self._delivering = False
        self._alert = 0
        self.packets = 0
        self.delays = DelayCounts()

    def take(self, packet: Any, *, quiet: bool = False) -> None:
        """A packet leaves the venue now.

        Parameters
        ----------
        packet : what `deliver` is called with.
        quiet : nobody is called for it, and it may be delivered as late as just before the next that is not.
        """
        number = self.packets
        self.packets += 1
        now_ns = self._clock.timestamp_ns()
        if self._meter is not None:
            self._meter.count(now_ns)
        delay_ns = self._draws.next_ns()
        if delay_ns < 0:
            self.delays.lost += 1
            self._missing.append((now_ns, packet, quiet))
            return
        if self._meter is not None:
            delay_ns = round(delay_ns * self._meter.factor(now_ns))
        self._last_arrival_ns = due_ns = max(now_ns + delay_ns, self._last_arrival_ns)
        if self._missing:
            due_ns += self._repetition_ns(number)
        self._last_due_ns = due_ns = max(due_ns, self._last_due_ns)
        if self._missing:
            for sent_ns, missing, is_quiet in self._missing:
                self._enter(due_ns, sent_ns, missing, is_quiet)
            self._missing.clear()
        self._enter(due_ns, now_ns, packet, quiet)

    def _enter(self, due_ns: int, sent_ns: int, packet: Any, quiet: bool) -> None:
        self.delays.add(due_ns - sent_ns)
        self._queue.append((due_ns, packet))
        if not quiet:
            self._calls.append(due_ns)
            if not self._armed:
                self._arm()

    def settle(self) -> None:
        """Deliver the quiet packets that are due by now; they wait for no alert of their own."""
        if self._delivering:
            return  # asked by someone who was called for a packet: what follows it comes when he is done
        due_ns = self._clock.timestamp_ns()
        self._deliver_until(min(due_ns, self._calls[0] - 1) if self._calls else due_ns)

    def _repetition_ns(self, number: int) -> int:
        """From the arrival of packet `number`, which showed the hole, to that of what was missing."""
        model, waited_ns = self._model, 0
        for attempt in range(_ATTEMPTS):
            draw = number + _RESEND * (attempt + 1)
            if not (model.is_lost(self._key, draw, ORDER) or model.is_lost(self._key, draw, DATA)):
                break
            waited_ns += self._timeout_ns
        return waited_ns + model.delay_ns(self._key, draw, ORDER) + model.delay_ns(self._key, draw, DATA)

    def _arm(self) -> None:
        self._armed = True
        # Two names in turn: the clock lets go of a name only after its alert was handled.
        self._alert ^= 1
        self._clock.set_time_alert_ns(f"{self._name}-{self._alert}", self._calls[0], self._on_alert)

    def _on_alert(self, event: TimeEvent) -> None:
        now_ns, calls = event.ts_event, self._calls
        while calls and calls[0] <= now_ns:
            calls.popleft()
        self._deliver_until(now_ns)
        self._armed = False
        if calls:
            self._arm()

    def _deliver_until(self, due_ns: int) -> None:
        queue, deliver = self._queue, self._deliver
        self._delivering = True
        while queue and queue[0][0] <= due_ns:
            deliver(queue.popleft()[1])
        self._delivering = False
