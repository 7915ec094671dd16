from __future__ import annotations

from pathlib import Path

import numpy as np

import advisor
from advisor.findings import codes
from advisor.findings.hints import LOADER
from storage.events import finding_opened


def test_an_unusual_run_is_drawn_beside_the_one_with_similar_parameters_and_told_what_to_look_at(
    tmp_path: Path,
) -> None:
    adv = advisor.open(tmp_path / "store", capture=False)
    exp = adv.experiment("toy", objective="val_loss")
    for lr in (0.1, 0.2, 0.9):
        with exp.start(params={"lr": lr}) as run:
            for step, value in enumerate(np.linspace(1, lr, 20)):
                run.log({"val_loss": float(value)}, step=step)
    odd, similar, _ = exp.runs()
    evidence = {"n_siblings": 2, "p": 0.04, "top": "x", "nearest_sibling": similar.id, "nearest_sibling_number": 1}
    for hint, told in (("steps take <b>longer</b>", False), (LOADER, True)):
        found = codes.finding(
            codes.UNUSUAL,
            run_id=odd.id,
            experiment="toy",
            time=adv.clock(),
            evidence=evidence | {"hint": hint},
            detector="isolation-forest",
        )
        adv.store.append([finding_opened(found)])
        text = exp.incident(found.id, format="html", write=False).text
        assert "similar parameters #1" in text
        assert (f"{hint[0].upper()}{hint[1:]}. " in text) is told
    assert adv.verify(text).ok


def test_a_summary_names_the_runs_with_similar_parameters_and_what_they_differ_in(tmp_path: Path) -> None:
    adv = advisor.open(tmp_path / "store", capture=False)
    exp = adv.experiment("toy", objective="loss")
    for lr, width, loss in ((0.1, 16, 0.5), (0.1, 16, 0.4), (0.11, 16, 0.3), (0.9, 64, 0.2)):
        with exp.start(params={"lr": lr, "width": width}) as run:
            run.log({"loss": loss})
    summary = exp.summarize(0, write=False)
    part = summary.text.partition("## Similar runs")[2].partition("\n## ")[0]
    assert "the same parameters" in part
    assert "differs in lr" in part
    assert "#3" not in part  # another width, and far off
    assert adv.verify(summary.text).ok


def test_a_best_run_that_is_too_good_to_be_true_is_not_celebrated_without_a_warning(tmp_path: Path) -> None:
    adv = advisor.open(tmp_path / "store", capture=False)
    exp = adv.experiment("toy", objective="loss")
    for loss in (0.5, 0.4, 0.001):
        with exp.start(params={"lr": loss}) as run:
            run.log({"loss": loss})
    best = exp.runs()[2]
    assert "too good to be true" not in exp.report(write=False).text
    evidence = {"metric": "loss", "value": 0.001, "best_sibling": 0.4, "n_siblings": 2, "sigmas": 9.0, "ratio": 400.0}
    finding = codes.finding(codes.TOO_GOOD, run_id=best.id, experiment="toy", time=adv.clock(), evidence=evidence)
    adv.store.append([finding_opened(finding)])
    texts = [exp.report(write=False).text, exp.summarize(2, write=False).text]
    texts.append(exp.report(kind="model-card", write=False).text)
    assert all("look for a leak before relying on it" in text for text in texts)
    exp.verdict(finding.id, "real")
    assert "its figures are no result" in exp.report(write=False).text
    exp.verdict(finding.id, "ok")
    assert "no result" not in exp.report(write=False).text
