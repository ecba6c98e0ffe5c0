"""Redis and Hazelcast, if the environment names them: does anybody answer?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]

_TIMEOUT_S = 1.0
_SERVICES = (("redis", "APEX_REDIS_URL", 6379), ("hazelcast", "APEX_HAZELCAST", 5701))


def check(place: Place) -> Iterator[Finding]:
    for name, variable, port in _SERVICES:
        address = place.environment.get(variable, "").strip()
        if not address:
            yield Finding(name, "ok", f"not configured ({variable} is not set)")
            continue
        yield _reach(name, variable, address, port)


def _reach(name: str, variable: str, address: str, default_port: int) -> Finding:
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port or default_port
    except ValueError:
        host, port = None, default_port
    if not host:
        return Finding(name, "fail", f"{variable} names no host", f"set {variable} to HOST:PORT or a URL")
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S):
            return Finding(name, "ok", f"{host}:{port} answers")
    except OSError as error:
        return Finding(
            name,
            "fail",
            f"{host}:{port}: {error.strerror or error}",
            f"start it, or change or unset {variable}",
        )
