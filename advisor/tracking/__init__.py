"""Live runs: start, log, finish; what is captured of code, environment and data."""

from __future__ import annotations
