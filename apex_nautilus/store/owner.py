"""Who may move the genomes of a catalog: one arena at a time.

The ledger's lock is no guard of that, as a second arena may write under another name. The lock here is on the
catalog; the system drops it when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os

from apex_nautilus.store.errors import StoreError
from apex_nautilus.store.layout import CatalogLayout

__all__ = ["SlotOwner"]

_FILE = ".slots.lock"


class SlotOwner:
    """The right to change champions, challengers and what is proposed, from now until `release`.

    Parameters
    ----------
    layout : the catalog; its folder must exist.

    Raises
    ------
    StoreError
        Another arena has it.
    """

    def __init__(self, layout: CatalogLayout) -> None:
        self._descriptor = os.open(layout.root / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise StoreError(
                f"{layout.root}: another arena is at work on this catalog; wait for its end, or give this "
                "one a catalog of its own"
            ) from None

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Let another arena have it; may be called again."""
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor >= 0:
            os.close(descriptor)
