"""The front doors are small on purpose; a name that comes or goes shows here."""

from __future__ import annotations

import inspect

import pytest

import advisor
import advisor.findings
import advisor.notify
import advisor.suggest
import storage

ADVISOR = """
Advisor AdvisorError Choice Curve Experiment Finding Float Int LiveRun Run RunState StorageError
Suggestion finish init log open
"""
STORAGE = """
Curve CurveChunk CurveDamagedError Document EmbeddingError Event Experiment ExperimentExistsError
ExperimentNotFoundError FilterError Finding FindingState Objective RecordError Run RunFinishedError
RunNotFoundError RunState RunStore SchemaTooNewError SearchHit SearchResults Severity SpoolError StorageError
StoreInfo StoreNotFoundError StoreUnavailableError open_store
"""


@pytest.mark.parametrize(("package", "names"), [(advisor, ADVISOR), (storage, STORAGE)])
def test_the_public_names_are_these(package: object, names: str) -> None:
    assert sorted(package.__all__) == sorted(names.split())  # type: ignore[attr-defined]
    assert all(getattr(package, name) is not None for name in names.split())


@pytest.mark.parametrize("package", [advisor, advisor.suggest, advisor.findings, advisor.notify, storage])
def test_every_public_function_and_class_is_described(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    public = [getattr(package, name) for name in names]
    silent = [thing for thing in public if (inspect.isclass(thing) or inspect.isroutine(thing)) and not thing.__doc__]
    assert silent == []


def test_an_unknown_name_is_refused_like_any_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        advisor.opne  # noqa: B018
