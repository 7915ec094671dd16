"""Every kind of document: the outcome first, in three forms, kept as versions, derived again figure by figure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from advisor.app import Advisor
from advisor.documents.compared import differences
from advisor.documents.origin import MARK, is_intact, origin_of, sealed
from advisor.reports.verify import derive_again
from storage.records import Document, Event

Writer = Callable[..., Document]

WRITERS: dict[str, Callable[[Advisor], Writer]] = {
    "report": lambda adv: adv.experiment("digits", create=False).report,
    "run-summary": lambda adv: lambda **given: adv.experiment("digits", create=False).summarize(2, **given),
    "incident": lambda adv: lambda **given: adv.experiment("digits", create=False).incident("digits#2:ADV101", **given),
    "run-comparison": lambda adv: lambda **given: adv.compare("digits#1", "digits#0", **given),
    "experiment-comparison": lambda adv: lambda **given: adv.compare("digits", "wines", **given),
    "digest": lambda adv: lambda **given: adv.digest(since="7d", **given),
    "model-card": lambda adv: lambda **given: adv.experiment("digits", create=False).report(kind="model-card", **given),
    "checklist": lambda adv: lambda **given: adv.experiment("digits", create=False).report(kind="checklist", **given),
}

AT_MOST = 150
"""Digits of one document that are changed one at a time; spread evenly over it."""


def mutations(text: str) -> list[tuple[int, str]]:
    """Return places of digits and the text with that digit changed."""
    places = [match.start() for match in re.finditer(r"\d", text)]
    stride = max(1, -(-len(places) // AT_MOST))
    return [(at, f"{text[:at]}{(int(text[at]) + 1 + at % 8) % 10}{text[at + 1 :]}") for at in places[::stride]]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_document_is_derived_again_and_any_digit_that_is_changed_is_found(adv: Advisor, kind: str) -> None:
    for format in ("md", "html", "json"):
        written = WRITERS[kind](adv)(format=format)
        assert written.kind == kind
        text = Path(str(written.path)).read_text(encoding="utf-8")
        origin = origin_of(text)
        assert origin is not None
        assert (origin.kind, origin.facts) == (kind, written.facts_hash)
        derived = derive_again(adv, origin)
        assert derived == text
        assert is_intact(text)
        missed = [at for at, wrong in mutations(text) if is_intact(wrong) or not differences(wrong, derived)]
        assert missed == []
        # whoever mends the seal afterwards is found all the same, at the line that he changed
        block = text.index(MARK) if format != "json" else len(text)
        for at, wrong in mutations(text)[:: 5 if format == "html" else 1]:
            if at < block and format != "json":
                forged = sealed(wrong[: wrong.index(f"<!-- {MARK}")], origin)
                assert is_intact(forged)
                line = text[:at].count("\n") + 1
                assert line in {one.line for one in differences(forged, derived)}, wrong[at - 30 : at + 30]


def test_verify_names_the_figure_that_is_wrong_and_what_it_should_be(adv: Advisor) -> None:
    written = WRITERS["digest"](adv)()
    path = Path(str(written.path))
    assert adv.verify(path).ok
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("**9** runs ended", "**8** runs ended").replace("9 runs ended", "8 runs ended"))
    found = adv.verify(path)
    assert not found.ok
    assert ("8", "9") in {(one.written, one.expected) for one in found.failures}
    assert any("journal keeps another text" in one.why for one in found.failures)


def test_a_document_stays_true_while_the_store_goes_on(adv: Advisor) -> None:
    path = Path(str(WRITERS["run-comparison"](adv)().path))
    digest = Path(str(WRITERS["digest"](adv)().path))
    exp = adv.experiment("digits", create=False)
    exp.tell({"lr": 0.3, "opt": "sgd"}, 0.001)
    exp.rename("ciphers")
    assert adv.verify(path).ok
    assert adv.verify(digest).ok


def test_pictures_beside_a_document_are_looked_at(adv: Advisor) -> None:
    path = Path(str(WRITERS["experiment-comparison"](adv)().path))
    picture = next(path.parent.rglob("*.svg"))
    picture.write_bytes(picture.read_bytes().replace(b"0", b"1", 1))
    assert [one.why for one in adv.verify(path).failures] == ["the picture is not the one that was drawn"]
    picture.unlink()
    assert any("do not lie beside the file" in note for note in adv.verify(path).notes)


def test_a_document_of_another_store_cannot_be_derived(adv: Advisor, tmp_path: Path) -> None:
    import advisor

    text = WRITERS["run-summary"](adv)().text
    with advisor.open(tmp_path / "other", capture=False) as other:
        found = other.verify(text)
    assert not found.ok
    assert "cannot be derived again" in found.notes[0]


def test_a_damaged_origin_is_a_failure_and_no_error(adv: Advisor) -> None:
    text = WRITERS["digest"](adv)(write=False).text
    for wrong in (text.replace('"kind": "digest"', '"kind": 7'), text.replace('"seal"', "seal"), f"{text} more"):
        assert not adv.verify(wrong).ok


def test_documents_are_versions_kept_with_their_text(adv: Advisor) -> None:
    first = WRITERS["experiment-comparison"](adv)()
    adv.experiment("digits", create=False).tell({"lr": 0.3, "opt": "sgd"}, 0.001)
    second = WRITERS["experiment-comparison"](adv)()
    other = WRITERS["run-comparison"](adv)(format="json")
    assert [first.version, second.version, other.version] == [1, 2, 1]
    kept = adv.documents()
    assert [each.kind for each in kept] == ["experiment-comparison", "experiment-comparison", "run-comparison"]
    assert kept[0].text != kept[1].text
    assert kept[2].text.startswith("# Run \\#0 against run \\#1") or kept[2].text.startswith("# Run #0 against run #1")
    assert [each.version for each in adv.documents(kind="experiment-comparison")] == [1, 2]
    assert not adv.documents(experiment="wines")
    assert WRITERS["checklist"](adv)(write=False).path is None
    assert len(adv.documents()) == 3


def test_an_incident_note_says_what_was_seen_what_it_means_and_what_became_of_it(adv: Advisor) -> None:
    exp = adv.experiment("digits", create=False)
    exp.acknowledge(exp.run(2).findings[0].id)
    text = WRITERS["incident"](adv)(write=False).text
    for part in (
        "# Non finite (ADV101) in run #2 of digits",
        "is not finite from step 30 on",
        "It begins at step 30 of 59",
        "What the detector saw",
        "What to do",
        "found by",
        "> loss went up after 30",
        "Of 6 runs it is the only one",
    ):
        assert part in text.replace("\\", ""), part
    exp.verdict("digits#2:ADV101", "ok", note="known")
    again = WRITERS["incident"](adv)(write=False).text
    assert "Judged a false alarm" in again
    assert "judged a false alarm: known" in again


def test_a_comparison_of_runs_says_which_is_better_and_whether_that_may_be_chance(adv: Advisor) -> None:
    text = WRITERS["run-comparison"](adv)(write=False).text.replace("\\", "")
    assert "Run #0 has `val_loss`" in text
    assert "better than run #1" in text
    assert "No configuration near the best was run twice: the difference may be noise." in text
    back = adv.compare("digits#0", "digits#1", write=False).text
    assert "worse than run #0" in back.replace("\\", "")
    failed = adv.compare("digits#0", "f0f0f0", write=False).text
    assert "cannot be ranked" in failed


def test_a_comparison_across_experiments_gives_no_verdict_and_ranks_each_run_in_its_own(adv: Advisor) -> None:
    other = adv.experiment("apart", objective="val_loss")
    for value in (0.5, 0.52):
        with other.start(params={"lr": 0.1}) as run:
            run.log({"val_loss": value}, step=0)
    best = adv.experiment("digits", create=False).best()
    assert best is not None
    for a, b in (("apart#1", f"digits#{best.number}"), (f"digits#{best.number}", "apart#1")):
        text = adv.compare(a, b, write=False).text.replace("\\", "")
        assert "The two are of different experiments, so their values may not be comparable" in text
        assert "rank 1 in its experiment" in text
        assert "rank 2 in its experiment" in text
        assert "not ranked" not in text
        assert "standard deviation" not in text
        assert "may be chance" not in text


def test_a_digest_tells_failures_and_a_span_in_which_nothing_happened(adv: Advisor) -> None:
    text = WRITERS["digest"](adv)(write=False).text
    assert "Digest of a week" in text
    assert "OOM at 24 GB" in text
    assert "Needs a look" in text
    quiet = adv.digest("wines", since="30min", write=False).text
    assert "Nothing happened" in quiet


def test_a_model_card_has_metadata_whose_values_are_those_of_the_run(adv: Advisor) -> None:
    exp = adv.experiment("digits", create=False)
    text = WRITERS["model-card"](adv)(write=False).text
    head = yaml.safe_load(text.split("---\n")[1])
    result = head["model-index"][0]["results"][0]
    best = exp.best()
    assert best is not None
    assert {row["value"] for row in result["metrics"]} >= {best.metrics["val_loss"], best.metrics["train_loss"]}
    assert result["task"] == {"type": "not-recorded", "name": "not recorded"}
    for title in ("Model description", "Intended uses & limitations", "Training results", "Framework versions"):
        assert f"## {title}" in text.replace("&amp;", "&")
    assert "More information needed" not in text


def test_a_checklist_says_yes_no_or_not_recorded_with_where_to_look(adv: Advisor) -> None:
    found = json.loads(WRITERS["checklist"](adv)(format="json", write=False).text)
    answers: dict[str, str] = {}
    for section in found["sections"]:
        for block in section["blocks"]:
            for row in block.get("rows", []):
                answers[row[1]["text"]] = row[0]["text"]
    assert answers["Is the exact number of search trials given?"] == "yes"
    assert answers["Are the seeds given?"] == "no"  # the failed run has none
    assert answers["Is the data identified?"] == "not recorded"
    assert answers["Are broader impacts discussed?"] == "not recorded"
    assert len(answers) == 26


def test_json_holds_facts_sentences_and_what_was_not_recorded(adv: Advisor) -> None:
    found: dict[str, Any] = json.loads(WRITERS["run-summary"](adv)(format="json", write=False).text)
    assert {"id", "value", "unit", "precision", "label", "direction", "source"} <= found["facts"][0].keys()
    ids = {fact["id"] for fact in found["facts"]}
    named = [fact for sentence in found["sentences"] for fact in sentence.get("facts", [])]
    assert named
    assert set(named) <= ids
    assert any("git commit" in text for text in found["absences"])


def test_what_cannot_be_compared_or_understood_is_said_in_one_line(adv: Advisor) -> None:
    from advisor.errors import ConfigError

    with pytest.raises(ConfigError, match="a run and an experiment"):
        adv.compare("digits", "digits#1")
    with pytest.raises(ConfigError, match="are the same"):
        adv.compare("digits#1", "digits#1")
    with pytest.raises(ConfigError, match="not understood"):
        adv.digest(since="yesterday")
    with pytest.raises(ConfigError, match="future"):
        adv.digest(since="2027-01-01")
    with pytest.raises(ConfigError, match="no document of kind 'card'"):
        adv.experiment("digits", create=False).report(kind="card")


def test_a_document_is_read_at_one_commit_although_others_write(adv: Advisor) -> None:
    store = adv.store
    ticks, moment = iter(range(100)), adv.clock()

    def clock() -> Any:  # each look at the time brings another event
        next(ticks)
        store.append([Event.new("run.noted", "digits", "f0" * 16, text="busy")])
        return moment

    adv.clock = clock
    written = adv.compare("digits#1", "digits#0")
    assert adv.verify(Path(str(written.path))).ok
