"""An archive on loopback that misbehaves on demand: it cuts, truncates, lies, refuses and forgets ranges."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Served:
    """One file and how it is served.

    `faults` are used up one a request, first one first; then it is served as it is:
    ``("cut", n)`` breaks the connection after n bytes of the body; ``("status", code, headers)`` answers with
    a status; ``("body", data)`` serves other bytes; ``("redirect", location)``; ``("no length", n)`` sends n
    bytes without a length and closes; ``("gate",)`` sends half and then waits for `Archive.gate`.
    """

    body: bytes
    etag: str | None = None
    ranges: bool = True
    faults: list[tuple] = field(default_factory=list)


@dataclass
class Asked:
    """One request as it came: the path, the first byte asked for, and how many bytes of a body were sent."""

    path: str
    start: int | None
    sent: int = 0
    status: int = 0


class Archive:
    """The files by path, and what was asked of them."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []
        self.at_gate = threading.Event()
        self.gate = threading.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    def put(self, path: str, body: bytes, *, checksum: bool = True, **how: object) -> Served:
        """Serve a file, with its ``.CHECKSUM`` as Binance publishes it."""
        served = Served(body, etag=f'"{hashlib.md5(body).hexdigest()}"', **how)  # type: ignore[arg-type]
        self.files[path] = served
        if checksum:
            text = f"{hashlib.sha256(body).hexdigest()}  {path.rpartition('/')[2]}\n"
            self.files[f"{path}.CHECKSUM"] = Served(text.encode())
        return served

    def of(self, path: str) -> list[Asked]:
        return [a for a in self.asked if a.path == path]


@contextmanager
def archive_server() -> Iterator[Archive]:
    """Serve an archive from a thread, on a free port of 127.0.0.1."""
    archive = Archive()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            with archive.lock:
                archive.at_once += 1
                archive.most_at_once = max(archive.most_at_once, archive.at_once)
            try:
                self._serve()
            finally:
                with archive.lock:
                    archive.at_once -= 1

        def _serve(self) -> None:
            path = urlsplit(self.path).path
            served = archive.files.get(path)
            wanted = self.headers.get("Range", "")
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else None
            with archive.lock:
                asked = Asked(path, start)
                archive.asked.append(asked)
                fault = served.faults.pop(0) if served is not None and served.faults else ("none",)
            if served is None:
                return self._status(asked, 404, {})
            if fault[0] == "status":
                return self._status(asked, fault[1], fault[2])
            if fault[0] == "redirect":
                return self._status(asked, 302, {"Location": fault[1]})
            body = fault[1] if fault[0] == "body" else served.body
            same = self.headers.get("If-Range") in (None, served.etag)
            if start is not None and served.ranges and same:
                if start >= len(body):
                    return self._status(asked, 416, {"Content-Range": f"bytes */{len(body)}"})
                asked.status = 206
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                rest = body[start:]
            else:
                asked.status = 200
                self.send_response(200)
                rest = body
            if fault[0] == "no length":
                rest = rest[: fault[1]]
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(rest)))
            if served.etag is not None:
                self.send_header("ETag", served.etag)
            self.end_headers()
            if fault[0] == "gate":
                half = len(rest) // 2
                self._send(asked, rest[:half])
                archive.at_gate.set()
                archive.gate.wait(30.0)
                rest = rest[half:]
            if fault[0] == "cut":
                rest = rest[: fault[1]]
                self.close_connection = True
            self._send(asked, rest)
            if fault[0] == "cut":
                self.wfile.flush()
                self.connection.close()
            return None

        def _send(self, asked: Asked, data: bytes) -> None:
            try:
                self.wfile.write(data)
                asked.sent += len(data)
            except OSError:
                self.close_connection = True

        def _status(self, asked: Asked, code: int, headers: dict[str, str]) -> None:
            asked.status = code
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def handle(self) -> None:
            with suppress(OSError, ValueError):  # the connection was cut on purpose
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    archive.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        archive.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(5.0)
