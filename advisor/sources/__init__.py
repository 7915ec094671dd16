"""Readers of runs that live elsewhere, one tool a module, and what brings them into the store. They only read."""

from __future__ import annotations

from advisor.sources.importing import Importer, Synced, import_runs
from advisor.sources.interchange import Exported, Imported, export_folder, import_path

__all__ = ["Exported", "Imported", "Importer", "Synced", "export_folder", "import_path", "import_runs"]
