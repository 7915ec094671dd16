from __future__ import annotations

import pytest

from storage.testing import RunStoreContract
from tests.storage.s3 import LoopbackS3


class TestObjectStore(RunStoreContract):
    """A store in a bucket keeps the contract."""

    @pytest.fixture
    def uri(self, s3_uri: str) -> str:
        return s3_uri


class TestObjectStoreWithFaults(RunStoreContract):
    """A store in a bucket keeps the contract while one request in twenty fails."""

    @pytest.fixture
    def uri(self, s3: LoopbackS3, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("AWS_TIMEOUT", "1s")
        s3.faults(0.05, stall_s=1.5)
        return s3_uri
