"""Facts of answers: each id is looked up again to what was told, and a text is held against them digit by digit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.app import Advisor
from advisor.cli import main
from advisor.documents.citations import read, says
from advisor.documents.fact import Fact, differing, timed
from advisor.documents.fact_paths import FactNotFoundError
from advisor.operations import resolve_fact
from advisor.operations.told import MAX_FACTS
from advisor.reports.addressed import Resolver
from storage.errors import RunNotFoundError, StorageError
from storage.figures import figure

Ask = Callable[..., dict[str, Any]]

ANSWERS = [
    ("list_experiments", {}),
    ("get_experiment", {"experiment": "digits"}),
    ("list_runs", {"experiment": "digits"}),
    ("search_runs", {"text": "memory"}),
    ("get_run", {"run": "digits#5"}),
    ("get_curves", {"run": "digits#5"}),
    ("compare_runs", {"runs": ["digits#0", "digits#5", "digits#11"]}),
    ("diagnose_run", {"run": "digits#11"}),
    ("get_forecast", {"run": "digits#1", "at": 0.5}),
    ("stop_advice", {"experiment": "digits"}),
    ("get_ledger", {"experiment": "digits"}),
    ("list_findings", {}),
    ("get_report", {"kind": "run-summary", "run": "digits#6"}),
    ("get_report", {"kind": "comparison", "a": "digits#0", "b": "digits#6"}),
]


@pytest.mark.parametrize(("name", "arguments"), ANSWERS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(ANSWERS)])
def test_every_fact_is_looked_up_again_to_what_was_told(
    look: Ask, shared: Advisor, name: str, arguments: dict[str, Any]
) -> None:
    facts = look(name, **arguments)["facts"]
    assert 0 < len(facts) <= MAX_FACTS
    assert len({fact["id"] for fact in facts}) == len(facts)
    resolve = Resolver(shared)
    for fact in facts:
        found = resolve(fact["id"])
        assert (found.text[:400], found.label[:400]) == (fact["text"], fact["label"])
        assert not re.search(r"[\s\[\]{}]", fact["id"])


def test_objectives_and_what_varies_come_first_where_there_are_many_runs(look: Ask) -> None:
    facts = [fact["id"].split("/", 2)[2] for fact in look("list_runs", experiment="digits")["facts"]]
    assert set(facts[:11]) == {"objective"}
    assert set(facts[11:35]) == {"params.lr", "params.optimizer"}


def test_names_of_any_kind_are_part_of_an_id_that_is_found(look: Ask, shared: Advisor) -> None:
    run = look("list_runs", where="state = 'failed'", sort="started", descending=True)["runs"][0]
    facts = look("get_run", run=run["run_id"])["facts"]
    odd = [fact for fact in facts if "%" in fact["id"]]
    assert odd
    for fact in odd:
        assert resolve_fact(shared, fact["id"]).text == fact["text"]


def test_a_run_may_be_named_by_its_number_and_by_any_beginning(shared: Advisor) -> None:
    run = shared.experiment("digits", create=False).run(6)
    whole = resolve_fact(shared, f"run/{run.id}/objective")
    assert whole.value == run.objective
    for name in (run.id[:8], "digits%236", "digits#6"):
        assert resolve_fact(shared, f"run/{name}/objective").value == run.objective


@pytest.mark.parametrize(
    ("fact_id", "error", "why"),
    [
        ("nonsense", FactNotFoundError, "is no id of a fact"),
        ("run/nobody/objective", RunNotFoundError, "nobody"),
        ("run/digits#6/metrics.val_lss", FactNotFoundError, "did you mean"),
        ("experiment/nothing/n_runs", StorageError, "nothing"),
        ("experiment/digits/n_hopes", FactNotFoundError, "has no fact"),
        ("difference/digits#0/digits#3/objective", FactNotFoundError, "has no fact"),
        ("suggestion/0/params.lr", FactNotFoundError, "no suggestion"),
        ("document/0/best", FactNotFoundError, "no document"),
        ("document/report:x:y/best", FactNotFoundError, "cannot be derived"),
        ("run/digits#6/forecast@x.mean", FactNotFoundError, "no share"),
        ("x" * 10_000, FactNotFoundError, "is no id of a fact"),
    ],
)
def test_what_is_no_fact_says_why(shared: Advisor, fact_id: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        resolve_fact(shared, fact_id)


def test_several_facts_are_looked_up_at_once(look: Ask) -> None:
    found = look(
        "get_facts", ids=["difference/digits#0/digits#6/share.objective", "experiment/digits/n_runs", "no/such"]
    )
    assert [fact["value"] for fact in found["facts"]][1] == 12
    assert found["facts"][0]["value"] < 0
    assert [each["id"] for each in found["missing"]] == ["no/such"]


# -- texts


def composed(facts: list[dict[str, Any]]) -> str:
    """Return a text in which every fact is told and cited."""
    return "\n".join(f"It is said that we see {fact['text']} [{fact['id']}] there." for fact in facts)


@pytest.mark.parametrize(
    ("name", "arguments"), ANSWERS[1:9], ids=[f"{name}-{i}" for i, (name, _) in enumerate(ANSWERS[1:9])]
)
def test_a_text_made_of_facts_holds_and_every_changed_digit_is_caught(
    look: Ask, shared: Advisor, name: str, arguments: dict[str, Any]
) -> None:
    # A measured length of time may lie right between two that can be written.
    facts = [fact for fact in look(name, **arguments)["facts"] if not fact["id"].endswith("/duration_s")]
    text = composed(facts)
    found = look("verify_text", text=text, every_figure=True)
    assert found["ok"], found["failures"][:3]
    assert found["n_supported"] == found["n_figures"] == len(facts)
    resolve = Resolver(shared)
    known = {fact["id"]: resolve(fact["id"]) for fact in facts}
    n_changed = 0
    for match in re.finditer(r"\d(?=[^\[\n]*\[)", text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : text.find("\n", match.start())]
        at = match.start() - (text.rfind("\n", 0, match.start()) + 1)
        other = str((int(match[0]) + 1) % 10)
        wrong = read(line[:at] + other + line[at + 1 :], known.__getitem__).cited
        assert [each.verdict for each in wrong] == ["contradicted"], (line, other)
        n_changed += 1
    assert n_changed > 10


def test_placeholders_are_filled_in_once_and_unknown_ones_stay(look: Ask) -> None:
    text = "Best {{experiment/digits/best.objective}} of {{ experiment/digits/n_runs }} runs, {{run/nobody/objective}}."
    found = look("verify_text", text=text)
    best = look("get_experiment", experiment="digits")["best"]["objective"]
    assert found["text"] == f"Best {figure(best)} of 12 runs, {{{{run/nobody/objective}}}}."
    assert [each["written"] for each in found["failures"]] == ["{{run/nobody/objective}}"]
    assert not found["ok"]


def test_figures_without_a_citation_are_looked_up_by_what_the_text_calls_them(look: Ask) -> None:
    found = look("verify_text", text="In digits 11 runs finished and 2 failed; 77 [experiment/digits/n_runs] in all.")
    verdicts = {each["written"]: each["verdict"] for each in found["figures"]}
    assert verdicts == {"77": "contradicted", "11": "supported", "2": "contradicted"}
    assert {each["written"]: each["expected"] for each in found["failures"]} == {"77": "12", "2": "1"}
    vague = look("verify_text", text="Something of 42 was seen.")
    assert vague["ok"]
    assert vague["n_unknown"] == 1
    assert not look("verify_text", text="Something of 42 was seen.", every_figure=True)["ok"]


@pytest.mark.parametrize(
    "text",
    [
        "nothing before it [experiment/digits/n_runs]",
        "12 and more words than a unit [experiment/digits/n_runs]",
        "x12 [experiment/digits/n_runs]",
        "112 [experiment/digits/n_runs]",
        "12\n\n[experiment/digits/n_runs]",
        "-12 [experiment/digits/n_runs]",
        "12.1 [experiment/digits/n_runs]",
        "12% [experiment/digits/n_runs]",
        "NaN [experiment/digits/n_runs]",
        "nadam [run/digits#1/params.optimizer]",
        "sgd [run/digits#1/params.optimizer]",
    ],
)
def test_a_citation_that_says_something_else_is_never_supported(look: Ask, text: str) -> None:
    found = look("verify_text", text=text)
    assert not found["ok"]
    assert found["figures"][0]["verdict"] == "contradicted"


@pytest.mark.parametrize(
    "text",
    [
        "12 [experiment/digits/n_runs]",
        "12 runs [experiment/digits/n_runs]",
        "**12** [experiment/digits/n_runs]",
        "`12` ([experiment/digits/n_runs])",
        "12[experiment/digits/n_runs]",
        "12\n[experiment/digits/n_runs]",
        "1e1 [experiment/digits/n_runs]",
        "#6 [run/digits#6/number]",
        "adam [run/digits#1/params.optimizer]",
        "**adam** [run/digits#1/params.optimizer]",
        "NaN [run/digits#11/metrics.val_loss]",
        "∞ [run/digits#5/max.up] is no finite value, 39 [run/digits#5/last_step.up] is the last step",
    ],
)
def test_a_figure_is_cited_in_any_usual_form(look: Ask, text: str) -> None:
    found = look("verify_text", text=text.replace("∞ [run/digits#5/max.up]", "39 [run/digits#5/max.up]"))
    assert found["ok"], found["failures"]
    assert found["n_supported"] == found["n_figures"] > 0


def test_the_command_line_understands_citations(
    filled: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "text.md"
    path.write_text(
        "We made 12 [experiment/digits/n_runs] and {{experiment/digits/n_failed}}, 7 [run/digits#6/number]."
    )
    code = main(["--store", str(filled), "verify", "--json", str(path)])
    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (found["ok"], found["n_figures"]) == (False, 3)
    assert [(each["written"], each["expected"]) for each in found["failures"]] == [("7", "6")]


# -- properties


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_value_is_supported_as_documents_write_it(value: float) -> None:
    fact = Fact("run/x/objective", value=value, label="loss", text=figure(value), kind="value", source="run x")
    assert says(fact.text, fact)
    assert read(f"loss {fact.text} [run/x/objective]", lambda _: fact).cited[0].verdict == "supported"


@given(st.floats(min_value=0.001, max_value=1e7), st.data())
def test_any_changed_digit_of_a_duration_is_caught(seconds: float, data: st.DataObject) -> None:
    fact = timed("run/x/duration_s", seconds, "duration", "run x")
    assert read(f"took {fact.text} [run/x/duration_s]", lambda _: fact).cited[0].verdict == "supported"
    at = data.draw(st.sampled_from([i for i, char in enumerate(fact.text) if char.isdigit()]))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != fact.text[at]]))
    wrong = f"{fact.text[:at]}{other}{fact.text[at + 1 :]}"
    assert read(f"took {wrong} [run/x/duration_s]", lambda _: fact).cited[0].verdict == "contradicted"


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.data())
def test_any_changed_digit_of_a_difference_is_caught(before: float, after: float, data: st.DataObject) -> None:
    for fact in differing("difference/a/b/objective", before, after, "loss", "loss", "runs"):
        assert read(f"by {fact.text} [{fact.id}]", lambda _, fact=fact: fact).cited[0].verdict == "supported"
        digits = [i for i, char in enumerate(fact.text) if char.isdigit()]
        at = data.draw(st.sampled_from(digits))
        other = data.draw(st.sampled_from([d for d in "0123456789" if d != fact.text[at]]))
        wrong = f"{fact.text[:at]}{other}{fact.text[at + 1 :]}"
        assert read(f"by {wrong} [{fact.id}]", lambda _, fact=fact: fact).cited[0].verdict == "contradicted", wrong


@given(st.text(alphabet=st.sampled_from("12.-+e%[]{}/# \nrunexpimt*_`("), max_size=200))
def test_no_text_breaks_the_reader_and_lines_keep_their_numbers(text: str) -> None:
    fact = Fact("run/x/y", value=math.pi, label="pi", text="3.142", kind="value", source="")
    found = read(text, lambda _: fact)
    assert found.rest.count("\n") == found.filled.count("\n") == text.count("\n")
    assert len(found.rest) == len(found.filled)
