"""Runs that go on, as MLflow's fluent functions know them: one within the other, each ended by its ``with`` block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from advisor.compat.mlflow_runs import ATTRIBUTES, NAME, NOTE, STATES, STATUS, MlflowException, RunData, RunInfo
from advisor.tracking.run import LiveRun, as_float

if TYPE_CHECKING:
    from advisor.app import Advisor


@dataclass
class State:
    """What the fluent functions share."""

    tracking_uri: str = ""
    experiment: str | None = None
    stack: list[ActiveRun] = field(default_factory=list)
    """Runs that go on, the active one last."""
    last: ActiveRun | None = None
    """The run that ended last."""
    adv: Advisor | None = None

    def opened(self) -> Advisor:
        """Return the store, opened at the first use."""
        if self.adv is None:
            from advisor.app import open as open_advisor

            self.adv = open_advisor()
        return self.adv

    def end(self, status: str) -> None:
        """End the active run, where there is one."""
        if not self.stack:
            return
        run = self.last = self.stack.pop()
        if not run.live.state.is_over:
            state = STATES.get(status.upper(), STATES["FINISHED"])
            # MLflow has no word for a run that followed advice to stop: it is FINISHED there, too.
            run.live.finish(state=None if state is STATES["FINISHED"] else state)

    def run(self, run_id: str | None) -> ActiveRun | None:
        """Return the run that goes on under an id, or the active one; None where none is active.

        Raises
        ------
        MlflowException
            If no run of that id goes on in this process.
        """
        if run_id is None:
            return self.stack[-1] if self.stack else None
        for run in self.stack:
            if run.live.id == run_id:
                return run
        raise MlflowException(f"run {run_id!r} does not go on in this process, so nothing can be added to it")


class ActiveRun:
    """A run that goes on, or went on in this process; ends with its ``with`` block.

    Attributes
    ----------
    live
        The run itself, with everything that this program adds to MLflow: ``note``, ``findings``, ``should_stop``.
    """

    def __init__(self, live: LiveRun, among: State) -> None:
        self.live = live
        self._among = among
        self._tags: dict[str, str] = {}
        self._metrics: dict[str, float] = {}
        self._params = {name: str(value) for name, value in live.params.items()}
        self._counts: Counter[str] = Counter()

    @property
    def info(self) -> RunInfo:
        """What the run is by now."""
        end = None if self.live.state.is_over is False else self.live._now()
        return RunInfo(
            run_id=self.live.id,
            run_name=self._tags.get(NAME, ""),
            experiment_id=self.live.experiment,
            status=STATUS[self.live.state],
            start_time=int(self.live.started.timestamp() * 1000),
            end_time=None if end is None else int(end.timestamp() * 1000),
        )

    @property
    def data(self) -> RunData:
        """What was recorded by now."""
        return RunData(dict(self._metrics), dict(self._params), dict(self._tags))

    def log(self, metrics: Mapping[str, Any], step: int | None) -> None:
        """Keep values; without a step each metric counts its own."""
        floats = {str(key): _number(value) for key, value in metrics.items()}
        by_step: dict[int, dict[str, float]] = {}
        for key, value in floats.items():
            by_step.setdefault(self._counts[key] if step is None else int(step), {})[key] = value
            self._counts[key] += 1
        for at, some in by_step.items():
            self.live.log(some, step=at)
        self._metrics |= floats

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Keep parameters, none of which may change."""
        for key, value in params.items():
            if self._params.get(str(key), str(value)) != str(value):
                raise MlflowException(
                    f"Changing param values is not allowed. Param with key={str(key)!r} was already logged with "
                    f"value={self._params[str(key)]!r} for run ID={self.live.id!r}. Attempted logging new value "
                    f"{str(value)!r}."
                )
        new = {str(key): value for key, value in params.items() if str(key) not in self._params}
        self.live.set_params(new)
        self._params |= {key: str(value) for key, value in new.items()}

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Keep tags as attributes, the description as a note."""
        told = {str(key): str(value) for key, value in tags.items()}
        if told.get(NOTE):
            self.live.note(told[NOTE])
        self.live.set_attributes({ATTRIBUTES.get(key, key): value for key, value in told.items() if key != NOTE})
        self._tags |= told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self not in self._among.stack:
            return
        while self._among.stack[-1] is not self:  # children that nobody ended
            self._among.end("FINISHED")
        if error is not None and not self.live.state.is_over:
            self.live.fail(error)
        self._among.end("FINISHED" if error is None else "FAILED")


def _number(value: Any) -> float:
    try:
        return as_float(value)
    except (TypeError, ValueError, OverflowError):
        raise MlflowException(
            f"Invalid value {value!r:.60} for parameter 'value' supplied: it is a {type(value).__name__}; a metric "
            "takes numbers"
        ) from None
