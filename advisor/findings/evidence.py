"""The evidence of a finding in words, see ``storage.evidence``: records show themselves with the same words."""

from __future__ import annotations

from storage.evidence import INNER, LIMIT, WORDS, word_of, worded

__all__ = ["INNER", "LIMIT", "WORDS", "word_of", "worded"]
