"""Optuna on the store: ``optuna.create_study(storage=AdvisorStorage("experiments"))``."""

from __future__ import annotations

from advisor.suggest.optuna_storage import AdvisorStorage

__all__ = ["AdvisorStorage"]
