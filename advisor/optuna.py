"""Optuna on the store, and the advisor's sampler in Optuna.

``optuna.create_study(storage=AdvisorStorage("experiments"), sampler=TransferSampler("experiments"))``
"""

from __future__ import annotations

from advisor.suggest.optuna_storage import AdvisorStorage
from advisor.suggest.transfer_sampler import TransferSampler

__all__ = ["AdvisorStorage", "TransferSampler"]
