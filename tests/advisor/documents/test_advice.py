"""A report says how good the advice was, in a few lines whose every figure is a fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from advisor.documents import ExperimentMaterial, experiment_facts, write_experiment_report
from advisor.documents.advice import advice_section
from advisor.documents.content import Paragraph, text_of
from advisor.documents.verifier import Sentence, problems, verify_rendered
from advisor.documents.writer import SCHEMA, narrate
from advisor.suggest import account_for, advise_search
from storage.records import Event, RunState, Verdict


def advised(make: Any, n: int = 24) -> ExperimentMaterial:
    """Return a material with a ledger: the first runs random draws, the others by a model and better."""
    runs = [make.run(i, 0.9 - 0.01 * i) for i in range(n)]
    runs = [
        replace(one, suggestion_id=f"s{i}" if i else None, ended=one.started + timedelta(minutes=i + 1))
        for i, one in enumerate(runs)
    ]
    runs.append(make.run(n, 0.5, state=RunState.PRUNED))
    bodies = [
        {
            "suggestion_id": f"s{i}",
            "source": "random-startup" if i < 10 else "tpe",
            "time": runs[i].created,
            "forecast": {"mean": 0.8, "low": 0.7, "high": 0.9},
        }
        for i in range(1, n)
    ]
    stop = Event.new("stop.advised", "digits", runs[-1].id, reason="worse")
    material = make.material(runs)
    ledger = account_for(
        material.experiment, runs, suggestions=bodies, stops=[stop], now=material.generated, n_tpe_seeds=0
    )
    return replace(material, ledger=ledger, search_advice=advise_search(material.experiment, runs))


def said(material: ExperimentMaterial) -> list[str]:
    section = advice_section(material, experiment_facts(material))
    return [] if section is None else [text_of(block.line) for block in section.blocks if isinstance(block, Paragraph)]


def test_the_section_says_what_became_of_the_advice(make: Any) -> None:
    lines = said(advised(make))
    assert len(lines) == 5
    assert lines[0].startswith("Of 23 suggestions 23 finished. 23 of 23 became the best so far: 100%, 95% interval 86%")
    assert lines[1].startswith("The 80% intervals of forecasts held 87% of 23 final values (95% interval 68% to 95%).")
    assert lines[2].startswith("After 4 suggested runs the best was 0.77, where random search would have had 0.82")
    assert lines[3].startswith(
        "Runs advised to stop: 1. Of these 1 stopped, which saved 0% of their usual length; of 0"
    )
    assert lines[4].startswith("Go on searching: the next 20 runs are expected to improve the best by 0.")


def test_every_figure_of_the_section_is_a_fact(make: Any) -> None:
    material = advised(make)
    sheet = experiment_facts(material)
    assert all(verify_rendered(line, sheet) == () for line in said(material))
    text = write_experiment_report(material).text
    assert "## How good was the advice" in text
    assert "How good was the advice" in write_experiment_report(material, format="html").text


def test_few_forecasts_are_said_to_be_few(make: Any) -> None:
    lines = said(advised(make, n=6))
    assert "Not enough forecasts of suggestions came to an end to tell how good they are: 5 did." in lines
    assert not any("Go on" in line or "Stop searching" in line for line in lines)


def test_the_section_says_how_often_findings_were_right_once_somebody_judged(make: Any) -> None:
    def material(*verdicts: Verdict | None) -> ExperimentMaterial:
        runs = [make.run(i, 0.5) for i in range(len(verdicts))]
        runs = [
            replace(run, findings=(replace(make.finding(run), verdict=verdict),))
            for run, verdict in zip(runs, verdicts, strict=True)
        ]
        made = make.material(runs)
        return replace(made, ledger=account_for(made.experiment, runs, now=made.generated))

    assert said(material("ok", "real", "real", None)) == [
        "Of 4 findings 3 were judged; false alarms among these: 1, or 33%, 95% interval 6% to 79%."
    ]
    assert said(material(None, None)) == []


def test_without_a_ledger_there_is_no_section(make: Any) -> None:
    assert said(make.material()) == []
    empty = account_for(make.experiment(), [], now=make.material().generated)
    assert said(make.material([], ledger=empty)) == []


def test_intervals_of_importances_are_shown_and_are_facts(make: Any) -> None:
    ends = {"lr": (0.6, 0.9), "optimizer": (0.1, 0.4)}
    material = make.material(importances={"optimizer": 0.2, "lr": 0.8}, importance_ends=ends)
    sheet = experiment_facts(material)
    assert (sheet["importance_low_1"].text, sheet["importance_high_2"].text) == ("60%", "40%")
    assert "60% to 90%" in write_experiment_report(material).text


class Recorder:
    """A model that keeps what it was shown."""

    name = "recorder"
    timeout_s = 60.0

    def __init__(self) -> None:
        self.seen = ""

    def complete(self, messages: Sequence[Any], *, schema: Any, timeout_s: float | None = None) -> str:
        assert schema == SCHEMA
        self.seen = " ".join(message["content"] for message in messages)
        return '{"sentences": [], "interpretation": []}'


def test_a_language_model_neither_sees_nor_states_these_figures(make: Any) -> None:
    sheet = experiment_facts(advised(make))
    model = Recorder()
    narrate(sheet, template=["{{n_runs}} runs."], model=model)
    assert '"n_runs"' in model.seen
    assert "ledger_" not in model.seen
    assert "not-for-models:search_gain" in problems(Sentence("The gain is {{search_gain}}."), sheet)
