"""What happens next: a 4-ary heap in an array, ordered by (time, sequence).

Events of one instant come out in the order they were put in. Four children a node make the heap half as deep
as two would, and the children share cache lines.
"""

import numpy as np

from ._jit import entry

__all__ = ["SCHEDULED", "EventQueue", "pop", "push"]

# `id`, `price`, `size`, `slot` and `kind` are the caller's; the heap looks at the first two fields alone.
SCHEDULED = np.dtype(
    [
        ("time_ns", "<i8"),
        ("sequence", "<i8"),
        ("id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("slot", "<i4"),
        ("kind", "<i4"),
    ],
    align=True,
)

LENGTH, SEQUENCE = 0, 1  # indices into the queue's state


@entry
def push(heap, state, time_ns, kind, slot, order_id, price, size):
    """Schedule an event. `heap` is SCHEDULED[:] with room for one more, `state` int64[2]."""
    sequence = state[SEQUENCE]
    state[SEQUENCE] = sequence + 1
    at = state[LENGTH]
    state[LENGTH] = at + 1
    # The new event has the highest sequence, so among equal times it stays below: only the time needs
    # comparing.
    while at > 0:
        parent = (at - 1) >> 2
        if heap[parent].time_ns <= time_ns:
            break
        heap[at] = heap[parent]
        at = parent
    event = heap[at]
    event.time_ns = time_ns
    event.sequence = sequence
    event.kind = kind
    event.slot = slot
    event.id = order_id
    event.price = price
    event.size = size


@entry
def pop(heap, state, out):
    """Move the earliest event to `out[0]`. The queue must not be empty."""
    out[0] = heap[0]
    length = state[LENGTH] - 1
    state[LENGTH] = length
    if length == 0:
        return
    time_ns = heap[length].time_ns
    sequence = heap[length].sequence
    at = 0
    while True:
        child = 4 * at + 1
        if child >= length:
            break
        best = child
        for other in range(child + 1, min(child + 4, length)):
            if heap[other].time_ns < heap[best].time_ns or (
                heap[other].time_ns == heap[best].time_ns and heap[other].sequence < heap[best].sequence
            ):
                best = other
        if time_ns < heap[best].time_ns or (time_ns == heap[best].time_ns and sequence < heap[best].sequence):
            break
        heap[at] = heap[best]
        at = best
    if at != length:
        heap[at] = heap[length]


class EventQueue:
    """The same queue for people and tests; it grows by itself."""

    def __init__(self, capacity: int = 64) -> None:
        self._heap = np.zeros(max(capacity, 1), SCHEDULED)
        self._state = np.zeros(2, np.int64)
        self._out = np.zeros(1, SCHEDULED)

    def __len__(self) -> int:
        """Events waiting."""
        return int(self._state[LENGTH])

    def push(
        self, time_ns: int, kind: int, *, slot: int = 0, order_id: int = 0, price: int = 0, size: int = 0
    ) -> None:
        """Schedule an event at `time_ns`; among equal times, after those already there."""
        if len(self) == len(self._heap):
            self._heap = np.concatenate([self._heap, np.zeros_like(self._heap)])
        push(self._heap, self._state, time_ns, kind, slot, order_id, price, size)

    def pop(self) -> np.void:
        """Take out the earliest event, a SCHEDULED record. Raises IndexError when the queue is empty."""
        if not len(self):
            raise IndexError("pop from an empty event queue")
        pop(self._heap, self._state, self._out)
        return self._out[0].copy()
