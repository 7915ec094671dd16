"""Reports and summaries: outcome first, failures as carefully as wins, nothing claimed that is not known."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from advisor.documents import Written, write_experiment_report, write_run_summary
from advisor.documents.verifier import verify_rendered
from advisor.errors import ConfigError
from storage.records import Objective, RunState, Severity

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects what a page consists of, and checks that its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings.append((self.open[-1], data.strip()))


def headings(written: Written) -> list[str]:
    return re.findall(r"(?m)^## (.+)$", written.text)


def full_material(make: Any) -> Any:
    environment = {
        "command": ["python", "train.py", "--lr", "0.03"],
        "git": {"commit": "0123456789abcdef", "branch": "main", "dirty": True, "diff": "-a\n+b"},
        "python": {"version": "3.11.7"},
        "libraries": {"numpy": "2.4"},
    }
    runs = [
        make.run(n, value, environment=environment, data=({"name": "train", "sha256": "ab" * 32, "shape": [100, 8]},))
        for n, value in enumerate((0.9, 0.5, 0.31, 0.62, 0.4))
    ]
    error = "Traceback (most recent call last):\n  x\nRuntimeError: out of memory"
    runs.append(make.run(5, None, state=RunState.FAILED, error=error))
    runs.append(make.run(6, math.nan, notes=("loss went to NaN after the warm-up",)))
    runs.append(make.run(7, 0.0001, state=RunState.PRUNED))
    return make.material(
        runs,
        findings=[make.finding(runs[6]), make.finding(runs[3], code="ADV103", severity=Severity.WARNING)],
        advice={"ADV102": "Lower the learning rate."},
        importances={"lr": 0.7, "optimizer": 0.3},
        importances_note="by a random forest",
        suggestions=[
            {
                "params": {"lr": 0.03, "optimizer": "adam"},
                "why": "close to the best run",
                "learned_from": [runs[2].id],
                "forecast": {"mean": 0.3, "low": 0.25, "high": 0.4},
            }
        ],
        inferred_notes=["the space was inferred"],
    )


def test_a_report_says_the_outcome_first_and_then_everything_else(make: Any) -> None:
    written = write_experiment_report(full_material(make))
    assert written.title == "digits"
    assert (
        written.text.splitlines()[4] == "Run #2 has the best `val_loss` so far, 0.31: 65.6% lower than the first run."
    )
    assert headings(written) == [
        "Results",
        "Parameters that mattered",
        "The best run, and how to run it again",
        "Findings",
        "Runs that did not end well",
        "What to try next",
        "Notes",
        "What was not recorded",
    ]
    for part in (
        "git checkout 0123456789abcdef\npython train.py --lr 0.03",
        "with uncommitted changes: the commit alone does not reproduce it",
        "fingerprint abababababababab",
        "RuntimeError: out of memory",
        "Lower the learning rate.",
        "close to the best run",
        "Forecast of val_loss: 0.3, between 0.25 and 0.4",
        "the space was inferred",
        "> loss went to NaN after the warm-up",
        "No configuration near the best was run twice: differences may be noise",
        f"SHA-256 {written.facts.hash}",
        "written by template",
        "2026-03-02 12:30 UTC",
    ):
        assert part in written.text


def test_pruned_failed_and_diverged_runs_are_told_but_never_best(make: Any) -> None:
    text = write_experiment_report(full_material(make)).text
    assert "finished, 1 of them diverged or without an objective; 1 pruned and 1 failed." in text
    assert "0.0001" not in text.split("## Results")[0]


def test_html_is_one_closed_accessible_file_without_script_or_request(make: Any) -> None:
    written = write_experiment_report(full_material(make), format="html")
    page = Page(written.text)
    tags = [tag for tag, _ in page.tags]
    assert written.pictures == {}
    assert ("html", {"lang": "en"}) in page.tags
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(tags)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert tags.count("h1") == 1
    assert [level for level, _ in page.headings][:3] == ["h1", "h3", "h3"]
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    assert tags.count("caption") == tags.count("table") > 2
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 4
    assert all(one["role"] == "img" and one["aria-label"] for one in pictures)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in written.text
    assert "@media print" in written.text


def test_markdown_refers_to_pictures_that_come_with_it(make: Any) -> None:
    written = write_experiment_report(full_material(make))
    referred = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", written.text)
    assert sorted(referred) == sorted(written.pictures)
    assert all(name.startswith("digits-pictures/") for name in referred)
    assert all(content.startswith(b"<?xml") for content in written.pictures.values())


@pytest.mark.parametrize("format", ["md", "html"])
def test_the_same_material_gives_the_same_bytes(make: Any, format: str) -> None:
    material = full_material(make)
    assert write_experiment_report(material, format=format) == write_experiment_report(material, format=format)


def test_every_figure_of_the_opening_is_a_fact(make: Any) -> None:
    written = write_experiment_report(full_material(make))
    opening = written.text.split("**val_loss during training**")[0].split("runs\n", 1)[1]
    assert verify_rendered(opening.replace("`", "").replace("*", "").replace("&#8203;", ""), written.facts) == ()


def test_figures_in_html_say_which_fact_they_are(make: Any) -> None:
    written = write_experiment_report(full_material(make), format="html")
    found = re.findall(r'data-fact="(\w+)" title="[^"]+">([^<]+)<', written.text)
    assert ("best", "0.31") in found
    assert all(written.facts[fact_id].text == text for fact_id, text in found)


@pytest.mark.parametrize("format", ["md", "html"])
def test_an_experiment_without_runs_or_objective_still_has_a_report(make: Any, format: str) -> None:
    empty = write_experiment_report(make.material([]), format=format)
    assert "No run has finished with a finite objective yet" in empty.text
    unset = write_experiment_report(make.material(experiment=make.experiment(objectives=())), format=format)
    assert "no objective is set" in unset.text
    assert "advisor experiment NAME" in unset.text


@pytest.mark.parametrize(
    "state", [RunState.FAILED, RunState.CRASHED, RunState.PRUNED, RunState.RUNNING, RunState.WAITING]
)
def test_when_no_run_can_be_ranked_none_is_called_best(make: Any, state: RunState) -> None:
    text = write_experiment_report(make.material([make.run(0, 0.1, state=state), make.run(1, math.inf)])).text
    assert "has the best" not in text
    assert "No run has finished with a finite objective yet" in text


def test_few_runs_are_not_judged(make: Any) -> None:
    text = write_experiment_report(make.material([make.run(0, 0.5), make.run(1, 0.4)], importances={"lr": 1.0})).text
    assert "Not enough runs to tell which parameter matters: 2 can be ranked." in text
    one = write_experiment_report(make.material([make.run(0, 0.5)])).text
    assert "nothing can be compared yet" in one


def test_repeats_decide_whether_a_lead_is_believed(make: Any) -> None:
    def text(second: float) -> str:
        runs = [make.run(n, value, params={"lr": 0.1}) for n, value in enumerate((0.30, 0.31, 0.32))]
        return write_experiment_report(make.material([*runs, make.run(3, second, params={"lr": 1.0})])).text

    assert "may be chance" in text(0.31)
    assert "more than chance between repeats would explain" in text(0.9)
    assert "Over its 3 repeats the best configuration has a mean of 0.31" in text(0.9)


def test_repeats_that_agree_say_so_and_back_no_lead(make: Any) -> None:
    runs = [make.run(n, 0.3, params={"lr": 0.1}) for n in range(3)]
    text = write_experiment_report(make.material([*runs, make.run(3, 0.4, params={"lr": 1.0})])).text
    assert "Repeats of a configuration agree to the last digit" in text
    assert "How large chance is they do not tell." in text
    assert "standard deviation" not in text
    assert "was run twice" not in text


def test_maximised_objectives_are_reported_the_right_way_round(make: Any) -> None:
    experiment = make.experiment(objectives=(Objective("acc", "maximize"),))
    text = write_experiment_report(make.material(experiment=experiment)).text
    assert "Run #0 has the best `acc` so far, 0.9." in text
    assert "no later one has improved on it" in text


def test_runs_that_break_a_constraint_of_optunas_are_told_as_such_and_never_best(make: Any) -> None:
    runs = [make.run(0, 0.5), make.run(1, 0.1, system_attrs={"constraints": [2.0]}), make.run(2, math.nan)]
    text = write_experiment_report(make.material(runs)).text
    assert "Run #0 has the best" in text
    assert "3 finished, 1 of them diverged or without an objective and 1 of them beyond a constraint and not ra" in text


def test_several_objectives_are_all_named_and_the_front_is_shown(make: Any) -> None:
    experiment = make.experiment(objectives=(Objective("acc", "maximize"), Objective("leaves")))
    values = [(0.9, 4.0), (0.8, 2.0), (0.7, 3.0), (0.95, math.inf), *((0.6 - n / 100, 1 - n / 100) for n in range(10))]
    runs = [make.run(n, each[0], values=each) for n, each in enumerate(values)]
    written = write_experiment_report(make.material(runs, experiment=experiment))
    text = written.text
    assert "maximize acc, minimize leaves · 14 runs" in text
    assert "12 runs are on the front: no other run beats them in every objective." in text
    assert "The best `acc` is 0.9 (run #0), the best `leaves` 0.91 (run #13)." in text
    front = text.split("## The front")[1].split("## ")[0]
    assert "| Run | acc (maximize) | leaves (minimize) |" in front
    assert front.count("\n| **#") == 10
    assert "*2 more are not shown; advisor runs EXP --front lists all.*" in front
    assert "| Rank | Run | acc | leaves |" in text
    assert "**Best runs by acc**" in text
    assert "The run with the best acc, and how to run it again" in text
    assert "Of 14 runs" in text
    assert "14 finished, 1 of them diverged or without an objective." in text
    assert "The lead of" not in text
    one = write_experiment_report(make.material(runs[:1], experiment=experiment)).text
    assert "1 run is on the front: no other run beats it in every objective." in one
    alone = write_experiment_report(make.material([make.run(0, 0.5)])).text
    assert "front" not in alone


def test_two_thousand_runs_stay_small_and_what_is_cut_is_said(make: Any) -> None:
    runs = [make.run(n, 1.0 / (n + 1)) for n in range(2000)]
    findings = [make.finding(run) for run in runs]
    written = write_experiment_report(make.material(runs, findings=findings), format="html")
    assert len(written.text.encode()) < 2_000_000
    assert "1,988 more are not shown" in written.text
    assert "40 of 2,000 runs with this curve are drawn" in written.text
    assert "and 1992 more" in written.text


NASTY = "</style><script>alert(1)</script> | [x](http://evil.example) `code` {{best}} {% raw %} \u202e\x1b[31m $x$"


def test_untrusted_text_stays_text_everywhere(make: Any) -> None:
    error = f"Traceback\n{NASTY}"
    runs = [
        make.run(n, 0.5 + n, params={NASTY: NASTY, "lr": n}, notes=(NASTY,), tags=(NASTY,), seed=n) for n in range(6)
    ]
    runs.append(make.run(6, None, state=RunState.FAILED, error=error))
    experiment = make.experiment(objectives=(Objective(NASTY),), description=NASTY)
    material = make.material(
        runs,
        experiment=make.replace(experiment, name=NASTY),
        curves={run.id: {NASTY: make.curve(NASTY, 1.0, math.nan)} for run in runs},
        findings=[make.finding(runs[0], title=NASTY, metric=NASTY, code=NASTY)],
        importances={NASTY: 0.5, "lr": 0.5},
        importances_note=NASTY,
        suggestions=[{"params": {NASTY: NASTY}, "why": NASTY, "learned_from": [], "forecast": None}],
        inferred_notes=[NASTY],
        store_uri=NASTY,
    )
    summary = make.run_material(
        make.replace(runs[0], error=error),
        runs,
        experiment=material.experiment,
        findings=material.findings,
        curves=material.curves,
        similar=[(runs[1], NASTY)],
    )
    for html in (write_experiment_report(material, format="html"), write_run_summary(summary, format="html")):
        page = Page(html.text)
        assert "script" not in [tag for tag, _ in page.tags]
        assert "\u202e" not in html.text
        assert "\x1b" not in html.text
        assert "alert(1)" in "".join(page.words)
    from markdown_it import MarkdownIt

    for md in (write_experiment_report(material), write_run_summary(summary)):
        rendered = MarkdownIt("gfm-like", {"linkify": False}).render(md.text)
        assert "<script" not in rendered
        assert 'evil.example"' not in rendered
        assert re.findall(r'<a [^>]*href="([^"]+)"', rendered) == []
        assert all("/" in name and ".." not in name for name in md.pictures)


def test_a_summary_of_a_run_puts_it_beside_the_others(make: Any) -> None:
    siblings = [make.run(n, value) for n, value in enumerate((0.9, 0.5, 0.31))]
    run = make.run(3, 0.4, notes=("tried a smaller batch",))
    written = write_run_summary(make.run_material(run, siblings, similar=[(siblings[2], "same optimizer")]))
    assert written.title == "Run #3 of digits"
    assert "Run #3 finished with `val_loss` 0.4, rank 2 of 4." in written.text
    assert "The best other run is #2 with 0.31." in written.text
    assert "same optimizer" in written.text
    assert "> tried a smaller batch" in written.text
    assert {"Metrics", "What differs from the best other run", "How to run it again"} <= set(headings(written))


@pytest.mark.parametrize("format", ["md", "html"])
@pytest.mark.parametrize("state", list(RunState))
def test_a_run_in_any_state_has_a_summary(make: Any, state: RunState, format: str) -> None:
    run = make.run(0, None, state=state, error="ValueError: no" if state is RunState.FAILED else None, seed=None)
    text = write_run_summary(make.run_material(run, []), format=format).text
    assert "What was not recorded" in text
    assert ("ValueError: no" in text) == (state is RunState.FAILED)


def test_a_diverged_run_is_not_ranked_and_its_values_are_shown(make: Any) -> None:
    run = make.run(1, math.nan)
    written = write_run_summary(make.run_material(run, [make.run(0, 0.5)], findings=[make.finding(run)]))
    assert "its `val_loss` is NaN, and it is not ranked" in written.text
    assert "There is 1 finding." in written.text


def test_an_unknown_format_is_refused_with_what_is_allowed(make: Any) -> None:
    with pytest.raises(ConfigError, match="'pdf'; it must be 'md' or 'html'"):
        write_experiment_report(make.material(), format="pdf")


def test_a_folder_for_pictures_can_be_given(make: Any) -> None:
    written = write_experiment_report(make.material(), picture_folder="x/")
    assert {name.split("/")[0] for name in written.pictures} == {"x"}
    assert "](x/curves.svg)" in written.text
