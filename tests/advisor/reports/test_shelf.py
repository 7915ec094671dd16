"""Kept documents: found by subject, derived again, asked for by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.app import Advisor
from advisor.documents import svg
from advisor.errors import ConfigError
from advisor.reports.commission import commission
from advisor.reports.shelf import find_kept, shelf
from advisor.reports.verify import verify_kept, written_again
from storage.errors import RecordError, RunNotFoundError
from storage.records import Event


def test_versions_of_one_document_are_together_and_others_apart(adv: Advisor) -> None:
    for reference in ("digits#0", "digits#1", "digits#0"):
        commission(adv, "run-summary", {"run": reference})
    groups = shelf(adv.store, kind="run-summary", experiment="digits")
    assert [[one.document.version for one in group] for group in groups] == [[2, 1], [1]]
    assert shelf(adv.store, experiment="wines") == []


def test_a_document_is_found_by_the_beginning_of_its_id(adv: Advisor) -> None:
    written = commission(adv, "run-summary", {"run": "digits#0"})
    kept, versions = find_kept(adv.store, written.id[:8])
    assert kept.document.id == written.id
    assert len(versions) == 1
    with pytest.raises(RecordError, match="there is no document 'nowhere'"):
        find_kept(adv.store, "nowhere")


def test_a_kept_document_is_derived_again_letter_by_letter(adv: Advisor) -> None:
    written = commission(adv, "run-summary", {"run": "digits#0"}, format="html")
    kept, _ = find_kept(adv.store, written.id)
    adv.store.append([Event.new("run.noted", "digits", written.run_id, text="came later")])
    found = verify_kept(adv, kept)
    assert found.ok, found.as_json()
    assert found.n_figures > 10
    assert written_again(adv, kept.origin_or_refuse()).text == written.text


def test_a_text_that_was_changed_in_the_journal_is_noticed(adv: Advisor) -> None:
    kept, _ = find_kept(adv.store, commission(adv, "run-summary", {"run": "digits#0"}).id)
    lied = replace(kept, document=replace(kept.document, text=kept.document.text.replace("0.1", "0.9")))
    found = verify_kept(adv, lied)
    assert not found.ok
    assert "the figure is not what the store says" in found.failures[0].why
    assert not verify_kept(adv, replace(kept, sha256="0" * 64)).ok


def test_a_document_without_an_origin_is_not_called_right(adv: Advisor) -> None:
    kept, _ = find_kept(adv.store, commission(adv, "run-summary", {"run": "digits#0"}).id)
    found = verify_kept(adv, replace(kept, origin=None))
    assert not found.ok
    assert "an early version wrote it" in found.notes[0]


def test_what_is_asked_for_must_be_named(adv: Advisor) -> None:
    with pytest.raises(ConfigError, match="did you mean 'comparison'"):
        commission(adv, "comparisn", {})
    with pytest.raises(ConfigError, match="needs 'b'"):
        commission(adv, "comparison", {"a": "digits#0", "b": " "})
    with pytest.raises(RunNotFoundError):
        commission(adv, "run-summary", {"run": "digits#99"})


@pytest.mark.parametrize(
    ("kind", "about", "written"),
    [
        ("comparison", {"a": "digits#0", "b": "digits#1"}, "run-comparison"),
        ("checklist", {"experiment": "digits"}, "checklist"),
        ("model-card", {"run": "digits#1"}, "model-card"),
        ("digest", {"experiment": "digits", "since": "30d"}, "digest"),
    ],
)
def test_each_kind_can_be_asked_for(adv: Advisor, kind: str, about: dict[str, str], written: str) -> None:
    assert commission(adv, kind, about).kind == written


def test_a_language_model_writes_only_where_it_is_asked_for(adv: Advisor) -> None:
    configured = type(adv)(adv.opening, replace(adv.settings, llm="nobody/listens"), clock=adv.clock)
    assert commission(configured, "run-summary", {"run": "digits#0"}).writer == "template"


def test_pictures_for_a_strict_page_hold_no_style_and_nothing_of_others(adv: Advisor) -> None:
    kept, _ = find_kept(adv.store, commission(adv, "run-summary", {"run": "digits#0"}).id)
    picture = written_again(adv, kept.origin_or_refuse()).page.pictures[0]
    drawn = svg.attributed(picture)
    assert "style" not in drawn
    assert 'stroke="var(--' in drawn
    sly = '<a href="javascript:1"><text>x</text></a><script>1</script><use xlink:href="https://e.x/#a"/>'
    sly += '<rect onload="1"/>'
    hostile = replace(picture, svg=picture.svg.replace("</svg>", f"{sly}</svg>"))
    for word in ("script", "<a", "e.x", "onload"):
        assert word not in svg.attributed(hostile)
