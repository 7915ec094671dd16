from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from storage.entries import Entry, decode, encode, sealed, unsealed
from storage.records import Finding, Run, RunState, Severity, Verdict

ENTRY = Entry(
    Run(
        "r",
        number=0,
        ordinal=0,
        experiment="exp",
        state=RunState.FINISHED,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        params={"lr": 0.1},
    ),
    exp=0,
    dirty=False,
)
UNREADABLE = (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError, IndexError)


def test_an_entry_comes_back_as_it_was() -> None:
    assert decode(encode(ENTRY)).run == ENTRY.run


@pytest.mark.parametrize("verdict", [None, "ok", "real"])
def test_a_finding_comes_back_with_its_verdict(verdict: Verdict | None) -> None:
    about = {"run_id": "r", "experiment": "exp", "code": "ADV102", "title": "t", "detector": "rules"}
    finding = Finding("f", severity=Severity.ERROR, verdict=verdict, **about)
    run = replace(ENTRY.run, findings=(finding,))
    assert decode(encode(replace(ENTRY, run=run))).run.findings == (finding,)


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_of_an_entry_is_read_as_data(bit: int) -> None:
    data = encode(ENTRY)
    for i in range(len(data)):
        with pytest.raises(UNREADABLE):
            decode(data[:i] + bytes([data[i] ^ (1 << bit)]) + data[i + 1 :])


def test_no_part_of_what_is_sealed_passes_for_all_of_it() -> None:
    data = sealed(b"content")
    assert unsealed(data) == b"content"
    for n in range(1, len(data)):
        with pytest.raises(ValueError, match="checksum"):
            unsealed(data[:n])


def test_what_earlier_versions_wrote_without_a_checksum_is_read() -> None:
    assert decode(unsealed(encode(ENTRY))).run == ENTRY.run
