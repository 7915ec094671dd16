"""What needs a person now, across experiments: for the first page, for ``advisor triage``, for agents.

Reads only; what people say to findings is in ``advisor.silencing``. Invariant: what an overview costs follows the
number of open findings and of runs that go on, not the number of runs.
"""

from __future__ import annotations

from advisor.triage.groups import Group, Member
from advisor.triage.overview import Overview, Triage
from advisor.triage.pulses import Pulse
from advisor.triage.waiting import Waiting, Written

__all__ = ["Group", "Member", "Overview", "Pulse", "Triage", "Waiting", "Written"]
