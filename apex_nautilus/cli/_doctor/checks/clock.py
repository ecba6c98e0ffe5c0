"""Clocks: wall against monotonic, against the file system, and whether NTP keeps them."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]

_SAMPLE_S = 0.2
_MAX_STEP_S = 0.05
_MAX_SKEW_S = 2.0
_EARLIEST = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
_STA_UNSYNC = 0x0040


def check(place: Place) -> Iterator[Finding]:
    wall, monotonic = place.wall(), place.monotonic()
    time.sleep(_SAMPLE_S)
    step = (place.wall() - wall) - (place.monotonic() - monotonic)
    if wall < _EARLIEST:
        yield Finding("clock", "fail", f"it is {datetime.fromtimestamp(wall, UTC):%Y-%m-%d}", "set the clock")
    elif abs(step) > _MAX_STEP_S:
        yield Finding(
            "clock", "warn", f"wall moved {step * 1e3:+.0f} ms against the monotonic one in {_SAMPLE_S:g} s",
            "something sets the clock in steps; let NTP slew it",
        )  # fmt: skip
    else:
        yield Finding("clock", "ok", f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S} UTC, steady")
    yield _file_system(place)
    yield _synchronised()


def _file_system(place: Place) -> Finding:
    """A file's time comes from whoever serves the disk; a network's server may have another clock."""
    probe = place.root / f".apex-doctor-clock.{os.getpid()}.tmp"
    try:
        probe.write_bytes(b"x")
        skew = probe.stat().st_mtime - place.wall()
    except OSError as error:
        return Finding(
            "clock of the disk", "warn", f"no file could be written: {error.strerror or error}", "see above"
        )
    finally:
        probe.unlink(missing_ok=True)
    if abs(skew) > _MAX_SKEW_S:
        return Finding(
            "clock of the disk", "warn", f"{skew:+.1f} s against this machine", "synchronise both by NTP"
        )
    return Finding("clock of the disk", "ok", f"{abs(skew):.2f} s from this machine's")


class _Timex(ctypes.Structure):
    """The head of Linux's `struct timex` (adjtimex(2)); the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 256),
    )  # fmt: skip


def _synchronised() -> Finding:
    """Ask the kernel, which the machine's NTP client tells; nothing is sent anywhere."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex(modes=0)
        answer = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        answer = -1
    if answer < 0:
        return Finding("clock synchronisation", "ok", "the kernel does not say")
    if timex.status & _STA_UNSYNC:
        return Finding(
            "clock synchronisation", "warn", "the kernel knows of no NTP client",
            "recordings and live trading need one (chrony, systemd-timesyncd); backtests do not",
        )  # fmt: skip
    return Finding("clock synchronisation", "ok", f"by NTP, largest error {timex.maxerror / 1e3:.0f} ms")
