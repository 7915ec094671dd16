"""The user's flow at the end of notebook cells, shown by a real IPython."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import advisor
from advisor.experiment import Experiment
from advisor.suggest import Forecast
from advisor.suggest.importance import Importances
from storage.records import RunList

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

pytest.importorskip("IPython")
Show = Callable[[Any], dict[str, str]]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """Start IPython without its history, in a folder of its own."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config, ipython_dir=str(tmp_path_factory.mktemp("ipython")))
    yield made
    made.history_manager = None


@pytest.fixture
def show(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Show:
    """Return what a cell shows of its last value: forms by MIME type; fails where a form raises."""

    def shown(value: Any) -> dict[str, str]:
        data, _ = shell.display_formatter.format(value)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return dict(data)

    return shown


@pytest.fixture(scope="module")
def adv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[advisor.Advisor]:
    """Open a store with a handful of runs, one of which failed."""
    with advisor.open(tmp_path_factory.mktemp("notebook") / "store", capture=False, system_metrics="off") as adv:
        space = {"lr": advisor.Float(1e-4, 1, log=True), "optimizer": advisor.Choice("sgd", "adam")}
        exp = adv.experiment("digits", objective="val_loss", space=space, description="MLP on <b>digits</b>")
        for i in range(12):
            run = exp.start(params={"lr": 10 ** (-4 + i / 3), "optimizer": ("sgd", "adam")[i % 2]})
            for step in range(8):
                run.log({"val_loss": abs(i - 6) / 10 + 1 / (step + 1) if i != 11 or step < 5 else float("nan")})
            run.fail("RuntimeError: <out of memory>") if i == 3 else run.finish()
        exp.check()
        yield adv


@pytest.fixture
def exp(adv: advisor.Advisor) -> Experiment:
    """Return the experiment, in which tests start nothing."""
    return adv.experiment("digits", create=False)


def words(markup: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", markup, flags=re.DOTALL).split())


def test_an_experiment_shows_its_question_its_best_runs_and_how_the_search_went(exp: Experiment, show: Show) -> None:
    found = show(exp)
    said = words(found["text/html"])
    assert "12 runs" in said
    assert "1 failed or crashed" in said
    assert "finished runs, best val_loss first" in said
    assert "2 parameters to search" in said
    assert "<svg" in found["text/html"]
    assert "MLP on &lt;b&gt;digits" in said
    assert found["text/plain"] == "<Experiment digits>"


def test_an_experiment_follows_what_happens(adv: advisor.Advisor, show: Show) -> None:
    exp = adv.experiment("going", objective="loss")
    assert "exp.start(params=" in words(show(exp)["text/html"])
    with exp.start(params={"lr": 0.1}):
        said = words(show(exp)["text/html"])
        assert "1 run " in said
        assert "1 running" in said
        assert "newest runs first" in said


def test_runs_are_a_table_and_still_a_list(exp: Experiment, show: Show) -> None:
    runs = exp.runs()
    assert isinstance(runs, list)
    assert "12 runs" in words(show(runs)["text/html"])
    assert "3 runs" in words(show(runs[:3])["text/html"])
    assert show(runs)["text/plain"].count("<Run digits#") == 12
    assert isinstance(exp.front(), RunList)


def test_the_best_run_its_curves_and_one_curve_are_shown_with_pictures(exp: Experiment, show: Show) -> None:
    best = exp.best()
    assert best is not None
    for thing in (best, best.curves, best.curve("val_loss")):
        assert "<svg" in show(thing)["text/html"]
    assert show(best.curve("val_loss"))["text/plain"].startswith("<Curve val_loss: 8 points, last 0.125, lowest")
    assert show(best.curves)["text/plain"] == "<1 curves: val_loss>"


def test_suggestions_are_shown_with_reasons_and_forecast(exp: Experiment, show: Show) -> None:
    one = exp.suggest(seed=1)
    said = words(show(one)["text/html"])
    assert "Suggestion for digits" in said
    assert "lr" in said
    assert "forecast" in said
    assert one[0].id in show(one[0])["text/plain"]
    assert "3 suggestions" in words(show(exp.suggest(3, seed=2))["text/html"])
    assert one[0].forecast is not None
    assert "80% interval" in words(show(one[0].forecast)["text/html"])


def test_findings_the_ledger_a_search_and_the_store_are_shown(
    adv: advisor.Advisor, exp: Experiment, show: Show
) -> None:
    findings = exp.findings()
    assert f"{len(findings)} finding" in words(show(findings)["text/html"])
    assert "out of memory" in words(show(exp.run(3))["text/html"])
    assert "Ledger of digits" in words(show(exp.ledger())["text/html"])
    assert "digits #3" in words(show(adv.search("out of memory"))["text/html"])
    assert "digits 12 val_loss" in words(show(adv)["text/html"])


def test_a_check_shows_what_it_found_with_the_numbers_of_runs_and_what_was_not_judged(
    exp: Experiment, show: Show
) -> None:
    checked = exp.check()
    found = show(checked)
    said = words(found["text/html"])
    assert f"{len(checked.findings)} finding" in said
    assert "digits #3 open" in said
    assert "not judged" in said
    assert "not everything could be judged in 12 runs" in said
    assert found["text/plain"].startswith("<Checked 12 runs: ")


def test_findings_name_their_runs_by_number_and_so_do_slices(exp: Experiment, show: Show) -> None:
    findings = exp.findings()
    for some in (findings, findings[:1]):
        said = words(show(some)["text/html"])
        assert "code severity finding experiment run state" in said
        assert f"#{exp.run(findings[0].run_id).number} " in said


def test_the_runs_of_all_experiments_are_a_table(adv: advisor.Advisor, show: Show) -> None:
    runs = adv.runs()
    said = words(show(runs)["text/html"])
    assert isinstance(runs, RunList)
    assert "findings" in said
    assert "ADV110" in said or "ADV111" in said


def test_a_forecast_is_a_median_and_says_why_it_is_at_the_end_of_its_interval(show: Show) -> None:
    calm = Forecast(0.5, low=0.4, high=0.9, n_runs=9, method="parameters")
    tied = Forecast(0.4, low=0.4, high=0.9, n_runs=9, method="parameters")
    assert "median 0.5" in words(show(calm)["text/html"])
    assert "because many" not in words(show(calm)["text/html"])
    assert "at its end, because many of the possible outcomes are the same" in words(show(tied)["text/html"])


def test_what_a_suggestion_is_expected_to_do_is_said_in_words(exp: Experiment, show: Show) -> None:
    one = replace(exp.suggest(seed=1)[0], p_ok=0.9)
    assert "chance that it neither fails nor diverges 90%" in words(show(one)["text/html"])


def test_a_run_that_trains_importances_and_advice_on_a_search_are_shown(
    adv: advisor.Advisor, exp: Experiment, show: Show
) -> None:
    with adv.experiment("live", objective="loss").start(params={"lr": 0.25}) as run:
        run.log({"loss": float("nan")})
        said = words(show(run)["text/html"])
        assert "running" in said
        assert "0.25" in said
        assert "ADV101" in said
    shares = Importances({"lr": 0.75, "<b>": 0.25}, low={"lr": 0.5, "<b>": 0.1}, high={"lr": 0.9, "<b>": 0.6},
                         method="total-effects", n_runs=12)  # fmt: skip
    found = show(shares)["text/html"]
    assert "lr 75% 50% to 90%" in words(found)
    assert "order not told apart: lr and &lt;b&gt;" in words(found)
    assert "No reason to stop" in words(show(exp.stop_advice())["text/html"])


def test_a_document_that_was_not_kept_says_so(exp: Experiment, show: Show, tmp_path: Path) -> None:
    assert "not kept" in words(show(exp.report(format="html", write=False))["text/html"])
    kept = show(exp.report(format="html", path=tmp_path / "report.html"))["text/html"]
    assert "version 1" in words(kept)


def test_an_experiment_that_is_gone_says_so_without_a_traceback(adv: advisor.Advisor, show: Show) -> None:
    gone = adv.experiment("gone", objective="loss")
    gone.tell({"lr": 0.1}, 1.0)
    adv.delete("gone")
    assert "deleted" in words(show(gone)["text/html"])


def test_showing_loads_no_library_for_drawing_or_tables(repository: Path) -> None:
    code = (
        "import sys, numpy, storage.notebook, advisor.notebook\n"
        "from storage.records import Curve\n"
        "Curve.of('x', range(9), range(9))._repr_html_()\n"
        "print(sorted({'matplotlib', 'jinja2', 'pandas', 'IPython', 'lancedb', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_on_notebooks_runs(repository: Path, tmp_path: Path) -> None:
    text = (repository / "docs" / "notebook.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(cells) >= 3
    (tmp_path / "page.py").write_text("\n".join(cells), encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "page.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
