"""The parts of the comparison by themselves: the endpoints' faults, what callers count, and the verdict."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.__main__ import CHANCE, is_worse, write
from tests.faults.cases import CASES
from tests.faults.endpoint import Fault, Http1, State
from tests.faults.load import Callers, Tally


async def called(fault: Fault, begun: bool, count: int) -> tuple[Tally, State]:
    state = State(fault)
    server = await asyncio.get_running_loop().create_server(lambda: Http1(state), "127.0.0.1", 0)
    if begun:
        state.begin()
    callers = Callers("127.0.0.1", server.sockets[0].getsockname()[1], 20.0)
    await callers.at_rate(1000.0, count / 1000.0)
    server.close()
    await server.wait_closed()
    return callers.tally, state


@pytest.mark.parametrize(
    ("fault", "why"),
    [(Fault.STATUS_503, "503"), (Fault.CLOSE, "broken"), (Fault.RESET, "broken"), (Fault.CUT, "broken")],
)
def test_a_fault_is_felt_once_it_has_begun(fault: Fault, why: str) -> None:
    tally, state = asyncio.run(called(fault, False, 20))
    assert (tally.sent, tally.failed.total()) == (Counter(GET=15, POST=5), 0)
    assert (len(tally.seconds), state.requests) == (20, 20)
    tally, _ = asyncio.run(called(fault, True, 20))
    assert tally.failed == Counter(GET=15, POST=5)
    assert tally.why == Counter({why: 20})


def test_it_is_worse_to_lose_more_that_nobody_repeats() -> None:
    assert is_worse(Tally(failed=Counter(GET=CHANCE + 1)), Tally())
    assert not is_worse(Tally(failed=Counter(GET=CHANCE, POST=50)), Tally())


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len({case.title for case in CASES}) == len(CASES)


def test_the_table_is_put_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- faults -->\nold\n<!-- end of faults -->\nafter\n")
    write("new", page)
    assert page.read_text() == "before\n<!-- faults -->\nnew\n<!-- end of faults -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no marks"):
        write("new", page)
