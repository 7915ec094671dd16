"""What the callbacks of the gradient boosting libraries share: one run a training, told iteration by iteration.

Leaves out what a library calls things. Invariant: a callback object serves one training after the other, each with a
run of its own, and may be copied and pickled, as cross-validation does; a copy begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from advisor.integrations.common import Session, begin
from advisor.integrations.estimators import is_estimator, params_of
from advisor.integrations.session import HoldsSession

if TYPE_CHECKING:
    pass

BROKE_OFF: Final = "the training broke off before its end"


class BoostingCallback(HoldsSession):
    """Base of the callbacks; usable as a context manager, which ends the run when the block is left.

    Attributes
    ----------
    run
        The run of the training that goes on, or of the last one; None before the first.
    findings
        What was found wrong with it so far.
    why_stopped
        Why the callback stopped the training; empty where it did not.
    """

    TOLD_OF_END: ClassVar[bool] = False
    """Whether the library calls when a training has ended well; what it did not end so was broken off."""

    def __init__(self, experiment: Any = None, *, params: Any = None, prune: bool = False, **how: Any) -> None:
        self._experiment, self._params, self._prune, self._how = experiment, params, prune, how
        self._session: Session | None = None
        self._ended = False

    @property
    def why_stopped(self) -> str:
        """Why the callback stopped the training; empty where it did not."""
        return "" if self._session is None else self._session.why_stopped

    def begin(self, known: Mapping[str, Any] | None = None, *, rank: int | None = None) -> None:
        """Begin the run of a training, and end that of the one before where nobody has.

        Parameters
        ----------
        known
            What the library tells of the parameters; of use where the user gave none.
        rank
            Which process of a distributed training this is, where the library knows.
        """
        if self._session is not None:
            if self.TOLD_OF_END:
                self._session.fail(BROKE_OFF)
            else:
                self.finish()
        given = params_of(self._params)
        self._session = begin(self._experiment, params=given, config={} if given else known, rank=rank, **self._how)
        self._ended = False
        self._session.unguarded(BROKE_OFF)
        if self._session.mine and not self.TOLD_OF_END:
            self._session.run.at_exit = self.finish

    def log(self, values: Mapping[str, Any], *, step: int) -> None:
        """Log what was evaluated after one iteration."""
        if self._session is not None and values:
            self._session.log(values, step=step)

    def advised_stop(self) -> bool:
        """Return whether to stop the training, where that was asked for."""
        if self._session is None or not (self._prune or self._how.get("stop_on_error")):
            return False
        return self._session.should_stop(advice=self._prune)

    def finish(self, model: Any = None) -> None:
        """End the run, and keep which iteration was the best; a run that is over stays as it is.

        Parameters
        ----------
        model
            The trained model, where the library tells the callback nothing of the end.
        """
        if self._session is None or self._ended or self._session.run.state.is_over:
            return
        self._ended = True
        for name, value in self.best_of(model).items():
            self._session.run.set_attribute(name, value)
        self._session.finish()

    def best_of(self, model: Any) -> dict[str, Any]:
        """Return what is known of the best iteration, as attributes of the run."""
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is None:
            return
        if error is None:
            self.finish()
        else:
            self._session.end(error)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process begins with: names instead of open handles, and no run."""
        state = {**self._anew(), "_how": {name: value for name, value in self._how.items() if name != "run"}}
        if self._experiment is not None and not isinstance(self._experiment, str):
            state["_experiment"] = self._experiment.name
            state["_how"]["store"] = self._experiment._advisor.opening.uri
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self._anew())
        return copy

    def _anew(self) -> dict[str, Any]:
        # A search copies an estimator with its callbacks, and then gives the copy other parameters.
        params = None if is_estimator(self._params) else self._params
        return {**self.__dict__, "_session": None, "_params": params}
