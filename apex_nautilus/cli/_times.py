"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

__all__ = ["UtcTime"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(click.ParamType):
    """A time such as 2024-08-08 or 2024-08-08T23:55:30.5, UTC where it names no zone; gives nanoseconds."""

    name = "time"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return _nanoseconds(value)
        except ValueError:
            message = f"{value!r} is not a time; write 2024-08-08 or 2024-08-08T23:55:30"
            raise click.BadParameter(message, ctx=ctx, param=param) from None


def _nanoseconds(text: str) -> int:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // timedelta(microseconds=1) * 1_000
