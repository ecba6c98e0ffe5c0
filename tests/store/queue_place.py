"""An empty queue of either kind that any number of callers may open, for tests."""

from __future__ import annotations

import job_worker

from apex_nautilus.store import JobQueue


class Place:
    """One empty queue: whoever opens it, opens the same."""

    def __init__(self, kind: str, where: str) -> None:
        self.kind, self.where = kind, where

    def open(self, lease_s: float = 60.0) -> JobQueue:
        return job_worker.open_queue(self.kind, self.where, lease_s)

    def abandon(self, queue: JobQueue, claim) -> None:
        """What the death of a claim's worker leaves, and the time it takes to be seen."""
        if self.kind == "file":
            claim.release()  # the system drops the lock of a dead process
        else:
            # The server's clock counts; an idle time is a number that it keeps, and here it is set.
            queue._client.xclaim(queue.name, "forge", "workers", 0, [claim.entry], idle=10**8, justid=True)
