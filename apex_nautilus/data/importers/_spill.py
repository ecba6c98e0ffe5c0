"""Event chunks of many instruments, kept on disk while a capture is read once, then given out one by one.

The file has no name: it goes when it is closed, and with the process when that is killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from apex_nautilus.features import EVENT

__all__ = ["EventSpill"]


class EventSpill:
    """Chunks of `EVENT` by key, in the order of writing. Use as a context.

    Parameters
    ----------
    near : path
        The file is made in the nearest folder above it that exists, so on the disk the data will go to.
    """

    def __init__(self, near: str | os.PathLike[str]):
        folder = Path(near).absolute()
        while not folder.is_dir():
            folder = folder.parent
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._chunks: dict[str, list[tuple[int, int]]] = {}
        self._end = 0

    def __enter__(self) -> EventSpill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, key: str, events: np.ndarray) -> None:
        """Keep a chunk."""
        if events.size:
            data = events.tobytes()
            self._file.seek(self._end)
            self._file.write(data)
            self._chunks.setdefault(key, []).append((self._end, events.size))
            self._end += len(data)

    def chunks(self, key: str) -> Iterator[np.ndarray]:
        """Yield the chunks of a key."""
        for at, count in self._chunks.get(key, []):
            self._file.seek(at)
            yield np.frombuffer(self._file.read(count * EVENT.itemsize), dtype=EVENT).copy()
