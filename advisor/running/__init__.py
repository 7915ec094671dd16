"""Runs a command once a suggestion: ``advisor optimize``.

``plan`` says what is wanted and what came of it, ``template`` fills parameters into a command, ``sweep`` suggests,
starts and counts, ``trial`` follows one command, ``metrics`` and ``channel`` read what it says, ``process`` and
``guard`` make sure that nothing outlives it. Leaves out how parameters are chosen, see ``advisor.suggest``.
"""

from __future__ import annotations

from advisor.running.plan import Attempt, Plan, Summary, SweepInterrupted, Watcher
from advisor.running.sweep import run_sweep
from advisor.running.trial import Trial

__all__ = ["Attempt", "Plan", "Summary", "SweepInterrupted", "Trial", "Watcher", "run_sweep"]
