from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError, NotEnoughRunsError, SpaceError
from storage.errors import ExperimentNotFoundError, RecordError, RunNotFoundError
from storage.records import Curve, Event

SPACE = {
    "lr": advisor.Float(1e-5, 1, log=True),
    "hidden": advisor.Int(16, 512, log=True),
    "optimizer": advisor.Choice("sgd", "adam"),
}


@pytest.fixture
def adv(tmp_path: Path) -> Iterator[Advisor]:
    with advisor.open(tmp_path / "store", capture=False, reports=str(tmp_path / "reports")) as opened:
        yield opened


def trained(adv: Advisor, n_runs: int = 12) -> advisor.Experiment:
    """Return an experiment with runs whose loss depends on the learning rate."""
    exp = adv.experiment("toy", objective="loss", space=SPACE, description="a bowl in lr")
    for run in exp.optimize(n_runs=n_runs, seed=0):
        with run:
            for step in range(12):
                run.log({"loss": (math.log10(run.params["lr"]) + 2) ** 2 + 1 / (step + 1)}, step=step)
    return exp


def test_an_experiment_is_created_once_and_reopened(adv: Advisor) -> None:
    adv.experiment("toy", objective="loss", space=SPACE, description="first")
    record = adv.experiment("toy", direction="maximize").record
    assert (record.description, record.objectives[0].metric, record.objectives[0].direction) == (
        "first",
        "loss",
        "maximize",
    )
    assert list(record.space or {}) == ["lr", "hidden", "optimizer"]
    assert [exp.name for exp in adv.experiments()] == ["toy"]


def test_reopening_with_the_same_settings_writes_nothing(adv: Advisor) -> None:
    for _ in range(3):
        adv.experiment("toy", objective="loss", direction="minimize", space=SPACE, description="same", reduce="best")
    assert adv.store.info().n_events == 1


def test_optuna_distributions_are_a_space(adv: Advisor) -> None:
    space = {"lr": optuna.distributions.FloatDistribution(1e-5, 1, log=True)}
    assert adv.experiment("toy", objective="loss", space=space).suggest()[0].params["lr"] <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "minimize"}, "no objective"),
        ({"objective": "loss", "direction": "down"}, "'down' is not one of 'minimize' and 'maximize'"),
        ({"objective": ["a", "b"], "direction": ["minimize"]}, "2 objectives and 1 directions"),
        ({"reduce": "median"}, "allowed are 'last', 'best' and 'mean-last-K'"),
        ({"space": {"lr": advisor.Float}}, "lr"),
    ],
)
def test_settings_that_make_no_sense_are_refused(adv: Advisor, settings: dict[str, object], message: str) -> None:
    with pytest.raises((ConfigError, SpaceError), match=message):
        adv.experiment("toy", **settings)  # type: ignore[arg-type]
    assert adv.experiments() == []


def test_an_experiment_that_is_only_looked_for_is_not_created(adv: Advisor) -> None:
    adv.experiment("digits-mlp")
    with pytest.raises(ExperimentNotFoundError, match="did you mean 'digits-mlp'"):
        adv.experiment("digits-mpl", create=False)


def test_suggestions_are_kept_differ_and_count_as_taken(adv: Advisor) -> None:
    space = {"a": advisor.Choice("x", "y"), "b": advisor.Int(0, 1)}
    exp = adv.experiment("toy", objective="loss", space=space)
    first = exp.suggest(n=2)
    second = exp.suggest(n=2)
    assert len({tuple(s.params.items()) for s in [*first, *second]}) == 4
    with pytest.raises(SpaceError, match="tried"):
        exp.suggest()


def test_a_suggestion_says_why_and_what_it_learned_from(adv: Advisor) -> None:
    exp = trained(adv)
    (suggestion,) = exp.suggest(seed=5)
    assert set(suggestion.learned_from) == {run.id for run in exp.runs()}
    assert "12 runs" in suggestion.why
    with exp.start(suggestion) as run:
        run.log({"loss": 1.0})
    assert exp.run(12).suggestion_id == suggestion.id
    assert dict(exp.run(12).params) == dict(suggestion.params)


def test_the_same_seed_gives_the_same_suggestion(adv: Advisor) -> None:
    exp = trained(adv, 4)
    assert exp.suggest(seed=1, keep=False)[0].params == exp.suggest(seed=1, keep=False)[0].params


def test_a_suggestion_needs_an_objective_and_something_to_vary(adv: Advisor) -> None:
    with pytest.raises(ConfigError, match="has no objective to improve; set one with"):
        adv.experiment("bare").suggest()
    with pytest.raises(NotEnoughRunsError, match="neither a search space nor runs"):
        adv.experiment("spaceless", objective="loss").suggest()


