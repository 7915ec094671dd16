"""Write the vectors of the sayings that searches compare texts with: ``storage/sayings.npz``.

    python evals/search/sayings.py

To be run where ``storage/sayings.json``, ``storage.lexicon`` or the default encoder has changed.
"""

from __future__ import annotations

import numpy as np

from storage.embed import DEFAULT_MODEL, choose_embedder
from storage.meaning import PHRASES, SHIPPED, in_context, phrases_hash

if __name__ == "__main__":
    encoder = choose_embedder(DEFAULT_MODEL)
    vectors = encoder.embed([in_context(phrase) for phrase in PHRASES]).astype(np.float16)
    np.savez_compressed(SHIPPED, encoder=encoder.identity, phrases=phrases_hash(), vectors=vectors)
