"""Commands that may have been lost: how long to wait for the venue's answer, and what to do without one.

A command that never arrives leaves no trace: no fill, no refusal, nothing. So every command has a deadline.
What follows a missed one depends on what was asked:

=========  =======================================================================================
entry      sent again with a new id, at most `entry_retries` times, while it is still wanted
exit       sent again with a new id until it is no longer wanted (the position is flat), however often
cancel     sent again until it is no longer wanted (the order is known to be gone)
=========  =======================================================================================

An answer may be late instead of lost. It then belongs to an id that nobody waits for any more; `answered`
says so, and whoever keeps the account books what it brings all the same.

`PENDING` is the state of one such wait, the kernels are for compiled loops, `OrderTimeout` is their face. It
runs their source as it stands: handing a record to compiled code takes microseconds, which is more than all
else that an entry needs.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

NEVER_NS = 2**63 - 1

ENTRY = 0
EXIT = 1
CANCEL = 2

WAIT = 0
RETRY = 1
GIVE_UP = 2

#: One wait for an answer. `order_id` is -1 and `deadline_ns` `NEVER_NS` while there is nothing to wait for;
#: `attempts` counts the commands sent for one purpose, `timeouts` all deadlines missed since birth.
PENDING = np.dtype(
    [("order_id", "i8"), ("deadline_ns", "i8"), ("attempts", "i8"), ("timeouts", "i8")], align=True
)


@njit(cache=True)
def clear_kernel(pending) -> None:
    """Wait for nothing; the next command is the first of its purpose."""
    pending.order_id = -1
    pending.deadline_ns = NEVER_NS
    pending.attempts = 0


@njit(cache=True)
def sent_kernel(pending, order_id: int, now_ns: int, timeout_ns: int) -> None:
    """Wait for the answer to a command sent now."""
    pending.order_id = order_id
    pending.deadline_ns = now_ns + timeout_ns
    pending.attempts += 1


@njit(cache=True)
def answered_kernel(pending, order_id: int) -> bool:
    """Take an answer; False, and nothing changes, where it is not the one that is waited for."""
    if order_id < 0 or pending.order_id != order_id:
        return False
    pending.order_id = -1
    pending.deadline_ns = NEVER_NS
    pending.attempts = 0
    return True


@njit(cache=True)
def expire_kernel(pending, role: int, now_ns: int, entry_retries: int, wanted: bool) -> int:
    """Look at the clock: `WAIT`, or close the attempt and return `RETRY` or `GIVE_UP`."""
    if now_ns < pending.deadline_ns or pending.order_id < 0:
        return WAIT
    pending.timeouts += 1
    pending.order_id = -1
    pending.deadline_ns = NEVER_NS
    if wanted and (role != ENTRY or pending.attempts <= entry_retries):
        return RETRY
    pending.attempts = 0
    return GIVE_UP


_clear, _sent, _answered, _expire = (
    getattr(kernel, "py_func", kernel)
    for kernel in (clear_kernel, sent_kernel, answered_kernel, expire_kernel)
)


class _Pending:
    """`PENDING` as an object."""

    __slots__ = PENDING.names or ()

    def __init__(self) -> None:
        self.timeouts = 0
        _clear(self)


class Role(IntEnum):
    """What a command is for."""

    ENTRY = ENTRY
    EXIT = EXIT
    CANCEL = CANCEL


class Action(IntEnum):
    """What to do about a command that has not been answered."""

    WAIT = WAIT
    RETRY = RETRY
    GIVE_UP = GIVE_UP


class OrderTimeout:
    """Waits for the answers to the commands of one role, one at a time.

    Life cycle: `sent` for every command, each with an id of its own; `answered` for every answer of the
    venue; `expire` whenever time has passed. After `RETRY` the caller sends anew and calls `sent` with the
    new id; after `GIVE_UP` there is nothing left to wait for.

    Parameters
    ----------
    role : Role
    timeout_ns : int
        From a command to its deadline, positive.
    entry_retries : int
        How often an entry may be sent again; other roles do not read it.

    Raises
    ------
    ValueError
        When a parameter is out of range.

    Examples
    --------
    >>> wait = OrderTimeout(Role.ENTRY, timeout_ns=1000, entry_retries=1)
    >>> wait.sent(7, now_ns=0)
    >>> wait.expire(999, wanted=True), wait.expire(1000, wanted=True)
    (<Action.WAIT: 0>, <Action.RETRY: 1>)
    >>> wait.sent(8, now_ns=1000)
    >>> wait.answered(7), wait.answered(8)
    (False, True)
    """

    __slots__ = ("_entry_retries", "_role", "_state", "_timeout_ns")

    def __init__(self, role: Role, *, timeout_ns: int, entry_retries: int = 0) -> None:
        if timeout_ns <= 0:
            raise ValueError(f"OrderTimeout: timeout_ns must be positive, got {timeout_ns!r}")
        if entry_retries < 0:
            raise ValueError(f"OrderTimeout: entry_retries must not be negative, got {entry_retries!r}")
        self._role = Role(role)
        self._timeout_ns = timeout_ns
        self._entry_retries = entry_retries
        self._state = _Pending()

    def sent(self, order_id: int, now_ns: int) -> None:
        """Wait for the answer to a command sent now.

        Raises
        ------
        ValueError
            When `order_id` is negative, or the answer to another command is still waited for.
        """
        if order_id < 0:
            raise ValueError(f"OrderTimeout.sent: order_id must not be negative, got {order_id!r}")
        if self.is_waiting:
            raise ValueError(
                f"OrderTimeout.sent: order {order_id} was sent while {self.order_id} is still waited for"
            )
        _sent(self._state, order_id, now_ns, self._timeout_ns)

    def answered(self, order_id: int) -> bool:
        """Take an answer of the venue; False where nobody waits for it any more (it is late)."""
        return _answered(self._state, order_id)

    def expire(self, now_ns: int, *, wanted: bool) -> Action:
        """Look at the clock.

        Parameters
        ----------
        now_ns : int
        wanted : bool
            Entry: the signal still holds. Exit: there is a position. Cancel: the order may still rest.
        """
        return Action(_expire(self._state, self._role, now_ns, self._entry_retries, wanted))

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is outstanding."""
        return self._state.order_id >= 0

    @property
    def order_id(self) -> int:
        """The command waited for, -1 for none."""
        return self._state.order_id

    @property
    def deadline_ns(self) -> int:
        """When to look at the clock next; `NEVER_NS` while nothing is waited for."""
        return self._state.deadline_ns

    @property
    def attempts(self) -> int:
        """Commands sent for the present purpose."""
        return self._state.attempts

    @property
    def timeouts(self) -> int:
        """Deadlines missed since birth."""
        return self._state.timeouts
