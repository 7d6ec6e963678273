from __future__ import annotations

import json

import pytest

from infra.cli.report import Answers, Tally, phase, read_tally, row, verdict


def line(**changes: object) -> str:
    tally = {"time": 1.0, "sent": 3, "succeeded": 2, "failed": 1, "final": False, "answers": {}, "errors": []}
    return json.dumps({**tally, **changes}) + "\n"


def test_the_last_whole_line_counts() -> None:
    assert read_tally("") == Tally()
    assert read_tally('{"time": 1') == Tally()
    assert read_tally(line(sent=3) + line(sent=4) + '{"time":').sent == 4
    answers = {"a": {"version": "1", "count": 2, "first_at": 7.5}}
    assert read_tally(line(answers=answers)).answers == {"a": Answers("1", 2, 7.5)}


BEFORE = Tally(sent=101, succeeded=100, failed=0, answers={"aaaaaaaa": Answers("1", 100, 1.0)})
AFTER = Tally(
    sent=151,
    succeeded=149,
    failed=1,
    answers={"aaaaaaaa": Answers("1", 100, 1.0), "bbbbbbbb": Answers("2", 49, 12.5)},
)


def test_a_phase_is_the_difference_of_two_tallies() -> None:
    found = phase("p", BEFORE, AFTER, {"bbbbbbbb": 11.0, "cccccccc": 12.0}, 5.0)
    assert (found.requests, found.failed) == (50, 1)
    assert found.per_endpoint == {"bbbbbb v2": 49}
    assert found.joined == {"bbbbbb": 1.5}
    assert row(found) == {
        "phase": "p",
        "seconds": "5.0",
        "requests": 50,
        "failed": 1,
        "per_endpoint": "bbbbbb v2: 49",
        "joined": "bbbbbb 1.5 s",
    }


def test_all_is_well() -> None:
    assert verdict(Tally(sent=10, succeeded=10, final=True), 10.0) == []


@pytest.mark.parametrize(
    ("final", "counted", "fault"),
    [
        (Tally(sent=10, succeeded=9, failed=1, final=True, errors=("502",)), 10.0, "1 of 10 requests failed.*502"),
        (Tally(sent=10, succeeded=9, final=True), 10.0, "saw 9 end"),
        (Tally(sent=10, succeeded=10), 10.0, "saw 10 end"),
        (Tally(final=True), 0.0, "sent nothing"),
        (Tally(sent=10, succeeded=10, final=True), 9.0, "is 9, but the load generator sent 10"),
        (Tally(sent=10, succeeded=10, final=True), None, "is nothing"),
    ],
)
def test_what_is_wrong_is_said(final: Tally, counted: float | None, fault: str) -> None:
    faults = verdict(final, counted)
    assert len(faults) == 1
    import re

    assert re.search(fault, faults[0])
