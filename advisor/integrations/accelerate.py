"""Hugging Face accelerate: a tracker of the ``Accelerator``.

``Accelerator(log_with=AdvisorTracker("digits"))``, or ``log_with="advisor"`` once this module is imported. Leaves out
images and tables. Invariant: the training's other processes never touch the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from advisor.integrations.common import Session, agreed, begin, flat, framework
from storage.records import Finding

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun

_accelerate: Any = framework("accelerate", "accelerate")
_tracking: Any = framework("accelerate", "accelerate.tracking")


class AdvisorTracker(_tracking.GeneralTracker):  # type: ignore[misc]  # without the framework, of no known type
    """Logs what ``accelerator.log`` is given into a run.

    The run begins with the configuration that ``init_trackers`` is given, or the first values, and ends with
    ``end_training``. An exception that ends the program ends it as failed.

    Parameters
    ----------
    experiment
        By name, or as ``advisor.open(…).experiment(…)`` returned it. Where the tracker is asked for by its name, it is
        the name of the project.
    options
        Anything that ``advisor.integrations.common.begin`` takes: ``run``, ``store``, ``objective``, ``tags``, …;
        ``all_ranks=True`` gives each process a run.

    Examples
    --------
    >>> accelerator = Accelerator(log_with=AdvisorTracker("digits", objective="val_loss"))  # doctest: +SKIP
    >>> accelerator.init_trackers("digits", config={"lr": 0.1})  # doctest: +SKIP
    """

    name = "advisor"
    requires_logging_directory = False

    def __init__(self, experiment: Any = None, **options: Any) -> None:
        super().__init__()
        self.main_process_only = not options.get("all_ranks", False)
        self._experiment, self._options = experiment, options
        self._session: Session | None = None

    @property
    def tracker(self) -> LiveRun:
        """The run; in other processes than the first one that takes everything and does nothing."""
        return self.session.run

    @property
    def session(self) -> Session:
        """The run as callbacks hold it; begun when it is first asked for."""
        return self._begun({})

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return [] if self._session is None else self._session.findings

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Begin the run with a configuration; nested names are joined by dots."""
        fresh = self._session is None
        session = self._begun(flat(values))
        if not fresh:
            session.add_params(flat(values))

    def log(self, values: Mapping[str, Any], step: int | None = None, **more: Any) -> None:
        """Log the numbers among some values at a step."""
        self.session.log(values, step=step)

    def finish(self) -> None:
        """End the run."""
        if self._session is not None:
            self._session.finish()

    def _begun(self, config: Mapping[str, Any]) -> Session:
        if self._session is None:
            rank = _accelerate.PartialState().process_index
            self._session = begin(self._experiment, config=config, **{"rank": rank, **self._options})
        return self._session


def should_stop(accelerator: Any) -> bool:
    """Return whether the run's advice is to stop: the same answer in all processes, which have to ask together.

    The run then ends as pruned.
    """
    found = [one for one in accelerator.trackers if isinstance(one, AdvisorTracker)]
    return agreed(bool(found) and found[0].session.should_stop())


if hasattr(_tracking, "register_tracker_class"):
    _tracking.register_tracker_class(AdvisorTracker)
