"""State checks within callbacks: what a check cannot read ends no training.

Which checks there are is in ``advisor.findings.state``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from storage.errors import RecordError

LABELS: Final = ("labels", "label", "targets", "target", "y")
"""What batches that are mappings call their labels."""

log = logging.getLogger(__name__)


def tried(check: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Make a check and return what it does; None where it cannot read what it was given."""
    try:
        return check(*arguments, **more)
    except RecordError as error:
        log.debug("%s", error)
        return None


def inputs_and_labels(batch: Any) -> tuple[Any, Any]:
    """Return the two parts of a batch as loaders give it; the second is None where it cannot be told.

    >>> inputs_and_labels({"x": [1.0], "y": [0]})
    ({'x': [1.0]}, [0])
    """
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, Mapping):
        name = next((name for name in LABELS if name in batch), None)
        return {key: value for key, value in batch.items() if key != name}, None if name is None else batch[name]
    return batch, None
