"""Waiting for answers that may never come: deadlines, retries, and answers that come too late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.risk.order_timeout import NEVER_NS, Action, OrderTimeout, Role


def test_an_answer_in_time_ends_the_wait():
    wait = OrderTimeout(Role.ENTRY, timeout_ns=100, entry_retries=3)
    wait.sent(1, now_ns=1000)
    assert wait.expire(1099, wanted=True) is Action.WAIT
    assert wait.answered(1)
    assert (wait.is_waiting, wait.attempts, wait.deadline_ns) == (False, 0, NEVER_NS)
    assert wait.expire(10_000, wanted=True) is Action.WAIT
    assert wait.timeouts == 0


@pytest.mark.parametrize(
    ("role", "wanted", "actions"),
    [
        (Role.ENTRY, True, [Action.RETRY, Action.RETRY, Action.GIVE_UP]),
        (Role.ENTRY, False, [Action.GIVE_UP]),
        (Role.EXIT, True, [Action.RETRY] * 50),
        (Role.EXIT, False, [Action.GIVE_UP]),
        (Role.CANCEL, True, [Action.RETRY] * 50),
        (Role.CANCEL, False, [Action.GIVE_UP]),
    ],
)
def test_what_follows_a_missed_deadline_depends_on_what_was_asked(role, wanted, actions):
    wait = OrderTimeout(role, timeout_ns=10, entry_retries=2)
    now = 0
    for number, action in enumerate(actions):
        wait.sent(number, now)
        assert wait.attempts == number + 1
        now = wait.deadline_ns
        assert wait.expire(now, wanted=wanted) is action
        assert not wait.is_waiting
    assert wait.timeouts == len(actions)
    assert wait.attempts == (0 if actions[-1] is Action.GIVE_UP else len(actions))


def test_a_late_answer_is_told_from_the_one_that_is_waited_for():
    wait = OrderTimeout(Role.EXIT, timeout_ns=10)
    wait.sent(5, 0)
    assert wait.expire(10, wanted=True) is Action.RETRY
    assert not wait.answered(5)  # nobody waits: booked by the caller, nothing changes here
    wait.sent(6, 10)
    assert not wait.answered(5)
    assert wait.is_waiting
    assert wait.answered(6)


def test_giving_up_starts_the_count_anew():
    wait = OrderTimeout(Role.ENTRY, timeout_ns=10, entry_retries=0)
    for purpose in range(3):
        wait.sent(purpose, 100 * purpose)
        assert wait.attempts == 1
        assert wait.expire(100 * purpose + 10, wanted=True) is Action.GIVE_UP


@given(
    role=st.sampled_from(list(Role)),
    retries=st.integers(0, 4),
    steps=st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=60),
)
def test_nothing_is_waited_for_twice_and_entries_are_never_sent_more_often_than_allowed(role, retries, steps):
    wait = OrderTimeout(role, timeout_ns=20, entry_retries=retries)
    now, next_id, missed = 0, 0, 0
    for pause, answers, wanted in steps:
        if not wait.is_waiting:
            wait.sent(next_id, now)
            next_id += 1
        if role is Role.ENTRY:
            assert wait.attempts <= retries + 1
        deadline = wait.deadline_ns
        now += pause
        if answers:
            assert wait.answered(next_id - 1)
            assert wait.expire(now, wanted=wanted) is Action.WAIT
            continue
        action = wait.expire(now, wanted=wanted)
        assert (action is Action.WAIT) == (now < deadline)
        missed += action is not Action.WAIT
        if not wanted:
            assert action is not Action.RETRY
        elif role is not Role.ENTRY:
            assert action is not Action.GIVE_UP
    assert wait.timeouts == missed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"timeout_ns": 0}, "timeout_ns"), ({"timeout_ns": 1, "entry_retries": -1}, "entry_retries")],
)
def test_bad_parameter_is_refused_by_name(arguments, says):
    with pytest.raises(ValueError, match=says):
        OrderTimeout(Role.ENTRY, **arguments)


def test_sending_while_waiting_is_a_mistake_of_the_caller():
    wait = OrderTimeout(Role.EXIT, timeout_ns=10)
    with pytest.raises(ValueError, match="order_id"):
        wait.sent(-1, 0)
    wait.sent(1, 0)
    with pytest.raises(ValueError, match="1 is still waited for"):
        wait.sent(2, 5)
