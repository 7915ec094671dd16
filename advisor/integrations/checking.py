"""State checks within callbacks: what a check cannot read ends no training.

Which checks there are is in ``advisor.findings.state``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from storage.errors import RecordError

log = logging.getLogger(__name__)


def tried(check: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Make a check and return what it does; None where it cannot read what it was given."""
    try:
        return check(*arguments, **more)
    except RecordError as error:
        log.debug("%s", error)
        return None
