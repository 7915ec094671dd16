"""From store to document and back: gathers what one is written from, has it written, keeps it, derives it again.

The writing itself is pure and lives in ``advisor.documents``; here are the reads, the files and the journal.
"""

from __future__ import annotations

from advisor.reports.automatic import write_due
from advisor.reports.gather import span
from advisor.reports.keep import kept_documents
from advisor.reports.verify import Verified, verify_file, verify_text
from advisor.reports.write import write

__all__ = ["Verified", "kept_documents", "span", "verify_file", "verify_text", "write", "write_due"]
