"""A real Redis server for tests: on loopback, on a port of its own, with its files in a temporary folder."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

WHY_SKIPPED = "no redis-server on this machine (Debian: apt-get install redis-server)"


class RedisServer:
    """One server; `start` after `kill` finds the files of the one before."""

    def __init__(self, folder: Path, *, password: str = "") -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.password = password
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it answers."""
        program = shutil.which("redis-server")
        assert program is not None, WHY_SKIPPED
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always"]
        if self.password:
            options += ["--requirepass", self.password]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port, password=self.password or None) as client:
            for _ in range(200):
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    try:
                        self._process.wait(0.05)
                    except subprocess.TimeoutExpired:
                        continue
                    break
        raise RuntimeError(f"redis-server did not start on port {self.port}")

    def kill(self) -> None:
        """kill -9: it writes nothing more."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Keep it from answering, its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Forget everything."""
        with redis.Redis(port=self.port, password=self.password or None) as client:
            client.flushall()


def serve(folder: Path, *, password: str = "") -> Iterator[RedisServer]:
    """Run a server while a fixture lasts; skips, saying why, where none is installed."""
    if shutil.which("redis-server") is None:
        pytest.skip(WHY_SKIPPED)
    server = RedisServer(folder, password=password)
    server.start()
    try:
        yield server
    finally:
        server.kill()
