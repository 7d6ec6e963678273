"""The account of what waits for peers that do not take it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.proxy.base.held import COMPLAINT_SECONDS, MOST_WITHOUT_LIMIT, SHARE, SPARE_SHARE, Held

MOST = 1_000


class Connection:
    """A connection that gives up pieces of ten bytes."""

    def __init__(self) -> None:
        self.waiting = 0
        self.asked: list[int] = []

    def give_up(self, count: int) -> int:
        self.asked.append(count)
        self.waiting = max(0, self.waiting - (count + 9) // 10 * 10)
        return self.waiting


def bounded(most: int = MOST) -> Held:
    account = Held()
    account.bound(most * SHARE)
    assert account.most == most
    return account


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 700))))
def test_there_is_never_more_than_the_bound_and_the_sum_is_right(notes: list[tuple[int, int]]) -> None:
    account = bounded()
    held = [Connection() for _ in range(5)]
    for number, count in notes:
        held[number].waiting = count
        account.note(held[number], count, 0.0)
        assert account.total == sum(each.waiting for each in held) <= MOST
        assert account.describe()["connections"] == sum(each.waiting > 0 for each in held)


def test_those_with_most_give_up_first_and_some_more_than_would_do() -> None:
    account = bounded()
    small, large, last = Connection(), Connection(), Connection()
    for holder, count in ((small, 200), (large, 700), (last, 101)):
        holder.waiting = count
        account.note(holder, count, 0.0)
    assert (small.asked, last.asked) == ([], [])
    assert large.asked == [1_001 - (MOST - MOST // SPARE_SHARE)]
    assert account.given_up == 130


def test_without_a_limit_there_is_a_bound_too() -> None:
    account = Held()
    holder = Connection()
    holder.waiting = MOST_WITHOUT_LIMIT + 10
    account.note(holder, holder.waiting, 0.0)
    assert account.total < MOST_WITHOUT_LIMIT


def test_what_ends_may_say_what_waits_on_others_meanwhile() -> None:
    account = bounded()
    other = Connection()

    class Talking(Connection):
        def give_up(self, count: int) -> int:
            other.waiting = 900
            account.note(other, other.waiting, 0.0)
            return super().give_up(count)

    holder = Talking()
    holder.waiting = 1_100
    account.note(holder, holder.waiting, 0.0)
    assert other.asked == [], "nobody is asked from within the asking of another"
    account.note(other, other.waiting, 0.0)
    assert account.total == holder.waiting + other.waiting <= MOST


def test_it_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    account = bounded()
    holder = Connection()
    for now in (0.0, 1.0, COMPLAINT_SECONDS - 1.0, COMPLAINT_SECONDS):
        holder.waiting = MOST + 10
        account.note(holder, holder.waiting, now)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
