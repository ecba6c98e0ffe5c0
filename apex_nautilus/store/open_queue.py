"""Which queue a setting means."""

from __future__ import annotations

import os
from collections.abc import Mapping

from apex_nautilus.store.errors import StoreError
from apex_nautilus.store.file_jobs import FileJobQueue
from apex_nautilus.store.job_queue import JobQueue
from apex_nautilus.store.layout import CatalogLayout

__all__ = ["URL_VARIABLE", "open_queue"]

URL_VARIABLE = "APEX_REDIS_URL"


def open_queue(
    where: str,
    layout: CatalogLayout,
    *,
    lease_s: float = 60.0,
    environment: Mapping[str, str] | None = None,
) -> JobQueue:
    """Open the queue that `where` names.

    Parameters
    ----------
    where : ``file`` (the jobs of the catalog), ``redis://HOST:PORT/DB``, or ``redis``: the server that the
        environment names in ``APEX_REDIS_URL``.
    layout : the catalog.
    lease_s : of a Redis queue; see `RedisJobQueue`.
    environment : by default the process's own.

    Raises
    ------
    StoreError
        `where` is none of these, or the environment names no server.
    """
    if where == "file":
        return FileJobQueue(layout)
    # Here: whoever works with files alone needs no client of a server.
    from apex_nautilus.store.redis_jobs import RedisJobQueue

    variables = os.environ if environment is None else environment
    if where == "redis":
        url = variables.get(URL_VARIABLE, "").strip()
        if not url:
            raise StoreError(f"queue: {URL_VARIABLE} is not set; set it, or give redis://HOST:PORT/DB")
        url = url if "//" in url else f"redis://{url}"
        return RedisJobQueue(url, lease_s=lease_s, environment=variables, allow_password=True)
    if where.startswith(("redis://", "rediss://")):
        return RedisJobQueue(where, lease_s=lease_s, environment=variables)
    raise StoreError("queue: give file, redis, or redis://HOST:PORT/DB")
