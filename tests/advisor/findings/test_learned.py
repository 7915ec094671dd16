from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from advisor.errors import AdvisorError
from advisor.findings.features import FEATURE_NAMES
from advisor.findings.learned import VIEWS, load, save, shipped


def test_what_is_shipped_fits_the_figures_and_says_nothing_impossible() -> None:
    learned = shipped()
    assert tuple(learned.views) == VIEWS
    rng = np.random.default_rng(0)
    for view in learned.views.values():
        n = len(FEATURE_NAMES)
        assert view.reference.shape[1] == view.effects.spread.size == view.centre.size == view.wide.size == n
        probability = view.head.mean(3 * rng.standard_normal((50, n)))
        assert ((probability >= 0) & (probability <= 1)).all()
        assert view.head.mean(np.zeros((1, n)))[0] < 0.3 < view.head.mean(8 * rng.standard_normal((50, n))).mean()


def test_what_was_learned_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    save(shipped(), tmp_path / "learned.npz")
    again = load(tmp_path / "learned.npz")
    rows = np.random.default_rng(1).standard_normal((20, len(FEATURE_NAMES)))
    for view, one in shipped().views.items():
        np.testing.assert_array_equal(again.views[view].head.mean(rows), one.head.mean(rows))
        np.testing.assert_array_equal(again.views[view].reference, one.reference)


def test_what_was_made_for_other_figures_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", features=np.array(["a", "b"]))
    with pytest.raises(AdvisorError, match=r"made for other figures.*make train-head"):
        load(tmp_path / "other.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", None])
def test_a_torn_or_missing_file_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "learned.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AdvisorError, match="cannot be read"):
        load(path)
