"""Market data on their way to a feed hub: late, in order, and sent again when lost.

Each packet (a book batch or a trade) is delivered by a clock alert at the moment at which it is due:
``due = max(sent + delay, due of the one before)``, as on one connection. Nothing that was sent is ever
delivered before its due time, and nothing is left out.

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
        "_clock",
        "_deliver",
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
        self._queue: deque[tuple[int, Any]] = deque()
        self._missing: list[tuple[int, Any]] = []  # lost when, and no later packet has told of it yet
        self._last_arrival_ns = self._last_due_ns = 0  # they differ behind a hole
        self._armed = False
        self._alert = 0
        self.packets = 0
        self.delays = DelayCounts()

    def take(self, packet: Any) -> None:
        """A packet leaves the venue now."""
        number = self.packets
        self.packets += 1
        now_ns = self._clock.timestamp_ns()
        if self._meter is not None:
            self._meter.count(now_ns)
        if self._model.is_lost(self._key, number, DATA):
            self.delays.lost += 1
            self._missing.append((now_ns, packet))
            return
        delay_ns = self._model.delay_ns(self._key, number, DATA)
        if self._meter is not None:
            delay_ns = round(delay_ns * self._meter.factor(now_ns))
        self._last_arrival_ns = due_ns = max(now_ns + delay_ns, self._last_arrival_ns)
        if self._missing:
            due_ns += self._repetition_ns(number)
        due_ns = max(due_ns, self._last_due_ns)
        for lost_ns, missing in self._missing:
            self._queue.append((due_ns, missing))
            self.delays.add(due_ns - lost_ns)
        self._missing.clear()
        self._last_due_ns = due_ns
        self.delays.add(due_ns - now_ns)
        self._queue.append((due_ns, packet))
        if not self._armed:
            self._arm()

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
        self._clock.set_time_alert_ns(f"{self._name}-{self._alert}", self._queue[0][0], self._on_alert)

    def _on_alert(self, event: TimeEvent) -> None:
        now_ns, queue = event.ts_event, self._queue
        while queue and queue[0][0] <= now_ns:
            self._deliver(queue.popleft()[1])
        self._armed = False
        if queue:
            self._arm()
