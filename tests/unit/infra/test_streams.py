from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from infra.local.eventbus import DeadLetters
from infra.local.streams import Record, StreamDelivery, follow, to_event_record
from infra.local.template import StreamSource
from tests.support.control_plane.functions import FakeFunction, spec

SOURCE = StreamSource(batch_size=4, retries=3, bisect=True, filters=())


def record(number: int, sort_key: str = "TASK#1") -> Record:
    return {"dynamodb": {"SequenceNumber": str(number), "Keys": {"sk": {"S": sort_key}}}}


def numbers(event: Any) -> str:
    return "".join(r["dynamodb"]["SequenceNumber"] for r in event["Records"])


def deliver(
    records: Sequence[Record],
    *,
    source: StreamSource = SOURCE,
    answer: Callable[[Any], Any] = lambda _: None,
    failures: int = 0,
) -> tuple[list[str], DeadLetters]:
    function, dead_letters = FakeFunction(spec(), answer, failures), DeadLetters()

    async def sleep(_: float) -> None:
        pass

    asyncio.run(StreamDelivery(function, source, dead_letters, sleep).deliver(records))
    return [numbers(event) for event in function.events], dead_letters


RECORDS = [record(number) for number in range(1, 7)]


def test_records_come_in_batches() -> None:
    assert deliver(RECORDS)[0] == ["1234", "56"]


def test_only_what_a_filter_lets_through() -> None:
    wanted = {"dynamodb": {"Keys": {"sk": {"S": [{"prefix": "TASK#"}]}}}}
    source = StreamSource(4, 3, True, (wanted,))
    assert deliver([record(1), record(2, "HEAD"), record(3)], source=source)[0] == ["13"]
    assert deliver([record(2, "HEAD")], source=source)[0] == []


def test_from_the_first_failed_record_on_everything_comes_again() -> None:
    first = iter([{"batchItemFailures": [{"itemIdentifier": "4"}, {"itemIdentifier": "2"}]}])
    assert deliver(RECORDS, answer=lambda _: next(first, {"batchItemFailures": []}))[0] == ["1234", "234", "56"]


def test_an_identifier_that_is_not_in_the_batch_fails_all_of_it() -> None:
    for identifier in ("99", "", None):
        answers = [None, {"batchItemFailures": [{"itemIdentifier": identifier}]}]
        calls, _ = deliver(RECORDS[:2], answer=lambda _, answers=answers: answers.pop())  # type: ignore[misc]
        assert calls == ["12", "12"]


def test_a_failed_function_gets_the_batch_in_halves() -> None:
    assert deliver(RECORDS[:4], failures=1)[0] == ["1234", "12", "34"]
    assert deliver(RECORDS[:4], failures=2)[0] == ["1234", "12", "1", "2", "34"]


def test_without_bisection_the_whole_batch_comes_again() -> None:
    assert deliver(RECORDS[:2], source=StreamSource(4, 3, False, ()), failures=1)[0] == ["12", "12"]


def test_a_batch_that_fails_to_the_end_is_a_dead_letter_and_the_rest_goes_on() -> None:
    calls, dead_letters = deliver(RECORDS, source=StreamSource(1, 2, True, ()), failures=3)
    assert calls == ["1", "1", "1", "2", "3", "4", "5", "6"]
    [letter] = dead_letters.letters
    assert numbers(letter.event) == "1"


def test_a_record_of_boto3_becomes_one_of_lambda() -> None:
    raw = {
        "eventName": "MODIFY",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2026, 1, 1, tzinfo=UTC),
            "NewImage": {"body": {"B": b"\x00\x01"}, "list": {"L": [{"S": "x"}]}},
        },
    }
    assert to_event_record(raw, "arn:stream") == {
        "eventName": "MODIFY",
        "eventSourceARN": "arn:stream",
        "dynamodb": {
            "ApproximateCreationDateTime": 1767225600,
            "NewImage": {"body": {"B": "AAE="}, "list": {"L": [{"S": "x"}]}},
        },
    }


def test_following_reads_until_it_is_cancelled() -> None:
    function = FakeFunction(spec())
    batches = [[record(1)], [], [record(2)]]

    async def main() -> None:
        read_all = asyncio.Event()

        async def read() -> Sequence[Record]:
            if not batches:
                read_all.set()
                return []
            return batches.pop(0)

        following = asyncio.create_task(follow(read, StreamDelivery(function, SOURCE, DeadLetters()), 0.0))
        await asyncio.wait_for(read_all.wait(), 10)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(main())
    assert [numbers(event) for event in function.events] == ["1", "2"]
