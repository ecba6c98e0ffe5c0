"""Wakes the Pit Crew when something happens in a directory. It wakes, and decides nothing.

File events get lost, come twice and come early; what is there is read from the directory itself. So the
watcher only shortens the wait until the next look, and a rescan every few seconds makes up for whatever it
misses.
"""

from __future__ import annotations

import threading
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

__all__ = ["Watcher"]


class Watcher(FileSystemEventHandler):
    """Sets a flag on any event in `directory`. Start it, ask `woken()`, stop it.

    For live nodes; a backtest looks at marks of engine time instead, so that runs repeat.
    """

    def __init__(self, directory: Path):
        super().__init__()
        self._event = threading.Event()
        self._event.set()  # what lay there before the start is news as well
        self._observer = Observer()
        self._observer.daemon = True
        self._observer.schedule(self, str(directory), recursive=False)

    def start(self) -> None:
        """Begin to watch."""
        self._observer.start()

    def stop(self) -> None:
        """Stop watching and wait for the thread."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def woken(self) -> bool:
        """Return whether anything happened since the last call, and forget it."""
        happened = self._event.is_set()
        self._event.clear()
        return happened

    def wait(self, timeout_s: float) -> bool:
        """Block until something happens or `timeout_s` passed; return whether it did. Does not forget it."""
        return self._event.wait(timeout_s)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread."""
        self._event.set()
