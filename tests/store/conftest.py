"""Queues of both kinds for the tests of what every queue promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from queue_place import Place
from support.redis_server import RedisServer, serve

from apex_nautilus.store import JobQueue

KINDS = ["file", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory) -> Iterator[RedisServer]:
    """A running server of the module's own."""
    yield from serve(tmp_path_factory.mktemp("redis"))


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Iterator[Place]:
    if request.param == "file":
        yield Place("file", str(tmp_path / "catalog"))
    else:
        server = request.getfixturevalue("redis_server")
        server.flush()
        yield Place("redis", server.url)


@pytest.fixture
def queue(place) -> Iterator[JobQueue]:
    opened = place.open()
    yield opened
    opened.close()
