"""Named points at which a test may kill the process, to prove that a crash there loses nothing.

`fault_point(name)` marks the moment between two steps that must survive a crash. Unless the environment
variable ``APEX_FAULT`` is set when the package is imported it is an empty function.

``APEX_FAULT=swap.retired@1`` kills the process (SIGKILL: no clean-up, no buffers flushed) at the first call
of that point; ``APEX_FAULT=*@17`` at the seventeenth call of any point. ``APEX_FAULT=trace:FILE`` kills
nothing and appends the name of every point passed to FILE, so that a test can learn how many there are.
"""

from __future__ import annotations

import os
import signal

__all__ = ["ENVIRONMENT_VARIABLE", "fault_point"]

ENVIRONMENT_VARIABLE = "APEX_FAULT"


def _armed(specification: str):
    if specification.startswith("trace:"):
        path = specification.removeprefix("trace:")

        def trace(name: str) -> None:
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(name + "\n")

        return trace

    wanted, separator, count = specification.rpartition("@")
    if not separator or not count.isdigit() or int(count) < 1:
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE}={specification!r}: expected NAME@N, *@N or trace:FILE with N >= 1; "
            "unset the variable for normal use"
        )
    remaining = int(count)

    def kill_at_nth(name: str) -> None:
        nonlocal remaining
        if wanted in ("*", name):
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return kill_at_nth


def _idle(name: str) -> None:
    """A point that is passed without a trace."""


_specification = os.environ.get(ENVIRONMENT_VARIABLE)
fault_point = _armed(_specification) if _specification else _idle
