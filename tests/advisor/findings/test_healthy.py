"""Which run stands beside one in trouble as a healthy one."""

from __future__ import annotations

import doctest
from pathlib import Path

import advisor
from advisor.findings import codes, healthy
from advisor.operations.diagnosing import DIAGNOSE_RUN, DiagnoseAsked
from advisor.relatives import nearest_healthy
from storage.events import finding_opened
from storage.records import Run, Severity


def test_the_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(healthy).failed == 0


def remark(adv: advisor.Advisor, run: Run, severity: Severity = Severity.INFO) -> None:
    found = codes.finding(
        codes.UNUSUAL,
        run_id=run.id,
        experiment=run.experiment,
        time=adv.clock(),
        evidence={"n_siblings": 2, "p": 0.04, "top": "x"},
        severity=severity,
    )
    adv.store.append([finding_opened(found)])


def named(adv: advisor.Advisor, run: Run) -> set[int | None]:
    """Return which run is named as the healthy one, by the page and by what agents ask."""
    page = nearest_healthy(adv, run)
    told = DIAGNOSE_RUN.does(adv, DiagnoseAsked(run=run.id)).healthy_sibling
    return {None if page is None else page.number, None if told is None else told.run.number}


def filled(path: Path, *losses: float) -> advisor.Advisor:
    """Open a store with a finished run a loss, each with a learning rate a little higher than the one before."""
    adv = advisor.open(path, capture=False, system_metrics="off")
    exp = adv.experiment("toy", objective="val_loss")
    for place, loss in enumerate(losses):
        with exp.start(params={"lr": 0.1 + place / 100}) as run:
            run.log({"val_loss": loss})
    return adv


def test_a_run_that_nobody_flagged_but_that_came_out_badly_is_not_called_healthy(tmp_path: Path) -> None:
    with filled(tmp_path / "store", 2.4, 2.3, 0.3, 0.2, 0.25) as adv:
        runs = adv.experiment("toy").runs()
        remark(adv, runs[0], Severity.WARNING)
        assert named(adv, adv.run(runs[0].id)) == {2}


def test_a_healthy_run_without_any_finding_comes_before_one_with_a_remark(tmp_path: Path) -> None:
    with filled(tmp_path / "store", 2.4, 2.3, 0.3, 0.2, 0.25) as adv:
        runs = adv.experiment("toy").runs()
        remark(adv, runs[2])
        assert named(adv, runs[0]) == {3}
        for run in runs[3:]:
            remark(adv, run)
        assert named(adv, runs[0]) == {2}


def test_where_no_run_is_good_enough_none_is_named(tmp_path: Path) -> None:
    with filled(tmp_path / "store", 0.2, 2.3, 0.21) as adv:
        runs = adv.experiment("toy").runs()
        remark(adv, runs[2], Severity.ERROR)
        assert named(adv, adv.run(runs[0].id)) == {None}