def test_failed_and_nan_runs_are_learned_from(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss", space=SPACE)
    params = {"hidden": 16, "optimizer": "sgd"}
    exp.tell({"lr": 1.0, **params}, math.nan)
    exp.tell({"lr": 0.9, **params}, state="failed")
    (suggestion,) = exp.suggest()
    assert set(suggestion.learned_from) == {run.id for run in exp.runs()}
    assert exp.best() is None


def test_a_run_is_told_with_its_curves(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    timed = Curve.of("acc", [0, 10], [0.1, 0.9], [0.5, 1.5])
    run = exp.tell({"lr": 0.1}, 0.4, curves={"loss": [0.9, math.nan, 0.4], "acc": timed}, metrics={"size": 3.0})
    assert run.curve("loss") == Curve.of("loss", [0, 1, 2], [0.9, math.nan, 0.4])
    assert run.curve("acc") == timed
    assert run.metrics == {"loss": 0.4, "acc": 0.9, "size": 3.0}
    with pytest.raises(ConfigError, match="told twice"):
        exp.tell({"lr": 0.1}, 0.4, curves={"loss": [1.0]}, metrics={"loss": 1.0})


def test_telling_needs_a_value_and_parameters_that_fit(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss", space=SPACE)
    with pytest.raises(ConfigError, match="needs a value"):
        exp.tell({"lr": 0.1, "hidden": 16, "optimizer": "sgd"})
    with pytest.raises(SpaceError, match="hidden"):
        exp.tell({"lr": 0.1, "hidden": 1, "optimizer": "sgd"}, 1.0)
    with pytest.raises(RecordError, match="cannot end as 'running'"):
        exp.tell({"lr": 0.1, "hidden": 16, "optimizer": "sgd"}, 1.0, state="running")


def test_runs_are_found_by_number_id_and_filter(adv: Advisor) -> None:
    exp = trained(adv, 4)
    ids = [run.id for run in exp.runs()]
    assert exp.run(2).id == exp.run(ids[2]).id == exp.run(ids[2][:12]).id
    with pytest.raises(RunNotFoundError, match="no run number 9; it has 4 runs"):
        exp.run(9)
    with pytest.raises(RunNotFoundError, match="belongs to experiment 'toy', not to 'other'"):
        adv.experiment("other").run(ids[0])
    low = exp.runs(where="params.lr < 0.01 and state = 'finished'", order_by="loss")
    assert [run.id for run in low] == [
        run.id for run in sorted(exp.runs(), key=lambda r: r.metrics["loss"]) if run.params["lr"] < 0.01
    ]


def test_best_follows_the_direction(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="acc", direction="maximize")
    for value in (0.5, math.inf, 0.9, math.nan, 0.7):
        exp.tell({"v": value if math.isfinite(value) else 0}, value)
    best = exp.best()
    assert best is not None
    assert best.objective == 0.9


def test_a_check_keeps_each_finding_once(adv: Advisor) -> None:
    exp = trained(adv, 8)
    with exp.start(params={"lr": 1.0, "hidden": 16, "optimizer": "sgd"}) as run:
        for step in range(12):
            run.log({"loss": 10.0**step if step < 8 else math.nan}, step=step)
    exp.check()
    once = [finding.id for finding in exp.findings()]
    exp.check()
    assert once
    assert [finding.id for finding in exp.findings()] == once
    assert exp.run(8).findings


def test_a_finding_that_no_longer_holds_is_resolved(adv: Advisor) -> None:
    exp = trained(adv, 2)
    body = {"finding_id": "x", "code": "ADV102", "title": "diverged", "severity": "error", "metric": "loss"}
    adv.store.append([Event.new("finding.opened", "toy", exp.run(0).id, **body)])
    assert [finding.id for finding in exp.findings()] == ["x"]
    exp.check()
    assert "x" not in [finding.id for finding in exp.findings()]
    assert "x" in [finding.id for finding in exp.findings(include_resolved=True)]


def test_a_verdict_is_kept_with_its_note_and_belongs_to_its_experiment(adv: Advisor) -> None:
    exp = trained(adv, 2)
    said = {"code": "ADV103", "title": "spike", "severity": "warning", "metric": "loss"}
    for i in range(2):
        opened = {"finding_id": f"aa{i}", **said}
        adv.store.append([Event.new("finding.opened", "toy", exp.run(i).id, **opened)])
    assert exp.verdict("toy#0:ADV103", "real", "a bad batch").id == "aa0"
    assert exp.verdict("aa1", "ok").as_json()["verdict"] == "ok"
    assert [(f.id, f.verdict) for f in exp.findings()] == [("aa0", "real")]
    (judged,) = adv.store.journal(kinds=["finding.judged"], run_ids=[exp.run(0).id])
    assert (judged.actor, dict(judged.body)) == (
        "person",
        {"finding_id": "aa0", "verdict": "real", "note": "a bad batch"},
    )
    with pytest.raises(RecordError, match="2 findings fit 'aa'; give the beginning of one's id: aa0 "):
        exp.verdict("aa", "ok")
    other = adv.experiment("other", objective="loss")
    for reference in ("aa0", "toy#0:ADV103"):
        with pytest.raises(RecordError, match=r"no finding|is of experiment 'toy', not of 'other'"):
            other.verdict(reference, "ok")
    with pytest.raises(RecordError, match="no verdict 'rael'; did you mean 'real'"):
        exp.verdict("aa0", "rael")  # type: ignore[arg-type]  # what a slip gives


def test_a_data_frame_has_a_row_a_run(adv: Advisor) -> None:
    frame = trained(adv, 3).to_pandas()
    assert list(frame["number"]) == [0, 1, 2]
    assert {"params.lr", "metrics.loss", "objective"} <= set(frame.columns)


def test_a_report_is_written_with_its_pictures_and_remembered(adv: Advisor, tmp_path: Path) -> None:
    exp = trained(adv)
    document = exp.report(format="html")
    assert document.path is not None
    assert Path(document.path).read_text(encoding="utf-8") == str(document)
    markdown = exp.report()
    assert list((tmp_path / "reports").rglob("*.svg"))
    assert markdown.facts_hash
    summary = exp.summarize(3)
    assert summary.run_id == exp.run(3).id
    kinds = [event.body["kind"] for event in adv.store.state().documents]
    assert kinds == ["report", "report", "run-summary"]
    with pytest.raises(ConfigError, match="allowed are 'md', 'html' and 'json'"):
        exp.report(format="pdf")


def test_the_name_of_an_experiment_never_becomes_a_path(adv: Advisor, tmp_path: Path) -> None:
    exp = adv.experiment("../../etc/<passwd>", objective="loss")
    exp.tell({"a": 1}, 1.0)
    path = Path(str(exp.report().path)).resolve()
    assert path.parent == (tmp_path / "reports").resolve()


def test_a_forecast_says_when_nobody_can_tell(adv: Advisor) -> None:
    exp = trained(adv, 3)
    assert exp.forecast(0, at=0.5) is None
    forecast, note = exp.explain_forecast(0, at=0.5)
    assert forecast is None
    assert "not enough" in note or "too few" in note


@pytest.mark.parametrize("at", ["x", 0, 1.5, float("nan"), True])
def test_a_share_that_is_none_is_refused(adv: Advisor, at: Any) -> None:
    with pytest.raises(ConfigError, match="is no share of the training; give a number above 0 and at most 1"):
        trained(adv, 1).forecast(0, at=at)


@pytest.mark.parametrize("worth", ["a", float("nan"), [1]])
def test_a_worth_that_is_no_number_is_refused(adv: Advisor, worth: Any) -> None:
    with pytest.raises(ConfigError, match="is no finite number; give the gain an hour"):
        adv.experiment("toy", objective="loss").stop_advice(worth=worth)


def test_a_run_that_goes_on_may_itself_be_asked_about(adv: Advisor) -> None:
    exp = adv.experiment("live", objective="loss")
    with exp.start(params={"lr": 0.1}) as run:
        run.log({"loss": 1.0})
        assert exp.run(run).id == run.id
        found, why = exp.explain_forecast(run)
    assert found is None
    assert "not enough runs to tell" in why or "has not been logged yet" in why  # what was logged is written soon


def test_a_forecast_is_kept_where_that_is_asked_for(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    for i in range(9):
        with exp.start(params={"lr": 0.1 * i}) as run:
            for step in range(10):
                run.log({"loss": i + 1.0 / (step + 1)}, step=step)
    assert exp.forecast(0, at=0.5) is not None
    assert adv.store.state().of_kind("forecast.made") == []
    forecast = exp.forecast(0, at=0.5, keep=True)
    assert forecast is not None
    (kept,) = adv.store.state().of_kind("forecast.made")
    assert kept.run_id == exp.run(0).id
    assert kept.body == forecast.as_json() | {"method": forecast.method, "at": 0.5, "n_runs": 8}


def test_search_finds_by_words_and_by_filter(adv: Advisor) -> None:
    exp = trained(adv, 3)
    with exp.start(
        params={"lr": 0.1, "hidden": 16, "optimizer": "sgd"}, notes=["the validation set was shuffled"]
    ) as run:
        run.log({"loss": 1.0})
    assert adv.search("shuffled validation", limit=1)[0].run.id == run.id
    assert [hit.run.id for hit in adv.search("shuffled", where="params.hidden = 16 and note like '%shuffled%'")] == [
        run.id
    ]
