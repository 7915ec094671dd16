"""A BERT text encoder (all-MiniLM-L6-v2 and its kind) computed with numpy: the same vectors, without torch.

Importing sentence-transformers takes 7 s of CPU and 0.9 GB; reading the same weights here takes 0.2 s, which is what a
search from the command line can wait for. Sole importer of tokenizers.

Left out: training, other architectures, poolings other than the mean, graphics cards. ``BertModel.reads`` says whether
a folder is of this kind; what is not is left to sentence-transformers.

Invariant: a vector differs from that of sentence-transformers by less than 1e-5 in each component, and does not
depend on the texts that it is computed together with beyond rounding.
"""

from __future__ import annotations

import functools
import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.errors import EmbeddingError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]

TOKENS_AT_ONCE: Final = 1_024
"""Word pieces that go through the layers together: enough for fast matrix products, and what they make (6 MB a
layer) stays in the cache of the processor."""
DTYPES: Final[Mapping[str, str]] = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}
NEEDS: Final = ("config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json")


class BertModel:
    """The weights of one model, read when they are first used.

    Parameters
    ----------
    path
        Folder in the layout of sentence-transformers; see ``reads``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._config = _json(path / "config.json")
        self._n_heads = int(self._config["num_attention_heads"])
        self._eps = float(self._config["layer_norm_eps"])
        self.dimension = int(self._config["hidden_size"])
        """Length of a vector."""

    @staticmethod
    def reads(path: Path) -> bool:
        """Return whether a folder holds a model of this kind: BERT, exact GELU, mean pooling, at most normalised."""
        if not all((path / name).is_file() for name in NEEDS):
            return False
        try:
            config, pooling = _json(path / "config.json"), _json(path / "1_Pooling/config.json")
            modules = [str(each.get("type", "")).rsplit(".", 1)[-1] for each in _json(path / "modules.json")]
        except (OSError, ValueError, AttributeError):
            return False
        modes = {name for name, value in pooling.items() if name.startswith("pooling_mode") and value is True}
        return (
            config.get("model_type") == "bert"
            and config.get("hidden_act") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
            and modes == {"pooling_mode_mean_tokens"}
            and modules in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
        )

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one vector of length 1 a text, shape (n, dimension).

        What is longer than the model's window is cut, as sentence-transformers does.

        Raises
        ------
        EmbeddingError
            If the package tokenizers is missing, or the weights are not those of a BERT.
        """
        whole = [text.encode("utf-8", "replace").decode() for text in texts]  # half a character breaks the tokenizer
        pieces = [encoded.ids for encoded in self._tokenizer.encode_batch(whole)]
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for at in _batches(pieces):
            out[at] = self._vectors([pieces[i] for i in at])
        return out

    # -- the network

    def _vectors(self, pieces: Sequence[Sequence[int]]) -> Floats:
        """Encode some texts side by side, without padding: only attention looks at one text at a time."""
        ends = np.cumsum([len(each) for each in pieces])
        spans = [slice(int(end) - len(each), int(end)) for each, end in zip(pieces, ends, strict=True)]
        hidden = self._embedded(pieces)
        for layer in self._layers:
            hidden = self._layer(hidden, layer, spans)
        mean = np.stack([hidden[span].mean(axis=0) for span in spans])
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        return np.asarray(mean / np.maximum(length, 1e-12), dtype=np.float32)

    def _embedded(self, pieces: Sequence[Sequence[int]]) -> Floats:
        weights = self._weights
        ids = np.concatenate([np.asarray(each, dtype=np.int64) for each in pieces])
        places = np.concatenate([np.arange(len(each)) for each in pieces])
        total = weights["embeddings.word_embeddings.weight"][ids].astype(np.float32)
        total += weights["embeddings.position_embeddings.weight"][places]
        total += weights["embeddings.token_type_embeddings.weight"][0]
        return self._norm(total, "embeddings.LayerNorm")

    def _layer(self, hidden: Floats, layer: _Layer, spans: Sequence[slice]) -> Floats:
        mixed = self._attention(hidden @ layer.qkv + layer.qkv_bias, spans)
        mixed = mixed @ layer.out + layer.out_bias
        mixed += hidden
        hidden = self._norm(mixed, f"{layer.name}.attention.output.LayerNorm")
        wide = gelu(hidden @ layer.up + layer.up_bias)
        narrow = wide @ layer.down + layer.down_bias
        narrow += hidden
        return self._norm(narrow, f"{layer.name}.output.LayerNorm")

    def _attention(self, qkv: Floats, spans: Sequence[slice]) -> Floats:
        width = self.dimension
        out = np.empty((qkv.shape[0], width), dtype=np.float32)
        for span in spans:
            rows = qkv[span].reshape(-1, 3, self._n_heads, width // self._n_heads).transpose(1, 2, 0, 3)
            query, key, value = rows[0], rows[1], rows[2]
            scores = query @ key.transpose(0, 2, 1)  # scaled already, see _Layer
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            out[span] = (scores @ value).transpose(1, 0, 2).reshape(-1, width)
        return out

    def _norm(self, hidden: Floats, name: str) -> Floats:
        hidden -= hidden.mean(axis=-1, keepdims=True)
        variance = np.einsum("ij,ij->i", hidden, hidden)[:, None] / np.float32(hidden.shape[1])
        hidden /= np.sqrt(variance + np.float32(self._eps))
        hidden *= self._weights[f"{name}.weight"]
        hidden += self._weights[f"{name}.bias"]
        return hidden

    # -- what is read from files

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        try:
            from tokenizers import Tokenizer
        except ImportError as exc:
            raise EmbeddingError(
                f"the text encoder {str(self._path)!r} needs tokenizers: pip install 'experiment-advisor[semantic]'"
            ) from exc
        tokenizer = Tokenizer.from_file(str(self._path / "tokenizer.json"))
        window = int(self._config.get("max_position_embeddings", 512))
        try:
            window = min(window, int(_json(self._path / "sentence_bert_config.json")["max_seq_length"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # the model's own window then
        tokenizer.no_padding()
        tokenizer.enable_truncation(window)
        return tokenizer

    @functools.cached_property
    def _weights(self) -> Mapping[str, Floats]:
        found = read_safetensors(self._path / "model.safetensors")
        return {name.removeprefix("bert."): array for name, array in found.items()}

    @functools.cached_property
    def _layers(self) -> list[_Layer]:
        try:
            return [
                _Layer(self._weights, f"encoder.layer.{i}", self._n_heads)
                for i in range(int(self._config["num_hidden_layers"]))
            ]
        except KeyError as exc:
            raise EmbeddingError(f"the weights in {str(self._path)!r} lack {exc} and cannot be used") from exc


class _Layer:
    """Matrices of one layer as they are multiplied: inputs by rows, the three of attention side by side."""

    def __init__(self, weights: Mapping[str, Floats], name: str, n_heads: int) -> None:
        def of(part: str) -> tuple[Floats, Floats]:
            matrix = weights[f"{name}.{part}.weight"].astype(np.float32, copy=False)
            return matrix.T, weights[f"{name}.{part}.bias"].astype(np.float32, copy=False)

        self.name = name
        three = [of(f"attention.self.{part}") for part in ("query", "key", "value")]
        scale = np.float32(1.0 / np.sqrt(three[0][0].shape[0] / n_heads))  # of the scores: put into the query
        three[0] = (three[0][0] * scale, three[0][1] * scale)
        self.qkv = np.concatenate([matrix for matrix, _ in three], axis=1)
        self.qkv_bias = np.concatenate([bias for _, bias in three])
        self.out, self.out_bias = of("attention.output.dense")
        self.up, self.up_bias = of("intermediate.dense")
        self.down, self.down_bias = of("output.dense")


def gelu(x: Floats) -> Floats:
    """Return ``x · Φ(x)``, Φ the standard normal distribution; in place. Shape as given.

    Φ by formula 7.1.26 of Abramowitz and Stegun (1964), off by 1e-7 at most; importing scipy for it costs 0.3 s.
    """
    # Rows at a time, so that what is computed on the way stays in the cache.
    for row in range(0, x.shape[0], 32):
        part = x[row : row + 32]
        size = np.abs(part) * _SQRT_HALF
        t = np.float32(1.0) / (np.float32(1.0) + _P * size)
        tail = t * _A[4]
        for coefficient in _A[3::-1]:
            tail += coefficient
            tail *= t
        tail *= np.exp(-size * size)
        tail *= np.float32(0.5)  # the normal distribution beyond |x|
        part *= np.where(part > 0, np.float32(1.0) - tail, tail)
    return x


_SQRT_HALF: Final = np.float32(np.sqrt(0.5))
_P: Final = np.float32(0.3275911)
_A: Final = np.array([0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429], dtype=np.float32)


def read_safetensors(path: Path) -> dict[str, Floats]:
    """Return the arrays of a safetensors file as views on it: a header in JSON, then bytes; no code is in it.

    Raises
    ------
    EmbeddingError
        If the file is cut, or holds another kind of number.
    """
    try:
        with path.open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        size = int.from_bytes(view[:8], "little")
        header = json.loads(bytes(view[8 : 8 + size]))
        header.pop("__metadata__", None)
        arrays = {}
        for name, entry in header.items():
            if entry["dtype"] in DTYPES:
                first, last = entry["data_offsets"]
                array = np.frombuffer(view[8 + size + first : 8 + size + last], dtype=DTYPES[entry["dtype"]])
                arrays[name] = array.reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EmbeddingError(f"{str(path)!r} is not a whole safetensors file: {exc!r:.200}") from exc
    return arrays


def _batches(pieces: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the positions of texts that go through together, those of like length side by side."""
    batch: list[int] = []
    n_tokens = 0
    for at in sorted(range(len(pieces)), key=lambda i: len(pieces[i])):
        if batch and n_tokens + len(pieces[at]) > TOKENS_AT_ONCE:
            yield batch
            batch, n_tokens = [], 0
        batch.append(at)
        n_tokens += len(pieces[at])
    if batch:
        yield batch


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
