"""What happens next: a 4-ary heap in an array, ordered by (time, sequence).

Events of one instant come out in the order they were put in. The heap moves nodes of 16 bytes, a time and a
ticket; what an event is about stays where it was put. Four children a node make the heap half as deep as two
would, and they lie side by side. Beyond the last node every time is `NEVER`, so that choosing among four
children needs no bound and no branch.

After a `pop` the root is vacant until the next `push` fills it from above, or `peek` from below: most events
schedule one more, and so one walk through the heap serves both.
"""

from typing import NamedTuple

import numpy as np

from ._jit import entry, kernel

__all__ = ["NEVER", "SCHEDULED", "EventQueue", "Queue", "grown", "new_queue", "peek", "pop", "push", "room"]

NODE = np.dtype([("time_ns", "<i8"), ("ticket", "<i8")])
# All fields but the time are the caller's. In a free record `id` is the next free one.
SCHEDULED = np.dtype(
    [
        ("time_ns", "<i8"),
        ("id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("slot", "<i4"),
        ("kind", "<i4"),
    ],
    align=True,
)

NEVER = np.int64(2**63 - 1)
_LENGTH, _SEQUENCE, _FREE, _VACANT = 0, 1, 2, 3  # indices into the queue's state
# A ticket is a sequence number above and the record's place below.
_PLACE_BITS = np.int64(22)
_PLACE = np.int64((1 << 22) - 1)
_0, _1, _2, _3 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_PAD = 8  # nodes that are never used, so that four children can be read anywhere


class Queue(NamedTuple):
    """The arrays of one queue."""

    nodes: np.ndarray  # NODE[capacity + _PAD]
    records: np.ndarray  # SCHEDULED[capacity]
    state: np.ndarray  # int64[4]


def new_queue(capacity: int) -> Queue:
    """Return an empty queue with room for `capacity` events."""
    nodes = np.zeros(capacity + _PAD, NODE)
    nodes["time_ns"] = NEVER
    records = np.zeros(capacity, SCHEDULED)
    records["id"] = np.arange(1, capacity + 1)
    return Queue(nodes, records, np.zeros(4, np.int64))


def grown(queue: Queue) -> Queue:
    """Return the same queue with room for twice as many events.

    Raises ValueError beyond four million.
    """
    old = len(queue.records)
    if 2 * old > int(_PLACE) + 1:
        raise ValueError(f"more than {old} events wait at once; let fewer agents send fewer messages")
    fresh = new_queue(2 * old)
    fresh.nodes[: old + _PAD] = queue.nodes
    fresh.records[:old] = queue.records
    # The last free record's `id` is the old capacity: it goes on in the new half.
    return Queue(fresh.nodes, fresh.records, queue.state)


@entry
def room(queue):
    """Events that may still be pushed."""
    return len(queue.records) - queue.state[_LENGTH] + queue.state[_VACANT]


@kernel
def _sooner(nodes, one, other):
    """1 when the node at `one` comes before that at `other`, else 0, without a branch."""
    time_ns = nodes[one].time_ns
    other_ns = nodes[other].time_ns
    less = (time_ns < other_ns) | ((time_ns == other_ns) & (nodes[one].ticket < nodes[other].ticket))
    return np.uint64(less)


@kernel
def _sink(nodes, length, time_ns, ticket):
    """Put a node at the vacant root and let it sink to its place."""
    # Unsigned, because numba guards signed indices against being negative. Which child is the first is as
    # good as random: choosing by arithmetic costs less than guessing wrong.
    at = _0
    child = _1
    end = np.uint64(length)
    while child < end:
        left = child + _sooner(nodes, child + _1, child)
        right = child + _2 + _sooner(nodes, child + _3, child + _2)
        best = left + (right - left) * _sooner(nodes, right, left)
        best_ns = nodes[best].time_ns
        best_ticket = nodes[best].ticket
        if (time_ns < best_ns) | ((time_ns == best_ns) & (ticket < best_ticket)):
            break
        nodes[at].time_ns = best_ns
        nodes[at].ticket = best_ticket
        at = best
        child = (at << _2) + _1
    nodes[at].time_ns = time_ns
    nodes[at].ticket = ticket


@entry
def push(queue, time_ns, kind, slot, order_id, price, size):
    """Schedule an event; there must be `room`."""
    nodes, records, state = queue
    place = state[_FREE]
    record = records[place]
    state[_FREE] = record.id
    ticket = (state[_SEQUENCE] << _PLACE_BITS) | place
    state[_SEQUENCE] += 1
    record.time_ns = time_ns
    record.id = order_id
    record.price = price
    record.size = size
    record.slot = slot
    record.kind = kind
    if state[_VACANT] != 0:
        state[_VACANT] = 0
        _sink(nodes, state[_LENGTH], time_ns, ticket)
        return
    at = np.uint64(state[_LENGTH])
    state[_LENGTH] += 1
    # The new event has the highest ticket, so among equal times it stays below: only the time needs
    # comparing.
    while at > _0:
        parent = (at - _1) >> _2
        if nodes[parent].time_ns <= time_ns:
            break
        nodes[at].time_ns = nodes[parent].time_ns
        nodes[at].ticket = nodes[parent].ticket
        at = parent
    nodes[at].time_ns = time_ns
    nodes[at].ticket = ticket


@entry
def peek(queue):
    """Return the time of the earliest event and its place in `queue.records`; NEVER when there is none."""
    nodes, _, state = queue
    if state[_VACANT] != 0:
        state[_VACANT] = 0
        length = state[_LENGTH] - 1
        state[_LENGTH] = length
        time_ns = nodes[length].time_ns
        ticket = nodes[length].ticket
        nodes[length].time_ns = NEVER
        if length > 0:
            _sink(nodes, length, time_ns, ticket)
    return nodes[0].time_ns, nodes[0].ticket & _PLACE


@entry
def pop(queue, place, out):
    """Move the earliest event, which `peek` has found at `place`, to `out[0]`."""
    _, records, state = queue
    record = records[place]
    event = out[0]
    event.time_ns = record.time_ns
    event.id = record.id
    event.price = record.price
    event.size = record.size
    event.slot = record.slot
    event.kind = record.kind
    record.id = state[_FREE]
    state[_FREE] = place
    state[_VACANT] = 1


class EventQueue:
    """The same queue for people and tests; it grows by itself."""

    def __init__(self, capacity: int = 64) -> None:
        self._queue = new_queue(max(capacity, 1))
        self._out = np.zeros(1, SCHEDULED)

    def __len__(self) -> int:
        """Events waiting."""
        return int(len(self._queue.records) - room(self._queue))

    def push(
        self, time_ns: int, kind: int, *, slot: int = 0, order_id: int = 0, price: int = 0, size: int = 0
    ) -> None:
        """Schedule an event at `time_ns`, before `NEVER`; among equal times, after those already there."""
        if not time_ns < NEVER:
            raise ValueError(f"time_ns: {time_ns} is not before the end of time, 2**63 - 1")
        if not room(self._queue):
            self._queue = grown(self._queue)
        push(self._queue, time_ns, kind, slot, order_id, price, size)

    def pop(self) -> np.void:
        """Take out the earliest event, a SCHEDULED record. Raises IndexError when the queue is empty."""
        if not len(self):
            raise IndexError("pop from an empty event queue")
        pop(self._queue, peek(self._queue)[1], self._out)
        return self._out[0].copy()
