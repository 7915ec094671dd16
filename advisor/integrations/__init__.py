"""Callbacks that let frameworks log into runs: one module a framework, imported by whoever has the framework.

``from advisor.integrations.keras import AdvisorCallback``. Importing this package imports no framework; importing a
module whose framework is missing says in one sentence what to install. See docs/integrations.md.
"""

from __future__ import annotations
