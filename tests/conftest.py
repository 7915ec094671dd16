"""What holds for every test: one thread, a clean environment, no network but loopback."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LANCE_CPU_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tokenizers warn when a process forks after they used threads
os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported
os.environ["MPLBACKEND"] = "agg"

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from storage.embed import Embedder

# pytest-randomly imports numpy before this file is read, so the variables above come too late for
# the BLAS of this process; they still hold for torch and for the processes that tests start.
_LIMITS = threadpool_limits(1)

# The same examples each time, so that a failure is a change's own; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

_LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Point every place that a program might read or write at home to an empty folder, and return it."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("ADVISOR_", "XDG_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    return home


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(call: Any) -> Any:
        def wrapper(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX and not str(address[0]).startswith(_LOOPBACK):
                raise OSError(f"tests may not connect to {address!r}; only loopback is allowed")
            return call(self, address)

        return wrapper

    monkeypatch.setattr(socket.socket, "connect", guarded(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(connect_ex))


@pytest.fixture(scope="session")
def minilm() -> Embedder:
    """Return the packaged all-MiniLM-L6-v2, loaded once for all tests of a process."""
    pytest.importorskip("tokenizers")
    from storage.embed import DEFAULT_MODEL, SentenceTransformerEmbedder, packaged_model

    path = packaged_model()
    if path is None:
        pytest.skip("the extra 'offline' is not installed")
    return SentenceTransformerEmbedder(path, identity=DEFAULT_MODEL)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the folder that this checkout lives in."""
    return Path(__file__).resolve().parent.parent
