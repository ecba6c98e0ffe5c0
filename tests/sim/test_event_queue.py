"""The event queue against heapq."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.sim import EventQueue


# A negative number pops, others push at that time; few distinct times, so that ties are common.
@given(st.lists(st.integers(-3, 6), max_size=200))
def test_events_come_out_by_time_and_then_by_arrival(steps):
    queue, twin = EventQueue(capacity=1), []
    for number, time in enumerate(steps):
        if time >= 0:
            queue.push(time, kind=number, slot=1, order_id=2, price=3, size=number)
            heapq.heappush(twin, (time, number))
        elif twin:
            event = queue.pop()
            assert (event["time_ns"], event["kind"]) == heapq.heappop(twin)
            assert event["size"] == event["kind"]
        assert len(queue) == len(twin)
    drained = [(int(e["time_ns"]), int(e["kind"])) for e in (queue.pop() for _ in range(len(queue)))]
    assert drained == sorted(twin)


def test_pop_from_an_empty_queue_is_an_error():
    with pytest.raises(IndexError, match="empty"):
        EventQueue().pop()
