from __future__ import annotations

from storage.testing import RunStoreContract


class TestLocalFolder(RunStoreContract):
    """A store in a local folder keeps the contract."""
