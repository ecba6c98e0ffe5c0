"""What happens next: events ordered by (time, sequence).

Events of one instant come out in the order they were put in. Most events of a market are either due within
milliseconds (messages on their way) or wait for seconds (orders that will be given up), so there are two
stores. What is due in the present 67 ms lies in a 4-ary heap of 16-byte nodes, a time and a ticket; what is
later hangs unsorted in a wheel of 1,024 such slices, and what is later than the whole wheel in one list.
When the heap runs empty the next slice is sorted into it. So the heap stays small however many wait.

Four children a node make the heap half as deep as two would, and they lie side by side. Beyond the last node
every time is `NEVER`, so that choosing among four children needs no bound and no branch. After a `pop` the
root is vacant until the next `push` fills it from above, or `peek` from below.
"""

from typing import NamedTuple

import numpy as np

from ._jit import entry, kernel

__all__ = ["NEVER", "SCHEDULED", "EventQueue", "Queue", "grown", "new_queue", "peek", "pop", "push", "room"]

NODE = np.dtype([("time_ns", "<i8"), ("ticket", "<i8")])
# One cache line. `id`, `price`, `size`, `slot` and `kind` are the caller's.
SCHEDULED = np.dtype(
    [
        ("time_ns", "<i8"),
        ("id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("slot", "<i4"),
        ("kind", "<i4"),
        ("ticket", "<i8"),
        ("next", "<i8"),  # of the list it hangs in, -1 at its end
        ("spare", "<i8"),
    ],
    align=True,
)

NEVER = np.int64(2**63 - 1)
# Indices into the queue's state.
_LENGTH, _SEQUENCE, _FREE, _VACANT, _USED = 0, 1, 2, 3, 4
_NOW, _IN_WHEEL, _LATER, _SORTED = 5, 6, 7, 8  # slice in the heap; events in the wheel; list; see `_refill`
_STATE_SIZE = 16
# A ticket is a sequence number above and the record's place below.
_PLACE_BITS = np.int64(22)
_PLACE = np.int64((1 << 22) - 1)
_0, _1, _2, _3 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_PAD = 8  # nodes that are never used, so that four children can be read anywhere
_SLICE_BITS = np.int64(26)  # 2**26 ns
_SLICES = np.int64(1024)
_NIL = np.int64(-1)


class Queue(NamedTuple):
    """The arrays of one queue."""

    nodes: np.ndarray  # NODE[capacity + _PAD], the heap
    wheel: np.ndarray  # int64[_SLICES], first record of each slice's list
    records: np.ndarray  # SCHEDULED[capacity]
    state: np.ndarray  # int64[_STATE_SIZE]


def new_queue(capacity: int) -> Queue:
    """Return an empty queue with room for `capacity` events."""
    nodes = np.zeros(capacity + _PAD, NODE)
    nodes["time_ns"] = NEVER
    records = np.zeros(capacity, SCHEDULED)
    records["next"] = np.arange(1, capacity + 1)
    state = np.zeros(_STATE_SIZE, np.int64)
    state[_LATER] = _NIL
    return Queue(nodes, np.full(int(_SLICES), _NIL, np.int64), records, state)


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
    # The last free record's `next` is the old capacity: it goes on in the new half.
    return Queue(fresh.nodes, queue.wheel, fresh.records, queue.state)


@entry
def room(queue):
    """Events that may still be pushed."""
    return len(queue.records) - queue.state[_USED]


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


@kernel
def _rise(nodes, state, time_ns, ticket):
    """Put a node at the end of the heap and let it rise to its place."""
    at = np.uint64(state[_LENGTH])
    state[_LENGTH] += 1
    while at > _0:
        parent = (at - _1) >> _2
        parent_ns = nodes[parent].time_ns
        if parent_ns < time_ns or (parent_ns == time_ns and nodes[parent].ticket < ticket):
            break
        nodes[at].time_ns = parent_ns
        nodes[at].ticket = nodes[parent].ticket
        at = parent
    nodes[at].time_ns = time_ns
    nodes[at].ticket = ticket


@kernel
def _hang(wheel, records, state, place, slice_):
    """Hang a record into the list of its slice, which is after the present one."""
    if slice_ - state[_NOW] < _SLICES:
        at = np.uint64(slice_ & (_SLICES - 1))
        records[place].next = wheel[at]
        wheel[at] = place
        state[_IN_WHEEL] += 1
    else:
        records[place].next = state[_LATER]
        state[_LATER] = place


@entry
def push(queue, time_ns, kind, slot, order_id, price, size):
    """Schedule an event; there must be `room`."""
    nodes, wheel, records, state = queue
    place = np.uint64(state[_FREE])
    record = records[place]
    state[_FREE] = record.next
    state[_USED] += 1
    ticket = (state[_SEQUENCE] << _PLACE_BITS) | np.int64(place)
    state[_SEQUENCE] += 1
    record.time_ns = time_ns
    record.id = order_id
    record.price = price
    record.size = size
    record.slot = slot
    record.kind = kind
    record.ticket = ticket
    slice_ = time_ns >> _SLICE_BITS
    if slice_ > state[_NOW]:
        _hang(wheel, records, state, np.int64(place), slice_)
    elif state[_VACANT] != 0:
        state[_VACANT] = 0
        _sink(nodes, state[_LENGTH], time_ns, ticket)
    else:
        _rise(nodes, state, time_ns, ticket)


@kernel
def _sort_in(nodes, wheel, records, state, first):
    """Put the records of a list where they belong now."""
    place = first
    while place != _NIL:
        record = records[place]
        after = record.next
        slice_ = record.time_ns >> _SLICE_BITS
        if slice_ <= state[_NOW]:
            _rise(nodes, state, record.time_ns, record.ticket)
        else:
            _hang(wheel, records, state, place, slice_)
        place = after


@kernel
def _refill(nodes, wheel, records, state):
    """Fill the empty heap with the next slice that holds anything; there is one."""
    # What is in the list of later events was at least a whole wheel away when the list was last looked
    # through (at slice _SORTED), or when it was put there. Looking every half turn is soon enough.
    while state[_LENGTH] == 0:
        look = False
        if state[_IN_WHEEL] == 0:
            earliest = NEVER
            place = state[_LATER]
            while place != _NIL:
                earliest = min(earliest, records[place].time_ns)
                place = records[place].next
            state[_NOW] = earliest >> _SLICE_BITS
            look = True
        else:
            state[_NOW] += 1
            look = state[_NOW] - state[_SORTED] >= _SLICES >> 1
            at = np.uint64(state[_NOW] & (_SLICES - 1))
            place = wheel[at]
            wheel[at] = _NIL
            while place != _NIL:
                _rise(nodes, state, records[place].time_ns, records[place].ticket)
                state[_IN_WHEEL] -= 1
                place = records[place].next
        if look:
            state[_SORTED] = state[_NOW]
            first = state[_LATER]
            state[_LATER] = _NIL
            _sort_in(nodes, wheel, records, state, first)


@entry
def peek(queue):
    """Return the time of the earliest event and its place in `queue.records`; NEVER when there is none."""
    nodes, wheel, records, state = queue
    if state[_VACANT] != 0:
        state[_VACANT] = 0
        length = state[_LENGTH] - 1
        state[_LENGTH] = length
        time_ns = nodes[length].time_ns
        ticket = nodes[length].ticket
        nodes[length].time_ns = NEVER
        if length > 0:
            _sink(nodes, length, time_ns, ticket)
    if state[_LENGTH] == 0:
        if state[_USED] == 0:
            return NEVER, _NIL
        _refill(nodes, wheel, records, state)
    return nodes[0].time_ns, nodes[0].ticket & _PLACE


@entry
def pop(queue, place, out):
    """Move the earliest event, which `peek` has found at `place`, to `out[0]`."""
    _, _, records, state = queue
    record = records[np.uint64(place)]
    event = out[0]
    event.time_ns = record.time_ns
    event.id = record.id
    event.price = record.price
    event.size = record.size
    event.slot = record.slot
    event.kind = record.kind
    record.next = state[_FREE]
    state[_FREE] = place
    state[_USED] -= 1
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
