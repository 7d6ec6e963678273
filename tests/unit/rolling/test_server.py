"""The service that is deployed again and again: when it may end."""

from __future__ import annotations

import threading

from tests.rolling.server import Work


def test_it_ends_when_nothing_is_under_way_and_takes_nothing_after_that() -> None:
    work = Work()
    with work:
        assert not work.end()
    with work:
        assert not work.end(), "what comes before the end is served"
    assert work.end()
    begun = threading.Event()

    def begin() -> None:
        with work:
            begun.set()

    late = threading.Thread(target=begin, daemon=True)  # it waits until the process ends
    late.start()
    late.join(0.05)
    assert (late.is_alive(), begun.is_set(), work.active) == (True, False, 0)
