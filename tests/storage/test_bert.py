"""The default model computed with numpy gives the vectors of sentence-transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from storage.bert import TOKENS_AT_ONCE, BertModel, gelu, read_safetensors
from storage.embed import SentenceTransformerEmbedder, packaged_model
from storage.errors import EmbeddingError

RUN = "experiment digits mlp | status finished | finding val_loss diverged, blew up | learning rate 0.0012 lr_1e-3"
TEXTS = [
    "",
    " ",
    "runs that overfit on small data",
    "Größe, naïve café, ΔLOSS → ∞",
    "日本語のテスト 🙂",
    "tabs\tand\nlines | bars _ under_scores params.lr<1e-3",
    "[CLS] [MASK] a\0b",
    RUN,
    " ".join([RUN] * 20),  # beyond the window of 256 pieces
    *[f"{RUN} {'more words ' * n}" for n in range(1, 9)],
]


@pytest.fixture(scope="module")
def folder() -> Path:
    path = packaged_model()
    if path is None:
        pytest.skip("the extra 'offline' is not installed")
    return path


def test_vectors_equal_those_of_sentence_transformers(folder: Path) -> None:
    pytest.importorskip("sentence_transformers")
    theirs = SentenceTransformerEmbedder(folder, light=False).embed(TEXTS)
    ours = SentenceTransformerEmbedder(folder).embed(TEXTS)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours(folder: Path) -> None:
    model = BertModel(folder)
    many = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    together = model.embed(many)
    assert sum(len(text.split()) for text in many) > TOKENS_AT_ONCE / 2
    np.testing.assert_allclose(together[2], model.embed([many[2]])[0], rtol=0, atol=1e-6)


def test_half_a_character_is_no_reason_to_fail(folder: Path) -> None:
    assert np.isfinite(BertModel(folder).embed(["torn \ud83d emoji"])).all()


def test_other_kinds_of_models_are_left_to_sentence_transformers(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "model.safetensors").symlink_to(folder / "model.safetensors")
    assert BertModel.reads(copy)
    pooling = json.loads((copy / "1_Pooling/config.json").read_text())
    (copy / "1_Pooling/config.json").write_text(json.dumps(pooling | {"pooling_mode_cls_token": True}))
    assert not BertModel.reads(copy)
    shutil.copy(folder / "1_Pooling/config.json", copy / "1_Pooling/config.json")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "mpnet"}))
    assert not BertModel.reads(copy)
    (copy / "config.json").write_text("not json")
    assert not BertModel.reads(copy)
    assert not BertModel.reads(tmp_path)


@pytest.mark.parametrize("content", [b"", b"weights", (10).to_bytes(8, "little") + b'{"a": {}} '])
def test_a_cut_file_of_weights_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(EmbeddingError, match="is not a whole safetensors file"):
        read_safetensors(path)


def test_gelu_keeps_infinities_and_zero() -> None:
    x = np.array([[0.0, 1.0, -1.0, 20.0, -20.0]], dtype=np.float32)
    np.testing.assert_allclose(gelu(x), [[0.0, 0.8413447, -0.15865525, 20.0, 0.0]], atol=1e-6)
