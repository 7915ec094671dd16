"""Object storage for tests: one loopback server a test process, one fresh address a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.storage.s3 import BUCKET, LoopbackS3, running

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[LoopbackS3]:
    """Return the server, which lives as long as the session."""
    with running() as server:
        yield server


@pytest.fixture
def s3(s3_server: LoopbackS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackS3]:
    """Return the server without faults, with the environment in which every client finds it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    s3_server.faults(0.0)
    yield s3_server
    s3_server.faults(0.0)


@pytest.fixture
def s3_uri(s3: LoopbackS3) -> str:
    """Return an address in the bucket at which nothing is yet."""
    return f"s3://{BUCKET}/test-{next(_numbers)}/store"
