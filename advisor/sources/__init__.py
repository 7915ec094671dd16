"""Readers and writers of runs that live elsewhere, one format a module. Reading never changes the source."""

from __future__ import annotations

from advisor.sources.interchange import Exported, Imported, export_folder, import_path

__all__ = ["Exported", "Imported", "export_folder", "import_path"]
