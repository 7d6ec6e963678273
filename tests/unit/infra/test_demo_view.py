from __future__ import annotations

import io

from infra.cli.demo_view import View
from infra.cli.report import Phase, Tally

PHASE = Phase("orders scales", 412, 0, {"a11733 v1": 412}, {"a11733": 1.25}, 4.0)


def test_without_a_terminal_every_step_is_a_line_and_the_table_comes_last() -> None:
    stream = io.StringIO()
    with View(stream) as view:
        view.follow(Tally)
        view.say("orders scales")
        view.ended(PHASE)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == [
        "orders scales",
        "  412 requests, 0 failed in 4.0 s | a11733 v1: 412 | joined: a11733 1.2 s",
    ]
    assert lines[3].startswith("PHASE ")
    assert lines[4].startswith("orders scales ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_table_stays_and_what_happens_now_goes() -> None:
    stream = Terminal()
    with View(stream) as view:
        view.follow(lambda: Tally(sent=7))
        view.say("something happens")
        view.ended(PHASE)
    shown = stream.getvalue()
    assert "7 requests sent so far" in shown
    assert shown.rindex("orders scales") > shown.rindex("something happens")


def test_nothing_ended_shows_no_table() -> None:
    stream = io.StringIO()
    with View(stream) as view:
        view.say("starting")
    assert stream.getvalue() == "starting\n"
