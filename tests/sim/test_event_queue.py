"""The event queue against heapq."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.sim import EventQueue


# A negative number pops, others push at that time; few distinct times, so that ties are common. Scales below,
# within and beyond the slices of 2**26 ns and the wheel of 1,024 of them.
@given(
    st.lists(st.integers(-3, 6), max_size=200),
    st.sampled_from([1, 1 << 25, 1 << 26, 10**9, 7 * 10**9, 1 << 36, 10**12]),
    st.sampled_from([0, 1_735_689_600_000_000_000]),
)
def test_events_come_out_by_time_and_then_by_arrival(steps, scale, origin):
    queue, twin = EventQueue(capacity=1), []
    for number, step in enumerate(steps):
        time = origin + step * scale if step >= 0 else -1
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


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 14.0)), min_size=1, max_size=300),
    st.sampled_from([0, 1_735_689_600_000_000_000]),
)
def test_a_market_that_schedules_from_its_present_sees_time_run_forward(steps, origin):
    # Each event taken out schedules some more, from nanoseconds to a day ahead.
    queue, twin, now, number = EventQueue(capacity=1), [], origin, 0
    for births, exponent in steps:
        for k in range(births):
            time = now + int(10.0 ** (exponent * (k + 1) / 3))
            queue.push(time, kind=number)
            heapq.heappush(twin, (time, number))
            number += 1
        if twin:
            event = queue.pop()
            assert (event["time_ns"], event["kind"]) == heapq.heappop(twin)
            now = int(event["time_ns"])
    while twin:
        event = queue.pop()
        assert (event["time_ns"], event["kind"]) == heapq.heappop(twin)
